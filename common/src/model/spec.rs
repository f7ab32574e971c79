//! A deployment's specification: a request after every field was parsed and every default filled in.
//! Holds secrets only sealed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    BranchName, CredentialName, EnvName, EnvironmentName, Hostname, ImageReference, RepositoryAddress,
    RevisionSpec, SupportName, TargetName,
};
use crate::secrets::Sealed;

/// Which commit to deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The tip of the branch the repository calls its default.
    DefaultBranch,
    /// The tip of a branch.
    Branch(BranchName),
    /// One commit or tag.
    Revision(RevisionSpec),
    /// One commit of a branch, whose tip it was when it was chosen.
    Pinned {
        /// The branch.
        branch: BranchName,
        /// The commit (40 hexadecimal digits).
        revision: RevisionSpec,
    },
}

/// Who builds the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildMode {
    /// Slipway chooses: the target's Docker engine.
    #[default]
    Auto,
    /// The target's Docker engine.
    Docker,
    /// The repository's GitLab pipeline.
    Gitlab,
    /// Nobody: `image` names what to run.
    None,
}

/// What happens to generated files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommitMode {
    /// Push them to the branch; fall back to a merge request when it is protected.
    #[default]
    Push,
    /// Push them to a branch of their own and open a merge request.
    MergeRequest,
    /// Keep them out of the repository; they are used for this build only.
    None,
}

/// What is waited for when the repository's GitLab pipeline builds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// The image the pipeline pushes, without a tag; the project's own in GitLab's registry if not given. Its tag is the
    /// commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "registry.example.com/group/shop")]
    pub image: Option<ImageReference>,
    /// The job of the pipeline that pushes the image. Once it has succeeded the rest is not waited for; if not given, the
    /// whole pipeline is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Longest wait for the pipeline in seconds; the configured one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
}

/// Where the repository's credential comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialSource {
    /// A stored credential.
    Named(CredentialName),
    /// A token that came with the request.
    Inline(Sealed),
}

/// When a replica counts as healthy. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HealthSpec {
    /// Path asked by HTTP GET; 200 to 399 is healthy. Without a path a TCP connection suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Pause between two checks.
    pub interval_ms: u64,
    /// Longest wait for one answer.
    pub timeout_ms: u64,
    /// Longest wait until every replica is healthy.
    pub deadline_ms: u64,
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self { path: None, interval_ms: 500, timeout_ms: 2_000, deadline_ms: 60_000 }
    }
}

/// What one replica may use at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResourceSpec {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// CPU in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
}

impl Default for ResourceSpec {
    fn default() -> Self {
        Self { memory_bytes: 512 * 1024 * 1024, cpu_millis: 1_000, pids: 512 }
    }
}

/// A container that runs beside the application and is reachable by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportSpec {
    /// Its DNS name on the project's network.
    pub name: SupportName,
    /// The image to run.
    pub image: ImageReference,
    /// The port it listens on, if the application is to wait for it.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its environment, values sealed.
    #[serde(default)]
    pub env: BTreeMap<EnvName, Sealed>,
}

/// Everything a worker needs to know of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    /// The repository to deploy.
    pub repository: RepositoryAddress,
    /// Which commit of it.
    pub reference: Reference,
    /// The environment.
    pub environment: EnvironmentName,
    /// The target; resolved, never empty.
    pub target: TargetName,
    /// Port the application listens on; absent when the repository is to tell.
    #[serde(default)]
    pub port: Option<u16>,
    /// How many replicas.
    pub replicas: u32,
    /// The application's environment, values sealed.
    #[serde(default)]
    pub env: BTreeMap<EnvName, Sealed>,
    /// Support containers.
    #[serde(default)]
    pub supports: Vec<SupportSpec>,
    /// Host names the application answers to, besides the one the target gives it.
    #[serde(default)]
    pub hostnames: Vec<Hostname>,
    /// An image to run as it is, without a build.
    #[serde(default)]
    pub image: Option<ImageReference>,
    /// Who builds.
    pub build: BuildMode,
    /// What is waited for when a pipeline builds.
    #[serde(default)]
    pub pipeline: PipelineSpec,
    /// Stored credential with which the image is pulled, if not the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_credential: Option<CredentialName>,
    /// Whether the commit is of a repository that others write, such as a fork's: no credential of the installation is
    /// lent to its build.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// What happens to generated files.
    pub commit: CommitMode,
    /// The repository's credential, if it needs one.
    #[serde(default)]
    pub credential: Option<CredentialSource>,
    /// Token to use on the target's cluster in place of the target's own, if the request brought one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_token: Option<Sealed>,
    /// Health check.
    pub health: HealthSpec,
    /// Limits of a replica.
    pub resources: ResourceSpec,
}
