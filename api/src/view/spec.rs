//! A deployment's specification as users see it: names of variables, never their values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slipway_common::model::{
    BuildMode, CommitMode, CredentialSource, DeploymentSpec, EnvName, HealthSpec, PipelineSpec, Reference,
    ResourceSpec, SupportSpec,
};
use slipway_common::secrets::Sealed;

use super::REDACTED;

/// Where the repository's credential comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum CredentialUse {
    /// A stored credential.
    Named {
        /// Its name.
        name: String,
    },
    /// A token that came with the request.
    Inline,
}

/// A container beside the application.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SupportView {
    /// Its DNS name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// The port it listens on.
    pub port: Option<u16>,
    /// Its environment variables; every value is shown as `***`.
    pub env: BTreeMap<String, String>,
}

/// What was asked for, every default filled in.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SpecView {
    /// The repository.
    pub repository_url: String,
    /// The branch, if one was asked for.
    pub branch: Option<String>,
    /// The commit or tag, if one was asked for.
    pub revision: Option<String>,
    /// The environment.
    pub environment: String,
    /// The target.
    pub target: String,
    /// The port asked for.
    pub port: Option<u16>,
    /// Replicas asked for.
    pub replicas: u32,
    /// Environment variables; every value is shown as `***`.
    pub env: BTreeMap<String, String>,
    /// Containers beside the application.
    pub supports: Vec<SupportView>,
    /// Host names besides the one the target gives.
    pub hostnames: Vec<String>,
    /// The image to run as it is.
    pub image: Option<String>,
    /// Who builds.
    pub build: BuildMode,
    /// What is waited for, when a pipeline builds.
    #[serde(default)]
    pub pipeline: Option<PipelineSpec>,
    /// The stored credential with which the image is pulled, if not the target's.
    #[serde(default)]
    pub pull_credential: Option<String>,
    /// What happens to generated files.
    pub commit: CommitMode,
    /// The repository's credential.
    pub credential: Option<CredentialUse>,
    /// Health check.
    pub health: HealthSpec,
    /// Limits of one replica.
    pub resources: ResourceSpec,
}

impl From<&DeploymentSpec> for SpecView {
    fn from(spec: &DeploymentSpec) -> Self {
        let (branch, revision) = match &spec.reference {
            Reference::DefaultBranch => (None, None),
            Reference::Branch(name) => (Some(name.to_string()), None),
            Reference::Revision(name) => (None, Some(name.to_string())),
            Reference::Pinned { branch, revision } => (Some(branch.to_string()), Some(revision.to_string())),
        };
        Self {
            repository_url: spec.repository.to_string(),
            branch,
            revision,
            environment: spec.environment.to_string(),
            target: spec.target.to_string(),
            port: spec.port,
            replicas: spec.replicas,
            env: names_only(&spec.env),
            supports: spec.supports.iter().map(SupportView::from).collect(),
            hostnames: spec.hostnames.iter().map(ToString::to_string).collect(),
            image: spec.image.as_ref().map(|image| image.as_str().to_owned()),
            build: spec.build,
            pipeline: pipeline(spec),
            pull_credential: spec.pull_credential.as_ref().map(ToString::to_string),
            commit: spec.commit,
            credential: spec.credential.as_ref().map(CredentialUse::from),
            health: spec.health.clone(),
            resources: spec.resources.clone(),
        }
    }
}

impl From<&CredentialSource> for CredentialUse {
    fn from(source: &CredentialSource) -> Self {
        match source {
            CredentialSource::Named(name) => Self::Named { name: name.to_string() },
            CredentialSource::Inline(_) => Self::Inline,
        }
    }
}

impl From<&SupportSpec> for SupportView {
    fn from(support: &SupportSpec) -> Self {
        Self {
            name: support.name.to_string(),
            image: support.image.as_str().to_owned(),
            port: support.port,
            env: names_only(&support.env),
        }
    }
}

/// What is waited for, if a pipeline is.
pub(super) fn pipeline(spec: &DeploymentSpec) -> Option<PipelineSpec> {
    (spec.build == BuildMode::Gitlab).then(|| spec.pipeline.clone())
}

/// The names of variables, with nothing in the place of their values.
pub(super) fn names_only(env: &BTreeMap<EnvName, Sealed>) -> BTreeMap<String, String> {
    env.keys().map(|name| (name.to_string(), REDACTED.to_owned())).collect()
}
