//! `/deployments/{id}/autoscaler`: the settings under which a deployment is kept at the right size, and what came of
//! them. The id names a deployment; the autoscaler is that of its project and environment.

pub(crate) mod events;
pub(crate) mod lease;
pub(crate) mod observed;
pub(crate) mod replicas;
pub(crate) mod settings;

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::autoscaler::Entry;
use slipway_common::model::autoscaler::{Autoscaler, AutoscalerSettings, Place, RawSettings};
use slipway_common::model::{Deployment, DeploymentState};
use slipway_common::record::Record;

use super::find;
use crate::auth::User;
use crate::body;
use crate::idempotency::now;
use crate::refusal::{AutoscalerRefusal, Refusal};
use crate::server::Shared;
use crate::view::AutoscalerView;

/// Decisions shown with an autoscaler.
const DECISIONS_SHOWN_MAX: usize = 20;

/// Shows the autoscaler: its settings, how it is, and what it decided last.
#[utoipa::path(
    get, path = "/deployments/{id}/autoscaler", tag = "autoscalers", operation_id = "show_autoscaler",
    params(("id" = String, Path, format = Uuid, description = "The deployment")),
    responses((status = 200, description = "The autoscaler", body = AutoscalerView))
)]
pub(crate) async fn show(shared: web::Data<Shared>, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let (deployment, place) = find_place(&shared.backend, &id).await?;
    let entry = entry(&shared.backend, &place).await?;
    Ok(HttpResponse::Ok().json(view(&shared.backend, &deployment, &entry).await?))
}

/// Sets the autoscaler, a new one or in place of the settings there are. What is left out gets its default.
#[utoipa::path(
    put, path = "/deployments/{id}/autoscaler", tag = "autoscalers", operation_id = "store_autoscaler",
    params(("id" = String, Path, format = Uuid, description = "The deployment")),
    request_body(content = RawSettings, content_type = "application/json"),
    responses(
        (status = 200, description = "Replaced", body = AutoscalerView),
        (status = 201, description = "Made", body = AutoscalerView),
        (status = 409, description = "The deployment is over", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn store(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let wanted: RawSettings = body::json(&request, payload, shared.body_limits()).await?;
    let wanted = settings::checked(wanted, &shared.settings.limits)?;
    let backend = &shared.backend;
    let (deployment, place) = find_place(backend, &id).await?;
    check_not_over(&deployment)?;
    let (before, autoscaler) = lease::alone(backend, &place, async {
        let before = backend.autoscalers.autoscaler(&place).await?;
        Ok::<_, Refusal>((before, keep(backend, &place, wanted, user.0).await?))
    })
    .await?;
    let mut response = if before.is_some() { HttpResponse::Ok() } else { HttpResponse::Created() };
    let entry = Entry { autoscaler, wish: before.and_then(|before| before.wish) };
    Ok(response.json(view(backend, &deployment, &entry).await?))
}

/// Changes part of the settings by a JSON merge patch (RFC 7396): what it does not name stays, what it sets to `null`
/// gets its default.
#[utoipa::path(
    patch, path = "/deployments/{id}/autoscaler", tag = "autoscalers", operation_id = "change_autoscaler",
    params(("id" = String, Path, format = Uuid, description = "The deployment")),
    request_body(content((Object = "application/merge-patch+json"), (Object = "application/json"))),
    responses(
        (status = 200, description = "Changed", body = AutoscalerView),
        (status = 409, description = "The deployment is over", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let patch = body::merge_patch(&request, payload, shared.body_limits()).await?;
    let backend = &shared.backend;
    let (deployment, place) = find_place(backend, &id).await?;
    check_not_over(&deployment)?;
    let entry = lease::alone(backend, &place, async {
        let Entry { autoscaler, wish } = entry(backend, &place).await?;
        let wanted = settings::patched(&autoscaler.settings, &patch, &shared.settings.limits)?;
        Ok::<_, Refusal>(Entry { autoscaler: keep(backend, &place, wanted, user.0).await?, wish })
    })
    .await?;
    Ok(HttpResponse::Ok().json(view(backend, &deployment, &entry).await?))
}

/// Deletes the autoscaler with its decisions. The replica count stays what it is.
#[utoipa::path(
    delete, path = "/deployments/{id}/autoscaler", tag = "autoscalers", operation_id = "delete_autoscaler",
    params(("id" = String, Path, format = Uuid, description = "The deployment")),
    responses((status = 204, description = "Deleted"))
)]
pub(crate) async fn delete(
    shared: web::Data<Shared>,
    id: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let backend = &shared.backend;
    let (_, place) = find_place(backend, &id).await?;
    lease::alone(backend, &place, async {
        entry(backend, &place).await?;
        forget(backend, &place).await
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The deployment that the path names, and where its autoscaler acts.
async fn find_place(backend: &Backend, id: &str) -> Result<(Deployment, Place), Refusal> {
    let deployment = find(backend, id).await?;
    let place = Place::of(&deployment);
    Ok((deployment, place))
}

/// The autoscaler of this place.
async fn entry(backend: &Backend, place: &Place) -> Result<Entry, Refusal> {
    let found = backend.autoscalers.autoscaler(place).await?;
    found.ok_or_else(|| AutoscalerRefusal::Absent.into())
}

async fn view(backend: &Backend, deployment: &Deployment, entry: &Entry) -> Result<AutoscalerView, Refusal> {
    let (autoscalers, place) = (&backend.autoscalers, &entry.autoscaler.place);
    let (state, decisions) =
        tokio::try_join!(autoscalers.state(place), autoscalers.newest_decisions(place, DECISIONS_SHOWN_MAX))?;
    Ok(AutoscalerView::new(deployment, entry, state.as_ref(), &decisions, Timestamp::now()))
}

/// Whoever names what is over does not know what is in service, and means something else than he would change.
fn check_not_over(deployment: &Deployment) -> Result<(), Refusal> {
    let state = deployment.state;
    let is_over =
        matches!(state, DeploymentState::Stopped | DeploymentState::Superseded | DeploymentState::Failed);
    if is_over { Err(AutoscalerRefusal::Over { state }.into()) } else { Ok(()) }
}

/// Records the autoscaler of this place.
pub(crate) async fn keep(
    backend: &Backend,
    place: &Place,
    settings: AutoscalerSettings,
    user: String,
) -> Result<Autoscaler, Refusal> {
    let autoscaler = Autoscaler { place: place.clone(), settings, user, updated_at: now() };
    backend.record(&Record::AutoscalerStored(Box::new(autoscaler.clone()))).await?;
    Ok(autoscaler)
}

/// Records that this place has no autoscaler any more.
pub(crate) async fn forget(backend: &Backend, place: &Place) -> Result<(), Refusal> {
    backend.record(&Record::AutoscalerDeleted { place: place.clone(), at: now() }).await?;
    Ok(())
}
