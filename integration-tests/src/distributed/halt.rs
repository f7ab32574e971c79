//! Workers that halt at a failpoint: whichever reaches it first stands still and can be killed there, the others pass.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{DistributedSlipway, READY_TIMEOUT, SlipwayPart};

const FAILPOINT_VARIABLE: &str = "SLIPWAY_FAILPOINT";
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A point that is armed in every worker, with a file for each to say that it stands there.
#[derive(Debug)]
pub struct Halt {
    point: String,
    files: Vec<PathBuf>,
    _folder: TempDir,
}

impl DistributedSlipway {
    /// Kills all workers and starts all of them anew with `point` armed (`push.after`, `ledger_append.before#3`).
    ///
    /// # Errors
    /// When one does not become ready.
    pub async fn arm_workers(&self, point: &str) -> anyhow::Result<Halt> {
        let folder = tempfile::tempdir()?;
        let files: Vec<PathBuf> =
            (0..self.workers.len()).map(|index| folder.path().join(index.to_string())).collect();
        for (worker, file) in self.workers.iter().zip(&files) {
            worker.set_variable(FAILPOINT_VARIABLE, Some(&format!("{point}={}", file.display())));
        }
        self.restart_workers().await?;
        Ok(Halt { point: point.to_owned(), files, _folder: folder })
    }

    /// Kills all workers and starts all of them anew with nothing armed.
    ///
    /// # Errors
    /// When one does not become ready.
    pub async fn disarm_workers(&self) -> anyhow::Result<()> {
        for worker in &self.workers {
            worker.set_variable(FAILPOINT_VARIABLE, None);
        }
        self.restart_workers().await
    }

    /// `kill -9` of every worker.
    ///
    /// # Errors
    /// When one does not go.
    pub async fn kill_workers(&self) -> anyhow::Result<()> {
        for worker in self.workers.iter().filter(|worker| worker.is_running()) {
            worker.kill().await?;
        }
        Ok(())
    }

    async fn restart_workers(&self) -> anyhow::Result<()> {
        self.kill_workers().await?;
        for worker in &self.workers {
            worker.start().await?;
        }
        for worker in &self.workers {
            worker.wait_ready(READY_TIMEOUT).await?;
        }
        Ok(())
    }
}

impl Halt {
    /// Waits until a worker stands at the point; answers which. From then on the others pass it.
    ///
    /// # Errors
    /// When none does in time: the point was never reached.
    pub async fn wait<'a>(
        &self,
        slipway: &'a DistributedSlipway,
        longest: Duration,
    ) -> anyhow::Result<&'a SlipwayPart> {
        let deadline = Instant::now() + longest;
        loop {
            if let Some(index) = self.files.iter().position(|file| file.exists()) {
                for file in self.files.iter().filter(|file| !file.exists()) {
                    std::fs::write(file, "passed")?;
                }
                return slipway.workers.get(index).context("a worker of another fixture");
            }
            if Instant::now() > deadline {
                bail!("{} was never reached within {longest:?}:\n{}", self.point, slipway.logs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
