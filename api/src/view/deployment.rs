//! Deployments and jobs as users see them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_common::failure::Failure;
use slipway_common::model::{
    Deployment, DeploymentId, DeploymentState, Facts, Job, LiveState, Stage, StageReport, StageStatus,
    Trigger,
};
use slipway_common::store::DeploymentPage;

use super::{Links, SpecView};

/// A deployment in a list.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentSummary {
    /// The deployment.
    pub id: DeploymentId,
    /// Name of the project: the last segment of its path.
    #[schema(example = "shop")]
    pub project: String,
    /// Path of the project on its host.
    #[schema(example = "group/shop")]
    pub project_path: String,
    /// Collision-free name of the project, as used in the names of containers and networks.
    #[schema(example = "shop-1a2b3c")]
    pub project_slug: String,
    /// The environment.
    pub environment: String,
    /// Where it runs.
    pub target: String,
    /// Who asked for it.
    pub user: String,
    /// Where it stands.
    pub status: DeploymentState,
    /// Where the application answers, once it does.
    pub url: Option<String>,
    /// The same as `url`, empty instead of `null`.
    pub service_url: String,
    /// The port the application listens on, as far as known.
    pub port: Option<u16>,
    /// Replicas asked for.
    pub replicas: u32,
    /// The commit it is made from, as far as known.
    pub revision: Option<String>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it was stopped.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stopped_at: Option<Timestamp>,
}

impl From<&Deployment> for DeploymentSummary {
    fn from(deployment: &Deployment) -> Self {
        let facts = &deployment.facts;
        let url = facts.inventory.as_ref().and_then(|inventory| inventory.url.clone());
        Self {
            id: deployment.id,
            project: deployment.project.name.clone(),
            project_path: deployment.project.path.clone(),
            project_slug: deployment.project.slug.to_string(),
            environment: deployment.environment.to_string(),
            target: deployment.target.to_string(),
            user: deployment.user.clone(),
            status: deployment.state,
            service_url: url.clone().unwrap_or_default(),
            url,
            port: deployment.spec.port.or_else(|| facts.template.as_ref().and_then(|fact| fact.port)),
            replicas: deployment.spec.replicas,
            revision: facts.revision().map(str::to_owned),
            created_at: deployment.created_at,
            updated_at: deployment.updated_at,
            stopped_at: deployment.stopped_at,
        }
    }
}

/// One page of deployments, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentList {
    /// The deployments of this page.
    pub data: Vec<DeploymentSummary>,
    /// How many match in all.
    pub total: u64,
    /// The same as `total`.
    pub count: u64,
    /// The `cursor` of the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

impl From<&DeploymentPage> for DeploymentList {
    fn from(page: &DeploymentPage) -> Self {
        Self {
            data: page.deployments.iter().map(DeploymentSummary::from).collect(),
            total: page.total,
            count: page.total,
            next_cursor: page.next.map(|cursor| cursor.0.to_string()),
        }
    }
}

/// A stage and how long it took.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageView {
    /// What is known of the stage.
    #[serde(flatten)]
    pub report: StageReport,
    /// Time from the first attempt to the end in milliseconds; `null` while it has not ended.
    pub duration_ms: Option<i64>,
}

impl From<&StageReport> for StageView {
    fn from(report: &StageReport) -> Self {
        Self { report: report.clone(), duration_ms: report.duration_ms() }
    }
}

/// How far the latest deploy job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// Stages that have ended well or had nothing to do.
    pub stages_done: usize,
    /// Stages in all.
    pub stages_total: usize,
    /// The stage that runs or waits.
    pub stage: Option<Stage>,
    /// Its latest words.
    pub message: Option<String>,
}

impl From<&[StageReport]> for Progress {
    fn from(stages: &[StageReport]) -> Self {
        let done = |status| match status {
            StageStatus::Succeeded | StageStatus::Skipped => true,
            StageStatus::Pending
            | StageStatus::Running
            | StageStatus::Waiting
            | StageStatus::Failed
            | StageStatus::Stopped => false,
        };
        let at_work = |status| matches!(status, StageStatus::Running | StageStatus::Waiting);
        let current = stages.iter().find(|report| at_work(report.status));
        Self {
            stages_done: stages.iter().filter(|report| done(report.status)).count(),
            stages_total: stages.len(),
            stage: current.map(|report| report.stage),
            message: current.and_then(|report| report.message.clone()),
        }
    }
}

/// Everything that is known of a deployment.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentDetail {
    /// What lists show of it.
    #[serde(flatten)]
    pub summary: DeploymentSummary,
    /// What was asked for.
    pub spec: SpecView,
    /// The push it was made of, if it was no request.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// How far the latest deploy job is.
    pub progress: Progress,
    /// The stages of the latest deploy job.
    pub stages: Vec<StageView>,
    /// What is established.
    pub facts: Facts,
    /// Its jobs, oldest first.
    pub jobs: Vec<Job>,
    /// Why the latest job failed.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What is wrong while it is degraded.
    pub degraded: Option<String>,
    /// The deployment that superseded or replaced this one.
    pub succeeded_by: Option<DeploymentId>,
    /// What runs, as last observed on the target.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveState>,
    /// Where to go on from here.
    pub links: Links,
}

impl DeploymentDetail {
    pub(crate) fn new(deployment: &Deployment, live: Option<LiveState>) -> Self {
        Self {
            summary: DeploymentSummary::from(deployment),
            spec: SpecView::from(&deployment.spec),
            trigger: deployment.trigger.clone(),
            progress: Progress::from(deployment.stages.as_slice()),
            stages: deployment.stages.iter().map(StageView::from).collect(),
            facts: deployment.facts.clone(),
            jobs: deployment.jobs.clone(),
            failure: deployment.failure.clone(),
            degraded: deployment.degraded.clone(),
            succeeded_by: deployment.succeeded_by,
            live,
            links: Links::of(deployment.id, deployment.latest_job().map(|job| job.id)),
        }
    }
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobDetail {
    /// What is known of the job.
    #[serde(flatten)]
    pub job: Job,
    /// Where to go on from here.
    pub links: Links,
}

impl From<Job> for JobDetail {
    fn from(job: Job) -> Self {
        let links = Links::of(job.deployment, Some(job.id));
        Self { job, links }
    }
}
