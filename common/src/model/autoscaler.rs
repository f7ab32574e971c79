//! Autoscalers: their settings, what they decide, and what is kept of it. An autoscaler belongs to a project and an
//! environment, so that a new deployment of it is kept at the size the one before had.

pub mod clamp;
pub mod decision;
pub mod evidence;
pub mod settings;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use clamp::{Clamp, Clamps};
pub use decision::{Decision, Reason, Terms};
pub use evidence::{Dropped, DroppedCounts, Evidence, Silence};
pub use settings::{
    AutoscalerSettings, Fraction, Gain, Law, Mode, RawGains, RawSettings, Replicas, SettingsError,
};

use super::{Deployment, DeploymentId, EnvironmentName, ProjectSlug};

/// Decisions that are kept of one autoscaler; older ones are forgotten.
pub const DECISIONS_KEPT_MAX: usize = 500;
/// Observations that are kept of one autoscaler; older ones are forgotten. With one in 5 s, six hours.
pub const OBSERVED_KEPT_MAX: usize = 4_320;
/// Containers named in one state.
pub const CONTAINERS_SHOWN_MAX: usize = 64;

/// A project and an environment: where an autoscaler acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The project.
    pub project: ProjectSlug,
    /// The environment.
    pub environment: EnvironmentName,
}

impl Place {
    /// Where a deployment is.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        Self { project: deployment.project.slug.clone(), environment: deployment.environment.clone() }
    }
}

/// Key of the lease under which the replicas of a place are changed on an engine, by the key its jobs run under. Deploy jobs
/// take it while they apply or stop, scalers while they add or remove.
#[must_use]
pub fn replicas_lease(serial_key: &str) -> String {
    format!("{serial_key}/replicas")
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.project, self.environment)
    }
}

/// An autoscaler as it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscaler {
    /// Where it acts.
    pub place: Place,
    /// What it shall do.
    pub settings: AutoscalerSettings,
    /// Who set it.
    pub user: String,
    /// When.
    pub updated_at: Timestamp,
}

/// A replica count that somebody has asked for. It is set once; then the autoscaler goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Names the wish.
    pub id: Uuid,
    /// Where.
    pub place: Place,
    /// The count.
    pub replicas: u32,
    /// Who asked.
    pub user: String,
    /// When.
    pub at: Timestamp,
}

/// What is wrong where an autoscaler acts, so that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AutoscalerFault {
    /// Stable code.
    pub code: String,
    /// What is wrong, in one sentence.
    pub reason: String,
}

/// CPU use of one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ContainerUse {
    /// Its name.
    pub name: String,
    /// Share of what it may use, over its last window.
    pub utilisation: f64,
}

/// What the scaler of an autoscaler has learned of its load, so that the next one need not learn it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Fencing token of who learned it: an older one is not taken.
    pub fence: u64,
    /// What, in the form that scalers have for it.
    pub body: String,
}

/// How an autoscaler is, as its scaler said last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AutoscalerState {
    /// The deployment it acts on.
    pub deployment: DeploymentId,
    /// When this was said.
    pub at: Timestamp,
    /// Fencing token of who said it: an older one is not taken.
    pub fence: u64,
    /// Which scaler said it.
    pub scaler: String,
    /// Replicas ordered: what a deploy job makes run.
    pub replicas: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// What the metrics said last.
    pub evidence: Option<Evidence>,
    /// The last decision.
    pub decision: Option<Decision>,
    /// How the last command came about, held or not.
    pub terms: Option<Terms>,
    /// Learned time from an order to its last replica serving, in seconds.
    pub startup_s: Option<f64>,
    /// The last wish that was fulfilled.
    pub wish: Option<Uuid>,
    /// Whether replicas are being added or taken away.
    pub busy: bool,
    /// CPU use of at most [`CONTAINERS_SHOWN_MAX`] containers.
    pub containers: Vec<ContainerUse>,
    /// Samples that were not taken, by reason.
    pub dropped: DroppedCounts,
    /// What keeps it from acting.
    pub fault: Option<AutoscalerFault>,
}

/// One decision as it is kept: every change of the count, every failure to change it, and every new reason to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionEntry {
    /// When.
    pub at: Timestamp,
    /// The deployment it was about.
    pub deployment: DeploymentId,
    /// Replicas ordered when it was made.
    pub replicas: u32,
    /// Replicas that served.
    pub ready: u32,
    /// What the metrics said.
    pub evidence: Option<Evidence>,
    /// The decision.
    pub decision: Decision,
    /// How the command came about, where one was computed.
    pub terms: Option<Terms>,
    /// Why the target did not take it.
    pub fault: Option<AutoscalerFault>,
}

/// What a controller saw at one step, kept so that other settings can be tried on it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Observed {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Replicas ordered.
    pub replicas: u32,
    /// Replicas that served.
    pub ready: u32,
    /// What the metrics said; nothing when they were silent.
    pub evidence: Option<Evidence>,
    /// Requests that arrived in a second, where somebody counts them.
    pub arrivals_per_s: Option<f64>,
    /// Requests at work or waiting, where somebody counts them.
    pub inflight: Option<f64>,
}
