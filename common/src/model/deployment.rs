//! A deployment as the fold of its events. What users see of it is built from this in the API.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    DeploymentId, DeploymentSpec, EnvironmentName, Facts, Job, JobId, Project, Stage, TargetName, Trigger,
};
use crate::failure::Failure;

/// State of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// Accepted, not yet begun.
    Queued,
    /// Cloning, generating, committing.
    Preparing,
    /// Building the image.
    Building,
    /// The target is being made to run it.
    Deploying,
    /// In service.
    Active,
    /// In service with fewer healthy replicas than wanted.
    Degraded,
    /// Being taken out of service.
    Stopping,
    /// Not in service any more, or cancelled before it was.
    Stopped,
    /// Never came into service.
    Failed,
    /// Overtaken by a newer deployment before it came into service.
    Superseded,
}

impl DeploymentState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Preparing,
        Self::Building,
        Self::Deploying,
        Self::Active,
        Self::Degraded,
        Self::Stopping,
        Self::Stopped,
        Self::Failed,
        Self::Superseded,
    ];

    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Building => "building",
            Self::Deploying => "deploying",
            Self::Active => "active",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }

    /// Whether the deployment serves requests.
    #[must_use]
    pub fn in_service(self) -> bool {
        matches!(self, Self::Active | Self::Degraded)
    }

    /// The state of a deployment whose deploy job runs `stage`.
    #[must_use]
    pub fn during(stage: Stage) -> Self {
        match stage {
            Stage::Clone | Stage::Template | Stage::Commit => Self::Preparing,
            Stage::Build => Self::Building,
            Stage::Apply => Self::Deploying,
            Stage::Stop => Self::Stopping,
        }
    }
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no status; statuses are queued, preparing, building, deploying, active, degraded, stopping, \
     stopped, failed and superseded"
)]
pub struct UnknownState(String);

impl FromStr for DeploymentState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.chars().take(40).collect()))
    }
}

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// Not begun.
    Pending,
    /// A worker is at it.
    Running,
    /// Parked.
    Waiting,
    /// Ended well.
    Succeeded,
    /// Had nothing to do.
    Skipped,
    /// Failed for good.
    Failed,
    /// Ended by a cancellation or a newer deployment.
    Stopped,
}

/// What is known of one stage: where it stands, how long it took, what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageReport {
    /// Which stage.
    pub stage: Stage,
    /// Where it stands.
    pub status: StageStatus,
    /// Attempts made.
    pub attempts: u32,
    /// When the first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Its latest words: progress, why it waits, why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether something it began outside may have been done, though nobody knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outcome_unknown: bool,
}

impl StageReport {
    /// A stage that has not begun.
    #[must_use]
    pub fn pending(stage: Stage) -> Self {
        Self {
            stage,
            status: StageStatus::Pending,
            attempts: 0,
            started_at: None,
            finished_at: None,
            message: None,
            outcome_unknown: false,
        }
    }

    /// Time from the first attempt to the end, in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> Option<i64> {
        let (start, end) = (self.started_at?, self.finished_at?);
        Some(end.as_millisecond() - start.as_millisecond())
    }
}

/// A deployment as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The deployment.
    pub id: DeploymentId,
    /// Its project.
    pub project: Project,
    /// Its environment.
    pub environment: EnvironmentName,
    /// Where it runs.
    pub target: TargetName,
    /// Who asked for it.
    pub user: String,
    /// Where it stands.
    pub state: DeploymentState,
    /// What was asked for; secrets sealed.
    pub spec: DeploymentSpec,
    /// The push it was made of, if it was no request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// What is established.
    pub facts: Facts,
    /// The stages of the latest deploy job.
    pub stages: Vec<StageReport>,
    /// Its jobs, oldest first.
    pub jobs: Vec<Job>,
    /// Why the latest job failed.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What is wrong with a degraded deployment.
    #[serde(default)]
    pub degraded: Option<String>,
    /// The deployment that superseded or replaced this one.
    #[serde(default)]
    pub succeeded_by: Option<DeploymentId>,
    /// Whether it was ever in service.
    #[serde(default)]
    pub was_active: bool,
    /// Highest fencing token seen.
    pub fence: u64,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was stopped.
    #[serde(default)]
    pub stopped_at: Option<Timestamp>,
}

impl Deployment {
    /// The latest job.
    #[must_use]
    pub fn latest_job(&self) -> Option<&Job> {
        self.jobs.last()
    }

    /// The job called `id`.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    /// The report of `stage`.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<&StageReport> {
        self.stages.iter().find(|report| report.stage == stage)
    }

    /// Key under which its jobs run one at a time.
    #[must_use]
    pub fn serial_key(&self) -> String {
        format!("{}/{}", self.project.slug, self.environment)
    }
}
