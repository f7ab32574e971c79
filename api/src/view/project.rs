//! Registered projects as users see them: which secrets there are and until when, never what they are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_common::model::registered::request::{EnvironmentRequest, ReviewRequest};
use slipway_common::model::registered::state::SweepState;
use slipway_common::model::registered::{
    Forge, ForgeObjects, Head, HookSecret, HookSecretKind, NotifySettings, RegisteredProject,
};
use slipway_common::model::{
    BuildMode, CommitMode, CredentialSource, DeploymentId, HealthSpec, HookId, PipelineSpec, ResourceSpec,
};

use super::SupportView;
use super::spec::{names_only, pipeline};

/// A secret of a hook, without what it is.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HookSecretView {
    /// How it is used.
    pub kind: HookSecretKind,
    /// Until when it is good, when a newer one is to replace it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// Where a project's deliveries arrive.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HookView {
    /// The hook.
    pub id: HookId,
    /// The address that the forge is to send to.
    #[schema(example = "https://slipway.example.com/webhooks/gitlab/01890a5d-ac96-774b-bcce-b302099a8057")]
    pub url: String,
    /// Its secrets, newest first.
    pub secrets: Vec<HookSecretView>,
}

/// Who is told of results.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NotifyView {
    /// Whether commits get a status per environment.
    pub statuses: bool,
    /// Whether environments and deployments are shown on the forge.
    pub deployments: bool,
    /// Whether merge requests get a note.
    pub notes: bool,
    /// Addresses of outgoing webhooks.
    pub webhooks: Vec<String>,
}

impl From<&NotifySettings> for NotifyView {
    fn from(settings: &NotifySettings) -> Self {
        Self {
            statuses: settings.statuses,
            deployments: settings.deployments,
            notes: settings.notes,
            webhooks: settings.outgoing.iter().map(|outgoing| outgoing.url.clone()).collect(),
        }
    }
}

/// Where to go on from here.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProjectLinks {
    /// The project.
    #[serde(rename = "self")]
    #[schema(example = "/projects/shop-1a2b3c")]
    pub this: String,
    /// Has it looked at now.
    pub sweep: String,
    /// Its deployments.
    pub deployments: String,
}

/// A registered project.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProjectView {
    /// Collision-free name of the project.
    #[schema(example = "shop-1a2b3c")]
    pub slug: String,
    /// Path of the project on its host.
    #[schema(example = "group/shop")]
    pub path: String,
    /// The last segment of its path.
    #[schema(example = "shop")]
    pub name: String,
    /// The repository.
    pub repository_url: String,
    /// What hosts it.
    pub forge: Forge,
    /// The stored credential for it.
    pub credential: Option<String>,
    /// Where its deployments run.
    pub target: String,
    /// Who builds.
    pub build: BuildMode,
    /// What happens to generated files.
    pub commit: CommitMode,
    /// What is waited for, when a pipeline builds.
    pub pipeline: Option<PipelineSpec>,
    /// The stored credential with which the image is pulled, if not the target's.
    pub pull_credential: Option<String>,
    /// The port the application listens on, if it was said.
    pub port: Option<u16>,
    /// Replicas.
    pub replicas: u32,
    /// Environment variables; every value is shown as `***`.
    pub env: BTreeMap<String, String>,
    /// Containers beside the application.
    pub supports: Vec<SupportView>,
    /// Health check.
    pub health: HealthSpec,
    /// Limits of one replica.
    pub resources: ResourceSpec,
    /// Which branch or tag goes into which environment.
    pub environments: Vec<EnvironmentRequest>,
    /// That merge requests get environments.
    pub review: Option<ReviewRequest>,
    /// Who is told of results.
    pub notify: NotifyView,
    /// Where deliveries arrive.
    pub hook: HookView,
    /// What a set-up has made.
    pub made: ForgeObjects,
    /// Who registered it.
    pub user: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Where to go on from here.
    pub links: ProjectLinks,
}

impl ProjectView {
    /// `base` is the address under which forges reach the API.
    pub(crate) fn new(registered: &RegisteredProject, base: &str) -> Self {
        let (project, spec) = (&registered.project, &registered.spec);
        let credential = match &spec.credential {
            Some(CredentialSource::Named(name)) => Some(name.to_string()),
            Some(CredentialSource::Inline(_)) | None => None,
        };
        let this = format!("/projects/{}", project.slug);
        Self {
            slug: project.slug.to_string(),
            path: project.path.clone(),
            name: project.name.clone(),
            repository_url: spec.repository.to_string(),
            forge: registered.forge,
            credential,
            target: spec.target.to_string(),
            build: spec.build,
            commit: spec.commit,
            pipeline: pipeline(spec),
            pull_credential: spec.pull_credential.as_ref().map(ToString::to_string),
            port: spec.port,
            replicas: spec.replicas,
            env: names_only(&spec.env),
            supports: spec.supports.iter().map(SupportView::from).collect(),
            health: spec.health.clone(),
            resources: spec.resources.clone(),
            environments: registered.environments.iter().map(EnvironmentRequest::from).collect(),
            review: registered.review.as_ref().map(ReviewRequest::from),
            notify: NotifyView::from(&registered.notify),
            hook: hook(registered, base),
            made: registered.made.clone(),
            user: registered.user.clone(),
            created_at: registered.created_at,
            updated_at: registered.updated_at,
            links: ProjectLinks {
                sweep: format!("{this}/sweep"),
                deployments: format!("/deployments?project={}", project.slug),
                this,
            },
        }
    }
}

fn hook(registered: &RegisteredProject, base: &str) -> HookView {
    let secret = |secret: &HookSecret| HookSecretView { kind: secret.kind, until: secret.until };
    HookView {
        id: registered.hook.id,
        url: format!("{base}/webhooks/{}/{}", registered.forge, registered.hook.id),
        secrets: registered.hook.secrets.iter().map(secret).collect(),
    }
}

/// Where a ref stood when it was last looked at for an environment.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HeadView {
    /// The environment.
    pub environment: String,
    /// The ref, in full.
    #[schema(example = "refs/heads/main")]
    pub reference: String,
    /// The commit.
    pub revision: String,
    /// The deployment that was made of it, if one was.
    pub deployment: Option<DeploymentId>,
}

impl From<&Head> for HeadView {
    fn from(head: &Head) -> Self {
        Self {
            environment: head.environment.to_string(),
            reference: head.reference.clone(),
            revision: head.revision.clone(),
            deployment: head.deployment,
        }
    }
}

/// Everything that is known of a registered project.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProjectDetail {
    /// What was asked for.
    #[serde(flatten)]
    pub project: ProjectView,
    /// How the last look at it went; absent when nobody has looked yet.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SweepState>,
    /// Where its refs stood.
    pub heads: Vec<HeadView>,
}

/// One page of registered projects, in the order of their slugs.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProjectList {
    /// The projects of this page.
    pub data: Vec<ProjectView>,
    /// How many there are in all.
    pub total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// A project will be looked at.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SweepAccepted {
    /// The project.
    #[schema(example = "shop-1a2b3c")]
    pub project: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub noted_at: Timestamp,
}
