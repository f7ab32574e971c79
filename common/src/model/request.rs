//! The body of `POST /deployments`, as it arrives, and its resolution into a specification.

mod resolve;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use resolve::Errors;
pub use resolve::{
    CLUSTER_TOKEN_MAX_BYTES, InvalidField, PIPELINE_JOB_MAX_BYTES, PIPELINE_TIMEOUT_MAX_S, RequestLimits,
    ResolveContext, cluster_token_context, env_context, token_context,
};

use super::{BuildMode, CommitMode};
use crate::secrets::SecretText;

/// A wish to deploy. Every field but `repository_url` has a default.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentRequest {
    /// HTTPS address of the Git repository.
    #[schema(example = "https://gitlab.com/group/shop")]
    pub repository_url: String,
    /// Branch whose tip to deploy; the default branch if neither this nor `revision` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Commit (40 hexadecimal digits) or tag to deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Environment; `default` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Target; the configured default if neither this nor `cluster.server` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Access to a Kubernetes target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterRequest>,
    /// Port the application listens on; read from the repository if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Number of replicas; 1 if not given, 0 is for Kubernetes targets only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Environment variables of the application. Values are kept sealed and never shown again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, SecretText>,
    /// Containers to run beside the application, reachable by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supports: Vec<SupportRequest>,
    /// Host names the application answers to besides the one the target gives it; for Kubernetes targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["shop.example.com"]))]
    pub hostnames: Vec<String>,
    /// Run this image as it is; nothing is cloned or built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Who builds the image; `auto` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildMode>,
    /// What is waited for when the repository's GitLab pipeline builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineRequest>,
    /// Name of a stored credential with which the image is pulled, if not the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_credential: Option<String>,
    /// What happens to generated files; `push` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitMode>,
    /// Token for the repository. Kept sealed, used for this deployment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_token: Option<SecretText>,
    /// Name of a stored credential for the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthRequest>,
    /// Limits of one replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequest>,
}

impl DeploymentRequest {
    /// A request with nothing but the repository.
    pub fn new(repository_url: impl Into<String>) -> Self {
        Self {
            repository_url: repository_url.into(),
            branch: None,
            revision: None,
            environment: None,
            target: None,
            cluster: None,
            port: None,
            replicas: None,
            env: BTreeMap::new(),
            supports: Vec::new(),
            hostnames: Vec::new(),
            image: None,
            build: None,
            pipeline: None,
            pull_credential: None,
            commit: None,
            repository_token: None,
            credential: None,
            health: None,
            resources: None,
        }
    }
}

/// What is waited for when the repository's GitLab pipeline builds; for `"build": "gitlab"`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineRequest {
    /// The image the pipeline pushes, without a tag: its tag is the commit. The project's own in GitLab's registry if not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "registry.example.com/group/shop")]
    pub image: Option<String>,
    /// The job of the pipeline that pushes the image; once it has succeeded the rest is not waited for. The whole
    /// pipeline if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Longest wait for the pipeline in seconds; the configured one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
}

/// Which Kubernetes target is meant, by the address of its API server, and who asks there.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterRequest {
    /// HTTPS address of the API server. It must be the `server` of a configured target, which need not be named
    /// then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://cluster.example.com:6443")]
    pub server: Option<String>,
    /// Bearer token to use there in place of the target's own: the deployment can do what the token may do, and
    /// nothing else. Kept sealed, used for this deployment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretText>,
}

/// A container beside the application.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SupportRequest {
    /// Its DNS name on the project's network.
    #[schema(example = "db")]
    pub name: String,
    /// The image to run.
    #[schema(example = "postgres:18")]
    pub image: String,
    /// The port it listens on; the application is started once it answers there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, SecretText>,
}

/// When a replica counts as healthy.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthRequest {
    /// Path asked by HTTP GET; 200 to 399 is healthy. Without it a TCP connection suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Pause between two checks in milliseconds; 500 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Longest wait for one answer in milliseconds; 2000 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Longest wait until every replica is healthy in milliseconds; 60000 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// What one replica may use at most.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceRequest {
    /// Memory in bytes; 536870912 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// CPU in thousandths of a core; 1000 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Processes and threads; 512 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}
