//! The disk the mirrors live on: while it is full, this worker takes no jobs, and those that met it cost nothing and go
//! to other workers.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::condition::Condition;

/// What must fit on it.
const ROOM_BYTES: usize = 1024 * 1024;

/// The disk of one folder.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    condition: Condition,
    probes: AtomicU64,
}

impl Disk {
    /// The disk of `folder`; good until it was found full.
    pub(crate) fn of(folder: PathBuf) -> Self {
        Self { folder, condition: Condition::of("the disk of the mirrors"), probes: AtomicU64::new(0) }
    }

    /// Whether something fits on it. Only after it was full does this look.
    pub(crate) async fn has_room(&self) -> bool {
        !self.condition.is_bad() || !self.is_full().await
    }

    /// Looks whether it is full now, by writing to it. A disk that fails otherwise is not full.
    pub(crate) async fn is_full(&self) -> bool {
        let probe = self.probes.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!(".room-{}-{probe}", std::process::id()));
        let probed = tokio::task::spawn_blocking(move || {
            let written = std::fs::write(&path, vec![0; ROOM_BYTES]);
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::debug!(%error, "the probe of the disk stays");
            }
            written
        });
        match probed.await {
            Ok(Err(error)) if is_room(&error) => {
                self.condition.failed(&error);
                true
            }
            Ok(_) | Err(_) => {
                self.condition.works();
                false
            }
        }
    }

    /// Whether it was full when last looked at.
    pub(crate) fn was_full(&self) -> bool {
        self.condition.is_bad()
    }
}

/// Whether the error says that there is no room.
fn is_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_with_room_is_not_full_and_keeps_nothing_of_the_look() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::of(folder.path().to_owned());
        assert!(!disk.is_full().await && disk.has_room().await && !disk.was_full());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_full_disk_is_known_until_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::of(folder.path().to_owned());
        disk.condition.failed(&io::Error::from(io::ErrorKind::StorageFull));
        assert!(disk.was_full());
        assert!(disk.has_room().await, "it is looked at again");
        assert!(!disk.was_full());
        assert!(is_room(&io::Error::from_raw_os_error(28)), "ENOSPC");
        assert!(!is_room(&io::Error::from(io::ErrorKind::PermissionDenied)));
    }
}
