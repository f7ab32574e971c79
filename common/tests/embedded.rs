//! The contract suite, run against the embedded adapter. A restart opens a copy of the files as they are on
//! disk at that moment, the way a killed process leaves them: nothing is closed, flushed or checkpointed.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use slipway_common::Backend;
use slipway_common::contract::Fixture;
use slipway_common::embedded::{Embedded, EmbeddedSettings};

/// One data folder after another; the earlier ones stay open, as a process that was killed does not close
/// its files either.
struct EmbeddedFixture {
    runs: Mutex<Vec<(tempfile::TempDir, Embedded)>>,
}

impl EmbeddedFixture {
    async fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let embedded = open(folder.path());
        Self { runs: Mutex::new(vec![(folder, embedded)]) }
    }
}

fn open(folder: &Path) -> Embedded {
    Embedded::open(folder, &EmbeddedSettings::default()).expect("the folder opens")
}

#[async_trait]
impl Fixture for EmbeddedFixture {
    async fn backend(&self) -> Backend {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.last().expect("there is always one").1.backend()
    }

    async fn restart(&self) -> Backend {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, _) = runs.last().expect("there is always one");
        for file in ["slipway.db", "slipway.db-wal"] {
            std::fs::copy(old.path().join(file), folder.path().join(file)).expect("the file is copied");
        }
        let embedded = open(folder.path());
        let backend = embedded.backend();
        runs.push((folder, embedded));
        backend
    }
}

slipway_common::contract_suite!(contract, EmbeddedFixture::make);
