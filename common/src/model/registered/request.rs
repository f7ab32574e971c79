//! The bodies of `POST /projects` and `PATCH /projects/{slug}`, as they arrive, and their resolution into a registered
//! project.

mod partial;
mod patch;
mod resolve;
mod secret;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use partial::Partial;
pub use resolve::{ProjectContext, Registration};
pub use secret::{HOOK_SECRET_OVERLAP_H, MadeSecrets};

use super::{Forge, ForgeObjects};
use crate::model::request::{HealthRequest, PipelineRequest, ResourceRequest, SupportRequest};
use crate::model::{BuildMode, CommitMode};
use crate::secrets::SecretText;

/// A repository whose pushes are to be deployed. Every field but `repository_url` has a default.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectRequest {
    /// HTTPS address of the Git repository.
    #[schema(example = "https://gitlab.com/group/shop")]
    pub repository_url: String,
    /// What hosts it; `github` for github.com and `gitlab` for everything else if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<Forge>,
    /// Name of a stored credential for the repository and its forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Target; the configured default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Who builds the image; `auto` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildMode>,
    /// What happens to generated files; `push` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitMode>,
    /// What is waited for when the repository's GitLab pipeline builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineRequest>,
    /// Name of a stored credential with which the image is pulled, if not the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_credential: Option<String>,
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
    /// Health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthRequest>,
    /// Limits of one replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequest>,
    /// Which branch or tag goes into which environment; the default branch into `default` if none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentRequest>,
    /// That open merge requests get environments of their own, `review-<number>`; on GitLab only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewRequest>,
    /// Who is told of results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyRequest>,
    /// Secrets of the webhook; those not given are made, and shown in the answer alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookRequest>,
    /// What a set-up has made on the forge and in Slipway, so that it can be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<ForgeObjects>,
}

impl ProjectRequest {
    /// A request with nothing but the repository.
    pub fn new(repository_url: impl Into<String>) -> Self {
        Self {
            repository_url: repository_url.into(),
            forge: None,
            credential: None,
            target: None,
            build: None,
            commit: None,
            pipeline: None,
            pull_credential: None,
            port: None,
            replicas: None,
            env: BTreeMap::new(),
            supports: Vec::new(),
            health: None,
            resources: None,
            environments: Vec::new(),
            review: None,
            notify: None,
            hook: None,
            made: None,
        }
    }
}

/// Which refs go into an environment: one of `branch`, `tag` and `default_branch`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRequest {
    /// The environment.
    #[schema(example = "production")]
    pub name: String,
    /// Branches whose name matches: `*` stands for anything but `/`, `**` for anything, `?` for one character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "release/*")]
    pub branch: Option<String>,
    /// Tags whose name matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The branch the repository calls its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<bool>,
    /// Only when one of the files that changed matches one of these patterns; any change if none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["services/api/**"]))]
    pub paths: Vec<String>,
    /// Target; the project's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Number of replicas; the project's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Host names besides the one the target gives; for Kubernetes targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
}

/// That open merge requests get environments; `{}` for all defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    /// Target; the project's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only merge requests whose changes touch one of these patterns; any if none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// How many there may be at once; 10 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments_max: Option<u32>,
    /// Hours without a push after which one is stopped; 72 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_h: Option<u32>,
    /// Whether merge requests from forks get one: without the project's variables and credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forks: Option<bool>,
}

/// Who is told of results.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyRequest {
    /// Whether commits get a status per environment; on GitLab only, and there if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuses: Option<bool>,
    /// Whether environments and deployments are shown on the forge; on GitLab only, and there if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployments: Option<bool>,
    /// Whether merge requests get a note; on GitLab only, and there if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<bool>,
    /// Outgoing webhooks, signed by Standard Webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Vec<WebhookRequest>>,
}

/// An outgoing webhook.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookRequest {
    /// Where to: an `https` address, or `http` on this machine.
    #[schema(example = "https://example.com/hooks/deployed")]
    pub url: String,
    /// Signing secret: `whsec_` and base64 of 24 to 64 bytes. Made, and shown in the answer alone, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretText>,
}

/// Secrets with which the forge's deliveries prove themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HookRequest {
    /// Signs deliveries. On GitLab `whsec_` and base64 of 32 bytes; elsewhere 16 to 256 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<SecretText>,
    /// Is sent along in clear; on GitLab only. 16 to 256 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretText>,
}

/// What is to change of a registered project (a merge patch, RFC 7396): what is not named stays, `null` gives a field its
/// default.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectPatch {
    /// Name of a stored credential.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub credential: Option<Option<String>>,
    /// Target.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub target: Option<Option<String>>,
    /// Who builds the image.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BuildMode>)]
    pub build: Option<Option<BuildMode>>,
    /// What happens to generated files.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CommitMode>)]
    pub commit: Option<Option<CommitMode>>,
    /// What is waited for when the repository's GitLab pipeline builds.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PipelineRequest>)]
    pub pipeline: Option<Option<Partial<PipelineRequest>>>,
    /// Name of a stored credential with which the image is pulled.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub pull_credential: Option<Option<String>>,
    /// Port the application listens on.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>)]
    pub port: Option<Option<u16>>,
    /// Number of replicas.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub replicas: Option<Option<u32>>,
    /// Environment variables: those named are set, or taken away by `null`; the others stay.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub env: Option<Option<BTreeMap<String, Option<SecretText>>>>,
    /// Containers to run beside the application; all of them, with their variables.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<SupportRequest>>)]
    pub supports: Option<Option<Vec<SupportRequest>>>,
    /// Health check.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HealthRequest>)]
    pub health: Option<Option<Partial<HealthRequest>>>,
    /// Limits of one replica.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResourceRequest>)]
    pub resources: Option<Option<Partial<ResourceRequest>>>,
    /// Which branch or tag goes into which environment; all of them.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<EnvironmentRequest>>)]
    pub environments: Option<Option<Vec<EnvironmentRequest>>>,
    /// That open merge requests get environments; `null` ends it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ReviewRequest>)]
    pub review: Option<Option<Partial<ReviewRequest>>>,
    /// Who is told of results. Of a webhook whose address is known and whose secret is not given, the secret stays.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NotifyRequest>)]
    pub notify: Option<Option<Partial<NotifyRequest>>>,
    /// New secrets of the webhook, as by `rotate_hook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub hook: Option<HookRequest>,
    /// Whether the webhook gets new secrets. The old ones are good for 24 hours more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotate_hook: bool,
    /// What a set-up has made.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ForgeObjects>)]
    pub made: Option<Option<ForgeObjects>>,
}

/// Tells `null` from a field that is not there.
fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
