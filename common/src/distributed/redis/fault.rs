//! What can be wrong with Redis, and what an error of the client means.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// The error code our scripts answer with while the projection is incomplete.
const NOT_REBUILT_CODE: &str = "NOTREBUILT";
/// The error code our scripts answer with when they meet what they did not write.
const DAMAGED_CODE: &str = "DAMAGED";

/// Why a request to Redis came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedisFault {
    /// It cannot be reached, does not answer in time, or cannot be written now.
    #[error("Redis is away: {reason}")]
    Away {
        /// What was met.
        reason: String,
    },
    /// It works, but the projection in it is not complete.
    #[error("the store is being rebuilt from the ledger")]
    NotRebuilt,
    /// It works, but is set up so that it must not be used.
    #[error("Redis must not be used as it is set up: {reason}")]
    Misfit {
        /// Which setting has which value.
        reason: String,
    },
    /// It holds something that nobody here wrote.
    #[error("Redis holds something unreadable: {reason}")]
    Corrupt {
        /// What.
        reason: String,
    },
}

impl From<RedisFault> for StoreError {
    fn from(fault: RedisFault) -> Self {
        match fault {
            RedisFault::Away { .. } | RedisFault::NotRebuilt | RedisFault::Misfit { .. } => {
                Self::Unavailable { reason: fault.to_string() }
            }
            RedisFault::Corrupt { reason } => Self::Corrupt { what: "entry", reason },
        }
    }
}

/// Whether Redis can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedisState {
    /// Connected to a primary that is set up rightly.
    Ready,
    /// Not connected.
    Away {
        /// Why.
        reason: String,
    },
    /// Set up so that it must not be used.
    Misfit {
        /// Which setting has which value.
        reason: String,
    },
}

/// What an error means for the request and for the connection.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) fault: RedisFault,
    /// The connection is no good any more, or leads to the wrong server.
    pub(super) reconnect: bool,
    /// Whether the request certainly did not run.
    pub(super) not_run: bool,
    /// The server was silent, rather than gone.
    pub(super) silent: bool,
}

impl Verdict {
    fn stay(fault: RedisFault) -> Self {
        Self { fault, reconnect: false, not_run: false, silent: false }
    }

    /// The server did not answer in time.
    pub(super) fn silent(limit_ms: u128) -> Self {
        let fault = RedisFault::Away { reason: format!("no answer within {limit_ms} ms") };
        Self { fault, reconnect: true, not_run: false, silent: true }
    }

    /// What `error` means.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the client may add kinds; all others mean the same")]
    pub(super) fn of(error: &RedisError) -> Self {
        let away = || RedisFault::Away { reason: error.to_string() };
        match error.kind() {
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain,
            ) => Self { fault: away(), reconnect: true, not_run: true, silent: false },
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::stay(away()),
            ErrorKind::Server(_) | ErrorKind::Extension => Self::of_code(error),
            ErrorKind::UnexpectedReturnType | ErrorKind::Client => {
                Self::stay(RedisFault::Corrupt { reason: error.to_string() })
            }
            ErrorKind::Io if error.is_timeout() => {
                Self { fault: away(), reconnect: true, not_run: false, silent: true }
            }
            // Lost connections, garbled answers, refused logins.
            _ => Self { fault: away(), reconnect: true, not_run: false, silent: false },
        }
    }

    fn of_code(error: &RedisError) -> Self {
        let reason = error.to_string();
        match error.code() {
            Some(NOT_REBUILT_CODE) => Self::stay(RedisFault::NotRebuilt),
            Some("OOM" | "MISCONF" | "BUSY" | "NOREPLICAS") => Self::stay(RedisFault::Away { reason }),
            Some("NOAUTH" | "WRONGPASS") => {
                let fault = RedisFault::Away { reason };
                Self { fault, reconnect: true, not_run: true, silent: false }
            }
            Some(DAMAGED_CODE) => {
                let reason = error.detail().unwrap_or_default().to_owned();
                Self::stay(RedisFault::Corrupt { reason })
            }
            Some(_) | None => Self::stay(RedisFault::Corrupt { reason }),
        }
    }
}

/// Whether the server does not know the script.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
