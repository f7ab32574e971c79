//! What a controller sees.

use slipway_common::model::autoscaler::{Evidence, Silence};

/// What is known at the moment of a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Now, in seconds since any fixed moment.
    pub now_s: f64,
    /// Replicas ordered at the target: what its specification says.
    pub replicas: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// What the metrics say, or why they say nothing.
    pub evidence: Result<Evidence, Silence>,
    /// Requests that arrive in a second, where gateway or ingress count them.
    pub arrivals_per_s: Option<f64>,
    /// Requests that wait or are worked on, over all replicas, where somebody counts them.
    pub inflight: Option<f64>,
}
