//! What users see, built from the model. Secrets are not merely hidden here: no type of this module can hold one.

mod autoscaler;
mod client;
mod dead;
mod deployment;
mod event;
mod pod;
mod project;
mod spec;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_common::model::{DeploymentId, DeploymentState, JobId};
use slipway_common::record::{StoredCredential, StoredToken};

pub(crate) use autoscaler::STALE_AFTER;
pub use autoscaler::{
    AutoscalerEnd, AutoscalerStateView, AutoscalerView, DecisionView, MetricsAccepted, ObservedList,
    WishAccepted, WishView,
};
pub use client::{ClientConstants, ClientMessage, ClientStats, ClientStatus};
pub use dead::{DeadDetail, DeadList, DeadSummary};
pub use deployment::{DeploymentDetail, DeploymentList, DeploymentSummary, JobDetail, Progress, StageView};
pub use event::{EndView, EventView};
pub use pod::{PodEvents, PodLog};
pub use project::{
    HeadView, HookSecretView, HookView, NotifyView, ProjectDetail, ProjectLinks, ProjectList, ProjectView,
    SweepAccepted,
};
pub use spec::{CredentialUse, SpecView, SupportView};

/// What stands in the place of a value that is kept but never shown.
pub(crate) const REDACTED: &str = "***";

/// Where to go on from here.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Links {
    /// The deployment.
    #[serde(rename = "self")]
    #[schema(example = "/deployments/01890a5d-ac96-774b-bcce-b302099a8057")]
    pub this: String,
    /// Its events, as a stream.
    pub events: String,
    /// Its logs.
    pub logs: String,
    /// The autoscaler of its project and environment.
    #[serde(default)]
    pub autoscaler: String,
    /// Its latest job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl Links {
    pub(crate) fn of(deployment: DeploymentId, job: Option<JobId>) -> Self {
        let this = format!("/deployments/{deployment}");
        Self {
            events: format!("{this}/events"),
            logs: format!("{this}/logs"),
            autoscaler: format!("{this}/autoscaler"),
            job: job.map(|job| format!("/jobs/{job}")),
            this,
        }
    }
}

/// A request was accepted; the job that carries it out is durable.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Accepted {
    /// The deployment.
    pub id: DeploymentId,
    /// The job that carries the request out.
    pub job_id: JobId,
    /// The state that the request leads to first.
    pub status: DeploymentState,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Where to go on from here.
    pub links: Links,
}

/// A deployment was accepted. Holds the fields of the older service's deployment object too.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AcceptedDeployment {
    /// What every accepted request is answered with.
    #[serde(flatten)]
    pub accepted: Accepted,
    /// Name of the project.
    #[schema(example = "shop")]
    pub project: String,
    /// Who asked for it.
    pub user: String,
    /// Empty until the application answers somewhere.
    pub service_url: String,
    /// The port asked for; `null` when the repository is to tell.
    pub port: Option<u16>,
    /// Replicas asked for.
    pub replicas: u32,
    /// `null`: it was not stopped.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stopped_at: Option<Timestamp>,
}

/// A stored credential. Its secret is never shown.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CredentialView {
    /// Its name.
    #[schema(example = "gitlab")]
    pub name: String,
    /// User name sent with the secret.
    pub username: Option<String>,
    /// The only host it is sent to.
    pub host: Option<String>,
    /// When it was last stored.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<&StoredCredential> for CredentialView {
    fn from(stored: &StoredCredential) -> Self {
        Self {
            name: stored.name.to_string(),
            username: stored.username.clone(),
            host: stored.host.clone(),
            updated_at: stored.updated_at,
        }
    }
}

/// All stored credentials, by name.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CredentialList {
    /// The credentials.
    pub data: Vec<CredentialView>,
    /// How many there are.
    pub total: usize,
}

/// An API token. Its value is shown once, when it is created.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenView {
    /// Its name; it is the `user` of what is done with it.
    #[schema(example = "ci")]
    pub name: String,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<&StoredToken> for TokenView {
    fn from(stored: &StoredToken) -> Self {
        Self { name: stored.name.clone(), created_at: stored.created_at }
    }
}

/// All API tokens, by name.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenList {
    /// The tokens.
    pub data: Vec<TokenView>,
    /// How many there are.
    pub total: usize,
}

/// The process is alive.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HealthView {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: String,
    /// Version of this server.
    pub version: String,
}

/// The process is ready.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReadyView {
    /// `ready`.
    #[schema(example = "ready")]
    pub status: String,
    /// Version of this server.
    pub version: String,
    /// What can be done.
    #[serde(flatten)]
    pub readiness: Readiness,
}

/// What can be done, and what is in the way of the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Whether questions can be answered.
    pub reads: bool,
    /// Whether work can be accepted.
    pub writes: bool,
    /// What does not work.
    pub parts: Vec<PartView>,
}

/// A part that does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartView {
    /// Which.
    #[schema(example = "broker")]
    pub part: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How the rebuilding of the store is going. Known to the server process that was asked for it, and until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RebuildView {
    /// `idle` (nobody asked this process for it), `running`, `done` or `failed`.
    #[schema(example = "done")]
    pub status: String,
    /// Records that were read from the ledger, once it is done and where they were counted.
    pub records: Option<u64>,
    /// Why it failed.
    pub reason: Option<String>,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}
