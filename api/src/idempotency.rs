//! Idempotency keys: every request under one key gets the ids of the first one, and with them the same answer.
//!
//! The ids follow from the key, so that they are the same when nobody remembers the first request. What it said is
//! known from its reservation, and for ever from the job it made.

use std::time::Duration;

use actix_web::HttpRequest;
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::model::{DeploymentId, EventKind, Job, JobId, JobMessage, RequestKey};
use slipway_common::secrets::Sealer;
use slipway_common::store::{Reservation, Store, StoreError};

use crate::refusal::{Refusal, RequestPart};

/// The header that carries the key.
const HEADER: &str = "Idempotency-Key";
/// Longest key.
const KEY_MAX_BYTES: usize = 255;
/// Events read at once when a job's acceptance is looked for.
const PAGE_EVENTS: usize = 200;

/// The ids and the time under which a request goes on; the answer is made of nothing else that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) deployment: DeploymentId,
    pub(crate) job: JobId,
    pub(crate) at: Timestamp,
    /// The key it came under, if any.
    pub(crate) request: Option<RequestKey>,
    /// Whether an earlier request under the same key may have been carried out.
    pub(crate) repeated: bool,
}

impl Ticket {
    /// New ids, where none are given.
    pub(crate) fn fresh(deployment: Option<DeploymentId>, job: Option<JobId>) -> Self {
        Self {
            deployment: deployment.unwrap_or_else(DeploymentId::generate),
            job: job.unwrap_or_else(JobId::generate),
            at: now(),
            request: None,
            repeated: false,
        }
    }
}

/// The time as exactly as every store keeps it.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// Who asks for what: the key is only looked for within it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Name of the token.
    pub(crate) user: &'a str,
    /// The parsed body in its canonical form; may hold secrets.
    pub(crate) content: &'a [u8],
    /// The deployment it is about, if it exists already.
    pub(crate) deployment: Option<DeploymentId>,
    /// The job it is about, if it exists already.
    pub(crate) job: Option<JobId>,
}

/// Gives a request its ids: new ones, or those of the first request under its key.
pub(crate) async fn ticket(
    request: &HttpRequest,
    ask: Ask<'_>,
    backend: &Backend,
    sealer: &Sealer,
    keep: Duration,
) -> Result<Ticket, Refusal> {
    let Some(key) = key(request)? else { return Ok(Ticket::fresh(ask.deployment, ask.job)) };
    let wanted =
        reservation(&ask, format!("{}\n{} {}\n{key}", ask.user, request.method(), request.path()), sealer);
    let (bound, job) = tokio::join!(
        backend.store.reserve(&wanted, keep, wanted.at),
        job_made(&*backend.store, &ask, wanted.job)
    );
    let (bound, job) = (bound?, job?);
    match job {
        Some(job) if job.accepted_at != bound.at => forgotten(&*backend.store, wanted, &job).await,
        Some(_) | None => remembered(&wanted, bound),
    }
}

/// What the request would be bound to if it is the first one under its key.
fn reservation(ask: &Ask<'_>, scope: String, sealer: &Sealer) -> Reservation {
    let derived = |purpose| sealer.derived_id(purpose, scope.as_bytes());
    Reservation {
        fingerprint: sealer.fingerprint(ask.content),
        deployment: ask.deployment.unwrap_or_else(|| derived("deployment").into()),
        job: ask.job.unwrap_or_else(|| derived("job").into()),
        at: now(),
        scope,
    }
}

/// The job that an earlier request under the key has made; none where requests make no job of their own.
async fn job_made(store: &dyn Store, ask: &Ask<'_>, derived: JobId) -> Result<Option<Job>, StoreError> {
    if ask.job.is_some() { Ok(None) } else { store.job(derived).await }
}

fn remembered(wanted: &Reservation, bound: Reservation) -> Result<Ticket, Refusal> {
    if bound.fingerprint != wanted.fingerprint {
        return Err(Refusal::KeyReused);
    }
    let repeated = bound != *wanted;
    let request = Some(RequestKey { scope: bound.scope, fingerprint: bound.fingerprint });
    Ok(Ticket { deployment: bound.deployment, job: bound.job, at: bound.at, request, repeated })
}

/// The reservation of the first request is gone; the job it made says what it was.
async fn forgotten(store: &dyn Store, wanted: Reservation, job: &Job) -> Result<Ticket, Refusal> {
    let accepted = acceptance(store, job).await?;
    let request = RequestKey { scope: wanted.scope, fingerprint: wanted.fingerprint };
    match accepted {
        Some(message) if message.request.as_ref() == Some(&request) => Ok(Ticket {
            deployment: message.deployment,
            job: message.id,
            at: message.accepted_at,
            request: Some(request),
            repeated: true,
        }),
        Some(_) | None => Err(Refusal::KeyReused),
    }
}

/// The job as it was accepted, from its deployment's history.
async fn acceptance(store: &dyn Store, job: &Job) -> Result<Option<JobMessage>, StoreError> {
    let mut after = 0;
    loop {
        let events = store.events(job.deployment, after, PAGE_EVENTS).await?;
        let Some((last, _)) = events.last() else { return Ok(None) };
        after = *last;
        let accepted = events.into_iter().find_map(|(_, event)| match event.kind {
            EventKind::Accepted { message } if message.id == job.id => Some(*message),
            EventKind::Accepted { .. }
            | EventKind::StageStarted { .. }
            | EventKind::StageProgress { .. }
            | EventKind::StageFinished { .. }
            | EventKind::StageWaiting { .. }
            | EventKind::Succeeded
            | EventKind::Failed { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::Cancelled
            | EventKind::Superseded { .. }
            | EventKind::Replaced { .. }
            | EventKind::Degraded { .. }
            | EventKind::Recovered => None,
        });
        if accepted.is_some() {
            return Ok(accepted);
        }
    }
}

/// The key of the request, if it has one.
pub(crate) fn key(request: &HttpRequest) -> Result<Option<String>, Refusal> {
    let mut values = request.headers().get_all(HEADER);
    let Some(first) = values.next() else { return Ok(None) };
    let refuse = |reason: &str| {
        Err(Refusal::Malformed { part: RequestPart::Header, field: HEADER, reason: reason.to_owned() })
    };
    if values.next().is_some() {
        return refuse("is given twice");
    }
    let bytes = first.as_bytes();
    if bytes.is_empty() || bytes.len() > KEY_MAX_BYTES || !bytes.iter().all(u8::is_ascii_graphic) {
        return refuse("must be 1 to 255 visible ASCII characters");
    }
    Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn keys_are_visible_ascii_and_not_too_long() {
        let with = |value: &str| key(&TestRequest::post().insert_header((HEADER, value)).to_http_request());
        assert_eq!(with("\"8e03978e\"").unwrap().as_deref(), Some("\"8e03978e\""));
        assert!(with(&"k".repeat(255)).is_ok());
        for bad in [String::new(), "a b".to_owned(), "é".to_owned(), "k".repeat(256)] {
            assert!(with(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(key(&TestRequest::post().to_http_request()).unwrap(), None);
    }

    #[test]
    fn two_keys_are_refused() {
        let request = TestRequest::post().append_header((HEADER, "a")).append_header((HEADER, "b"));
        assert!(key(&request.to_http_request()).is_err());
    }
}
