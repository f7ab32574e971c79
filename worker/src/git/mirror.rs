//! Bare mirrors on disk, one per repository: a cache that can be deleted at any time and is made again.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slipway_common::model::{BranchName, RepositoryAddress};
use tokio_util::sync::CancellationToken;

use super::command::{GitCommand, GitOutput, GitProgram, Remote, directory_bytes, disk_exceeded, failure};
use super::credential::Credential;
use super::error::GitError;
use super::limits::GitLimits;
use super::listing::Listing;
use super::smart_http::{Question, SmartHttp};
use super::snapshot::Snapshot;
use crate::failpoint;

mod evict;
mod health;
mod lock;
mod store;

use evict::Growth;
use lock::FileLock;
pub use store::MirrorStore;
use store::Place;

/// Ref that keeps a completely fetched revision; Git writes it only after checking that nothing is missing.
const REVISION_REFS: &str = "refs/slipway/revision/";
/// Ref the branch goes to when a host does not hand out single commits.
const FALLBACK_REF: &str = "refs/slipway/fallback";

/// One bare mirror, kept from being deleted as long as this value or a [`Snapshot`] of it lives.
#[derive(Debug)]
pub struct Mirror {
    address: RepositoryAddress,
    place: Place,
    limits: Arc<GitLimits>,
    git: GitProgram,
    cancel: CancellationToken,
    _in_use: FileLock,
    /// Whether the host wants `.git` at the end of the address.
    with_suffix: AtomicBool,
    http: Arc<SmartHttp>,
    growth: Arc<Growth>,
}

impl Mirror {
    /// The repository this is a mirror of.
    #[must_use]
    pub fn address(&self) -> &RepositoryAddress {
        &self.address
    }

