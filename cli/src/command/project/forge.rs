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
/// Where the path of a webhook's address begins.
pub(super) const INBOX: &str = "/webhooks/";
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
    /// What was given is no address of a repository.
    #[error("no repository can be found: {reason}")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
    /// The project was set up before.
    #[error("the repository is registered as {slug}")]
    Registered {
        /// Its short name.
        slug: String,
    },
    /// The server's answer cannot be used.
    #[error("the server's answer names no webhook")]
    NoHook,
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
            Self::Registered { .. } => {
                Some("change it with `slipway project set`, or `slipway project remove` it first")
            }
            Self::Address { .. } | Self::NoHook | Self::Project { .. } => None,
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

/// Removes what was made on GitLab, the last first; answers what could not be removed.
pub(super) async fn undo(gitlab: &Gitlab, made: &ForgeObjects) -> Vec<String> {
    let mut left = Vec::new();
    for variable in made.variables.iter().rev() {
        note(&mut left, format!("variable {variable}"), gitlab.delete_variable(variable).await);
    }
    if let Some(hook) = made.hook {
        note(&mut left, format!("webhook {hook}"), gitlab.delete_hook(hook).await);
    }
    if let Some(token) = made.deploy_token {
        note(&mut left, format!("deploy token {token}"), gitlab.delete_deploy_token(token).await);
    }
    left
}

/// Removes the webhook that calls `url`, or the same path of another address of Slipway, if there is one: its number was
/// lost.
pub(super) async fn undo_lost_hook(gitlab: &Gitlab, url: &str) -> Vec<String> {
    let mut left = Vec::new();
    let path = url.find(INBOX).map_or(url, |at| &url[at..]);
    match gitlab.hooks().await {
        Ok(hooks) => {
            for hook in hooks.into_iter().filter(|hook| hook.url.ends_with(path)) {
                note(&mut left, format!("webhook {}", hook.id), gitlab.delete_hook(hook.id).await);
            }
        }
        Err(error) => note(&mut left, format!("a webhook that may call {url}"), Err(error)),
    }
    left
}

fn note(left: &mut Vec<String>, what: String, removed: Result<(), GitlabError>) {
    if let Err(error) = removed {
        left.push(format!("{what}: {}", slipway_common::telemetry::chain(&error)));
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::super::testing::gitlab;
    use super::*;
    use crate::client::fake::{Answer, asked};

    #[test]
    fn a_hook_carries_both_secrets_and_checks_certificates_where_there_are_some() {
        let secrets: NewSecrets =
            serde_json::from_str(r#"{"signing_secret":"whsec_a","token":"b"}"#).unwrap();
        let made = hook("https://slipway.example.com/webhooks/gitlab/1", &secrets);
        let shown = |secret: &Option<SecretString>| secret.as_ref().map(|s| s.expose_secret().to_owned());
        assert_eq!(shown(&made.signing_secret).as_deref(), Some("whsec_a"));
        assert_eq!(shown(&made.token).as_deref(), Some("b"));
        assert!(made.push && made.tag_push && made.merge_requests && made.pipelines && made.jobs);
        assert!(made.verify_tls && !hook("http://10.0.0.7:8640/webhooks/gitlab/1", &secrets).verify_tls);
        assert!(!format!("{secrets:?}").contains("whsec_a"));
    }

    #[tokio::test]
    async fn a_token_is_looked_at_before_anything_is_made() {
        let project = r#"{"id":1,"path_with_namespace":"group/shop",
            "permissions":{"project_access":{"access_level":30}}}"#;
        let archived = r#"{"id":1,"path_with_namespace":"group/shop","archived":true}"#;
        let scopes = |scopes| Answer::Json(200, scopes);
        for (script, said) in [
            (vec![Answer::Json(200, archived)], "archived"),
            (vec![Answer::Json(200, project), scopes(r#"{"scopes":["read_api"]}"#)], "read_api"),
            (vec![Answer::Json(200, project), scopes(r#"{"scopes":["api"]}"#)], "Maintainer"),
            // An older GitLab cannot say what a token is for.
            (vec![Answer::Json(200, project), Answer::Json(404, "{}")], "Maintainer"),
        ] {
            let (gitlab, _, _) = gitlab(script).await;
            let refused = check(&gitlab).await.unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_removed_is_named_and_the_rest_is_removed() {
        let made = ForgeObjects {
            hook: Some(7),
            deploy_token: Some(8),
            variables: vec!["A".to_owned(), "B".to_owned()],
            credentials: Vec::new(),
        };
        let (ok, gone, no) = (Answer::Json(204, ""), Answer::Json(404, "{}"), Answer::Json(403, "{}"));
        let (gitlab, _, requests) = gitlab(vec![ok, gone, no, Answer::Json(204, "")]).await;
        let left = undo(&gitlab, &made).await;
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].starts_with("webhook 7: "), "{left:?}");
        let asked = asked(&requests);
        let ends = ["/variables/b", "/variables/a", "/hooks/7", "/deploy_tokens/8"];
        for (asked, end) in asked.iter().zip(ends) {
            let path = asked.split('?').next().unwrap();
            assert!(path.starts_with("delete ") && path.ends_with(end), "{asked}");
        }
    }
}
