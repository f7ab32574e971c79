//! Registered projects: repositories whose pushes are deployed. What their deployments are made from, which branch or tag
//! goes into which environment, how their forge proves that a webhook is its own, and who is told of results.

pub mod pattern;
pub mod request;
pub mod state;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use pattern::{PATTERN_MAX_BYTES, PathPattern, PatternError, RefPattern};

use super::{
    CredentialName, DeploymentId, DeploymentSpec, EnvironmentName, HookId, Hostname, Project, ProjectSlug,
    RepositoryAddress, TargetName,
};
use crate::secrets::Sealed;

/// Most environment rules of one project.
pub const ENVIRONMENT_RULES_MAX: usize = 32;
/// Most path patterns of one rule.
pub const PATHS_MAX: usize = 32;
/// Most outgoing webhooks of one project.
pub const OUTGOING_MAX: usize = 8;
/// Most review environments of one project when its rule does not say.
pub const REVIEWS_DEFAULT: u32 = 10;
/// Most review environments a rule may allow.
pub const REVIEWS_MAX: u32 = 200;
/// How long a review environment lives without a push when its rule does not say, in hours.
pub const REVIEW_TTL_DEFAULT_H: u32 = 72;
/// Longest life of a review environment without a push, in hours.
pub const REVIEW_TTL_MAX_H: u32 = 24 * 90;

/// The software that hosts a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forge {
    /// GitLab.
    Gitlab,
    /// GitHub.
    Github,
    /// Gitea or Forgejo.
    Gitea,
}

impl Forge {
    /// Its name in paths and settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gitlab => "gitlab",
            Self::Github => "github",
            Self::Gitea => "gitea",
        }
    }
}

impl fmt::Display for Forge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text names no forge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("forges are gitlab, github and gitea")]
pub struct UnknownForge;

impl FromStr for Forge {
    type Err = UnknownForge;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Gitlab, Self::Github, Self::Gitea]
            .into_iter()
            .find(|forge| forge.as_str() == text)
            .ok_or(UnknownForge)
    }
}

/// Which refs go into an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The branch the repository calls its default.
    DefaultBranch,
    /// Branches whose name matches.
    Branch(RefPattern),
    /// Tags whose name matches.
    Tag(RefPattern),
}

/// A ref that is deployed into an environment when it moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentRule {
    /// The environment.
    pub environment: EnvironmentName,
    /// Which refs.
    pub on: On,
    /// Only when one of the files that changed matches one of these; empty for any change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathPattern>,
    /// Where it runs, if not where the project's deployments do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// How many replicas, if not as many as the project's deployments have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Host names it answers to, besides the one its target gives it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<Hostname>,
}

/// That open merge requests get an environment of their own, `review-<iid>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewRule {
    /// Where they run, if not where the project's deployments do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// Only merge requests whose changes touch one of these; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathPattern>,
    /// How many there may be at once.
    pub environments_max: u32,
    /// Hours without a push after which one is stopped.
    pub ttl_h: u32,
    /// Whether merge requests from forks get one: without the project's variables, and nothing is committed.
    #[serde(default)]
    pub forks: bool,
}

impl Default for ReviewRule {
    fn default() -> Self {
        Self {
            target: None,
            paths: Vec::new(),
            environments_max: REVIEWS_DEFAULT,
            ttl_h: REVIEW_TTL_DEFAULT_H,
            forks: false,
        }
    }
}

/// How a secret of a hook is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookSecretKind {
    /// Signs deliveries: Standard Webhooks on GitLab (`whsec_` and base64), HMAC-SHA-256 on GitHub and Gitea.
    Signing,
    /// Is sent along in clear (`X-Gitlab-Token`); GitLab only.
    Token,
}

/// A secret with which deliveries prove themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookSecret {
    /// How it is used.
    pub kind: HookSecretKind,
    /// The secret, sealed under [`hook_context`].
    pub secret: Sealed,
    /// Until when it is good, when a newer one is to replace it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Where deliveries of a project arrive, and how they prove themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its id in the path of the inbox.
    pub id: HookId,
    /// Its secrets, newest first.
    pub secrets: Vec<HookSecret>,
}

/// What the inbox knows of one hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEntry {
    /// Whose hook it is.
    pub project: ProjectSlug,
    /// What sends to it.
    pub forge: Forge,
    /// The hook.
    pub hook: Hook,
}

/// An outgoing webhook. Its requests are signed by Standard Webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Where to.
    pub url: String,
    /// Signing secret (`whsec_` and base64), sealed under [`outgoing_context`].
    pub secret: Sealed,
}

/// Who is told of results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifySettings {
    /// Whether commits get a status per environment.
    pub statuses: bool,
    /// Whether environments and deployments are shown on the forge.
    pub deployments: bool,
    /// Whether merge requests get a note.
    pub notes: bool,
    /// Outgoing webhooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outgoing: Vec<Outgoing>,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self { statuses: true, deployments: true, notes: true, outgoing: Vec::new() }
    }
}

/// Which results are told, where a repository's own file says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NotifySwitches {
    /// Whether commits get a status per environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub statuses: Option<bool>,
    /// Whether environments and deployments are shown on the forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub deployments: Option<bool>,
    /// Whether merge requests get a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub notes: Option<bool>,
}

impl NotifySwitches {
    /// Takes the place of what was registered, where it says something.
    pub fn apply(self, settings: &mut NotifySettings) {
        settings.statuses = self.statuses.unwrap_or(settings.statuses);
        settings.deployments = self.deployments.unwrap_or(settings.deployments);
        settings.notes = self.notes.unwrap_or(settings.notes);
    }
}

/// What a set-up has made on the forge and in Slipway, so that it can be undone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgeObjects {
    /// The hook's number on the forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<u64>,
    /// The deploy token's number on the forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_token: Option<u64>,
    /// Names of CI variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// Names of credentials stored in Slipway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub credentials: Vec<CredentialName>,
}

/// A project whose pushes are deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredProject {
    /// The project.
    pub project: Project,
    /// What hosts it.
    pub forge: Forge,
    /// What its deployments are made from; environment and reference are filled in for each.
    pub spec: DeploymentSpec,
    /// Which ref goes where.
    pub environments: Vec<EnvironmentRule>,
    /// Whether merge requests get environments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewRule>,
    /// Who is told of results.
    pub notify: NotifySettings,
    /// Where deliveries arrive.
    pub hook: Hook,
    /// What a set-up has made.
    #[serde(default)]
    pub made: ForgeObjects,
    /// Who registered it.
    pub user: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl RegisteredProject {
    /// Its repository. Nothing a delivery says takes its place.
    #[must_use]
    pub fn repository(&self) -> &RepositoryAddress {
        &self.spec.repository
    }

    /// What the inbox needs to know of it.
    #[must_use]
    pub fn hook_entry(&self) -> HookEntry {
        HookEntry { project: self.project.slug.clone(), forge: self.forge, hook: self.hook.clone() }
    }
}

/// Where a ref stood when it was last looked at for an environment: deployed from there, or found to need nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The environment.
    pub environment: EnvironmentName,
    /// The ref, in full: `refs/heads/main`.
    pub reference: String,
    /// The commit.
    pub revision: String,
    /// The deployment that was made of it, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
}

/// Place under which the secrets of a project's hook are sealed.
#[must_use]
pub fn hook_context(project: &ProjectSlug) -> String {
    format!("project/{project}/hook")
}

/// Place under which the secrets of a project's outgoing webhooks are sealed.
#[must_use]
pub fn outgoing_context(project: &ProjectSlug) -> String {
    format!("project/{project}/outgoing")
}
