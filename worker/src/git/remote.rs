//! Asking a host what its references point to.

use slipway_common::model::{BranchName, Reference, RevisionSpec};

use super::credential::Credential;
use super::error::GitError;
use super::listing::Listing;
use super::mirror::Mirror;
use crate::failpoint::{self, Place};

const OPERATION: &str = "reading the references";

/// A reference pinned to one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The full commit id, in lower-case hexadecimal.
    pub revision: String,
    /// The branch it is the tip of, or was when it was chosen; when it was asked for by branch.
    pub branch: Option<BranchName>,
}

impl Mirror {
    /// Pins `reference` to a commit. Always asks the host, which so decides whether the credential may read.
    ///
    /// # Errors
    /// Any network failure; [`GitError::BranchNotFound`], [`GitError::RevisionNotFound`] or
    /// [`GitError::EmptyRepository`] when there is no such thing.
    pub async fn resolve(
        &self,
        reference: &Reference,
        credential: Option<&Credential>,
    ) -> Result<Resolved, GitError> {
        match reference {
            Reference::DefaultBranch => {
                let listing = self.refs(&["HEAD".to_owned()], credential).await?;
                default_branch(&listing).ok_or(GitError::EmptyRepository)
            }
            Reference::Branch(branch) => {
                let listing = self.refs(&[branch.full_ref()], credential).await?;
                let found = listing.find(&branch.full_ref());
                let tip = found.ok_or_else(|| GitError::BranchNotFound { branch: branch.to_string() })?;
                Ok(Resolved { revision: tip.id.clone(), branch: Some(branch.clone()) })
            }
            Reference::Revision(spec) => self.resolve_revision(spec, credential).await,
            Reference::Pinned { branch, revision } => {
                let pinned = self.resolve_revision(revision, credential).await?;
                Ok(Resolved { branch: Some(branch.clone()), ..pinned })
            }
        }
    }

    /// The commit `branch` points to on the host now, or `None` when there is no such branch.
    ///
    /// # Errors
    /// Any network failure.
    pub async fn remote_tip(
        &self,
        branch: &BranchName,
        credential: Option<&Credential>,
    ) -> Result<Option<String>, GitError> {
        let name = branch.full_ref();
        let listing = self.refs(std::slice::from_ref(&name), credential).await?;
        Ok(listing.find(&name).map(|listed| listed.id.clone()))
    }

    async fn resolve_revision(
        &self,
        spec: &RevisionSpec,
        credential: Option<&Credential>,
    ) -> Result<Resolved, GitError> {
        let not_found = || GitError::RevisionNotFound { revision: spec.to_string() };
        let revision = match spec.tag() {
            Some(tag) => {
                let name = format!("refs/tags/{tag}");
                let listing = self.refs(std::slice::from_ref(&name), credential).await?;
                let found = listing.find(&name).ok_or_else(not_found)?;
                found.peeled.as_ref().unwrap_or(&found.id).clone()
            }
            None => {
                self.refs(&["HEAD".to_owned()], credential).await?;
                spec.sha().ok_or_else(not_found)?.to_owned()
            }
        };
        Ok(Resolved { revision, branch: None })
    }

    /// What the host says of the refs whose names begin with one of `prefixes`.
    pub(super) async fn refs(
        &self,
        prefixes: &[String],
        credential: Option<&Credential>,
    ) -> Result<Listing, GitError> {
        failpoint::around(Place::RemoteRead, self.list(OPERATION, prefixes, credential)).await
    }
}

fn default_branch(listing: &Listing) -> Option<Resolved> {
    Some(Resolved { revision: listing.find("HEAD")?.id.clone(), branch: listing.default_branch() })
}
