//! `DELETE /deployments/{id}` and `POST …/cancel`, `…/retry`, `…/repair`, `…/rollback`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::Deserialize;
use slipway_common::Backend;
use slipway_common::model::job::JOB_MESSAGE_VERSION;
use slipway_common::model::{
    Deployment, DeploymentId, DeploymentState, Event, EventId, EventKind, Facts, Job, JobId, JobKind,
    JobMessage,
};
use slipway_common::record::Record;
use slipway_common::store::{Cursor, DeploymentFilter, Page, filter::PAGE_LIMIT_MAX};
use slipway_common::submit::submit;
use uuid::Uuid;

use super::create::deploy_message;
use super::find;
use crate::auth::User;
use crate::body;
use crate::idempotency::{Ask, Ticket, ticket};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::{Accepted, DeploymentDetail, Links};

/// Pages looked through for the deployment to roll back to.
const ROLLBACK_PAGES_MAX: usize = 20;

/// The body of an action that takes no options.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NoOptions {}

/// Where to roll back to.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RollbackRequest {
    /// The deployment whose revision and image to take. If not given: the newest one of the same project and
    /// environment that was in service and is older than this one.
    #[schema(value_type = Option<String>, format = Uuid)]
    to: Option<DeploymentId>,
}

/// Takes a deployment out of service. One that is stopped already is answered 200 as it is.
#[utoipa::path(
    delete, path = "/deployments/{id}", tag = "deployments", operation_id = "stop_deployment",
    params(("id" = String, Path, format = Uuid, description = "The deployment")),
    responses(
        (status = 200, description = "It is stopped already", body = DeploymentDetail),
        (status = 202, description = "It is being stopped", body = Accepted,
            headers(("Location" = String, description = "The deployment"))),
    )
)]
pub(crate) async fn stop(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let deployment = find(&shared.backend, &id).await?;
    match take_out_of_service(&shared.backend, &deployment, user.0).await? {
        Some(ticket) => Ok(accepted(&ticket, DeploymentState::Stopping)),
        None => {
            let live = shared.backend.store.live(deployment.id).await?;
            Ok(HttpResponse::Ok().json(DeploymentDetail::new(&deployment, live)))
        }
    }
}

/// Has the deployment stopped: by a new job, or by the one that does so already. `None` when it is stopped.
pub(crate) async fn take_out_of_service(
    backend: &Backend,
    deployment: &Deployment,
    user: String,
) -> Result<Option<Ticket>, Refusal> {
    let at_work = || deployment.jobs.iter().filter(|job| !job.state.is_terminal());
    if let Some(job) = at_work().find(|job| job.kind == "stop") {
        return Ok(Some(Ticket {
            deployment: deployment.id,
            job: job.id,
            at: job.accepted_at,
            request: None,
            repeated: true,
        }));
    }
    let is_over = matches!(deployment.state, DeploymentState::Stopped | DeploymentState::Superseded);
    if is_over && at_work().next().is_none() {
        return Ok(None);
    }
    let ticket = Ticket::fresh(Some(deployment.id), None);
    let message = JobMessage {
        version: JOB_MESSAGE_VERSION,
        id: ticket.job,
        deployment: deployment.id,
        project: deployment.project.clone(),
        environment: deployment.environment.clone(),
        user,
        accepted_at: ticket.at,
        request: None,
        trigger: None,
        kind: JobKind::Stop { target: deployment.target.clone() },
    };
    submit(backend, &message).await?;
    for job in at_work() {
        wake(backend, job.id).await;
    }
    Ok(Some(ticket))
}

