//! What a controller sees of the plant, and when.

use super::load::Load;

/// When containers are measured and decisions made, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// Containers are measured every so many seconds, over as many seconds.
    pub period_s: usize,
    /// A decision is made so long after the measurement: transport and waiting.
    pub decide_after_s: usize,
}

impl Cadence {
    /// Events every 5 s: 1 s on the way, decided 1 s later.
    pub const EVENTS_5_S: Self = Self { period_s: 5, decide_after_s: 2 };
    /// Events every 2 s: 1 s on the way, decided 1 s later.
    pub const EVENTS_2_S: Self = Self { period_s: 2, decide_after_s: 2 };
    /// Kubernetes' resource metrics: 15-s windows, and a sync every 15 s, 8 s after they end.
    pub const RESOURCE_METRICS: Self = Self { period_s: 15, decide_after_s: 8 };
    /// Every second, at once: for floors.
    pub const INSTANT: Self = Self { period_s: 1, decide_after_s: 0 };
}

/// One container as the target lists it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pod {
    /// Its number.
    pub id: u64,
    /// When it was started, in seconds.
    pub started_s: f64,
    /// Since when it serves, in seconds.
    pub ready_since_s: Option<f64>,
    /// Whether it is on its way out.
    pub draining: bool,
}

/// One measurement, as it arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PodMetric {
    /// The container.
    pub id: u64,
    /// End of the window, in seconds.
    pub at_s: f64,
    /// Length of the window, in seconds.
    pub window_s: f64,
    /// CPU in use, in cores; a replica has one.
    pub used_cores: f64,
}

/// What a decision is made from.
#[derive(Debug)]
pub struct View<'a> {
    /// Now, in seconds since the start.
    pub now_s: f64,
    /// Replicas that are ordered.
    pub ordered: u32,
    /// All containers.
    pub pods: &'a [Pod],
    /// The newest measurements; empty when they were lost or the source is silent.
    pub metrics: &'a [PodMetric],
    /// Total CPU of the serving containers in each of the last seconds, newest last, without noise or loss: for the
    /// KPA rule alone, whose own metrics are fresher than those of the others.
    pub recent_total_cores: &'a [f64],
    /// The truth, for floors alone.
    pub load: &'a Load,
    /// Requests that arrived in the last period, per second, as a gateway counts them.
    pub arrivals_per_s: f64,
    /// Requests in the queues.
    pub inflight: f64,
}

impl View<'_> {
    /// How many containers serve.
    #[must_use]
    pub fn ready(&self) -> u32 {
        self.pods.iter().filter(|pod| pod.ready_since_s.is_some() && !pod.draining).fold(0, |n, _| n + 1)
    }
}

/// A controller under comparison.
pub trait Policy {
    /// When it measures and decides.
    fn cadence(&self) -> Cadence;

    /// The count it orders now.
    fn decide(&mut self, view: &View<'_>) -> u32;
}
