//! What a person is told when something fails: a stable code, a reason, a hint and the last log lines.
//! Never holds a cause chain, a credential or a backtrace.

use serde::{Deserialize, Serialize};

use crate::model::Stage;

/// Most log lines kept with a failure.
pub const FAILURE_LOG_LINES_MAX: usize = 40;

/// What a failure means for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// May pass: try again, with back-off, until the attempts end.
    Transient,
    /// Will not pass by itself: the job fails.
    Permanent,
    /// The worker's view is out of date: hand the job back, at no cost to its attempts.
    Stale,
    /// Somebody asked for the work to stop.
    Cancelled,
}

/// Why a stage, and with it a job, failed; written for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// The stage that failed.
    pub stage: Stage,
    /// Stable, `snake_case` code to program against.
    pub code: String,
    /// What happened, in one sentence.
    pub reason: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The last lines of the stage's log, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
}

impl Failure {
    /// A failure without hint and log lines.
    pub fn new(stage: Stage, code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { stage, code: code.into(), reason: reason.into(), hint: None, log_tail: Vec::new() }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the last log lines; only the newest [`FAILURE_LOG_LINES_MAX`] are kept.
    #[must_use]
    pub fn with_log_tail(mut self, lines: Vec<String>) -> Self {
        let surplus = lines.len().saturating_sub(FAILURE_LOG_LINES_MAX);
        self.log_tail = lines.into_iter().skip(surplus).collect();
        self
    }
}
