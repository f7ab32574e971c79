//! What can go wrong with a repository, with a stable code, a class and a hint for each case.

use std::path::PathBuf;
use std::time::Duration;

use slipway_common::failure::FailureClass;

/// A failed Git operation. Messages hold no credentials: output of Git is redacted before it gets here.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The host did not accept the credential, or wants one.
    #[error("{operation}: {}", authentication_text(.with_credential))]
    AuthenticationFailed {
        /// What was being done.
        operation: &'static str,
        /// Whether a credential was sent.
        with_credential: bool,
    },
    /// The credential is known but may not do this.
    #[error("{operation}: the host refuses this to the credential in use: {detail}")]
    Forbidden {
        /// What was being done.
        operation: &'static str,
        /// What the host said.
        detail: String,
    },
    /// A credential that cannot be sent.
    #[error("the credential is empty or contains characters that cannot be sent")]
    CredentialForm,
    /// No such repository, or not for this credential.
    #[error("{operation}: the host knows no such repository")]
    RepositoryNotFound {
        /// What was being done.
        operation: &'static str,
    },
    /// The repository has no commits.
    #[error("the repository is empty")]
    EmptyRepository,
    /// The host name does not resolve.
    #[error("{operation}: the host name cannot be resolved")]
    HostUnknown {
        /// What was being done.
        operation: &'static str,
    },
    /// No connection, or one that broke.
    #[error("{operation}: the connection to the host failed: {detail}")]
    Unreachable {
        /// What was being done.
        operation: &'static str,
        /// What Git said.
        detail: String,
    },
    /// The host answered with a server error.
    #[error("{operation}: the host failed: {detail}")]
    HostFailed {
        /// What was being done.
        operation: &'static str,
        /// What Git said.
        detail: String,
    },
    /// The host takes no more requests for now.
    #[error("{operation}: the host limits how often it may be asked")]
    RateLimited {
        /// What was being done.
        operation: &'static str,
        /// The pause it asks for, if it does.
        retry_after: Option<Duration>,
    },
    /// The host answered with a redirect; they are never followed, so that no credential can follow them.
    #[error("{operation}: the host redirects to another address")]
    Redirected {
        /// What was being done.
        operation: &'static str,
    },
    /// No such branch.
    #[error("the repository has no branch {branch}")]
    BranchNotFound {
        /// The branch asked for.
        branch: String,
    },
    /// No such commit or tag.
    #[error("the repository has no revision {revision}")]
    RevisionNotFound {
        /// The revision asked for.
        revision: String,
    },
    /// The certificate or the handshake failed.
    #[error("{operation}: no trusted TLS connection: {detail}")]
    Tls {
        /// What was being done.
        operation: &'static str,
        /// What Git said.
        detail: String,
    },
    /// The deadline passed.
    #[error("{operation} took longer than {limit:?}")]
    Timeout {
        /// What was being done.
        operation: &'static str,
        /// The deadline.
        limit: Duration,
    },
    /// The transfer fell below the lowest accepted speed.
    #[error("{operation}: the transfer was too slow")]
    TooSlow {
        /// What was being done.
        operation: &'static str,
    },
    /// Something is larger than allowed.
    #[error("{what}: more than the limit of {limit}")]
    Limit {
        /// What is too large, with its unit.
        what: &'static str,
        /// The limit, in that unit.
        limit: u64,
    },
    /// A path that cannot be used.
    #[error("path {path:?} in the repository cannot be used: {reason}")]
    PathRefused {
        /// The path, escaped.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A generated file would replace something that exists.
    #[error("{path} already exists in the repository")]
    PathExists {
        /// The path.
        path: String,
    },
    /// The disk is full.
    #[error("{operation}: the disk is full")]
    DiskFull {
        /// What was being done.
        operation: &'static str,
    },
    /// The mirror on disk is damaged.
    #[error("the local mirror is damaged: {detail}")]
    Corrupted {
        /// What was found.
        detail: String,
    },
    /// The host sent objects Git refuses.
    #[error("{operation}: the repository holds objects Git refuses: {detail}")]
    Malformed {
        /// What was being done.
        operation: &'static str,
        /// What Git said.
        detail: String,
    },
    /// Somebody else keeps the mirror busy.
    #[error("the mirror stayed locked for {limit:?}")]
    Busy {
        /// How long was waited.
        limit: Duration,
    },
    /// The branch moved while being fetched, and the revision is not on it any more.
    #[error("branch {branch} moved away from {revision}")]
    Moved {
        /// The branch.
        branch: String,
        /// The revision that was wanted.
        revision: String,
    },
    /// A push whose commit does not follow the expected tip.
    #[error("the commit to push does not follow the expected tip of the branch")]
    NotAFastForward,
    /// The caller asked to stop.
    #[error("{operation} was cancelled")]
    Cancelled {
        /// What was being done.
        operation: &'static str,
    },
    /// The `git` program cannot be started.
    #[error("the program {} cannot be started", .program.display())]
    GitMissing {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The `git` program is too old.
    #[error("git {version} is too old; {required} or later is needed")]
    GitTooOld {
        /// What was found.
        version: String,
        /// What is needed.
        required: &'static str,
    },
    /// The protocol of the address is not allowed.
    #[error("{operation}: the protocol is not allowed")]
    ProtocolRefused {
        /// What was being done.
        operation: &'static str,
    },
    /// The local disk failed.
    #[error("{operation}: local files could not be used")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Anything else Git reported.
    #[error("{operation} failed: {detail}")]
    Other {
        /// What was being done.
        operation: &'static str,
        /// The end of what Git said, redacted.
        detail: String,
    },
}

impl GitError {
    /// An I/O error of `operation`, with a full disk told apart.
    pub(super) fn io(operation: &'static str, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::StorageFull {
            Self::DiskFull { operation }
        } else {
            Self::Io { operation, source }
        }
    }

    /// A damaged mirror, from whatever the object database says.
    pub(super) fn corrupted(reason: impl std::fmt::Display) -> Self {
        Self::Corrupted { detail: reason.to_string() }
    }

    /// Stable, `snake_case` code to program against.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AuthenticationFailed { .. } => "git_authentication_failed",
            Self::Forbidden { .. } => "git_forbidden",
            Self::CredentialForm => "git_credential_invalid",
            Self::RepositoryNotFound { .. } => "git_repository_not_found",
            Self::EmptyRepository => "git_repository_empty",
            Self::HostUnknown { .. } => "git_host_unknown",
            Self::Unreachable { .. } => "git_host_unreachable",
            Self::HostFailed { .. } => "git_host_failed",
            Self::RateLimited { .. } => "git_rate_limited",
            Self::Redirected { .. } => "git_redirected",
            Self::BranchNotFound { .. } => "git_branch_not_found",
            Self::RevisionNotFound { .. } => "git_revision_not_found",
            Self::Tls { .. } => "git_tls",
            Self::Timeout { .. } => "git_timeout",
            Self::TooSlow { .. } => "git_too_slow",
            Self::Limit { .. } => "git_limit",
            Self::PathRefused { .. } => "git_path_refused",
            Self::PathExists { .. } => "git_path_exists",
            Self::DiskFull { .. } => "git_disk_full",
            Self::Corrupted { .. } => "git_mirror_corrupted",
            Self::Malformed { .. } => "git_objects_malformed",
            Self::Busy { .. } => "git_mirror_busy",
            Self::Moved { .. } => "git_branch_moved",
            Self::NotAFastForward => "git_not_a_fast_forward",
            Self::Cancelled { .. } => "git_cancelled",
            Self::GitMissing { .. } => "git_missing",
            Self::GitTooOld { .. } => "git_too_old",
            Self::ProtocolRefused { .. } => "git_protocol_refused",
            Self::Io { .. } => "git_local_io",
            Self::Other { .. } => "git_failed",
        }
    }

    /// What the failure means for the job.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::HostUnknown { .. }
            | Self::Unreachable { .. }
            | Self::HostFailed { .. }
            | Self::RateLimited { .. }
            | Self::Timeout { .. }
            | Self::TooSlow { .. }
            | Self::DiskFull { .. }
            | Self::Corrupted { .. }
            | Self::Busy { .. }
            | Self::Io { .. }
            | Self::Other { .. } => FailureClass::Transient,
            Self::AuthenticationFailed { .. }
            | Self::Forbidden { .. }
            | Self::CredentialForm
            | Self::RepositoryNotFound { .. }
            | Self::EmptyRepository
            | Self::Redirected { .. }
            | Self::BranchNotFound { .. }
            | Self::RevisionNotFound { .. }
            | Self::Tls { .. }
            | Self::Limit { .. }
            | Self::PathRefused { .. }
            | Self::PathExists { .. }
            | Self::Malformed { .. }
            | Self::GitMissing { .. }
            | Self::GitTooOld { .. }
            | Self::ProtocolRefused { .. } => FailureClass::Permanent,
            Self::Moved { .. } | Self::NotAFastForward => FailureClass::Stale,
            Self::Cancelled { .. } => FailureClass::Cancelled,
        }
    }

    /// Whether the host could not be asked, or did not say.
    #[must_use]
    pub fn is_host_away(&self) -> bool {
        matches!(
            self,
            Self::HostUnknown { .. }
                | Self::Unreachable { .. }
                | Self::HostFailed { .. }
                | Self::RateLimited { .. }
                | Self::Timeout { .. }
                | Self::TooSlow { .. }
        )
    }

    /// The pause the host asks for before the next request.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::RateLimited { retry_after, .. } = self { *retry_after } else { None }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::AuthenticationFailed { with_credential: true, .. } => {
                "check that the token has not expired and may read (and, for commits, write) the repository"
            }
            Self::AuthenticationFailed { with_credential: false, .. } => {
                "the repository is private or does not exist; name a credential for it"
            }
            Self::Forbidden { .. } => {
                "give the token's account the right to do this, or use another credential"
            }
            Self::CredentialForm => {
                "store the credential again, without line breaks; a user name has no colon"
            }
            Self::RepositoryNotFound { .. } => {
                "check the address, and that the credential may see the repository"
            }
            Self::EmptyRepository => "push a first commit",
            Self::HostUnknown { .. } => "check the host name, and the name resolution of the worker",
            Self::Unreachable { .. } => "check that the worker can reach the host; it is tried again",
            Self::HostFailed { .. } => "the Git host has a problem; it is tried again",
            Self::RateLimited { .. } => {
                "it is tried again when the host takes requests; ask for a higher limit there"
            }
            Self::Redirected { .. } => "use the address the host redirects to; it often ends in .git",
            Self::BranchNotFound { .. } => "check the branch name, or leave it out for the default branch",
            Self::RevisionNotFound { .. } => {
                "give a full 40-digit commit id the host still has, or an existing tag"
            }
            Self::Tls { .. } => "the worker must trust the host's certificate authority",
            Self::Timeout { .. } | Self::TooSlow { .. } => {
                "the Git host or the network is slow; it is tried again, or raise the limit"
            }
            Self::Limit { .. } => "make the repository smaller, or raise the worker's limit",
            Self::PathRefused { .. } => "rename the path in the repository",
            Self::PathExists { .. } => "remove the file, or let Slipway use it as it is",
            Self::DiskFull { .. } => {
                "free space on the worker's disk, or lower the limit of all mirrors together"
            }
            Self::Corrupted { .. } => "the mirror is deleted and cloned again by itself",
            Self::Malformed { .. } => "run `git fsck` in the repository and repair what it reports",
            Self::Busy { .. } => "another job works with the same repository; it is tried again",
            Self::Moved { .. } | Self::NotAFastForward => "the branch changed meanwhile; it is read again",
            Self::Cancelled { .. } => "start it again if it was not meant to stop",
            Self::GitMissing { .. } | Self::GitTooOld { .. } => "install a current git on the worker",
            Self::ProtocolRefused { .. } => "use an https:// address",
            Self::Io { .. } => "check the worker's mirror directory and its permissions",
            Self::Other { .. } => "see the detail; it is tried again",
        }
    }
}

fn authentication_text(with_credential: &bool) -> &'static str {
    if *with_credential { "the host did not accept the credential" } else { "the host asks for a credential" }
}
