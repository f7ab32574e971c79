//! Why a request was not served, and the one function that maps it to HTTP.

mod autoscaler;
mod client;
mod project;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use slipway_common::backend::RecordError;
use slipway_common::inquiry::InquiryError;
use slipway_common::ledger::LedgerError;
use slipway_common::model::request::InvalidField;
use slipway_common::queue::QueueError;
use slipway_common::secrets::SecretError;
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;

pub(crate) use autoscaler::AutoscalerRefusal;
pub(crate) use client::ClientRefusal;
pub(crate) use project::{DeliveryRefusal, ProjectRefusal};

use crate::problem::Problem;
use crate::view::{PartView, Readiness};

/// How long a client is asked to wait when a part is unavailable.
const RETRY_AFTER_S: u16 = 2;

/// Which part of a request could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestPart {
    /// A segment of the path.
    Path,
    /// The query.
    Query,
    /// A header.
    Header,
}

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Part of the request line or head is not of the expected form.
    #[error("the {part:?} is not of the expected form")]
    Malformed { part: RequestPart, field: &'static str, reason: String },
    /// The body is no JSON.
    #[error("the body is not valid JSON: {0}")]
    Json(String),
    /// The connection broke while the body was read.
    #[error("the body could not be read")]
    BodyBroken,
    /// The body did not arrive in time.
    #[error("the body did not arrive within {limit_ms} ms")]
    BodySlow { limit_ms: u128 },
    /// The body is too large.
    #[error("the body has more than {limit_bytes} bytes")]
    BodyTooLarge { limit_bytes: usize },
    /// The body is of another media type.
    #[error("the body must be {expected}")]
    MediaType { expected: &'static str },
    /// Fields that cannot be accepted.
    #[error("fields were refused")]
    Fields(Vec<InvalidField>),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// No valid token.
    #[error("no valid token")]
    Unauthorized { given: bool },
    /// Nothing is at this path.
    #[error("nothing is at this path")]
    NoSuchPath,
    /// The path does not have this method.
    #[error("the path does not have this method")]
    Method { allow: &'static str },
    /// What the path names does not exist.
    #[error("no such {what}")]
    NotFound { what: &'static str },
    /// The deployment has no such pod.
    #[error("the deployment has no such pod")]
    UnknownPod,
    /// The pod has no such container.
    #[error("the pod has no such container")]
    UnknownContainer { known: Vec<String> },
    /// A worker asked the target, and learned nothing.
    #[error("the target could not be read: {code}")]
    TargetUnreadable { code: String, reason: String },
    /// A question has no answer.
    #[error("a question has no answer")]
    Inquiry(#[from] InquiryError),
    /// A request about autoscalers or metric events.
    #[error("a request about autoscalers was not served")]
    Autoscaler(#[from] AutoscalerRefusal),
    /// A request in the form of Kabernetes.
    #[error("a request in the form of Kabernetes was not served")]
    Client(#[from] ClientRefusal),
    /// A request about registered projects.
    #[error("a request about registered projects was not served")]
    Project(#[from] ProjectRefusal),
    /// A delivery of a forge.
    #[error("a delivery was not taken")]
    Delivery(#[from] DeliveryRefusal),
    /// What is asked for does not fit the state things are in.
    #[error("{detail}")]
    Conflict { code: &'static str, detail: String },
    /// As many streams are open as may be.
    #[error("{limit} streams are open")]
    TooManyStreams { limit: usize },
    /// Something this process needs is not working.
    #[error("not ready")]
    NotReady(Readiness),
    /// The answer was not there in time.
    #[error("no answer within {limit_ms} ms")]
    Timeout { limit_ms: u128 },
    /// The answer was not there in time, and something may have been done.
    #[error("no outcome within {limit_ms} ms")]
    OutcomeUnknown { limit_ms: u128 },
    /// The store could not be rebuilt.
    #[error("the store could not be rebuilt")]
    RebuildFailed { reason: String },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error("the queue failed")]
    Queue(#[from] QueueError),
    /// A record was not kept.
    #[error("a record was not kept")]
    Record(#[from] RecordError),
    /// A secret could not be sealed.
    #[error("a secret could not be sealed")]
    Secret(#[from] SecretError),
    /// A defect of the server.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Refusal {
    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into() }
    }

    pub(crate) fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Fields(vec![InvalidField { field: field.into(), reason: reason.into() }])
    }

    /// The answer for this refusal. Nothing else in the API decides what an error is in HTTP.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Malformed { part, field, reason } => malformed(*part, field, reason),
            Self::Json(reason) => Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed_json",
                format!("The body is no valid JSON: {reason}."),
            ),
            Self::BodyBroken => body_broken(),
            Self::BodySlow { limit_ms } => body_slow(*limit_ms),
            Self::BodyTooLarge { limit_bytes } => body_too_large(*limit_bytes),
            Self::MediaType { expected } => media_type(expected),
            Self::Fields(errors) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", summary(errors))
                    .with_errors(errors.clone())
            }
            Self::KeyReused => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request; use a new one.",
            ),
            Self::Unauthorized { given } => unauthorized(*given),
            Self::NoSuchPath => Problem::new(
                StatusCode::NOT_FOUND,
                "no_such_path",
                "Nothing is at this path; see /openapi.json.",
            ),
            Self::Method { allow } => Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("This path understands {allow}."),
            )
            .with_header(header::ALLOW, HeaderValue::from_static(allow)),
            Self::NotFound { what } => {
                Problem::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
            }
            Self::UnknownPod => unknown_pod(),
            Self::UnknownContainer { known } => unknown_container(known),
            Self::TargetUnreadable { code, reason } => target_unreadable(code, reason),
            Self::Inquiry(error) => inquiry(error),
            Self::Autoscaler(refusal) => refusal.problem(),
            Self::Client(refusal) => refusal.problem(),
            Self::Project(refusal) => refusal.problem(),
            Self::Delivery(refusal) => refusal.problem(),
            Self::Conflict { code, detail } => Problem::new(StatusCode::CONFLICT, code, detail.clone()),
            Self::TooManyStreams { limit } => unavailable(
                "too_many_streams",
                format!("{limit} streams are open, which is the limit; try again later or poll."),
            ),
            Self::NotReady(readiness) => not_ready(readiness),
            Self::Timeout { limit_ms } => {
                tracing::warn!(error = %self, "a request took too long");
                unavailable("timeout", format!("There was no answer within {limit_ms} ms; try again."))
            }
            Self::OutcomeUnknown { .. } => {
                tracing::warn!(error = %self, "a request took too long");
                outcome_unknown()
            }
            Self::RebuildFailed { reason } => {
                unavailable("rebuild_failed", format!("The store could not be rebuilt: {reason}."))
            }
            Self::Store(error) => store(error),
            Self::Queue(error) => queue(error),
            Self::Record(RecordError::Ledger(error)) => ledger(error),
            Self::Record(RecordError::Store(error)) => store(error),
            Self::Secret(error) => internal(error),
            Self::Internal(what) => {
                tracing::error!(what, "a request met a defect");
                internal_problem()
            }
        }
    }
}

fn body_broken() -> Problem {
    let detail = "The body ended before it was complete.";
    Problem::new(StatusCode::BAD_REQUEST, "body_broken", detail).closing()
}

fn body_slow(limit_ms: u128) -> Problem {
    let detail = format!("The body did not arrive within {limit_ms} ms.");
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail).closing()
}

fn body_too_large(limit_bytes: usize) -> Problem {
    let detail = format!("The body has more than {limit_bytes} bytes.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).closing()
}

fn media_type(expected: &str) -> Problem {
    let detail = format!("The body must be {expected}.");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail).closing()
}

fn unknown_pod() -> Problem {
    let detail = "The deployment has no such pod now; `live` of the deployment names those it has.";
    Problem::new(StatusCode::NOT_FOUND, "pod_unknown", detail)
}

fn unknown_container(known: &[String]) -> Problem {
    let others = if known.is_empty() { String::new() } else { format!("; it has {}", known.join(", ")) };
    let detail = format!("The pod has no such container{others}.");
    Problem::new(StatusCode::NOT_FOUND, "container_unknown", detail)
}

fn target_unreadable(code: &str, reason: &str) -> Problem {
    let detail = format!("The target could not be read: {reason} ({code}).");
    Problem::new(StatusCode::BAD_GATEWAY, "target_unreadable", detail)
}

fn inquiry(error: &InquiryError) -> Problem {
    match error {
        InquiryError::Unavailable { .. } => {
            tracing::warn!(error = %error, "questions cannot be passed on");
            unavailable("inquiries_unavailable", "Workers cannot be asked now; try again.")
        }
        InquiryError::TooMany { limit } => unavailable(
            "too_many_inquiries",
            format!("{limit} questions wait for a worker, which is the limit; try again later."),
        ),
        InquiryError::Unanswered { after_ms } => {
            tracing::warn!(error = %error, "no worker answers");
            let detail = format!("No worker answered within {after_ms} ms; try again.");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "worker_silent", detail)
        }
    }
}

