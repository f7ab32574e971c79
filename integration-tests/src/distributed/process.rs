//! One process of Slipway: what it is started with, and everything that can be done to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

use crate::process_control::ProcessControl;

/// Longest wait for one answer of the health address.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for an orderly end; the drain of running stages fits into it.
const END_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A process of Slipway that may be up or down. Its folder and its port stay the same.
#[derive(Debug)]
pub struct SlipwayPart {
    name: String,
    program: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    environment: Mutex<Vec<(String, String)>>,
    control: Mutex<Option<Arc<ProcessControl>>>,
}

impl SlipwayPart {
    pub(super) fn new(
        name: String,
        program: PathBuf,
        folder: PathBuf,
        address: SocketAddr,
        environment: Vec<(String, String)>,
    ) -> Self {
        let (environment, control) = (Mutex::new(environment), Mutex::new(None));
        Self { name, program, folder, address, environment, control }
    }

    /// `api-<n>` or `worker-<n>`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `http://127.0.0.1:<port>`: the API, or the health address of a worker.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Everything it has logged, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it was never started.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.control()?.pid())
    }

    /// Whether its process exists; a frozen one does.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.control().is_ok_and(|control| !control.has_ended())
    }

    /// Sets an environment variable for its next start; takes it away with `None`.
    pub fn set_variable(&self, name: &str, value: Option<&str>) {
        let mut environment = self.environment.lock().unwrap_or_else(PoisonError::into_inner);
        environment.retain(|(known, _)| known != name);
        environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Starts it on its folder and port; does not wait for it.
    ///
    /// # Errors
    /// When it still runs or cannot be started.
    pub async fn start(&self) -> anyhow::Result<()> {
        if self.is_running() {
            bail!("{} still runs", self.name);
        }
        std::fs::create_dir_all(self.data_folder())?;
        let config = self.folder.join("slipway.toml");
        let arguments = vec!["--config".to_owned(), config.display().to_string()];
        let environment = self.environment.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let program = self.program.to_str().context("the program's path is no UTF-8")?;
        let control = ProcessControl::spawn(program, arguments, environment, &self.log_file()).await?;
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(control));
        Ok(())
    }

    /// Starts it on its folder and port, and waits until it is ready.
    ///
    /// # Errors
    /// When it still runs or does not become ready.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        self.start().await?;
        self.wait_ready(super::READY_TIMEOUT).await
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.control()?.kill().await
    }

    /// `kill -TERM`, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not go within a minute.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.control()?.terminate(END_TIMEOUT).await
    }

    /// Stops it where it is.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.control()?.freeze().await
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.control()?.thaw()
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let ask = async || {
            let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build()?;
            client.get(format!("{}/readyz", self.base_url())).send().await
        };
        ask().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends or does not in time; with its log.
    pub async fn wait_ready(&self, longest: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + longest;
        while !self.is_ready().await {
            if !self.is_running() {
                bail!("{} ended instead of becoming ready:\n{}", self.name, self.log());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {longest:?}:\n{}", self.name, self.log());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Keeps its log in this folder.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn keep_log(&self, folder: &Path) -> anyhow::Result<()> {
        let to = folder.join(format!("{}.log", self.name));
        std::fs::copy(self.log_file(), to)
            .map(drop)
            .with_context(|| format!("keeping the log of {}", self.name))
    }

    fn control(&self) -> anyhow::Result<Arc<ProcessControl>> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.clone().with_context(|| format!("{} was never started", self.name))
    }
}
