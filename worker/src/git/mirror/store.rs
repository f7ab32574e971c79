//! The directory of all mirrors: where each one lives, making it, and making it anew when it is damaged.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sha2::{Digest, Sha256};
use slipway_common::model::RepositoryAddress;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::evict::Growth;
use super::lock::{FileLock, LockKind};
use super::{Mirror, blocking, evict, health};
use crate::git::command::{GitCommand, GitProgram};
use crate::git::error::GitError;
use crate::git::limits::GitLimits;
use crate::git::smart_http::SmartHttp;

/// The directory that holds all mirrors of this worker.
#[derive(Debug)]
pub struct MirrorStore {
    root: PathBuf,
    limits: Arc<GitLimits>,
    git: GitProgram,
    http: Arc<SmartHttp>,
    version_checked: OnceCell<()>,
    growth: Arc<Growth>,
}

impl MirrorStore {
    /// A store below `root`, which is created when first needed.
    #[must_use]
    pub fn new(root: PathBuf, limits: GitLimits) -> Self {
        let git = GitProgram::new(PathBuf::from("git"), &limits);
        let growth = Arc::new(Growth::of(limits.max_mirrors_total_bytes));
        let limits = Arc::new(limits);
        let http = Arc::new(SmartHttp::new(Arc::clone(&limits)));
        Self { root, limits, git, http, version_checked: OnceCell::new(), growth }
    }

    /// The same store with another `git` program than the first one on `PATH`.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.git = GitProgram::new(program, &self.limits);
        self
    }

    /// The mirror of `address`: created when absent, repaired when damaged. Everything done with the mirror
    /// stops when `cancel` is cancelled.
    ///
    /// # Errors
    /// When `git` is missing or too old, the disk fails, or the mirror stays locked.
    pub async fn open(
        &self,
        address: &RepositoryAddress,
        cancel: &CancellationToken,
    ) -> Result<Arc<Mirror>, GitError> {
        let timeout = self.limits.command_timeout;
        self.version_checked.get_or_try_init(|| self.git.check_version(timeout)).await?;
        let place = Place::of(&self.root, address);
        place.prepare().await?;
        let work = place.lock_work(&self.limits, cancel).await?;
        let in_use = self.usable(&place, cancel).await?;
        drop(work);
        Ok(Arc::new(Mirror {
            address: address.clone(),
            place,
            limits: Arc::clone(&self.limits),
            git: self.git.clone(),
            cancel: cancel.clone(),
            _in_use: in_use,
            with_suffix: AtomicBool::new(false),
            http: Arc::clone(&self.http),
            growth: Arc::clone(&self.growth),
        }))
    }

    /// Makes the mirror usable while its work lock is held.
    async fn usable(&self, place: &Place, cancel: &CancellationToken) -> Result<FileLock, GitError> {
        let in_use = place.lock_use(LockKind::Shared, &self.limits, cancel).await?;
        let (directory, max_bytes) = (place.directory.clone(), self.limits.max_mirror_bytes);
        let verdict =
            blocking("checking the mirror", move || Ok(health::check(&directory, max_bytes))).await?;
        if let Err(reason) = verdict {
            drop(in_use);
            tracing::info!(mirror = %place.directory.display(), reason, "making the mirror anew");
            let alone = place.lock_use(LockKind::Exclusive, &self.limits, cancel).await?;
            self.create(place, cancel).await?;
            drop(alone);
            // Whoever deletes a mirror needs the work lock too, so it cannot vanish in between.
            return place.lock_use(LockKind::Shared, &self.limits, cancel).await;
        }
        Ok(in_use)
    }

    async fn create(&self, place: &Place, cancel: &CancellationToken) -> Result<(), GitError> {
        const OPERATION: &str = "creating the mirror";
        let directory = place.directory.clone();
        blocking(OPERATION, move || {
            evict::remove_directory(&directory).map_err(|source| GitError::io(OPERATION, source))
        })
        .await?;
        let arguments = ["init", "--bare", "--quiet", "--initial-branch=main", "--"];
        let mut arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        arguments.push(place.directory.clone().into_os_string());
        let command = GitCommand {
            operation: OPERATION,
            git_dir: None,
            arguments,
            remote: None,
            timeout: self.limits.command_timeout,
            disk_limit: None,
        };
        self.git.run_ok(command, cancel).await?;
        let directory = place.directory.clone();
        blocking(OPERATION, move || health::mark_used(&directory)).await
    }
}

/// Where one mirror and its locks live.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) work_lock: PathBuf,
    pub(super) use_lock: PathBuf,
}

impl Place {
    fn of(root: &Path, address: &RepositoryAddress) -> Self {
        let digest = Sha256::digest(address.identity().as_bytes());
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::named(root, &name)
    }

    pub(super) fn named(root: &Path, name: &str) -> Self {
        let locks = root.join("locks");
        Self {
            root: root.to_path_buf(),
            directory: root.join(format!("{name}.git")),
            work_lock: locks.join(format!("{name}.work")),
            use_lock: locks.join(format!("{name}.use")),
        }
    }

    async fn prepare(&self) -> Result<(), GitError> {
        tokio::fs::create_dir_all(self.root.join("locks"))
            .await
            .map_err(|source| GitError::io("creating the mirror directory", source))
    }

    /// Held by whoever runs a writing `git` in the mirror.
    pub(super) async fn lock_work(
        &self,
        limits: &GitLimits,
        cancel: &CancellationToken,
    ) -> Result<FileLock, GitError> {
        FileLock::acquire(&self.work_lock, LockKind::Exclusive, limits.lock_timeout, cancel).await
    }

    /// Shared by everybody who reads the mirror; exclusive for whoever deletes it.
    async fn lock_use(
        &self,
        kind: LockKind,
        limits: &GitLimits,
        cancel: &CancellationToken,
    ) -> Result<FileLock, GitError> {
        FileLock::acquire(&self.use_lock, kind, limits.lock_timeout, cancel).await
    }
}
