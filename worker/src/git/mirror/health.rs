//! Whether a mirror can be used, and cleaning up after a `git` that was killed. Blocking.

use std::path::{Path, PathBuf};

use gix::ObjectId;

use super::REVISION_REFS;
use crate::git::command::directory_bytes;
use crate::git::error::GitError;

/// Its modification time says when the mirror was last used.
pub(super) const USED_MARKER: &str = "slipway-used";
/// Present when the mirror has to be made anew.
const DAMAGED_MARKER: &str = "slipway-damaged";

/// Opens the bare repository without any configuration but its own.
pub(super) fn open(directory: &Path, max_object_memory_bytes: u64) -> Result<gix::Repository, GitError> {
    let options = gix::open::Options::isolated()
        .open_path_as_is(true)
        .config_overrides([format!("gitoxide.objects.allocLimit={max_object_memory_bytes}")]);
    gix::ThreadSafeRepository::open_opts(directory, options)
        .map(|repository| repository.to_thread_local())
        .map_err(GitError::corrupted)
}

/// Sweeps leftovers and checks that the mirror can be used; otherwise says why not. The caller must hold the
/// work lock, so that every lock file found is one its owner did not live to remove.
pub(super) fn check(directory: &Path, max_mirror_bytes: u64) -> Result<(), &'static str> {
    if !directory.join("HEAD").is_file() || !directory.join("objects").is_dir() {
        return Err("there is none yet");
    }
    if directory.join(DAMAGED_MARKER).exists() {
        return Err("it was found damaged");
    }
    sweep(directory);
    // A cache that only grows would end at its limit for good, so it starts again before that.
    if directory_bytes(directory) > max_mirror_bytes / 2 {
        return Err("it grew large");
    }
    let unpaired = |pack: &PathBuf| !pack.with_extension("idx").is_file();
    if files_below(&directory.join("objects/pack"), |name| name.ends_with(".pack")).iter().any(unpaired) {
        return Err("a pack has no index");
    }
    let revisions = files_below(&directory.join(REVISION_REFS), |_| true);
    let is_missing = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_none_or(|revision| !has_revision(directory, revision))
    };
    if revisions.iter().any(is_missing) {
        return Err("a fetched revision is missing");
    }
    if open(directory, u64::MAX >> 1).is_err() {
        return Err("it cannot be opened");
    }
    mark_used(directory).map_err(|_| "it cannot be written to")
}

/// Whether `revision` was completely fetched and its commit and root tree can be read.
pub(super) fn has_revision(directory: &Path, revision: &str) -> bool {
    let Ok(id) = ObjectId::from_hex(revision.as_bytes()) else { return false };
    if !directory.join(REVISION_REFS).join(revision).is_file() {
        return false;
    }
    let Ok(repository) = open(directory, u64::MAX >> 1) else { return false };
    repository.find_commit(id).ok().and_then(|commit| commit.tree_id().ok()?.header().ok()).is_some()
}

/// Removes what a killed `git` leaves: lock files and half-written packs and objects.
pub(super) fn sweep(directory: &Path) {
    let is_leftover =
        |name: &str| name.ends_with(".lock") || name.starts_with("tmp_") || name.starts_with(".tmp-");
    for path in files_below(directory, is_leftover) {
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a leftover file could not be removed");
        }
    }
}

/// Notes that the mirror is in use now.
pub(super) fn mark_used(directory: &Path) -> Result<(), GitError> {
    std::fs::write(directory.join(USED_MARKER), b"").map_err(|source| GitError::io("noting the use", source))
}

/// Notes that the mirror has to be made anew.
pub(super) fn mark_damaged(directory: &Path) {
    if let Err(error) = std::fs::write(directory.join(DAMAGED_MARKER), b"") {
        tracing::warn!(mirror = %directory.display(), %error, "a damaged mirror could not be marked");
    }
}

/// Whether the mirror was marked as damaged.
pub(super) fn is_damaged(directory: &Path) -> bool {
    directory.join(DAMAGED_MARKER).exists()
}

fn files_below(directory: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut pending = vec![directory.to_path_buf()];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        for entry in entries.flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory {
                pending.push(entry.path());
            } else if entry.file_name().to_str().is_some_and(&wanted) {
                found.push(entry.path());
            }
        }
    }
    found
}
