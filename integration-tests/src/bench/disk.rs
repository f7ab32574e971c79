//! The floor under everything durable: how long the disk takes to keep one block.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Instant;

use anyhow::Context as _;

use super::samples::Samples;

const BLOCK_BYTES: usize = 4096;
const WRITES: usize = 500;

/// Appends blocks to a file on the file system of temporary folders, and waits for the disk after each
/// (`fdatasync`).
///
/// # Errors
/// When the file cannot be written.
pub async fn sync_latency() -> anyhow::Result<Samples> {
    tokio::task::spawn_blocking(write_and_sync).await.context("measuring the disk")?
}

fn write_and_sync() -> anyhow::Result<Samples> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("floor");
    let mut file = OpenOptions::new().create_new(true).append(true).open(path).context("making the file")?;
    let mut taken = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let started = Instant::now();
        file.write_all(&[0x5a; BLOCK_BYTES]).context("writing a block")?;
        file.sync_data().context("waiting for the disk")?;
        taken.push(started.elapsed());
    }
    Samples::new(taken).context("nothing was measured")
}
