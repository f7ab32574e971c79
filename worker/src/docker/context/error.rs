//! Why a commit gives no build context: codes, classes and what to do.

use std::io;

use slipway_common::failure::FailureClass;

use super::super::dockerignore::IgnoreError;
use crate::source::SourceError;

/// Why a commit gives no build context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// No Dockerfile at the path asked for.
    #[error("{path}: no such file in the repository")]
    DockerfileMissing {
        /// The path asked for.
        path: String,
    },
    /// The Dockerfile is a symbolic link or a submodule.
    #[error("{path} is not a regular file")]
    DockerfileNotAFile {
        /// The path asked for.
        path: String,
    },
    /// A path that leaves the repository, or could not be one of its files.
    #[error("{path}: the path leaves the repository")]
    PathEscapes {
        /// The path.
        path: String,
    },
    /// A symbolic link whose target is absolute or leaves the repository.
    #[error("{path}: the symbolic link points outside of the repository, to {target}")]
    LinkEscapes {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// The `.dockerignore` cannot be read.
    #[error("the ignore file is malformed")]
    Ignore {
        /// What is wrong with it.
        #[source]
        source: IgnoreError,
    },
    /// The files are too large together.
    #[error("the build context has {size_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge {
        /// Their sum.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// There are too many files.
    #[error("the build context has {files} files, more than the limit of {limit_files}")]
    TooManyFiles {
        /// Their number.
        files: usize,
        /// The limit.
        limit_files: usize,
    },
    /// The source tree could not deliver an entry.
    #[error("an entry of the repository cannot be read")]
    Source {
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The archive could not be written.
    #[error("{path}: the archive entry cannot be written")]
    Archive {
        /// The entry.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The build was cancelled while the context was made.
    #[error("making the build context was cancelled")]
    Cancelled,
}

impl ContextError {
    /// What the failure means for the job.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Archive { .. } => FailureClass::Transient,
            Self::Cancelled => FailureClass::Cancelled,
            Self::DockerfileMissing { .. }
            | Self::DockerfileNotAFile { .. }
            | Self::PathEscapes { .. }
            | Self::LinkEscapes { .. }
            | Self::Ignore { .. }
            | Self::TooLarge { .. }
            | Self::TooManyFiles { .. }
            | Self::Source { .. } => FailureClass::Permanent,
        }
    }

    /// Stable code to program against.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DockerfileMissing { .. } => "dockerfile_missing",
            Self::DockerfileNotAFile { .. } => "dockerfile_not_a_file",
            Self::PathEscapes { .. } | Self::LinkEscapes { .. } => "context_escape",
            Self::Ignore { .. } => "dockerignore_malformed",
            Self::TooLarge { .. } | Self::TooManyFiles { .. } => "context_too_large",
            Self::Source { .. } | Self::Archive { .. } => "context_unreadable",
            Self::Cancelled => "cancelled",
        }
    }

    /// What to do about it, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::DockerfileMissing { .. } => "Add a Dockerfile, or name its path in the request.",
            Self::DockerfileNotAFile { .. } => "Commit the Dockerfile itself, not a link to it.",
            Self::LinkEscapes { .. } => "Remove the link, or add it to .dockerignore.",
            Self::TooLarge { .. } | Self::TooManyFiles { .. } => {
                "List what the build does not need in .dockerignore."
            }
            Self::PathEscapes { .. }
            | Self::Ignore { .. }
            | Self::Source { .. }
            | Self::Archive { .. }
            | Self::Cancelled => return None,
        };
        Some(hint.to_owned())
    }
}
