//! Metric events, and the seam `Metrics` they travel through.
//!
//! A metric event is a JSON object, or an array of such objects in one message. Anyone may publish them: on RabbitMQ to
//! the fanout exchange `<prefix>.metrics`, or to `POST /metric-events`. Numbers carry their unit in their name, times
//! are RFC 3339.
//!
//! ```json
//! {"version": 1, "deployment": "019f…", "kind": "container", "container": "shop-7d9f-x2x9z",
//!  "at": "2026-11-27T12:00:00Z", "cpu_used_total_s": 81.25, "cpu_allowed_cores": 0.5,
//!  "ready_since": "2026-11-27T11:40:00Z"}
//! {"version": 1, "deployment": "019f…", "kind": "traffic", "at": "2026-11-27T12:00:00Z",
//!  "arrivals_per_s": 120.5, "inflight": 14}
//! ```
//!
//! Laws of the seam (tested for every adapter by `contract::metric`):
//! - M1: an event reaches every subscriber that is there, in the order its publisher gave.
//! - M2: nothing is kept for who is not there: silence holds, and what is stale is of no use.
//! - M3: a subscriber that is too slow loses the oldest events and is told how many messages; a publisher never waits
//!   for it.
//! - M4: a message that cannot be read is counted, and does not keep the next one from being read.
//! - M5: a subscription outlives the loss of a connection.

mod backlog;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::DeploymentId;
pub(crate) use backlog::Backlog;

/// Version of the events this build writes, and reads.
pub const METRIC_EVENT_VERSION: u32 = 1;
/// Largest message that is read.
pub const METRIC_MESSAGE_MAX_BYTES: usize = 256 * 1024;
/// Most events of one message.
pub const METRIC_EVENTS_MAX: usize = 1_000;
/// Longest name of a container, an owner or a source.
pub const METRIC_NAME_MAX_BYTES: usize = 253;
/// Longest reason of a refusal, in characters: the parser repeats what it has read.
const REASON_MAX_CHARS: usize = 300;
/// Messages that wait for a subscriber at most.
pub const METRIC_BACKLOG_MAX: usize = 4_096;

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricEvent {
    /// Version of this form, 1.
    pub version: u32,
    /// The deployment that is measured: a measurement counts for the deployment it names and for no other.
    pub deployment: DeploymentId,
    /// Who has measured, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When, by the source's clock: the end of the span that is measured.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What is measured.
    #[serde(flatten)]
    pub measured: Measured,
}

/// What a metric event measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Measured {
    /// One container, or one pod with all its containers.
    Container(ContainerMeasure),
    /// The requests of the whole deployment, as a gateway or an ingress counts them.
    Traffic(TrafficMeasure),
}

/// What was measured of one container or pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ContainerMeasure {
    /// Name of the container or pod; unique within its deployment.
    pub container: String,
    /// The object that made it, as kind and name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// CPU time used since it began. Better than a mean: a lost event costs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_used_total_s: Option<f64>,
    /// Mean use over `window_s`; this or `cpu_used_total_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_used_cores: Option<f64>,
    /// Length of the span that the mean is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_s: Option<f64>,
    /// What it may use.
    pub cpu_allowed_cores: f64,
    /// Memory in use without the page cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Memory it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_allowed_bytes: Option<u64>,
    /// Since when it takes requests; absent while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ready_since: Option<Timestamp>,
    /// It is gone for good, and this is the last that is heard of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// What was measured of a deployment's requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TrafficMeasure {
    /// Requests that arrived in a second, over the last few seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals_per_s: Option<f64>,
    /// Requests that wait or are worked on, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inflight: Option<f64>,
}

/// Why a message is no metric event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricRefusal {
    /// It is larger than [`METRIC_MESSAGE_MAX_BYTES`].
    #[error("the message has more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// It has more than [`METRIC_EVENTS_MAX`] events.
    #[error("the message has more than {limit} events")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// It is not JSON of this form.
    #[error("the message cannot be read: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// Its version is not known.
    #[error("version {version} is not known; this build knows {METRIC_EVENT_VERSION}")]
    Version {
        /// The version.
        version: u32,
    },
    /// A name is empty or too long.
    #[error("`{field}` must have 1 to {METRIC_NAME_MAX_BYTES} bytes")]
    Name {
        /// Which.
        field: &'static str,
    },
    /// CPU use is told in neither or both of its two ways, or a mean has no window.
    #[error("give either `cpu_used_total_s`, or `cpu_used_cores` with `window_s`")]
    CpuUse,
}