fn malformed(part: RequestPart, field: &str, reason: &str) -> Problem {
    let (code, what) = match part {
        RequestPart::Path => ("invalid_path", "path"),
        RequestPart::Query => ("invalid_query", "query"),
        RequestPart::Header => ("invalid_header", "header"),
    };
    Problem::new(StatusCode::BAD_REQUEST, code, format!("In the {what}, `{field}` {reason}."))
        .with_errors(vec![InvalidField { field: field.to_owned(), reason: reason.to_owned() }])
}

fn unauthorized(given: bool) -> Problem {
    let (challenge, detail) = if given {
        ("Bearer realm=\"slipway\", error=\"invalid_token\"", "The token is not known or was revoked.")
    } else {
        ("Bearer realm=\"slipway\"", "A token is needed: send `Authorization: Bearer <token>`.")
    };
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

fn store(error: &StoreError) -> Problem {
    match error {
        StoreError::Unavailable { .. } => {
            tracing::warn!(error = %error, "the store is unavailable");
            unavailable("store_unavailable", "The store cannot be used now; try again.")
        }
        StoreError::DiskFull => {
            tracing::error!(error = %error, "the disk is full");
            unavailable("disk_full", "The disk of the server is full.")
        }
        StoreError::Illegal(reason) => {
            Problem::new(StatusCode::CONFLICT, "illegal_transition", format!("Not possible now: {reason}."))
        }
        StoreError::UnknownDeployment { .. } => {
            Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such deployment.")
        }
        StoreError::Corrupt { .. } => internal(error),
    }
}

fn queue(error: &QueueError) -> Problem {
    match error {
        QueueError::Unavailable { .. } => {
            tracing::warn!(error = %error, "the queue is unavailable");
            unavailable("queue_unavailable", "The queue cannot be used now; try again.")
        }
        QueueError::Unknown { .. } => {
            tracing::warn!(error = %error, "the outcome of a publication is unknown");
            outcome_unknown()
        }
        QueueError::Full { limit_jobs } => unavailable(
            "queue_full",
            format!("The queue holds {limit_jobs} jobs, which is its limit; try again later."),
        ),
        QueueError::ClaimLost { .. } => internal(error),
    }
}

fn not_ready(readiness: &Readiness) -> Problem {
    let field = |part: &PartView| InvalidField { field: part.part.clone(), reason: part.reason.clone() };
    let errors: Vec<InvalidField> = readiness.parts.iter().map(field).collect();
    unavailable("not_ready", format!("Not ready: {}", summary(&errors)))
        .with_errors(errors)
        .with_readiness(readiness.clone())
}

fn outcome_unknown() -> Problem {
    unavailable(
        "outcome_unknown",
        "It is not known whether the request will be carried out. Repeat it with the same Idempotency-Key: it is \
         carried out once.",
    )
}

fn ledger(error: &LedgerError) -> Problem {
    match error {
        LedgerError::Unavailable { .. } => {
            tracing::warn!(error = %error, "the ledger is unavailable");
            unavailable("ledger_unavailable", "The ledger cannot be used now; try again.")
        }
        LedgerError::Corrupt { .. } => internal(error),
    }
}

fn unavailable(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).with_retry_after(RETRY_AFTER_S)
}

fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(error = %chain(error), "a request failed");
    internal_problem()
}

fn internal_problem() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "The server met an error of its own; its log says more under the request's id.",
    )
}

/// All refused fields in one sentence.
fn summary(errors: &[InvalidField]) -> String {
    const SHOWN: usize = 3;
    let mut parts: Vec<String> =
        errors.iter().take(SHOWN).map(|error| format!("`{}`: {}", error.field, error.reason)).collect();
    if errors.len() > SHOWN {
        parts.push(format!("and {} more", errors.len() - SHOWN));
    }
    format!("{}.", parts.join("; "))
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.error_response().status()
    }

    fn error_response(&self) -> HttpResponse {
        self.problem().response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let response = Refusal::from(QueueError::Full { limit_jobs: 7 }).error_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }

    #[test]
    fn questions_without_an_answer_are_told_apart() {
        for (error, status, code) in [
            (InquiryError::Unavailable { reason: "secret".to_owned() }, 503, "inquiries_unavailable"),
            (InquiryError::TooMany { limit: 7 }, 503, "too_many_inquiries"),
            (InquiryError::Unanswered { after_ms: 7 }, 504, "worker_silent"),
        ] {
            let refusal = Refusal::from(error);
            let document = refusal.problem().document();
            assert_eq!((document.status, document.code.as_str()), (status, code));
            assert!(!document.detail.contains("secret"));
            let is_patient = refusal.error_response().headers().contains_key(header::RETRY_AFTER);
            assert_eq!(is_patient, status == 503, "{code}");
        }
    }

    #[test]
    fn what_the_store_met_inside_is_not_told() {
        let error = StoreError::Corrupt { what: "event", reason: "/var/lib/secret".to_owned() };
        let document = Refusal::from(error).problem().document();
        assert_eq!((document.status, document.code.as_str()), (500, "internal_error"));
        assert!(!document.detail.contains("secret"));
        assert_eq!(document.detail, document.message);
    }

    #[test]
    fn many_refused_fields_are_summed_up() {
        let field = |n: usize| InvalidField { field: format!("f{n}"), reason: "is bad".to_owned() };
        let document = Refusal::Fields((0..5).map(field).collect()).problem().document();
        assert_eq!(document.detail, "`f0`: is bad; `f1`: is bad; `f2`: is bad; and 2 more.");
        assert_eq!(document.errors.len(), 5);
    }
}
