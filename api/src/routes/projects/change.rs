//! `PATCH /projects/{slug}`.

use actix_web::{HttpRequest, HttpResponse, web};
use slipway_common::model::HookId;
use slipway_common::model::registered::request::{ProjectContext, ProjectPatch, Registration};
use slipway_common::record::Record;

use super::create::deployments;
use super::{StoredProject, alone, base_url, check_credentials, find, parse_slug};
use crate::auth::User;
use crate::body;
use crate::idempotency::now;
use crate::refusal::Refusal;
use crate::server::Shared;

/// Changes part of a registered project by a JSON merge patch (RFC 7396): what it does not name stays, what it sets to
/// `null` gets its default. `rotate_hook` gives the hook new secrets; the old ones are good for 24 hours more.
#[utoipa::path(
    patch, path = "/projects/{slug}", tag = "projects", operation_id = "change_project",
    params(("slug" = String, Path, description = "The project's slug, or its host and path")),
    request_body(content((ProjectPatch = "application/merge-patch+json"), (ProjectPatch = "application/json"))),
    responses((status = 200, description = "Changed", body = StoredProject))
)]
pub(crate) async fn change(
    shared: web::Data<Shared>,
    user: User,
    slug: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let slug = parse_slug(&slug)?;
    let patch = body::merge_patch(&request, payload, shared.body_limits()).await?;
    let patch: ProjectPatch = body::from_value(patch)?;
    // A fresh id: no two changes make the same secrets.
    let seed = HookId::generate().to_string();
    let Registration { project, made } = alone(&shared, &slug, async {
        let before = find(&shared, &slug).await?;
        let context = ProjectContext {
            deployments: deployments(&shared),
            user: &user.0,
            now: now(),
            hook: before.hook.id,
            seed: &seed,
        };
        let after = patch.apply(&before, &context).map_err(Refusal::Fields)?;
        check_credentials(&shared, &after.project.spec, Some(&before.spec)).await?;
        shared.backend.record(&Record::ProjectStored(Box::new(after.project.clone()))).await?;
        shared.hooks.put(after.project.hook_entry());
        Ok(after)
    })
    .await?;
    let answer = StoredProject::new(&project, &made, &base_url(&shared, &request));
    Ok(HttpResponse::Ok().json(answer))
}