impl MetricEvent {
    /// An event of now's version.
    #[must_use]
    pub fn new(deployment: DeploymentId, source: &str, at: Timestamp, measured: Measured) -> Self {
        Self { version: METRIC_EVENT_VERSION, deployment, source: Some(source.to_owned()), at, measured }
    }

    /// Reads a message: one event, or an array of them. All of them are good, or the message is refused.
    ///
    /// # Errors
    /// When it is too large, or an event of it is not one. Whether numbers make sense is not looked at here.
    pub fn read(message: &[u8]) -> Result<Vec<Self>, MetricRefusal> {
        if message.len() > METRIC_MESSAGE_MAX_BYTES {
            return Err(MetricRefusal::TooLarge { limit_bytes: METRIC_MESSAGE_MAX_BYTES });
        }
        let begins = message.iter().find(|byte| !byte.is_ascii_whitespace());
        let unreadable = |error: serde_json::Error| MetricRefusal::Unreadable {
            reason: error.to_string().chars().take(REASON_MAX_CHARS).collect(),
        };
        // By the first byte: an untagged enum would not say what is wrong.
        let events: Vec<Self> = if begins == Some(&b'[') {
            serde_json::from_slice(message).map_err(unreadable)?
        } else {
            vec![serde_json::from_slice(message).map_err(unreadable)?]
        };
        if events.len() > METRIC_EVENTS_MAX {
            return Err(MetricRefusal::TooMany { limit: METRIC_EVENTS_MAX });
        }
        events.iter().try_for_each(Self::check)?;
        Ok(events)
    }

    /// The message of these events.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn write(events: &[Self]) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(events)
    }

    fn check(&self) -> Result<(), MetricRefusal> {
        if self.version != METRIC_EVENT_VERSION {
            return Err(MetricRefusal::Version { version: self.version });
        }
        let is_name = |name: &str| (1..=METRIC_NAME_MAX_BYTES).contains(&name.len());
        if self.source.as_deref().is_some_and(|source| !is_name(source)) {
            return Err(MetricRefusal::Name { field: "source" });
        }
        let Measured::Container(container) = &self.measured else { return Ok(()) };
        if !is_name(&container.container) {
            return Err(MetricRefusal::Name { field: "container" });
        }
        if container.owner.as_deref().is_some_and(|owner| !is_name(owner)) {
            return Err(MetricRefusal::Name { field: "owner" });
        }
        let (total, mean, window) =
            (container.cpu_used_total_s, container.cpu_used_cores, container.window_s);
        match (total, mean, window, container.gone) {
            (Some(_), None, None, _) | (None, Some(_), Some(_), _) | (None, None, None, true) => Ok(()),
            _ => Err(MetricRefusal::CpuUse),
        }
    }
}

/// Why metric events cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// There is no way to pass them on now.
    #[error("metric events cannot be passed on: {reason}")]
    Unavailable {
        /// What the adapter met.
        reason: String,
    },
}

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Events, in order.
    Events(Vec<MetricEvent>),
    /// A message that cannot be read.
    Refused(MetricRefusal),
    /// So many messages were lost, because they were not taken in time.
    Missed(u64),
}

/// Metric events on their way from whoever measures to whoever scales.
#[async_trait]
pub trait Metrics: Send + Sync + std::fmt::Debug {
    /// Passes events on to everyone who listens. At most [`METRIC_EVENTS_MAX`] at once. That it returns does not mean
    /// that anyone has heard them.
    async fn publish(&self, events: &[MetricEvent]) -> Result<(), MetricError>;

    /// Listens from now on.
    fn subscribe(&self) -> Box<dyn MetricSubscription>;
}

/// A subscription; it ends when dropped.
#[async_trait]
pub trait MetricSubscription: Send + std::fmt::Debug {
    /// What is heard next. Waits without end while nothing is; safe to be given up while waiting.
    async fn next(&mut self) -> Heard;
}

#[cfg(test)]
mod tests;
