//! Why a request in the form of Kabernetes was not served, in the words of that service.

use actix_web::http::StatusCode;

use super::unavailable;
use crate::problem::Problem;

/// Why a request in the form of Kabernetes was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientRefusal {
    /// No client was ever started.
    #[error("There is no client instantiated")]
    Absent,
    /// There is one already.
    #[error("There is already a client running")]
    Running,
    /// It starts, changes, stops or is dead.
    #[error("Client not available, try again later")]
    NotAvailable,
    /// It starts.
    #[error("Client not fully initialized, try again")]
    NotInitialized,
    /// The body lacks attributes.
    #[error("Bad body format. Expected: {expected} attributes.")]
    BadBody { expected: &'static str },
    /// What must be a number is none.
    #[error("{name} must be of a numeric type")]
    NotNumeric { name: &'static str },
    /// A negative number of containers.
    #[error("Expected a positive number of containers, but got {amount}")]
    Negative { amount: i64 },
    /// One container must remain.
    #[error("There is not enough containers to drop. The minimum active container amount is 1.")]
    NotEnough,
}

impl ClientRefusal {
    pub(super) fn problem(self) -> Problem {
        let words = self.to_string();
        let bad = |code| Problem::new(StatusCode::BAD_REQUEST, code, words.clone());
        match self {
            Self::Absent => Problem::new(StatusCode::NOT_FOUND, "client_absent", words),
            Self::Running => Problem::new(StatusCode::CONFLICT, "client_running", words),
            Self::NotAvailable => unavailable("client_unavailable", words),
            Self::NotInitialized => unavailable("client_starting", words),
            Self::BadBody { .. } => bad("client_body"),
            Self::NotNumeric { .. } => bad("client_not_numeric"),
            Self::Negative { .. } => bad("client_amount_negative"),
            Self::NotEnough => bad("client_too_few"),
        }
    }
}
