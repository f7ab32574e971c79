//! Watching how much disk a running command uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::git::error::GitError;

/// How often the directory is measured while a command runs.
const MEASURE_INTERVAL: Duration = Duration::from_millis(250);

/// Resolves once the directory holds more bytes than allowed; never, without a limit.
pub(super) async fn exceeded(limit: Option<(&Path, u64)>) -> GitError {
    let Some((directory, limit_bytes)) = limit else { return std::future::pending().await };
    loop {
        tokio::time::sleep(MEASURE_INTERVAL).await;
        let path = directory.to_path_buf();
        let measured = tokio::task::spawn_blocking(move || directory_bytes(&path)).await;
        if measured.is_ok_and(|bytes| bytes > limit_bytes) {
            return disk_exceeded(limit_bytes);
        }
    }
}

/// The error for a mirror that holds more than it may.
pub(crate) fn disk_exceeded(limit_bytes: u64) -> GitError {
    GitError::Limit { what: "bytes of the mirror", limit: limit_bytes }
}

/// Sum of the sizes of all files below `directory`. Files that vanish meanwhile count nothing.
pub(crate) fn directory_bytes(directory: &Path) -> u64 {
    let mut pending: Vec<PathBuf> = vec![directory.to_path_buf()];
    let mut bytes = 0_u64;
    while let Some(path) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => pending.push(entry.path()),
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}
