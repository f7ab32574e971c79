//! Why a request about registered projects was not served, and why a delivery was not taken.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use slipway_common::model::ProjectSlug;
use slipway_common::webhook;

use super::unavailable;
use crate::problem::Problem;

/// Why a request about registered projects was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProjectRefusal {
    /// The repository is registered.
    #[error("the repository is registered")]
    Registered { slug: ProjectSlug },
    /// There are as many projects as there may be.
    #[error("{limit} projects are registered")]
    TooMany { limit: u64 },
    /// Somebody else is changing the project.
    #[error("somebody else is changing the project")]
    Busy,
}

impl ProjectRefusal {
    pub(super) fn problem(&self) -> Problem {
        match self {
            Self::Registered { slug } => Problem::new(
                StatusCode::CONFLICT,
                "project_registered",
                format!("The repository is registered as {slug}; change it there, or delete it first."),
            ),
            Self::TooMany { limit } => Problem::new(
                StatusCode::CONFLICT,
                "too_many_projects",
                format!("{limit} projects are registered, which is the limit."),
            ),
            Self::Busy => unavailable(
                "project_busy",
                "Somebody else is changing this project at the moment; try again.",
            ),
        }
    }
}

/// Why a delivery was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeliveryRefusal {
    /// It does not prove that it comes from the forge.
    #[error("the delivery is not authentic")]
    NotAuthentic(#[source] webhook::Refusal),
    /// As much is being read as may be at once.
    #[error("too much is being read at once")]
    NoRoom,
    /// It is not known whether there is such a hook, or whether its secrets are those that are known.
    #[error("it is not known what is stored of the hook")]
    Unsure,
}

impl DeliveryRefusal {
    pub(super) fn problem(self) -> Problem {
        match self {
            Self::NotAuthentic(refusal) => {
                let detail = format!("Nothing was taken: {refusal}. {}", refusal.hint());
                Problem::new(StatusCode::UNAUTHORIZED, refusal.code(), detail).with_header(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Webhook realm=\"slipway\""),
                )
            }
            Self::NoRoom => {
                unavailable("inbox_full", "Too much is being sent at once; send it again.").closing()
            }
            Self::Unsure => {
                unavailable("hooks_unavailable", "The hooks are not known at the moment; send it again.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_is_not_believed_is_told_why_and_what_to_do() {
        let document = DeliveryRefusal::NotAuthentic(webhook::Refusal::SignatureWrong).problem().document();
        assert_eq!((document.status, document.code.as_str()), (401, "signature_wrong"));
        assert!(document.detail.contains("another secret") && document.detail.contains("Compare"));
        for refusal in [DeliveryRefusal::NoRoom, DeliveryRefusal::Unsure] {
            let response = refusal.problem().response();
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key(header::RETRY_AFTER), "the forge is asked to come back");
        }
    }
}
