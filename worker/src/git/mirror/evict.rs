//! Keeping all mirrors together below their limit: the least recently used go first. Blocking.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::directory_bytes;
use super::health::{USED_MARKER, is_damaged};
use super::lock::{FileLock, LockKind};
use super::store::Place;

/// Part of the limit that may be fetched before all mirrors are looked at again.
const SHARE: u64 = 64;

/// How much the mirrors may have grown since they were last looked at: with thousands of them a look takes long.
#[derive(Debug)]
pub(super) struct Growth {
    bytes: AtomicU64,
    worth_bytes: u64,
}

impl Growth {
    /// Nothing is known yet, so the first fetch is worth a look.
    pub(super) fn of(max_bytes: u64) -> Self {
        Self { bytes: AtomicU64::new(max_bytes), worth_bytes: max_bytes / SHARE }
    }

    /// Notes that a mirror has `bytes` after a fetch, and says whether it is time to look at all of them.
    pub(super) fn is_worth_a_look(&self, bytes: u64) -> bool {
        let grown = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let is_time = grown >= self.worth_bytes;
        if is_time {
            self.bytes.store(0, Ordering::Relaxed);
        }
        is_time
    }
}

#[derive(Debug)]
struct Candidate {
    directory: PathBuf,
    bytes: u64,
    last_used: SystemTime,
    damaged: bool,
}

/// Deletes damaged mirrors, then the least recently used ones until the rest has at most `max_bytes`. Mirrors
/// in use are left alone.
pub(super) fn evict(root: &Path, max_bytes: u64) {
    let mut candidates = candidates(root);
    candidates.sort_by_key(|candidate| (!candidate.damaged, candidate.last_used));
    let mut total: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
    for candidate in candidates {
        if total <= max_bytes && !candidate.damaged {
            continue;
        }
        if delete_unused(root, &candidate.directory) {
            total = total.saturating_sub(candidate.bytes);
        }
    }
}

fn candidates(root: &Path) -> Vec<Candidate> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let mirrors = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "git"));
    mirrors
        .map(|directory| Candidate {
            bytes: directory_bytes(&directory),
            last_used: std::fs::metadata(directory.join(USED_MARKER))
                .and_then(|metadata| metadata.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH),
            damaged: is_damaged(&directory),
            directory,
        })
        .collect()
}

fn delete_unused(root: &Path, directory: &Path) -> bool {
    let Some(name) = directory.file_stem().and_then(|stem| stem.to_str()) else { return false };
    let place = Place::named(root, name);
    let free = |path: &Path| FileLock::try_acquire(path, LockKind::Exclusive).ok().flatten();
    let Some(_work) = free(&place.work_lock) else { return false };
    let Some(_alone) = free(&place.use_lock) else { return false };
    match remove_directory(directory) {
        Ok(()) => {
            tracing::info!(mirror = %directory.display(), "deleted a mirror to make room");
            true
        }
        Err(error) => {
            tracing::warn!(mirror = %directory.display(), %error, "a mirror could not be deleted");
            false
        }
    }
}

/// Deletes a directory with everything in it. One that is absent is fine.
pub(super) fn remove_directory(directory: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mirrors_are_looked_at_first_and_then_when_enough_was_fetched() {
        let growth = Growth::of(6_400);
        let looks: Vec<bool> = [1, 60, 39, 1, 100, 99, 1].map(|bytes| growth.is_worth_a_look(bytes)).into();
        assert_eq!(looks, [true, false, false, true, true, false, true]);
    }
}
