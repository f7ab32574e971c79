//! Jobs: the message that travels through the queue and the states a job passes through.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Deployment, DeploymentId, DeploymentSpec, EnvironmentName, Facts, JobId, Project, Stage, TargetName,
    Trigger,
};
use crate::failure::Failure;

/// Version of the message format written by this build.
pub const JOB_MESSAGE_VERSION: u16 = 1;

/// Name of the jobs that repair.
pub const REPAIR: &str = "repair";
/// Name of the jobs that stop.
pub const STOP: &str = "stop";

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Bring the deployment into service, starting from the facts already known.
    Deploy {
        /// What to deploy.
        spec: Box<DeploymentSpec>,
        /// Facts of earlier jobs (a retry) or another deployment (a rollback).
        facts: Facts,
    },
    /// Make the target run again what the deployment in service consists of, after somebody else has changed or deleted
    /// part of it. It serves meanwhile, and goes on serving should the repair fail.
    Repair {
        /// What was deployed.
        spec: Box<DeploymentSpec>,
        /// The facts it was deployed with.
        facts: Facts,
    },
    /// Take the deployment out of service.
    Stop {
        /// Where it runs.
        target: TargetName,
    },
}

impl JobKind {
    /// Its name in the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Repair { .. } => REPAIR,
            Self::Stop { .. } => STOP,
        }
    }

    /// The stages a job of this kind passes, in order.
    #[must_use]
    pub fn stages(&self) -> &'static [Stage] {
        match self {
            Self::Deploy { .. } => &Stage::DEPLOY,
            Self::Repair { .. } => &[Stage::Apply],
            Self::Stop { .. } => &[Stage::Stop],
        }
    }
}

/// One unit of queued work; sufficient by itself, and it may arrive twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    /// Format version; unknown versions are set aside, never dropped.
    pub version: u16,
    /// The job.
    pub id: JobId,
    /// The deployment it moves forward.
    pub deployment: DeploymentId,
    /// The project.
    pub project: Project,
    /// The environment.
    pub environment: EnvironmentName,
    /// Who asked for it.
    pub user: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The idempotency key it came under, so that the key stays bound to the job when the store is rebuilt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestKey>,
    /// The push that made it, if it was no request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// What to do.
    pub kind: JobKind,
}

/// The idempotency key of a request and what it was bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    /// Who sent it and under which key; the scope of the reservation.
    pub scope: String,
    /// Keyed hash of the request.
    pub fingerprint: String,
}

impl JobMessage {
    /// Key under which jobs run one at a time: the project and the environment.
    #[must_use]
    pub fn serial_key(&self) -> String {
        format!("{}/{}", self.project.slug, self.environment)
    }

    /// A job that repairs `deployment`, which is in service.
    #[must_use]
    pub fn repair(deployment: &Deployment, id: JobId, user: String, now: Timestamp) -> Self {
        Self {
            version: JOB_MESSAGE_VERSION,
            id,
            deployment: deployment.id,
            project: deployment.project.clone(),
            environment: deployment.environment.clone(),
            user,
            accepted_at: now,
            request: None,
            trigger: None,
            kind: JobKind::Repair {
                spec: Box::new(deployment.spec.clone()),
                facts: Facts { inventory: None, ..deployment.facts.clone() },
            },
        }
    }
}

/// State of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum JobState {
    /// Accepted, not yet begun.
    Queued,
    /// A worker is at it.
    Running {
        /// The current stage.
        stage: Stage,
        /// Which attempt at this stage, from 1.
        attempt: u32,
    },
    /// Parked with a wake-up; no worker holds it.
    Waiting {
        /// The stage it will go on with.
        stage: Stage,
        /// Attempts made at this stage.
        attempt: u32,
        /// When it wakes at the latest.
        #[schema(value_type = String, format = DateTime)]
        until: Timestamp,
        /// What it waits for.
        reason: String,
    },
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Stopped on request.
    Cancelled,
    /// Overtaken by a newer deployment.
    Superseded {
        /// The newer deployment.
        by: DeploymentId,
    },
}

impl JobState {
    /// Whether nothing can happen to the job any more.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Queued | Self::Running { .. } | Self::Waiting { .. } => false,
            Self::Succeeded | Self::Failed { .. } | Self::Cancelled | Self::Superseded { .. } => true,
        }
    }

    /// Its name in the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running { .. } => "running",
            Self::Waiting { .. } => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded { .. } => "superseded",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A job as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// The deployment it moves forward.
    pub deployment: DeploymentId,
    /// `deploy`, `repair` or `stop`.
    pub kind: String,
    /// Where it stands.
    pub state: JobState,
    /// Whether somebody asked for it to be cancelled.
    pub cancel_requested: bool,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub accepted_at: Timestamp,
    /// When a worker first began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it reached its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}
