//! The server's answers as far as the client reads them. Fields that a newer server adds are ignored, and all but the
//! names of things are optional, so that client and server may be of different versions.

mod autoscaler;
mod project;

use jiff::Timestamp;
use serde::Deserialize;
use slipway_common::failure::Failure;
use slipway_common::model::{Facts, JobState, LiveEvent, LiveState, Stage, StageReport};

pub(crate) use autoscaler::{
    AutoscalerDecisionView, AutoscalerStateView, AutoscalerView, ObservedView, WishAccepted,
};
pub(crate) use project::{NewSecrets, NewWebhookSecret, ProjectCreated, ProjectView, ProjectsPage};

/// The answer to an accepted request: which deployment, and which job moves it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Accepted {
    /// The deployment.
    pub(crate) id: String,
    /// The job; none when there was nothing to do.
    #[serde(default)]
    pub(crate) job_id: Option<String>,
}

/// A job.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JobView {
    /// The job.
    pub(crate) id: String,
    /// Where it stands.
    pub(crate) state: JobState,
}

/// A deployment; in a list without what is optional here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeploymentView {
    /// The deployment.
    pub(crate) id: String,
    /// Path of its project on its host.
    pub(crate) project_path: String,
    /// Its environment.
    pub(crate) environment: String,
    /// Where it runs.
    pub(crate) target: String,
    /// Who asked for it.
    #[serde(default)]
    pub(crate) user: String,
    /// Where it stands.
    pub(crate) status: String,
    /// Where it answers.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// Its stages.
    #[serde(default)]
    pub(crate) stages: Vec<StageReport>,
    /// What is established.
    #[serde(default)]
    pub(crate) facts: Facts,
    /// Its jobs, oldest first.
    #[serde(default)]
    pub(crate) jobs: Vec<JobView>,
    /// Why its latest job failed.
    #[serde(default)]
    pub(crate) failure: Option<Failure>,
    /// What is wrong while it is degraded.
    #[serde(default)]
    pub(crate) degraded: Option<String>,
    /// What runs.
    #[serde(default)]
    pub(crate) live: Option<LiveState>,
    /// When it was accepted.
    pub(crate) created_at: Timestamp,
}

/// One page of deployments.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeploymentsPage {
    /// The deployments, newest first.
    pub(crate) data: Vec<DeploymentView>,
    /// How many there are in all.
    pub(crate) total: u64,
    /// Where the next page begins.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// One page of anything with an id.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct IdsPage {
    /// What is on the page.
    pub(crate) data: Vec<WithId>,
    /// Where the next page begins.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// Anything with an id.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WithId {
    /// The id.
    pub(crate) id: String,
}

/// A job that was set aside; in a list without what is optional here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeadView {
    /// The job.
    pub(crate) id: String,
    /// Whether its message can be read.
    pub(crate) readable: bool,
    /// Its deployment.
    #[serde(default)]
    pub(crate) deployment: Option<String>,
    /// Path of its project.
    #[serde(default)]
    pub(crate) project: Option<String>,
    /// Its environment.
    #[serde(default)]
    pub(crate) environment: Option<String>,
    /// Who asked for it.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// `deploy`, `repair` or `stop`.
    #[serde(default)]
    pub(crate) kind: Option<String>,
    /// Why it was set aside.
    pub(crate) reason: String,
    /// When.
    pub(crate) at: Timestamp,
    /// The beginning of what cannot be read.
    #[serde(default)]
    pub(crate) unreadable: Option<String>,
}

/// One page of jobs that were set aside.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeadPage {
    /// The jobs, newest first.
    pub(crate) data: Vec<DeadView>,
    /// How many there are in all.
    pub(crate) total: u64,
    /// Where the next page begins.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// How a rebuild of the store is going.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RebuildView {
    /// `idle`, `running`, `done` or `failed`.
    pub(crate) status: String,
    /// Records that were read.
    #[serde(default)]
    pub(crate) records: Option<u64>,
    /// Why it failed.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// What the client reads of an event.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EventData {
    /// The job it belongs to.
    pub(crate) job: String,
    /// When it happened.
    pub(crate) at: Timestamp,
    /// The stage it speaks of.
    #[serde(default)]
    pub(crate) stage: Option<Stage>,
    /// Which attempt.
    #[serde(default)]
    pub(crate) attempt: Option<u32>,
    /// Words for people.
    #[serde(default)]
    pub(crate) message: Option<String>,
    /// Why a stage had nothing to do.
    #[serde(default)]
    pub(crate) skipped: Option<String>,
    /// Why it waits, or is degraded.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub(crate) failure: Option<Failure>,
    /// What a stage established.
    #[serde(default)]
    pub(crate) facts: Facts,
    /// Who asked for a cancellation, or which deployment took over.
    #[serde(default)]
    pub(crate) by: Option<String>,
}

/// A stored credential, without its secret.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CredentialView {
    /// Its name.
    pub(crate) name: String,
    /// User name sent with it.
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// The only host it is sent to.
    #[serde(default)]
    pub(crate) host: Option<String>,
    /// When it was last stored.
    pub(crate) updated_at: Timestamp,
}

/// A token, without its value.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TokenView {
    /// Its name.
    pub(crate) name: String,
    /// When it was created.
    pub(crate) created_at: Timestamp,
}

/// What a pod has printed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PodLogView {
    /// The lines, oldest first.
    pub(crate) lines: Vec<String>,
    /// Whether older ones that were asked for are missing.
    #[serde(default)]
    pub(crate) truncated: bool,
}

/// What happened to a pod.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PodEventsView {
    /// The events, newest last.
    pub(crate) events: Vec<LiveEvent>,
}

/// One line of a log.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LogLineView {
    /// Its number in the log of its stage, from 1.
    pub(crate) number: u64,
    /// The text.
    pub(crate) text: String,
}
