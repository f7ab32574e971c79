//! Why a look at a project came to nothing, or one part of it.

use std::time::Duration;

use slipway_common::backend::RecordError;
use slipway_common::ledger::LedgerError;
use slipway_common::model::Stage;
use slipway_common::model::registered::state::SweepError;
use slipway_common::queue::QueueError;
use slipway_common::store::StoreError;
use slipway_gitlab::GitlabError;

use crate::git::GitError;
use crate::project_file::ProjectFileError;
use crate::recorder::is_away;
use crate::stage::StageError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The repository, or the credential for it.
    #[error("the repository cannot be used")]
    Source(#[source] Box<StageError>),
    /// The project's file.
    #[error("the file of the project cannot be used")]
    File(#[source] ProjectFileError),
    /// GitLab's API.
    #[error("the forge cannot be asked")]
    Forge(#[source] Box<GitlabError>),
    /// The store.
    #[error("the store cannot be used")]
    Store(#[source] StoreError),
    /// The queue.
    #[error("the queue did not take the deployment")]
    Queue(#[source] QueueError),
    /// The ledger, or the store as its projection.
    #[error("what was seen could not be recorded")]
    Record(#[source] Box<RecordError>),
    /// It took too long.
    #[error("the look took longer than {limit_s} s")]
    TimedOut { limit_s: u64 },
    /// The worker ends.
    #[error("the worker ends")]
    Stopped,
    /// A task of this process ended without an answer.
    #[error("the look crashed")]
    Crashed,
}

impl From<StageError> for Fault {
    fn from(error: StageError) -> Self {
        if matches!(error, StageError::Git(GitError::Cancelled { .. }) | StageError::Interrupted) {
            return Self::Stopped;
        }
        if let StageError::Store(error) = error {
            return Self::Store(error);
        }
        Self::Source(Box::new(error))
    }
}

impl From<GitError> for Fault {
    fn from(error: GitError) -> Self {
        StageError::Git(error).into()
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<QueueError> for Fault {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl From<RecordError> for Fault {
    fn from(error: RecordError) -> Self {
        Self::Record(Box::new(error))
    }
}

impl From<ProjectFileError> for Fault {
    fn from(error: ProjectFileError) -> Self {
        Self::File(error)
    }
}

impl From<GitlabError> for Fault {
    fn from(error: GitlabError) -> Self {
        Self::Forge(Box::new(error))
    }
}

impl Fault {
    /// Whether a part of Slipway is away or ends: that says nothing of the project, and ends the whole look.
    pub(super) fn is_slipways(&self) -> bool {
        match self {
            Self::Stopped => true,
            Self::Store(error) => is_away(error),
            Self::Queue(error) => match error {
                QueueError::Unavailable { .. } | QueueError::Unknown { .. } | QueueError::Full { .. } => true,
                QueueError::ClaimLost { .. } => false,
            },
            Self::Record(error) => match error.as_ref() {
                RecordError::Ledger(LedgerError::Unavailable { .. }) => true,
                RecordError::Store(error) => is_away(error),
                RecordError::Ledger(LedgerError::Corrupt { .. }) => false,
            },
            Self::Source(_) | Self::File(_) | Self::Forge(_) | Self::TimedOut { .. } | Self::Crashed => false,
        }
    }

    /// Whether the host did not answer.
    pub(super) fn is_host_away(&self) -> bool {
        match self {
            Self::Source(error) => error.is_host_away(),
            Self::TimedOut { .. } => true,
            Self::Forge(error) => match error.as_ref() {
                GitlabError::Unreachable { .. } | GitlabError::TimedOut | GitlabError::ServerError { .. } => {
                    true
                }
                GitlabError::Unauthorized
                | GitlabError::Forbidden { .. }
                | GitlabError::NotFound
                | GitlabError::RateLimited { .. }
                | GitlabError::Refused { .. }
                | GitlabError::Unreadable { .. }
                | GitlabError::Address => false,
            },
            Self::File(_)
            | Self::Store(_)
            | Self::Queue(_)
            | Self::Record(_)
            | Self::Stopped
            | Self::Crashed => false,
        }
    }

    /// The pause the host asks for.
    pub(super) fn pause_min(&self) -> Duration {
        match self {
            Self::Forge(error) => error.retry_after().unwrap_or_default(),
            Self::Source(error) => error.pause_min(),
            Self::File(_)
            | Self::Store(_)
            | Self::Queue(_)
            | Self::Record(_)
            | Self::TimedOut { .. }
            | Self::Stopped
            | Self::Crashed => Duration::ZERO,
        }
    }

    /// What people are told.
    pub(super) fn shown(&self) -> SweepError {
        let of = |code: &str, reason: String| SweepError { code: code.to_owned(), reason };
        let hinted = |code: &str, reason: &str, hint: &str| of(code, format!("{reason} ({hint})"));
        match self {
            Self::Source(error) => {
                // Whatever is wrong with a repository is wrong when it is cloned.
                let failure = error.failure(Stage::Clone, Vec::new());
                match &failure.hint {
                    Some(hint) => hinted(&failure.code, &failure.reason, hint),
                    None => of(&failure.code, failure.reason),
                }
            }
            Self::File(error) => hinted(error.code(), &error.to_string(), error.hint()),
            Self::Forge(error) => hinted(error.code(), &error.message(), error.hint()),
            Self::Store(_) => of("store_unavailable", self.to_string()),
            Self::Queue(_) => of("queue_unavailable", self.to_string()),
            Self::Record(_) => of("ledger_unavailable", self.to_string()),
            Self::TimedOut { .. } => {
                let hint = "Check that the host is not overloaded, or raise `sweeps.timeout_s`.";
                hinted("sweep_timeout", &self.to_string(), hint)
            }
            Self::Stopped => of("interrupted", self.to_string()),
            Self::Crashed => of("sweep_crashed", self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_slipway_is_told_apart_from_what_is_wrong_with_the_project() {
        let away = || StoreError::Unavailable { reason: "gone".to_owned() };
        for fault in [
            Fault::from(away()),
            Fault::from(StageError::Store(away())),
            Fault::from(RecordError::Store(away())),
            Fault::from(QueueError::Full { limit_jobs: 1 }),
            Fault::from(GitError::Cancelled { operation: "reading the references" }),
        ] {
            assert!(fault.is_slipways() && !fault.is_host_away(), "{fault:?}");
        }
        let timeout =
            GitError::Timeout { operation: "reading the references", limit: Duration::from_secs(1) };
        for fault in [Fault::from(timeout), Fault::TimedOut { limit_s: 1 }, GitlabError::TimedOut.into()] {
            assert!(!fault.is_slipways() && fault.is_host_away(), "{fault:?}");
        }
        let fault = Fault::from(GitError::EmptyRepository);
        assert!(!fault.is_slipways() && !fault.is_host_away());
        assert_eq!(fault.shown().code, "git_repository_empty");
    }

    #[test]
    fn what_is_wrong_with_a_project_is_told_with_what_can_be_done_about_it() {
        let errors = crate::project_file::parse("replicas: many\n").unwrap_err();
        for fault in [
            Fault::from(GitError::EmptyRepository),
            Fault::from(ProjectFileError::Invalid { errors }),
            Fault::from(GitlabError::Unauthorized),
            Fault::TimedOut { limit_s: 30 },
        ] {
            let reason = fault.shown().reason;
            assert!(reason.contains(" (") && reason.ends_with(')'), "{reason}");
        }
    }
}
