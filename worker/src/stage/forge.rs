//! The API of the GitLab a deployment's repository is on, used with the repository's credential.

use std::time::Duration;

use slipway_common::model::DeploymentSpec;
use slipway_gitlab::{Access, Gitlab, GitlabError};

use super::source_of::secret_of;
use super::{Run, StageError};

/// Longest time one request may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// A client of the repository's project.
pub(super) async fn gitlab(run: &Run<'_>, spec: &DeploymentSpec) -> Result<Gitlab, StageError> {
    let secret = secret_of(run.tools, &run.message.project, spec).await?;
    let (_username, token) = secret.ok_or_else(|| StageError::Refused {
        code: "pipeline_credential_missing",
        reason: "GitLab is asked about pipelines with a token, and this deployment has none".to_owned(),
        hint: "Name a credential for the repository: an access token with the scope `api` or `read_api`.",
    })?;
    Ok(Gitlab::new(Access::of(&spec.repository, token, CALL_TIMEOUT))?)
}

/// Whether the host did not do its part, so that it is asked again later. A page that is none of the API's comes from
/// what stands before a GitLab that is away.
pub(super) fn is_away(error: &GitlabError) -> bool {
    error.is_transient() || matches!(error, GitlabError::Unreadable { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for away in [
            GitlabError::TimedOut,
            GitlabError::RateLimited { retry_after: None },
            GitlabError::ServerError { status: 502 },
            GitlabError::Unreadable { reason: "a page".to_owned() },
        ] {
            assert!(is_away(&away), "{away:?}");
        }
        let forbidden = GitlabError::Forbidden { message: String::new(), scope: None };
        for refused in [GitlabError::Unauthorized, GitlabError::NotFound, GitlabError::Address, forbidden] {
            assert!(!is_away(&refused), "{refused:?}");
        }
    }
}
