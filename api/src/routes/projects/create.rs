//! `POST /projects`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use slipway_common::model::HookId;
use slipway_common::model::registered::RegisteredProject;
use slipway_common::model::registered::request::{ProjectContext, ProjectRequest, Registration};
use slipway_common::model::request::{InvalidField, ResolveContext};
use slipway_common::record::Record;

use super::{StoredProject, alone, base_url, check_credentials};
use crate::auth::User;
use crate::body;
use crate::idempotency::{Ask, Ticket, ticket};
use crate::refusal::{ProjectRefusal, Refusal};
use crate::server::Shared;

/// Most projects that are registered.
const PROJECTS_MAX: u64 = 20_000;

/// Registers a repository: its pushes are deployed from now on. Secrets that are not given are made, and shown in this
/// answer alone.
#[utoipa::path(
    post, path = "/projects", tag = "projects", operation_id = "create_project",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "Requests under the same key are carried out once")),
    request_body(content = ProjectRequest, content_type = "application/json"),
    responses(
        (status = 201, description = "Registered", body = StoredProject,
            headers(("Location" = String, description = "The project"))),
        (status = 409, description = "It is registered already, or there are too many", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    shared: web::Data<Shared>,
    user: User,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let wanted: ProjectRequest = body::json(&request, payload, shared.body_limits()).await?;
    // What is wrong with it is said before a key is bound to it.
    resolve(&shared, &user, &wanted, &Ticket::fresh(None, None)).map_err(Refusal::Fields)?;
    let content =
        serde_json::to_vec(&wanted).map_err(|_| Refusal::Internal("a request cannot be written as JSON"))?;
    let ask = Ask { user: &user.0, content: &content, deployment: None, job: None };
    let ticket =
        ticket(&request, ask, &shared.backend, &shared.sealer, shared.settings.idempotency_keep).await?;
    let Registration { project, made } =
        resolve(&shared, &user, &wanted, &ticket).map_err(Refusal::Fields)?;
    store(&shared, &project).await?;
    let answer = StoredProject::new(&project, &made, &base_url(&shared, &request));
    let location = format!("/projects/{}", project.project.slug);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(answer))
}

/// The request as a project. Hook and secrets follow from the ticket, so that a repetition is answered with the same.
fn resolve(
    shared: &Shared,
    user: &User,
    wanted: &ProjectRequest,
    ticket: &Ticket,
) -> Result<Registration, Vec<InvalidField>> {
    let seed = format!("{} {}", ticket.job, ticket.at);
    let hook = HookId::from(shared.sealer.derived_id("hook", seed.as_bytes()));
    wanted.resolve(&ProjectContext {
        deployments: deployments(shared),
        user: &user.0,
        now: ticket.at,
        hook,
        seed: &seed,
    })
}

/// What specifications are resolved with.
pub(super) fn deployments(shared: &Shared) -> ResolveContext<'_> {
    let settings = &shared.settings;
    ResolveContext {
        addresses: &settings.addresses,
        limits: &settings.limits,
        targets: &settings.targets,
        clusters: &settings.clusters,
        servers: &settings.servers,
        sealer: &shared.sealer,
    }
}

/// Records the project, unless a request under the same key has done so.
async fn store(shared: &Shared, project: &RegisteredProject) -> Result<(), Refusal> {
    let slug = &project.project.slug;
    alone(shared, slug, async {
        let projects = &shared.backend.projects;
        match projects.project(slug).await? {
            // It may have been changed since: the answer is that of the first request all the same.
            Some(known) if known.hook.id == project.hook.id => return Ok(()),
            Some(_) => return Err(ProjectRefusal::Registered { slug: slug.clone() }.into()),
            None => {}
        }
        check_credentials(shared, &project.spec, None).await?;
        if projects.count().await? >= PROJECTS_MAX {
            return Err(ProjectRefusal::TooMany { limit: PROJECTS_MAX }.into());
        }
        shared.backend.record(&Record::ProjectStored(Box::new(project.clone()))).await?;
        shared.hooks.put(project.hook_entry());
        Ok(())
    })
    .await
}
