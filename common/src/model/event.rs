//! Events: the steps of a deployment's history. The ledger keeps them, the store folds them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DeploymentId, EventId, Facts, JobId, JobMessage, Stage};
use crate::failure::Failure;

/// One step of a deployment's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Names the event; a second arrival is recognised by it.
    pub id: EventId,
    /// Whose history.
    pub deployment: DeploymentId,
    /// The job it belongs to.
    pub job: JobId,
    /// Fencing token of the writer's lease; 0 for requests, which need none.
    pub fence: u64,
    /// When it happened, by the writer's clock.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A job was accepted. The first one brings the deployment into being.
    Accepted {
        /// The job as it was queued.
        message: Box<JobMessage>,
    },
    /// A worker began a stage.
    StageStarted {
        /// Which.
        stage: Stage,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// A stage says how far it is.
    StageProgress {
        /// Which.
        stage: Stage,
        /// One line for people.
        message: String,
    },
    /// A stage ended well.
    StageFinished {
        /// Which.
        stage: Stage,
        /// The facts it established.
        facts: Box<Facts>,
        /// Why it had nothing to do, if so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skipped: Option<String>,
    },
    /// The job is parked: for a retry, for a lock, for something outside.
    StageWaiting {
        /// The stage it will go on with.
        stage: Stage,
        /// Attempts made at this stage so far.
        attempt: u32,
        /// When it wakes at the latest.
        until: Timestamp,
        /// What it waits for.
        reason: String,
        /// Whether what the stage began outside may have been done. Then the stage cannot fail for being unable to look.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        outcome_unknown: bool,
    },
    /// The job did what it was for.
    Succeeded,
    /// The job failed for good.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Somebody asked for the job to be cancelled.
    CancelRequested {
        /// Who.
        by: String,
    },
    /// The job was stopped on request.
    Cancelled,
    /// A newer deployment of the same project and environment took over before this one was in service.
    Superseded {
        /// The newer one.
        by: DeploymentId,
    },
    /// A newer deployment took over from this one, which was in service.
    Replaced {
        /// The newer one.
        by: DeploymentId,
    },
    /// Fewer replicas serve than should.
    Degraded {
        /// What is wrong.
        reason: String,
    },
    /// As many replicas serve as should.
    Recovered,
}

impl EventKind {
    /// The event's name: the `event` field of the SSE stream.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::StageStarted { .. } => "stage_started",
            Self::StageProgress { .. } => "stage_progress",
            Self::StageFinished { .. } => "stage_finished",
            Self::StageWaiting { .. } => "stage_waiting",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::Cancelled => "cancelled",
            Self::Superseded { .. } => "superseded",
            Self::Replaced { .. } => "replaced",
            Self::Degraded { .. } => "degraded",
            Self::Recovered => "recovered",
        }
    }
}

impl Event {
    /// An event of a request: no lease needed.
    #[must_use]
    pub fn of_request(deployment: DeploymentId, job: JobId, at: Timestamp, kind: EventKind) -> Self {
        Self { id: EventId::generate(), deployment, job, fence: 0, at, kind }
    }

    /// The event that brings `message` into the history. Its id is the job's, so that accepting the same
    /// job twice is one event.
    #[must_use]
    pub fn accepted(message: &JobMessage) -> Self {
        Self {
            id: EventId::from(message.id.as_uuid()),
            deployment: message.deployment,
            job: message.id,
            fence: 0,
            at: message.accepted_at,
            kind: EventKind::Accepted { message: Box::new(message.clone()) },
        }
    }
}
