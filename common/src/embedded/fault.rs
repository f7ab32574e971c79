//! What can go wrong inside the embedded adapter, and how each seam tells its caller.

use rusqlite::ErrorCode;

use crate::ledger::LedgerError;
use crate::model::{DeploymentId, JobId};
use crate::queue::QueueError;
use crate::state::Illegal;
use crate::store::StoreError;

/// Why a read or a write gave no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("SQLite: {0}")]
    Sqlite(#[source] rusqlite::Error),
    #[error("the disk under the database is full")]
    DiskFull,
    #[error("the database did not answer within {limit_ms} ms; the write may still happen")]
    Timeout { limit_ms: u128 },
    #[error("the database has been closed")]
    Closed,
    #[error("unreadable {what}: {reason}")]
    Corrupt { what: &'static str, reason: String },
    #[error("the queue holds {limit_jobs} jobs")]
    QueueFull { limit_jobs: u64 },
    #[error("the claim on job {job} was lost")]
    ClaimLost { job: JobId },
    #[error("the event was refused")]
    Illegal(#[source] Illegal),
    #[error("no deployment {deployment}")]
    UnknownDeployment { deployment: DeploymentId },
}

impl Fault {
    /// A JSON body that cannot be read back. Says where, never what: bodies may hold what users sent.
    pub(super) fn unreadable(what: &'static str, error: &serde_json::Error) -> Self {
        let reason = format!("{:?} error at column {}", error.classify(), error.column());
        Self::Corrupt { what, reason }
    }

    /// Whether SQLite itself failed, so that the transaction around the call is in doubt too.
    pub(super) fn spoils_transaction(&self) -> bool {
        match self {
            Self::Sqlite(_) | Self::DiskFull | Self::Timeout { .. } | Self::Closed => true,
            Self::Corrupt { .. }
            | Self::QueueFull { .. }
            | Self::ClaimLost { .. }
            | Self::Illegal(_)
            | Self::UnknownDeployment { .. } => false,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { what: "database file", reason: error.to_string() }
            }
            _ => Self::Sqlite(error),
        }
    }
}

impl From<Fault> for QueueError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::QueueFull { limit_jobs } => Self::Full { limit_jobs },
            Fault::ClaimLost { job } => Self::ClaimLost { job },
            Fault::Sqlite(_)
            | Fault::DiskFull
            | Fault::Timeout { .. }
            | Fault::Closed
            | Fault::Corrupt { .. }
            | Fault::Illegal(_)
            | Fault::UnknownDeployment { .. } => Self::Unavailable { reason: fault.to_string() },
        }
    }
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable { reason: fault.to_string() }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::DiskFull => Self::DiskFull,
            Fault::Corrupt { what, reason } => Self::Corrupt { what, reason },
            Fault::Illegal(illegal) => Self::Illegal(illegal),
            Fault::UnknownDeployment { deployment } => Self::UnknownDeployment { deployment },
            Fault::Sqlite(_)
            | Fault::Timeout { .. }
            | Fault::Closed
            | Fault::QueueFull { .. }
            | Fault::ClaimLost { .. } => Self::Unavailable { reason: fault.to_string() },
        }
    }
}
