//! Autoscalers as users see them: what is set, how it is, what was decided and why.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use slipway_common::autoscaler::Entry;
use slipway_common::model::autoscaler::{
    AutoscalerFault, AutoscalerState, ContainerUse, Decision, DecisionEntry, DroppedCounts, Evidence,
    Observed, RawSettings, Terms,
};
use slipway_common::model::{Deployment, DeploymentId};
use uuid::Uuid;

/// A state that is older says nothing about now.
pub(crate) const STALE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// The autoscaler of a deployment's project and environment.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AutoscalerView {
    /// The deployment that was asked about.
    pub deployment: DeploymentId,
    /// Name of the project.
    #[schema(example = "shop")]
    pub project: String,
    /// The environment.
    pub environment: String,
    /// The settings, every default filled in.
    pub settings: RawSettings,
    /// When they were set.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Who set them.
    pub updated_by: String,
    /// The replica count that somebody asked for last.
    pub wish: Option<WishView>,
    /// How it is, as its scaler said last.
    pub state: Option<AutoscalerStateView>,
    /// No scaler has said anything for 30 s: nobody keeps the deployment at its size, or it is not in service.
    pub stale: bool,
    /// The newest decisions, newest last.
    pub decisions: Vec<DecisionView>,
}

impl AutoscalerView {
    pub(crate) fn new(
        deployment: &Deployment,
        entry: &Entry,
        state: Option<&AutoscalerState>,
        decisions: &[(u64, DecisionEntry)],
        now: Timestamp,
    ) -> Self {
        let autoscaler = &entry.autoscaler;
        let heard_at = state.map_or(autoscaler.updated_at, |state| state.at);
        Self {
            deployment: deployment.id,
            project: deployment.project.name.clone(),
            environment: deployment.environment.to_string(),
            settings: RawSettings::from(autoscaler.settings.clone()),
            updated_at: autoscaler.updated_at,
            updated_by: autoscaler.user.clone(),
            wish: WishView::of(entry, state),
            state: state.map(AutoscalerStateView::from),
            stale: now.duration_since(heard_at) > STALE_AFTER,
            decisions: decisions.iter().map(|(number, entry)| DecisionView::new(*number, entry)).collect(),
        }
    }
}

/// A replica count that somebody has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WishView {
    /// Names the wish.
    #[schema(value_type = String, format = Uuid)]
    pub id: Uuid,
    /// The count.
    pub replicas: u32,
    /// Who asked.
    pub user: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether the count was set. Since then it may have been changed again.
    pub fulfilled: bool,
}

impl WishView {
    fn of(entry: &Entry, state: Option<&AutoscalerState>) -> Option<Self> {
        let wish = entry.wish.as_ref()?;
        Some(Self {
            id: wish.id,
            replicas: wish.replicas,
            user: wish.user.clone(),
            at: wish.at,
            fulfilled: state.is_some_and(|state| state.wish == Some(wish.id)),
        })
    }
}

/// A replica count was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WishAccepted {
    /// Names the wish; the autoscaler tells when it is fulfilled.
    #[schema(value_type = String, format = Uuid)]
    pub wish: Uuid,
    /// The count.
    pub replicas: u32,
}

/// How an autoscaler is, as its scaler said last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AutoscalerStateView {
    /// The deployment it acts on.
    pub deployment: DeploymentId,
    /// When this was said.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Which scaler said it.
    pub scaler: String,
    /// Replicas ordered.
    pub replicas: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// Whether replicas are being added or taken away.
    pub busy: bool,
    /// Mean CPU use, as a share of what each replica may use; `null` while the metrics are silent.
    pub utilisation: Option<f64>,
    /// Demand in replicas working flat out; `null` while the metrics are silent.
    pub demand_replicas: Option<f64>,
    /// What the metrics said last.
    pub evidence: Option<Evidence>,
    /// The last decision.
    pub decision: Option<Decision>,
    /// How the last command came about, held or not.
    pub terms: Option<Terms>,
    /// Learned time from an order to its last replica serving, in seconds.
    pub startup_s: Option<f64>,
    /// CPU use by container, of at most 64.
    pub containers: Vec<ContainerUse>,
    /// Samples that were not taken, by reason.
    pub dropped: DroppedCounts,
    /// What keeps it from acting.
    pub fault: Option<AutoscalerFault>,
}

impl From<&AutoscalerState> for AutoscalerStateView {
    fn from(state: &AutoscalerState) -> Self {
        Self {
            deployment: state.deployment,
            at: state.at,
            scaler: state.scaler.clone(),
            replicas: state.replicas,
            ready: state.ready,
            busy: state.busy,
            utilisation: state.evidence.map(|evidence| evidence.utilisation),
            demand_replicas: state.evidence.map(|evidence| evidence.demand_replicas),
            evidence: state.evidence,
            decision: state.decision,
            terms: state.terms,
            startup_s: state.startup_s,
            containers: state.containers.clone(),
            dropped: state.dropped,
            fault: state.fault.clone(),
        }
    }
}

/// One decision: a change of the count, a failure to change it, or a new reason to leave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecisionView {
    /// Its number, from 1; the `id` of the stream.
    pub number: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
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

impl DecisionView {
    pub(crate) fn new(number: u64, entry: &DecisionEntry) -> Self {
        Self {
            number,
            at: entry.at,
            deployment: entry.deployment,
            replicas: entry.replicas,
            ready: entry.ready,
            evidence: entry.evidence,
            decision: entry.decision,
            terms: entry.terms,
            fault: entry.fault.clone(),
        }
    }
}

/// The last message of an autoscaler's stream: it was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AutoscalerEnd {
    /// The deployment that was asked about.
    pub deployment: DeploymentId,
    /// `deleted`.
    #[schema(example = "deleted")]
    pub reason: String,
}

/// What a controller saw, to try other settings on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ObservedList {
    /// The settings in force, every default filled in.
    pub settings: RawSettings,
    /// What was seen, oldest first.
    pub observed: Vec<Observed>,
}

/// Metric events were passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricsAccepted {
    /// How many.
    pub accepted: usize,
}