/// Cancels the job that is at work.
#[utoipa::path(
    post, path = "/deployments/{id}/cancel", tag = "deployments", operation_id = "cancel_deployment",
    params(
        ("id" = String, Path, format = Uuid, description = "The deployment"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Requests under the same key are carried out once"),
    ),
    request_body(content = Option<NoOptions>, content_type = "application/json"),
    responses(
        (status = 202, description = "The job is being cancelled", body = Accepted,
            headers(("Location" = String, description = "The deployment"))),
        (status = 409, description = "No job is at work", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let NoOptions {} = body::optional_json(&request, payload, shared.body_limits()).await?;
    let deployment = find(&shared.backend, &id).await?;
    let active = deployment.jobs.iter().rev().find(|job| !job.state.is_terminal());
    let ticket = action_ticket(&shared, &request, &user, b"", Some(deployment.id), active).await?;
    let job = deployment
        .job(ticket.job)
        .ok_or_else(|| Refusal::conflict("nothing_to_cancel", "No job of this deployment is at work."))?;
    if !job.state.is_terminal() && !job.cancel_requested {
        let event = cancel_event(deployment.id, job.id, ticket.at, user.0);
        shared.backend.record(&Record::Event(event)).await?;
        wake(&shared.backend, job.id).await;
    }
    Ok(accepted(&ticket, DeploymentState::Stopping))
}

/// The wish to cancel a job. Its id follows from the job's, so that wishing twice is wishing once.
fn cancel_event(deployment: DeploymentId, job: JobId, at: Timestamp, by: String) -> Event {
    let id = EventId::from(Uuid::new_v5(&job.as_uuid(), b"cancel requested"));
    Event { id, ..Event::of_request(deployment, job, at, EventKind::CancelRequested { by }) }
}

/// Tries a failed or stopped deployment again, from the first stage whose fact is missing.
#[utoipa::path(
    post, path = "/deployments/{id}/retry", tag = "deployments", operation_id = "retry_deployment",
    params(
        ("id" = String, Path, format = Uuid, description = "The deployment"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Requests under the same key are carried out once"),
    ),
    request_body(content = Option<NoOptions>, content_type = "application/json"),
    responses(
        (status = 202, description = "Accepted", body = Accepted,
            headers(("Location" = String, description = "The deployment"))),
        (status = 409, description = "It neither failed nor was stopped", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn retry(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let NoOptions {} = body::optional_json(&request, payload, shared.body_limits()).await?;
    let known = find(&shared.backend, &id).await?.id;
    let ticket = action_ticket(&shared, &request, &user, b"", Some(known), None).await?;
    // Read after the key was looked up: a repetition must see the job of the first request.
    let deployment = find(&shared.backend, &id).await?;
    if deployment.job(ticket.job).is_none() {
        check_retry(&deployment)?;
        let facts = Facts { inventory: None, ..deployment.facts };
        let message = deploy_message(&ticket, deployment.project, user.0, deployment.spec, facts);
        submit(&shared.backend, &message).await?;
    }
    Ok(accepted(&ticket, DeploymentState::Queued))
}

/// Only what is over and not in service can be tried again.
pub(crate) fn check_retry(deployment: &Deployment) -> Result<(), Refusal> {
    let over = matches!(deployment.state, DeploymentState::Failed | DeploymentState::Stopped);
    if over && deployment.jobs.iter().all(|job| job.state.is_terminal()) {
        return Ok(());
    }
    let detail =
        format!("The deployment is {}; only a failed or stopped one can be retried.", deployment.state);
    Err(Refusal::conflict("not_retryable", detail))
}

/// Has the target run again what the deployment in service consists of: what others have deleted is made anew, what
/// they have changed is changed back. It serves meanwhile.
#[utoipa::path(
    post, path = "/deployments/{id}/repair", tag = "deployments", operation_id = "repair_deployment",
    params(
        ("id" = String, Path, format = Uuid, description = "The deployment"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Requests under the same key are carried out once"),
    ),
    request_body(content = Option<NoOptions>, content_type = "application/json"),
    responses(
        (status = 202, description = "It is being repaired", body = Accepted,
            headers(("Location" = String, description = "The deployment"))),
        (status = 409, description = "It is not in service, or a job is at work", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn repair(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let NoOptions {} = body::optional_json(&request, payload, shared.body_limits()).await?;
    let known = find(&shared.backend, &id).await?.id;
    let ticket = action_ticket(&shared, &request, &user, b"", Some(known), None).await?;
    // Read after the key was looked up: a repetition must see the job of the first request.
    let deployment = find(&shared.backend, &id).await?;
    if deployment.job(ticket.job).is_none() {
        check_repair(&deployment)?;
        submit(&shared.backend, &repair_message(&deployment, &ticket, user.0)).await?;
    }
    Ok(accepted(&ticket, DeploymentState::Active))
}

/// Only what is in service and left alone can be repaired.
pub(crate) fn check_repair(deployment: &Deployment) -> Result<(), Refusal> {
    if !deployment.state.in_service() {
        let detail =
            format!("The deployment is {}; only one that is in service can be repaired.", deployment.state);
        return Err(Refusal::conflict("not_repairable", detail));
    }
    if deployment.jobs.iter().all(|job| job.state.is_terminal()) {
        return Ok(());
    }
    let detail =
        "A job of this deployment is at work; what it does makes a repair unnecessary or impossible.";
    Err(Refusal::conflict("not_repairable", detail))
}

/// The repair as it is queued.
pub(crate) fn repair_message(deployment: &Deployment, ticket: &Ticket, user: String) -> JobMessage {
    let request = ticket.request.clone();
    JobMessage { request, ..JobMessage::repair(deployment, ticket.job, user, ticket.at) }
}

/// Makes a new deployment from the revision and image of an earlier one.
#[utoipa::path(
    post, path = "/deployments/{id}/rollback", tag = "deployments", operation_id = "rollback_deployment",
    params(
        ("id" = String, Path, format = Uuid, description = "The deployment to leave"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Requests under the same key are carried out once"),
    ),
    request_body(content = Option<RollbackRequest>, content_type = "application/json"),
    responses(
        (status = 202, description = "Accepted as a new deployment", body = Accepted,
            headers(("Location" = String, description = "The new deployment"))),
        (status = 409, description = "There is nothing to roll back to", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rollback(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let options: RollbackRequest = body::optional_json(&request, payload, shared.body_limits()).await?;
    let deployment = find(&shared.backend, &id).await?;
    let content = options.to.map(|to| to.to_string()).unwrap_or_default();
    let ticket = action_ticket(&shared, &request, &user, content.as_bytes(), None, None).await?;
    if ticket.repeated && shared.backend.store.deployment(ticket.deployment).await?.is_some() {
        return Ok(accepted(&ticket, DeploymentState::Queued));
    }
    let source = match options.to {
        Some(to) => named_source(&shared.backend, &deployment, to).await?,
        None => previous(&shared.backend, &deployment).await?,
    };
    if source.facts.image.is_none() {
        let detail = "The deployment to roll back to has no image.";
        return Err(Refusal::conflict("no_image", detail));
    }
    let facts = Facts { inventory: None, ..source.facts };
    submit(&shared.backend, &deploy_message(&ticket, source.project, user.0, source.spec, facts)).await?;
    Ok(accepted(&ticket, DeploymentState::Queued))
}

/// The deployment the request names; it must be of the same project and environment.
async fn named_source(backend: &Backend, from: &Deployment, to: DeploymentId) -> Result<Deployment, Refusal> {
    let source = backend.store.deployment(to).await?.filter(|source| is_sibling(from, source));
    source.ok_or_else(|| Refusal::field("to", "is no deployment of the same project and environment"))
}

/// The newest deployment of the same project and environment that was in service before `from`.
async fn previous(backend: &Backend, from: &Deployment) -> Result<Deployment, Refusal> {
    let filter = DeploymentFilter {
        project: Some(from.project.slug.to_string()),
        environment: Some(from.environment.to_string()),
        ..DeploymentFilter::default()
    };
    let mut cursor = Some(Cursor(from.id));
    for _ in 0..ROLLBACK_PAGES_MAX {
        let page = Page { limit: PAGE_LIMIT_MAX, cursor, skip: 0 };
        let found = backend.store.deployments(&filter, &page).await?;
        let source = found.deployments.into_iter().find(|older| older.was_active && is_sibling(from, older));
        if let Some(source) = source {
            return Ok(source);
        }
        cursor = found.next;
        if cursor.is_none() {
            break;
        }
    }
    let detail = "No older deployment of this project and environment was in service.";
    Err(Refusal::conflict("nothing_to_roll_back_to", detail))
}

fn is_sibling(one: &Deployment, other: &Deployment) -> bool {
    one.id != other.id && one.project.slug == other.project.slug && one.environment == other.environment
}

/// The ids of an action, new ones or those of the first request under its key.
pub(crate) async fn action_ticket(
    shared: &Shared,
    request: &HttpRequest,
    user: &User,
    content: &[u8],
    deployment: Option<DeploymentId>,
    job: Option<&Job>,
) -> Result<Ticket, Refusal> {
    let ask = Ask { user: &user.0, content, deployment, job: job.map(|job| job.id) };
    ticket(request, ask, &shared.backend, &shared.sealer, shared.settings.idempotency_keep).await
}

/// Lets a parked job see at once what was asked; it sees it at its wake-up anyway.
async fn wake(backend: &Backend, job: JobId) {
    if let Err(error) = backend.queue.wake(job, Timestamp::now()).await {
        tracing::warn!(%job, %error, "a job could not be woken");
    }
}

/// Made of the ticket alone, so that a repetition is answered with the same bytes.
pub(crate) fn accepted(ticket: &Ticket, status: DeploymentState) -> HttpResponse {
    let links = Links::of(ticket.deployment, Some(ticket.job));
    HttpResponse::Accepted().insert_header((header::LOCATION, links.this.clone())).json(Accepted {
        id: ticket.deployment,
        job_id: ticket.job,
        status,
        created_at: ticket.at,
        links,
    })
}
