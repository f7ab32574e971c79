//! The live state of what runs, as the worker last observed it on the target.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One running (or failed) replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveReplica {
    /// Name of the container or pod.
    pub name: String,
    /// The target's word for its state: `created`, `running`, `restarting`, `exited`, `pending` …
    pub state: String,
    /// Whether it takes requests.
    pub serving: bool,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// How often the engine restarted it.
    pub restarts: u64,
    /// Exit code, when it has exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Whether it was killed for want of memory.
    pub out_of_memory: bool,
    /// Why it does not serve, in the target's word, e.g. `CrashLoopBackOff`; only Kubernetes says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the target tells of something that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveEvent {
    /// What it is about, as kind and name.
    pub about: String,
    /// The target's word for it, e.g. `FailedScheduling`.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// When it last happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

/// What became of an object behind Slipway's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// It was deleted.
    Missing,
    /// Fields of it were changed.
    Changed,
}

/// A difference between what was deployed and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Drift {
    /// The object, as kind and name.
    pub object: String,
    /// What became of it.
    pub kind: DriftKind,
    /// Who has set fields of it last, by the cluster's word; absent when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What runs of one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveState {
    /// How many replicas should run.
    pub replicas_wanted: u32,
    /// How many are of the newest kind; only Kubernetes replaces replicas while others serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_updated: Option<u32>,
    /// How many run and take requests.
    pub replicas_serving: u32,
    /// Each replica.
    pub replicas: Vec<LiveReplica>,
    /// Each support container.
    pub supports: Vec<LiveReplica>,
    /// The newest events, oldest first, while something does not serve; only Kubernetes has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<LiveEvent>,
    /// What others have changed or deleted since it was deployed; only on Kubernetes. A repair undoes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// When this was observed; older than a few seconds means the target could not be read.
    #[schema(value_type = String, format = DateTime)]
    pub observed_at: Timestamp,
}
