//! What is made on GitLab for a project, and how it is undone.

use std::time::Duration;

use secrecy::SecretString;
use slipway_common::model::RepositoryAddress;
use slipway_common::model::registered::ForgeObjects;
use slipway_gitlab::{Access, Gitlab, GitlabError, NewHook, ProjectInfo};

use crate::client::types::NewSecrets;
use crate::command::CommandError;

/// Longest wait for one answer of GitLab.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Role that may make webhooks and deploy tokens: Maintainer.
const ACCESS_LEVEL_MIN: u32 = 40;
/// The scope without which nothing can be made.
const SCOPE: &str = "api";
/// CI variables that tell a pipeline who deploys it.
pub(super) const VARIABLE_URL: &str = "SLIPWAY_URL";
/// The second of them.
pub(super) const VARIABLE_PROJECT: &str = "SLIPWAY_PROJECT";

/// Why GitLab could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// A call failed.
    #[error("{step}")]
    Call {
        /// What was to be done.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: GitlabError,
    },
    /// The token may not do what is needed.
    #[error("the token may not set up this project: {reason}")]
    Rights {
        /// What is missing.
        reason: String,
    },
    /// The project cannot be deployed.
    #[error("{reason}")]
    Project {
        /// Why.
        reason: &'static str,
    },
}

impl SetupError {
    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Call { source, .. } => Some(source.hint()),
            Self::Rights { .. } => {
                Some("make a project access token with the role Maintainer and the scope `api`")
            }
            Self::Project { .. } => None,
        }
    }
}

/// A failed step.
pub(super) fn failed(step: &'static str) -> impl FnOnce(GitlabError) -> CommandError {
    move |source| CommandError::Forge(Box::new(SetupError::Call { step, source }))
}

/// The GitLab that hosts `repository`.
pub(super) fn connect(repository: &RepositoryAddress, token: SecretString) -> Result<Gitlab, CommandError> {
    Gitlab::new(Access::of(repository, token, TIMEOUT)).map_err(failed("GitLab cannot be asked"))
}

/// Looks whether the token suffices before anything is made.
pub(super) async fn check(gitlab: &Gitlab) -> Result<ProjectInfo, CommandError> {
    let project = gitlab.project().await.map_err(failed("the project cannot be read"))?;
    if project.archived {
        return Err(refused(SetupError::Project {
            reason: "the project is archived on GitLab, and takes no pushes",
        }));
    }
    // A token of an older GitLab, or one that is no access token, cannot be asked for its scopes.
    if let Ok(token) = gitlab.token().await
        && !token.scopes.iter().any(|scope| scope == SCOPE)
    {
        let reason = format!("it has the scopes {}, and needs `{SCOPE}`", token.scopes.join(", "));
        return Err(refused(SetupError::Rights { reason }));
    }
    match project.access_level {
        Some(level) if level < ACCESS_LEVEL_MIN => Err(refused(SetupError::Rights {
            reason: "its role in the project must be Maintainer or Owner".to_owned(),
        })),
        Some(_) | None => Ok(project),
    }
}

fn refused(error: SetupError) -> CommandError {
    CommandError::Forge(Box::new(error))
}

/// The hook as it is to be on GitLab.
pub(super) fn hook(url: &str, secrets: &NewSecrets) -> NewHook {
    NewHook {
        url: url.to_owned(),
        name: Some("Slipway".to_owned()),
        signing_secret: secrets.signing_secret.as_ref().map(|secret| secret.secret().clone()),
        token: secrets.token.as_ref().map(|secret| secret.secret().clone()),
        push: true,
        tag_push: true,
        merge_requests: true,
        pipelines: true,
        jobs: true,
        verify_tls: url.starts_with("https://"),
    }
}

/// Removes what was made on GitLab; answers what could not be removed.
pub(super) async fn undo(gitlab: &Gitlab, made: &ForgeObjects) -> Vec<String> {
    let mut left = Vec::new();
    if let Some(hook) = made.hook {
        note(&mut left, format!("webhook {hook}"), gitlab.delete_hook(hook).await);
    }
    if let Some(token) = made.deploy_token {
        note(&mut left, format!("deploy token {token}"), gitlab.delete_deploy_token(token).await);
    }
    for variable in &made.variables {
        note(&mut left, format!("variable {variable}"), gitlab.delete_variable(variable).await);
    }
    left
}

fn note(left: &mut Vec<String>, what: String, removed: Result<(), GitlabError>) {
    if let Err(error) = removed {
        left.push(format!("{what}: {}", slipway_common::telemetry::chain(&error)));
    }
}
