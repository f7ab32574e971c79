//! Where the stages get the source from: the mirror, the credential for it, and the tree of one commit.

use std::sync::Arc;

use secrecy::SecretString;
use slipway_common::model::request::token_context;
use slipway_common::model::{CredentialName, CredentialSource, DeploymentSpec, Facts, Stage};

use super::{Run, StageError, required};
use crate::failpoint::{self, Place};
use crate::git::{BranchName, Credential, Mirror, Snapshot};
use crate::template::{self, Plan};

/// The repository's mirror and the credential for its host.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) mirror: Arc<Mirror>,
    pub(super) credential: Option<Credential>,
}

impl Source {
    /// Opens the mirror and the credential.
    pub(super) async fn open(run: &Run<'_>, spec: &DeploymentSpec) -> Result<Self, StageError> {
        let credential = credential(run, spec).await?;
        let mirror = run.tools.mirrors.open(&spec.repository, run.cancel).await?;
        Ok(Self { mirror, credential })
    }

    /// The tree of a commit, fetched if need be.
    pub(super) async fn tree(&self, revision: &str, branch: Option<&str>) -> Result<Snapshot, StageError> {
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

async fn credential(run: &Run<'_>, spec: &DeploymentSpec) -> Result<Option<Credential>, StageError> {
    match &spec.credential {
        None => Ok(None),
        Some(CredentialSource::Inline(sealed)) => {
            let place = token_context(&run.message.project);
            let token = run.tools.sealer.open(&place, sealed).map_err(StageError::Secret)?;
            Ok(Some(Credential::token(token)?))
        }
        Some(CredentialSource::Named(name)) => {
            let (username, secret) = stored_credential(run, name, Some(&host_of(spec))).await?;
            Ok(Some(match username {
                Some(username) => Credential::new(username, secret)?,
                None => Credential::token(secret)?,
            }))
        }
    }
}

fn host_of(spec: &DeploymentSpec) -> String {
    let origin = spec.repository.origin();
    origin.split_once("://").map_or(origin.clone(), |(_, host)| host.to_owned())
}

/// A stored credential; it is only ever handed to the host it was stored for.
pub(super) async fn stored_credential(
    run: &Run<'_>,
    name: &CredentialName,
    host: Option<&str>,
) -> Result<(Option<String>, SecretString), StageError> {
    let read = run.tools.backend.store.credential(name);
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
        run.tools.sealer.open(&format!("credential/{name}"), &stored.secret).map_err(StageError::Secret)?;
    Ok((stored.username, secret))
}
