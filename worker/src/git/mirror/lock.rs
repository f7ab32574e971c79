//! Advisory file locks with a deadline. Each lock has its own open file, so it excludes other tasks of this
//! process just as it excludes other processes, and the kernel lets go of it when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::git::error::GitError;

const OPERATION: &str = "locking the mirror";
/// How often a lock held by somebody else is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Alone or together with other readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockKind {
    Shared,
    Exclusive,
}

/// A lock that is held until dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits up to `timeout` for the lock on the file at `path`, which is created when absent.
    pub(super) async fn acquire(
        path: &Path,
        kind: LockKind,
        timeout: Duration,
        cancel: &CancellationToken,
    ) -> Result<Self, GitError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(lock) = Self::try_acquire(path, kind)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(GitError::Busy { limit: timeout });
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_INTERVAL) => {}
                () = cancel.cancelled() => return Err(GitError::Cancelled { operation: OPERATION }),
            }
        }
    }

    /// The lock, unless somebody else holds it.
    pub(super) fn try_acquire(path: &Path, kind: LockKind) -> Result<Option<Self>, GitError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|source| GitError::io(OPERATION, source))?;
        let locked = match kind {
            LockKind::Shared => file.try_lock_shared(),
            LockKind::Exclusive => file.try_lock(),
        };
        match locked {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(GitError::io(OPERATION, source)),
        }
    }
}
