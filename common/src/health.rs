//! How a process without an API says how it is: `/livez`, `/readyz` and `/metrics` over HTTP, and the probe that asks.

mod liveness;
mod probe;
mod server;

pub use liveness::{Liveness, Progress};
pub use probe::{ProbeError, probe};
pub use server::{HealthError, HealthServer};

use serde::{Deserialize, Serialize};

/// A part that keeps a process from being ready, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unready {
    /// Which part.
    pub part: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Unready {
    /// `part` is not ready because of `reason`.
    pub fn new(part: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { part: part.into(), reason: reason.into() }
    }
}

/// What the listener asks the process it belongs to. Answered from memory: a probe must not wait for a dependency.
pub trait Vitals: Send + Sync {
    /// Loops that no longer move; empty while the process is alive.
    fn stalled(&self) -> Vec<Unready>;
    /// Parts that are not ready; empty when the process can do its work.
    fn unready(&self) -> Vec<Unready>;
    /// Metrics in the text form of Prometheus.
    fn metrics(&self) -> String;
}
