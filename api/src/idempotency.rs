//! Idempotency keys: every request under one key gets the ids of the first one, and with them the same answer.

use std::time::Duration;

use actix_web::HttpRequest;
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::model::{DeploymentId, JobId, RequestKey};
use slipway_common::secrets::Sealer;
use slipway_common::store::Reservation;

use crate::refusal::{Refusal, RequestPart};

/// The header that carries the key.
const HEADER: &str = "Idempotency-Key";
/// Longest key.
const KEY_MAX_BYTES: usize = 255;

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
            at: Timestamp::now(),
            request: None,
            repeated: false,
        }
    }
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
    let fresh = Ticket::fresh(ask.deployment, ask.job);
    let Some(key) = key(request)? else { return Ok(fresh) };
    let wanted = Reservation {
        scope: format!("{}\n{} {}\n{key}", ask.user, request.method(), request.path()),
        fingerprint: sealer.fingerprint(ask.content),
        deployment: fresh.deployment,
        job: fresh.job,
        at: fresh.at,
    };
    let bound = backend.store.reserve(&wanted, keep, fresh.at).await?;
    if bound.fingerprint != wanted.fingerprint {
        return Err(Refusal::KeyReused);
    }
    let repeated = bound != wanted;
    let request = Some(RequestKey { scope: bound.scope, fingerprint: bound.fingerprint });
    Ok(Ticket { deployment: bound.deployment, job: bound.job, at: bound.at, request, repeated })
}

/// The key of the request, if it has one.
fn key(request: &HttpRequest) -> Result<Option<String>, Refusal> {
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
