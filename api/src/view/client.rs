//! What the older service Kabernetes answers. Its names and its units are kept: CPU use counts in percent.

use serde::{Deserialize, Serialize};

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ClientStatus {
    /// Its first container is on its way.
    Starting,
    /// It takes orders.
    Ready,
    /// Containers are being added or removed.
    Busy,
    /// It is being deleted.
    Stopping,
    /// It was deleted, or never came up.
    Dead,
}

/// Constants of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClientConstants {
    /// Proportional: containers per percent point of error.
    pub kp: f64,
    /// Derivative: containers per percent point by which the error fell.
    pub kd: f64,
    /// Integral: containers per percent point of summed error.
    pub ki: f64,
}

/// A client as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClientStats {
    /// Where it stands.
    pub status: ClientStatus,
    /// The image of its containers.
    pub image: String,
    /// The mean CPU use they are kept at, in percent.
    pub cpu_target: f64,
    /// Constants of the controller.
    pub constants: ClientConstants,
    /// Mean CPU use less `cpu_target`, in percent points.
    pub error: f64,
    /// Mean CPU use, in percent.
    pub avg_cpu_usage: f64,
    /// Containers that serve.
    pub containers: u32,
    /// CPU use of each, in percent.
    pub cpu_usage: Vec<f64>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClientMessage {
    /// In one sentence.
    #[schema(example = "Client started")]
    pub message: String,
}
