//! `/dead`: jobs that were set aside, to be looked at, queued again or dropped.

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::Deserialize;
use slipway_common::Backend;
use slipway_common::model::job::JOB_MESSAGE_VERSION;
use slipway_common::model::{Deployment, DeploymentState, Facts, JobId, JobKind, JobMessage};
use slipway_common::queue::{BURIED_SEARCHED_MAX, Buried};
use slipway_common::store::filter::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX};
use slipway_common::submit::submit;

use super::deployments::actions::{
    NoOptions, accepted, action_ticket, check_repair, check_retry, repair_message,
};
use super::deployments::create::deploy_message;
use crate::auth::User;
use crate::body;
use crate::idempotency::Ticket;
use crate::query::{self, job_id};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::{Accepted, DeadDetail, DeadList, DeadSummary};

const NOT_FOUND: Refusal = Refusal::NotFound { what: "dead job" };

/// The page of the list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadQuery {
    /// Most jobs on the page; 20 if not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// The `next_cursor` of the page before. Wins over `skip`.
    #[param(value_type = Option<String>)]
    cursor: Option<String>,
    /// How many to leave out at the start.
    #[param(value_type = Option<u32>, minimum = 0)]
    skip: Option<String>,
}

/// Where a page begins: behind the job of this id, or of this time if it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    at_us: i64,
    id: JobId,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}_{}", self.at_us, self.id)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it is no cursor of this list")]
struct NoCursor;

impl std::str::FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (at_us, id) = text.split_once('_').ok_or(NoCursor)?;
        Ok(Self { at_us: at_us.parse().map_err(|_| NoCursor)?, id: id.parse().map_err(|_| NoCursor)? })
    }
}

/// Lists the jobs that were set aside, newest first.
#[utoipa::path(
    get, path = "/dead", tag = "dead", operation_id = "list_dead", params(DeadQuery),
    responses((status = 200, description = "One page of jobs", body = DeadList))
)]
pub(crate) async fn list(shared: web::Data<Shared>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let wanted: DeadQuery = query::read(&request)?;
    let limit = query::number("limit", wanted.limit.as_deref(), 1..=u64::from(PAGE_LIMIT_MAX))?;
    let skip = query::number("skip", wanted.skip.as_deref(), 0..=u64::from(u32::MAX))?;
    let cursor = query::parse("cursor", wanted.cursor.as_deref())?;
    let limit = limit.unwrap_or(u64::from(PAGE_LIMIT_DEFAULT));
    let buried = shared.backend.queue.buried(BURIED_SEARCHED_MAX).await?;
    Ok(HttpResponse::Ok().json(page(&buried, cursor, count(skip.unwrap_or_default()), count(limit))))
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn page(buried: &[Buried], cursor: Option<Cursor>, skip: usize, limit: usize) -> DeadList {
    let begin = match cursor {
        None => skip,
        Some(Cursor { at_us, id }) => match buried.iter().position(|buried| buried.id == id) {
            Some(last) => last + 1,
            None => buried.partition_point(|buried| buried.at.as_microsecond() > at_us),
        },
    };
    let rest = buried.get(begin..).unwrap_or_default();
    let shown = &rest[..limit.min(rest.len())];
    let last = shown.last().filter(|_| rest.len() > shown.len());
    let next = last.map(|last| Cursor { at_us: last.at.as_microsecond(), id: last.id });
    let total = u64::try_from(buried.len()).unwrap_or(u64::MAX);
    DeadList {
        data: shown.iter().map(DeadSummary::from).collect(),
        total,
        count: total,
        next_cursor: next.map(|cursor| cursor.to_string()),
    }
}

/// Shows a job that was set aside.
#[utoipa::path(
    get, path = "/dead/{id}", tag = "dead", operation_id = "show_dead",
    params(("id" = String, Path, format = Uuid, description = "The job")),
    responses((status = 200, description = "The job", body = DeadDetail))
)]
pub(crate) async fn show(shared: web::Data<Shared>, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let buried = shared.backend.queue.buried_job(job_id(&id)?).await?.ok_or(NOT_FOUND)?;
    Ok(HttpResponse::Ok().json(DeadDetail::from(&buried)))
}

/// Drops a job that was set aside, for good.
#[utoipa::path(
    delete, path = "/dead/{id}", tag = "dead", operation_id = "drop_dead",
    params(("id" = String, Path, format = Uuid, description = "The job")),
    responses((status = 204, description = "Dropped"))
)]
pub(crate) async fn discard(
    shared: web::Data<Shared>,
    id: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    if shared.backend.queue.discard(job_id(&id)?, Timestamp::now()).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(NOT_FOUND)
    }
}

