//! The exit codes, which scripts may rely on.

use std::process::ExitCode;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for happened.
    Done,
    /// It failed, or the server refused it.
    Failed,
    /// The command line or a file it names is wrong.
    Usage,
    /// The server cannot be reached.
    Unreachable,
    /// The deployment was cancelled, or a newer one overtook it.
    Overtaken,
    /// A second signal ended the program before it was done.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Overtaken => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
