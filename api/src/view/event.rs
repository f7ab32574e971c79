//! Events as users see them: the stored event of an accepted job holds its sealed values, this one does not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_common::failure::Failure;
use slipway_common::model::{DeploymentId, DeploymentState, Event, EventKind, Facts, JobId, Stage};

/// One step of a deployment's history. Which of the optional fields are there depends on `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventView {
    /// Its number in the deployment's history, from 1; the `id` of the stream.
    pub sequence: u64,
    /// What happened: `accepted`, `stage_started`, `stage_progress`, `stage_finished`, `stage_waiting`,
    /// `succeeded`, `failed`, `cancel_requested`, `cancelled`, `superseded`, `replaced`, `degraded`,
    /// `recovered`.
    #[schema(example = "stage_started")]
    pub event: String,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The job it belongs to.
    pub job: JobId,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What the event says beyond that.
    #[serde(flatten)]
    pub data: EventData,
}

/// What an event says; every field is left out where it has no meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct EventData {
    /// `deploy`, `repair` or `stop`, of an accepted job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who asked for an accepted job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Which attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What a stage established.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// Why a stage had nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// When a waiting job wakes at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// What it waits for, or what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why a job failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Who asked for a cancellation, or the deployment that took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl EventView {
    pub(crate) fn new(sequence: u64, event: &Event) -> Self {
        Self {
            sequence,
            event: event.kind.name().to_owned(),
            deployment: event.deployment,
            job: event.job,
            at: event.at,
            data: EventData::from(&event.kind),
        }
    }
}

impl From<&EventKind> for EventData {
    fn from(kind: &EventKind) -> Self {
        let none = Self::default();
        match kind {
            EventKind::Accepted { message } => Self {
                kind: Some(message.kind.as_str().to_owned()),
                user: Some(message.user.clone()),
                ..none
            },
            EventKind::StageStarted { stage, attempt } => {
                Self { stage: Some(*stage), attempt: Some(*attempt), ..none }
            }
            EventKind::StageProgress { stage, message } => {
                Self { stage: Some(*stage), message: Some(message.clone()), ..none }
            }
            EventKind::StageFinished { stage, facts, skipped } => Self {
                stage: Some(*stage),
                facts: Some(facts.as_ref().clone()),
                skipped: skipped.clone(),
                ..none
            },
            EventKind::StageWaiting { stage, attempt, until, reason, outcome_unknown: _ } => Self {
                stage: Some(*stage),
                attempt: Some(*attempt),
                until: Some(*until),
                reason: Some(reason.clone()),
                ..none
            },
            EventKind::Failed { failure } => {
                Self { stage: Some(failure.stage), failure: Some(failure.clone()), ..none }
            }
            EventKind::CancelRequested { by } => Self { by: Some(by.clone()), ..none },
            EventKind::Superseded { by } | EventKind::Replaced { by } => {
                Self { by: Some(by.to_string()), ..none }
            }
            EventKind::Degraded { reason } => Self { reason: Some(reason.clone()), ..none },
            EventKind::Succeeded | EventKind::Cancelled | EventKind::Recovered => none,
        }
    }
}

/// The last message of an event stream: no job is at work any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndView {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Where it stands now.
    pub status: DeploymentState,
}
