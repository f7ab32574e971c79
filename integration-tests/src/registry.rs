//! A container registry of its own: Debian's `docker-registry` on a free port, with a user and a password.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The one user.
pub const USER: &str = "robot";
/// The user's password.
pub const PASSWORD: &str = "registry-password";
/// `USER:bcrypt(PASSWORD)`, the form of an htpasswd file.
const HTPASSWD: &str = "robot:$2b$05$Q.w2C5.YF.C6vgc/HQEk5Oaqici9xejoO95d/2vh6jNwv3qXj3fsO\n";
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running registry; it ends with this value.
#[derive(Debug)]
pub struct Registry {
    host: String,
    _child: Child,
    _folder: TempDir,
}

impl Registry {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When `docker-registry` is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::launch(true).await
    }

    /// The same for everybody: without a user, as registries of public images are.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_open() -> anyhow::Result<Self> {
        Self::launch(false).await
    }

    async fn launch(with_user: bool) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let users = folder.path().join("htpasswd");
        std::fs::write(&users, HTPASSWD)?;
        for _ in 0..5 {
            // The registry cannot be handed a listener; another process may take the port in between, so try again.
            let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let host = format!("127.0.0.1:{port}");
            let config = folder.path().join("config.yml");
            std::fs::write(&config, settings(&host, folder.path(), with_user.then_some(users.as_path())))?;
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("starting docker-registry (Debian: docker-registry)")?;
            if answers(&host, &mut child).await? {
                return Ok(Self { host, _child: child, _folder: folder });
            }
        }
        bail!("docker-registry did not come up")
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The digest of a manifest, as the registry itself says.
    ///
    /// # Errors
    /// When there is no such manifest.
    pub async fn digest(&self, name: &str, reference: &str) -> anyhow::Result<String> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client
            .head(format!("http://{}/v2/{name}/manifests/{reference}", self.host))
            .basic_auth(USER, Some(PASSWORD))
            .header("Accept", "application/vnd.docker.distribution.manifest.v2+json")
            .send()
            .await?
            .error_for_status()?;
        let digest = answer.headers().get("docker-content-digest").context("no digest")?;
        Ok(digest.to_str()?.to_owned())
    }
}

fn settings(host: &str, folder: &std::path::Path, users: Option<&std::path::Path>) -> String {
    let mut settings = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
         http:\n  addr: {host}\n",
        folder.join("data").display(),
    );
    if let Some(users) = users {
        settings += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display());
    }
    settings
}

/// Whether it comes up; `false` when it ended instead.
async fn answers(host: &str, child: &mut Child) -> anyhow::Result<bool> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        if tokio::net::TcpStream::connect(host).await.is_ok() {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(false)
}
