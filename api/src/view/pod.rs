//! What is shown of one pod: what it has printed, and what happened to it. The words are the application's and the
//! target's own; the worker that read them has replaced the secrets it knows.

use serde::{Deserialize, Serialize};
use slipway_common::model::LiveEvent;

/// The last lines that a pod, or a container, has printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PodLog {
    /// The pod.
    #[schema(example = "shop-7d9f8b6c5-x2x9z")]
    pub pod: String,
    /// The container that printed them.
    #[schema(example = "shop")]
    pub container: String,
    /// The lines, oldest first. Values of the deployment's variables are replaced in them.
    pub lines: Vec<String>,
    /// Whether older lines that were asked for are missing, because all of them would have been too much.
    pub truncated: bool,
}

/// What happened to a pod lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PodEvents {
    /// The pod.
    #[schema(example = "shop-7d9f8b6c5-x2x9z")]
    pub pod: String,
    /// The events, newest last; only Kubernetes has any.
    pub events: Vec<LiveEvent>,
}
