//! `slipway up` as a process of its own, on free ports and a private data folder, with the means to kill it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::programs::Program;

/// Longest wait for the process to answer.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a deployment to reach its end.
const DEPLOYMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// States in which nothing more happens to a deployment by itself.
const RESTING: [&str; 5] = ["active", "failed", "stopped", "superseded", "degraded"];

/// A running `slipway up`.
#[derive(Debug)]
pub struct SlipwayProcess {
    folder: TempDir,
    child: Child,
    address: String,
    token: String,
    client: reqwest::Client,
}

impl SlipwayProcess {
    /// Starts with these settings (TOML) over the defaults, and these environment variables.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(settings: &str, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        Self::start_in(folder, settings, variables).await
    }

    async fn start_in(folder: TempDir, settings: &str, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let config = folder.path().join("slipway.toml");
        std::fs::write(&config, settings)?;
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data)?;
        let announced = data.join("up.json");
        if announced.exists() {
            std::fs::remove_file(&announced)?;
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log"))?;
        let child = Command::new(Program::Slipway.path().await?)
            .arg("up")
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting slipway up")?;
        let mut process = Self {
            folder,
            child,
            address: String::new(),
            token: String::new(),
            client: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?,
        };
        process.wait_ready(&announced).await?;
        Ok(process)
    }

    async fn wait_ready(&mut self, announced: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("slipway up ended with {status}:\n{}", self.log());
            }
            if let Ok(text) = std::fs::read_to_string(announced) {
                let up: Value = serde_json::from_str(&text).context("reading up.json")?;
                self.address =
                    up["url"].as_str().context("up.json has no url")?.trim_end_matches('/').to_owned();
                let token = self.data_folder().join("admin.token");
                self.token = std::fs::read_to_string(token)?.trim().to_owned();
                let ready = self.client.get(format!("{}/readyz", self.address)).send().await;
                if ready.is_ok_and(|answer| answer.status().is_success()) {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                bail!("slipway up did not become ready:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Address of the API, without trailing slash.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The first token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// `kill -9`. Nothing happens when it is gone already.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        self.child.kill().await.context("killing slipway up")
    }

    /// Kills it and starts it again on the same data.
    ///
    /// # Errors
    /// When it does not become ready again.
    pub async fn restart(mut self, settings: &str, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        self.kill().await?;
        Self::start_in(self.folder, settings, variables).await
    }

    /// `kill -9`, then another start on the same data.
    ///
    /// # Errors
    /// When it cannot be killed, or does not become ready.
    pub async fn kill_and_start(&mut self, settings: &str, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        self.kill().await?;
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir()?);
        *self = Self::start_in(folder, settings, variables).await?;
        Ok(())
    }

    /// One request with the first token; answers status and body.
    ///
    /// # Errors
    /// When there is no answer, or its body is not JSON.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request =
            self.client.request(method, format!("{}{path}", self.address)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).context(text)? };
        Ok((status, body))
    }

    /// Posts a deployment; answers its id.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn deploy(&self, request: &Value) -> anyhow::Result<String> {
        let (status, body) = self.request("POST", "/deployments", Some(request)).await?;
        if status != 202 {
            bail!("POST /deployments answered {status}: {body}");
        }
        Ok(body["id"].as_str().context("no id")?.to_owned())
    }

    /// The deployment now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn deployment(&self, id: &str) -> anyhow::Result<Value> {
        let (status, body) = self.request("GET", &format!("/deployments/{id}"), None).await?;
        if status != 200 {
            bail!("GET /deployments/{id} answered {status}: {body}");
        }
        Ok(body)
    }

    /// Waits until nothing more happens to the deployment; answers its last state.
    ///
    /// # Errors
    /// When that takes too long, with the state of the world.
    pub async fn wait_resting(&self, id: &str) -> anyhow::Result<Value> {
        self.wait_for(id, |deployment| RESTING.iter().any(|state| deployment["status"] == *state)).await
    }

    /// Waits until the deployment is as `condition` says.
    ///
    /// # Errors
    /// When that takes too long, with the state of the world.
    pub async fn wait_for(&self, id: &str, condition: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + DEPLOYMENT_TIMEOUT;
        loop {
            let deployment = self.deployment(id).await?;
            if condition(&deployment) {
                return Ok(deployment);
            }
            if Instant::now() > deadline {
                bail!("waited in vain; the deployment is {deployment:#}\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
