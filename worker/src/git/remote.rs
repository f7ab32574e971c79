//! Asking a host what its references point to.

use std::ffi::OsString;

use slipway_common::model::{BranchName, Reference, RevisionSpec};

use super::command::failure;
use super::credential::Credential;
use super::error::GitError;
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
                let listing = self.list(&["HEAD".to_owned()], credential).await?;
                default_branch(&listing).ok_or(GitError::EmptyRepository)
            }
            Reference::Branch(branch) => {
                let listing = self.list(&[branch.full_ref()], credential).await?;
                let revision = target_of(&listing, &branch.full_ref())
                    .ok_or_else(|| GitError::BranchNotFound { branch: branch.to_string() })?;
                Ok(Resolved { revision, branch: Some(branch.clone()) })
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
        let listing = self.list(std::slice::from_ref(&name), credential).await?;
        Ok(target_of(&listing, &name))
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
                let peeled = format!("{name}^{{}}");
                let listing = self.list(&[name.clone(), peeled.clone()], credential).await?;
                target_of(&listing, &peeled).or_else(|| target_of(&listing, &name)).ok_or_else(not_found)?
            }
            None => {
                self.list(&["HEAD".to_owned()], credential).await?;
                spec.sha().ok_or_else(not_found)?.to_owned()
            }
        };
        Ok(Resolved { revision, branch: None })
    }

    /// What the host says of the refs that match `patterns`, in the words of `ls-remote --symref`.
    pub(super) async fn list(
        &self,
        patterns: &[String],
        credential: Option<&Credential>,
    ) -> Result<String, GitError> {
        let listed = self.run_remote(OPERATION, credential, |url| {
            let mut arguments: Vec<OsString> =
                ["ls-remote", "--quiet", "--symref", "--", url].iter().map(OsString::from).collect();
            arguments.extend(patterns.iter().map(OsString::from));
            arguments
        });
        let output = failpoint::around(Place::RemoteRead, listed).await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(failure(OPERATION, credential.is_some(), &output.stderr))
    }
}

/// What exactly `name` points to in the output of `ls-remote`, whose patterns match the ends of names.
fn target_of(listing: &str, name: &str) -> Option<String> {
    let lines = listing.lines().filter_map(|line| line.split_once('\t'));
    let (id, _) = lines.filter(|(id, _)| is_object_id(id)).find(|(_, found)| *found == name)?;
    Some(id.to_owned())
}

fn default_branch(listing: &str) -> Option<Resolved> {
    Some(Resolved { revision: target_of(listing, "HEAD")?, branch: default_branch_name(listing) })
}

/// The branch `HEAD` stands for.
pub(super) fn default_branch_name(listing: &str) -> Option<BranchName> {
    listing
        .lines()
        .filter_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD"))
        .find_map(|name| BranchName::parse(name).ok())
}

/// Whether the text is a full object id.
pub(super) fn is_object_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8f7d8a1c0d6d1a0d1f4f3f0a3e5f8a9b7c6d5e4f";

    #[test]
    fn the_default_branch_is_the_target_of_head() {
        let listing = format!("ref: refs/heads/trunk\tHEAD\n{ID}\tHEAD\n");
        let resolved = default_branch(&listing).unwrap();
        assert_eq!((resolved.revision.as_str(), resolved.branch.unwrap().as_str()), (ID, "trunk"));
        assert_eq!(default_branch(""), None);
    }

    #[test]
    fn a_detached_or_hostile_head_has_no_branch() {
        assert_eq!(default_branch(&format!("{ID}\tHEAD\n")).unwrap().branch, None);
        let hostile = format!("ref: refs/heads/--x\tHEAD\n{ID}\tHEAD\n");
        assert_eq!(default_branch(&hostile).unwrap().branch, None);
    }

    #[test]
    fn names_match_as_a_whole() {
        let listing =
            format!("{}\trefs/heads/other/refs/heads/main\n{ID}\trefs/heads/main\n", "0".repeat(40));
        assert_eq!(target_of(&listing, "refs/heads/main").as_deref(), Some(ID));
        assert_eq!(target_of("nonsense\trefs/heads/main\n", "refs/heads/main"), None);
    }
}