/// Queues a job that was set aside again. One that has ended meanwhile (as poison does) is tried again as a new job of
/// its deployment, with the facts it had established.
#[utoipa::path(
    post, path = "/dead/{id}/requeue", tag = "dead", operation_id = "requeue_dead",
    params(
        ("id" = String, Path, format = Uuid, description = "The job"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Requests under the same key are carried out once"),
    ),
    request_body(content = Option<NoOptions>, content_type = "application/json"),
    responses(
        (status = 202, description = "Queued; `job_id` is the job that goes on", body = Accepted,
            headers(("Location" = String, description = "The deployment"))),
        (status = 409, description = "It cannot be read, or its deployment went on without it", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn requeue(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let NoOptions {} = body::optional_json(&request, payload, shared.body_limits()).await?;
    let id = job_id(&id)?;
    let ticket = action_ticket(&shared, &request, &user, b"", None, None).await?;
    let Some(buried) = shared.backend.queue.buried_job(id).await? else {
        return done_before(&shared.backend, id, ticket).await;
    };
    let Some(message) = buried.message else {
        let detail = "Its message cannot be read, so it can only be dropped.";
        return Err(Refusal::conflict("job_unreadable", detail));
    };
    let known = shared.backend.store.job(id).await?;
    if known.is_some_and(|job| job.state.is_terminal()) {
        return try_again(&shared.backend, *message, ticket, user.0).await;
    }
    if !shared.backend.queue.requeue(id, Timestamp::now()).await? {
        return Err(NOT_FOUND);
    }
    let ticket = Ticket { deployment: message.deployment, job: id, ..ticket };
    Ok(accepted(&ticket, DeploymentState::Queued))
}

/// The answer to a repetition, after the job has left the dead.
async fn done_before(backend: &Backend, id: JobId, ticket: Ticket) -> Result<HttpResponse, Refusal> {
    if !ticket.repeated {
        return Err(NOT_FOUND);
    }
    let again = match backend.store.job(ticket.job).await? {
        Some(job) => Some(job),
        None => backend.store.job(id).await?,
    };
    let job = again.ok_or(NOT_FOUND)?;
    let state =
        if job.kind == "stop" && job.id != id { DeploymentState::Stopping } else { DeploymentState::Queued };
    Ok(accepted(&Ticket { deployment: job.deployment, job: job.id, ..ticket }, state))
}

/// A new job in the place of one that has ended. The dead one is dropped last, so that a repetition finds the rest.
async fn try_again(
    backend: &Backend,
    dead: JobMessage,
    ticket: Ticket,
    user: String,
) -> Result<HttpResponse, Refusal> {
    let found = backend.store.deployment(dead.deployment).await?;
    let deployment = found.ok_or(Refusal::NotFound { what: "deployment" })?;
    let ticket = Ticket { deployment: deployment.id, ..ticket };
    let state = match dead.kind {
        JobKind::Deploy { .. } => DeploymentState::Queued,
        JobKind::Repair { .. } => deployment.state,
        JobKind::Stop { .. } => DeploymentState::Stopping,
    };
    if deployment.job(ticket.job).is_none() {
        submit(backend, &again(&dead, deployment, &ticket, user)?).await?;
    }
    backend.queue.discard(dead.id, Timestamp::now()).await?;
    Ok(accepted(&ticket, state))
}

fn again(
    dead: &JobMessage,
    deployment: Deployment,
    ticket: &Ticket,
    user: String,
) -> Result<JobMessage, Refusal> {
    match &dead.kind {
        JobKind::Deploy { .. } => {
            check_retry(&deployment)?;
            let facts = Facts { inventory: None, ..deployment.facts };
            Ok(deploy_message(ticket, deployment.project, user, deployment.spec, facts))
        }
        JobKind::Repair { .. } => {
            check_repair(&deployment)?;
            Ok(repair_message(&deployment, ticket, user))
        }
        JobKind::Stop { target } => {
            check_stop(&deployment)?;
            Ok(JobMessage {
                version: JOB_MESSAGE_VERSION,
                id: ticket.job,
                deployment: deployment.id,
                project: deployment.project,
                environment: deployment.environment,
                user,
                accepted_at: ticket.at,
                request: ticket.request.clone(),
                trigger: None,
                kind: JobKind::Stop { target: target.clone() },
            })
        }
    }
}

fn check_stop(deployment: &Deployment) -> Result<(), Refusal> {
    let is_over = matches!(deployment.state, DeploymentState::Stopped | DeploymentState::Superseded);
    if !is_over && deployment.jobs.iter().all(|job| job.state.is_terminal()) {
        return Ok(());
    }
    let detail = format!("The deployment is {}; there is nothing to stop again.", deployment.state);
    Err(Refusal::conflict("not_retryable", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newest first, two of them at the same time.
    fn dead() -> Vec<Buried> {
        let at = |second| Timestamp::from_second(second).unwrap();
        let buried = |second| Buried {
            id: JobId::generate(),
            message: None,
            unreadable: Some("?".to_owned()),
            reason: "unreadable".to_owned(),
            at: at(second),
        };
        [5, 4, 4, 2, 1].map(buried).to_vec()
    }

    #[test]
    fn pages_follow_each_other_even_when_jobs_leave_between() {
        let mut all = dead();
        let ids: Vec<JobId> = all.iter().map(|buried| buried.id).collect();
        let shown = |list: &DeadList| list.data.iter().map(|dead| dead.id).collect::<Vec<_>>();
        let first = page(&all, None, 0, 2);
        assert_eq!((shown(&first), first.total), (ids[..2].to_vec(), 5));
        let cursor: Cursor = first.next_cursor.unwrap().parse().unwrap();
        let second = page(&all, Some(cursor), 0, 2);
        assert_eq!(shown(&second), ids[2..4]);
        all.drain(..2);
        let after_leaving = page(&all, Some(cursor), 0, 9);
        assert_eq!((shown(&after_leaving), after_leaving.next_cursor), (ids[2..].to_vec(), None));
        assert_eq!(shown(&page(&all, None, 9, 9)), []);
        for bad in ["", "x", "1_x", "x_01890a5d-ac96-774b-bcce-b302099a8057"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
