//! The live state of what runs, as the worker last observed it on the target.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One running (or failed) replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveReplica {
    /// Name of the container.
    pub name: String,
    /// The engine's word for its state: `created`, `running`, `restarting`, `exited` …
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
}

/// What runs of one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveState {
    /// How many replicas should run.
    pub replicas_wanted: u32,
    /// How many run and take requests.
    pub replicas_serving: u32,
    /// Each replica.
    pub replicas: Vec<LiveReplica>,
    /// Each support container.
    pub supports: Vec<LiveReplica>,
    /// When this was observed; older than a few seconds means the target could not be read.
    #[schema(value_type = String, format = DateTime)]
    pub observed_at: Timestamp,
}