    /// The bare repository on disk.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.place.directory
    }

    /// Whether `revision` (a full commit id) was fetched completely.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn has(&self, revision: &str) -> Result<bool, GitError> {
        let (directory, revision) = (self.place.directory.clone(), revision.to_owned());
        blocking("looking for the revision", move || Ok(health::has_revision(&directory, &revision))).await
    }

    /// Makes `revision` (a full commit id) available, without its history. Touches the network only when it
    /// is not here yet. `branch` is where to look when the host does not hand out single commits.
    ///
    /// # Errors
    /// Any network failure; [`GitError::RevisionNotFound`] or [`GitError::Moved`] when the host does not
    /// have the revision; [`GitError::Limit`] when the repository is too large.
    pub async fn fetch(
        &self,
        revision: &str,
        branch: Option<&BranchName>,
        credential: Option<&Credential>,
    ) -> Result<(), GitError> {
        if self.has(revision).await? {
            return Ok(());
        }
        let work = self.place.lock_work(&self.limits, &self.cancel).await?;
        if self.has(revision).await? {
            return Ok(());
        }
        let fetched = match self.fetch_commit(revision, credential).await {
            Err(GitError::RevisionNotFound { .. }) => {
                self.fetch_through_branch(revision, branch, credential).await
            }
            other => other,
        };
        self.tidy(fetched.as_ref().err()).await?;
        drop(work);
        fetched?;
        if self.has(revision).await? {
            Ok(())
        } else {
            Err(GitError::corrupted("a fetched revision is missing"))
        }
    }

    /// Fetches up to `max_commits` commits of the history of `branch`, so that a search can look at them.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn fetch_history(
        &self,
        branch: &BranchName,
        max_commits: u32,
        credential: Option<&Credential>,
    ) -> Result<(), GitError> {
        let work = self.place.lock_work(&self.limits, &self.cancel).await?;
        let depth = max_commits.clamp(1, self.limits.max_history_commits);
        let refspec = format!("+{}:{FALLBACK_REF}", branch.full_ref());
        let fetched = self.run_fetch(depth, &refspec, credential).await;
        self.tidy(fetched.as_ref().err()).await?;
        drop(work);
        fetched
    }

    /// The tree of `revision`, which must have been fetched.
    ///
    /// # Errors
    /// [`GitError::Limit`] or [`GitError::PathRefused`] for a tree that cannot be used,
    /// [`GitError::Corrupted`] when the mirror is damaged (the next [`MirrorStore::open`] repairs it).
    pub async fn snapshot(self: &Arc<Self>, revision: &str) -> Result<Snapshot, GitError> {
        let (mirror, revision) = (Arc::clone(self), revision.to_owned());
        blocking("reading the tree", move || Snapshot::open(&mirror, &revision, &mirror.limits.snapshot))
            .await
    }

    /// Opens the object database. Blocking.
    pub(super) fn repository(&self) -> Result<gix::Repository, GitError> {
        health::open(&self.place.directory, self.limits.max_object_memory_bytes)
    }

    /// Has the next [`MirrorStore::open`] make the mirror anew.
    pub(super) fn mark_damaged(&self) {
        health::mark_damaged(&self.place.directory);
    }

    /// What the host says of the refs whose names begin with one of `prefixes`.
    pub(super) async fn list(
        &self,
        operation: &'static str,
        prefixes: &[String],
        credential: Option<&Credential>,
    ) -> Result<Listing, GitError> {
        let listed = self.list_at(operation, prefixes, credential).await;
        if matches!(listed, Err(GitError::Redirected { .. })) && self.takes_suffix() {
            return self.list_at(operation, prefixes, credential).await;
        }
        listed
    }

    async fn list_at(
        &self,
        operation: &'static str,
        prefixes: &[String],
        credential: Option<&Credential>,
    ) -> Result<Listing, GitError> {
        let question =
            Question { operation, address: &self.address, suffix: self.suffix(), credential, prefixes };
        tokio::select! {
            listed = self.http.refs(&question) => listed,
            () = self.cancel.cancelled() => Err(GitError::Cancelled { operation }),
        }
    }

    /// What is put behind the address.
    fn suffix(&self) -> &'static str {
        if self.with_suffix.load(Ordering::Relaxed) { ".git" } else { "" }
    }

    /// Puts `.git` behind the address from now on; `false` when it ends so, or that was done before.
    fn takes_suffix(&self) -> bool {
        !self.address.as_str().ends_with(".git") && !self.with_suffix.swap(true, Ordering::Relaxed)
    }

    /// Runs a network command built around the repository's URL, whatever its exit. A host that redirects
    /// from `…/project` to `…/project.git` is asked there directly.
    pub(super) async fn run_remote(
        &self,
        operation: &'static str,
        credential: Option<&Credential>,
        arguments: impl Fn(&str) -> Vec<OsString>,
    ) -> Result<GitOutput, GitError> {
        let output = self.run_at(operation, credential, &arguments).await?;
        let redirected = !output.status.success()
            && matches!(failure(operation, true, &output.stderr), GitError::Redirected { .. });
        if redirected && self.takes_suffix() {
            return self.run_at(operation, credential, &arguments).await;
        }
        Ok(output)
    }

    async fn run_at(
        &self,
        operation: &'static str,
        credential: Option<&Credential>,
        arguments: &impl Fn(&str) -> Vec<OsString>,
    ) -> Result<GitOutput, GitError> {
        let suffix = self.suffix();
        let is_fetch = operation == FETCH;
        let command = GitCommand {
            operation,
            git_dir: Some(&self.place.directory),
            arguments: arguments(&format!("{}{suffix}", self.address)),
            remote: Some(Remote { address: &self.address, credential }),
            timeout: if is_fetch { self.limits.fetch_timeout } else { self.limits.command_timeout },
            disk_limit: is_fetch.then_some((&*self.place.directory, self.limits.max_mirror_bytes)),
        };
        self.git.run(command, &self.cancel).await
    }

    async fn fetch_commit(&self, revision: &str, credential: Option<&Credential>) -> Result<(), GitError> {
        let refspec = format!("+{revision}:{REVISION_REFS}{revision}");
        match self.run_fetch(1, &refspec, credential).await {
            Err(GitError::Other { detail, .. } | GitError::Unreachable { detail, .. })
                if is_unknown_commit(&detail) =>
            {
                Err(GitError::RevisionNotFound { revision: revision.to_owned() })
            }
            other => other,
        }
    }

    async fn fetch_through_branch(
        &self,
        revision: &str,
        branch: Option<&BranchName>,
        credential: Option<&Credential>,
    ) -> Result<(), GitError> {
        let source = branch.map_or_else(|| "HEAD".to_owned(), BranchName::full_ref);
        let depth = self.limits.max_history_commits;
        self.run_fetch(depth, &format!("+{source}:{FALLBACK_REF}"), credential).await?;
        let target = format!("{REVISION_REFS}{revision}");
        if self.run_local(&["update-ref", "--no-deref", &target, revision]).await.is_ok() {
            return Ok(());
        }
        let revision = revision.to_owned();
        Err(match branch {
            Some(branch) => GitError::Moved { branch: branch.to_string(), revision },
            None => GitError::RevisionNotFound { revision },
        })
    }

    async fn run_fetch(
        &self,
        depth: u32,
        refspec: &str,
        credential: Option<&Credential>,
    ) -> Result<(), GitError> {
        let depth = format!("--depth={depth}");
        let options =
            ["fetch", "--quiet", &depth, "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--"];
        let fetched = self.run_remote(FETCH, credential, |url| {
            options.iter().chain(&[url, refspec]).map(OsString::from).collect()
        });
        let output = failpoint::around(failpoint::Place::MirrorFetch, fetched).await?;
        if output.status.success() {
            Ok(())
        } else {
            Err(failure(FETCH, credential.is_some(), &output.stderr))
        }
    }

    async fn run_local(&self, arguments: &[&str]) -> Result<GitOutput, GitError> {
        let command = GitCommand {
            operation: "updating the mirror",
            git_dir: Some(&self.place.directory),
            arguments: arguments.iter().map(OsString::from).collect(),
            remote: None,
            timeout: self.limits.command_timeout,
            disk_limit: None,
        };
        self.git.run_ok(command, &self.cancel).await
    }

    /// After a fetch: removes what a failed one left, and keeps the mirrors together below their limit.
    async fn tidy(&self, error: Option<&GitError>) -> Result<(), GitError> {
        if matches!(error, Some(GitError::Corrupted { .. })) {
            self.mark_damaged();
        }
        let (place, failed) = (self.place.clone(), error.is_some());
        let (limits, growth) = (Arc::clone(&self.limits), Arc::clone(&self.growth));
        blocking("tidying the mirrors", move || {
            if failed {
                health::sweep(&place.directory);
            }
            let bytes = directory_bytes(&place.directory);
            let is_too_large = bytes > limits.max_mirror_bytes;
            if is_too_large {
                health::mark_damaged(&place.directory);
            }
            if is_too_large || growth.is_worth_a_look(bytes) {
                evict::evict(&place.root, limits.max_mirrors_total_bytes);
            }
            if is_too_large && !failed { Err(disk_exceeded(limits.max_mirror_bytes)) } else { Ok(()) }
        })
        .await
    }
}

/// The operation whose disk use is watched.
const FETCH: &str = "fetching the repository";

/// The host does not have the commit, or does not hand out commits by id.
fn is_unknown_commit(detail: &str) -> bool {
    ["not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref"]
        .iter()
        .any(|needle| detail.contains(needle))
}

/// Runs blocking file work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(GitError::io(operation, std::io::Error::other(error))),
    }
}
