//! Where the stages get the source from: the mirror, the credential for it, and the tree of one commit.

use std::sync::Arc;

use secrecy::SecretString;
use slipway_common::model::request::token_context;
use slipway_common::model::{CredentialName, CredentialSource, DeploymentSpec, Facts, Project, Stage};
use tokio_util::sync::CancellationToken;

use super::{Run, StageError, Tools, required};
use crate::failpoint::{self, Place};
use crate::git::{BranchName, Credential, Mirror, Snapshot};
use crate::template::{self, Plan};

/// The repository's mirror and the credential for its host.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) credential: Option<Credential>,
}

impl Source {
    /// Opens the mirror and the credential.
    pub(super) async fn open(run: &Run<'_>, spec: &DeploymentSpec) -> Result<Self, StageError> {
        Self::of_project(run.tools, &run.message.project, spec, run.cancel).await
    }

    /// Opens the mirror and the credential of a project, for as long as `cancel` lets it be used.
    pub(crate) async fn of_project(
        tools: &Tools,
        project: &Project,
        spec: &DeploymentSpec,
        cancel: &CancellationToken,
    ) -> Result<Self, StageError> {
        let credential = credential(tools, project, spec).await?;
        let mirror = tools.mirrors.open(&spec.repository, cancel).await?;
        Ok(Self { mirror, credential })
    }

    /// The tree of a commit, fetched if need be.
    pub(crate) async fn tree(&self, revision: &str, branch: Option<&str>) -> Result<Snapshot, StageError> {
        let branch = branch.and_then(|branch| BranchName::parse(branch).ok());
        self.mirror.fetch(revision, branch.as_ref(), self.credential.as_ref()).await?;
        Ok(self.mirror.snapshot(revision).await?)
    }
}

/// What is missing in `tree`. A pure function of tree, request and settings: every run plans the same.
pub(super) async fn plan(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    tree: Snapshot,
) -> Result<(Plan, Snapshot), StageError> {
    let request = template::Request { port: spec.port, ci_file: true, dockerfile: true };
    let settings = run.tools.settings.templates.clone();
    tokio::task::spawn_blocking(move || template::plan(&tree, &request, &settings).map(|plan| (plan, tree)))
        .await
        .map_err(|_| StageError::Crashed)?
        .map_err(StageError::Template)
}

/// The commit the image is built from, with the branch it was pushed to.
pub(super) fn build_revision(facts: &Facts) -> Result<(String, Option<String>), StageError> {
    let commit = required(facts.commit.as_ref(), Stage::Commit)?;
    Ok((commit.revision.clone(), commit.branch.clone()))
}

async fn credential(
    tools: &Tools,
    project: &Project,
    spec: &DeploymentSpec,
) -> Result<Option<Credential>, StageError> {
    Ok(match secret_of(tools, project, spec).await? {
        None => None,
        Some((None, secret)) => Some(Credential::token(secret)?),
        Some((Some(username), secret)) => Some(Credential::new(username, secret)?),
    })
}

/// The secret with which a project's host is used, with the user name it goes with, if it has one.
pub(crate) async fn secret_of(
    tools: &Tools,
    project: &Project,
    spec: &DeploymentSpec,
) -> Result<Option<(Option<String>, SecretString)>, StageError> {
    match &spec.credential {
        None => Ok(None),
        Some(CredentialSource::Inline(sealed)) => {
            let place = token_context(project);
            let token = tools.sealer.open(&place, sealed).map_err(StageError::Secret)?;
            Ok(Some((None, token)))
        }
        Some(CredentialSource::Named(name)) => stored(tools, name, Some(&host_of(spec))).await.map(Some),
    }
}

/// The repository's host, with its port, as credentials name it.
fn host_of(spec: &DeploymentSpec) -> String {
    let origin = spec.repository.origin();
    let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
    host.trim_end_matches('/').to_owned()
}

/// A stored credential; it is only ever handed to the host it was stored for.
pub(super) async fn stored_credential(
    run: &Run<'_>,
    name: &CredentialName,
    host: Option<&str>,
) -> Result<(Option<String>, SecretString), StageError> {
    stored(run.tools, name, host).await
}

async fn stored(
    tools: &Tools,
    name: &CredentialName,
    host: Option<&str>,
) -> Result<(Option<String>, SecretString), StageError> {
    let read = tools.backend.store.credential(name);
    let stored = failpoint::around(Place::CredentialRead, read).await.map_err(StageError::Store)?;
    let stored = stored.ok_or_else(|| StageError::Refused {
        code: "credential_not_found",
        reason: format!("no credential is called `{name}`"),
        hint: "Store it with `slipway credentials set` and retry.",
    })?;
    let elsewhere =
        stored.host.as_deref().zip(host).is_some_and(|(bound, host)| bound.trim_end_matches('/') != host);
    if elsewhere {
        return Err(StageError::Refused {
            code: "credential_for_another_host",
            reason: format!("the credential `{name}` was stored for another host"),
            hint: "Store a credential for this host, or store this one again without a host.",
        });
    }
    let secret =
        tools.sealer.open(&format!("credential/{name}"), &stored.secret).map_err(StageError::Secret)?;
    Ok((stored.username, secret))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use slipway_common::contract::sample;
    use slipway_common::record::{Record, StoredCredential};

    use super::*;
    use crate::testing::Installation;

    #[tokio::test]
    async fn a_credential_is_handed_to_the_host_it_was_stored_for_and_to_no_other() {
        let installation = Installation::open();
        let tools = installation.tools();
        let name: CredentialName = "forge".parse().unwrap();
        let spec = DeploymentSpec {
            credential: Some(CredentialSource::Named(name.clone())),
            ..sample::spec("shop")
        };
        let project = Project::of(&spec.repository);
        for (host, is_given) in [
            (None, true),
            (Some("git.example.com"), true),
            (Some("git.example.com:8443"), false),
            (Some("example.com"), false),
        ] {
            let secret = tools.sealer.seal("credential/forge", &SecretString::from("s3cret")).unwrap();
            let credential = StoredCredential {
                name: name.clone(),
                username: None,
                host: host.map(str::to_owned),
                secret,
                updated_at: jiff::Timestamp::now(),
            };
            installation.backend.record(&Record::CredentialStored(credential)).await.unwrap();
            match secret_of(&tools, &project, &spec).await {
                Ok(found) => {
                    let (username, secret) = found.unwrap();
                    assert_eq!((username, secret.expose_secret()), (None, "s3cret"));
                    assert!(is_given, "{host:?}");
                }
                Err(error) => assert!(!is_given, "{host:?}: {error}"),
            }
        }
    }
}
