//! The yardstick of a deployment: `scripts/bench-baseline.sh`, which does the same with the programs `git` and
//! `docker`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

use crate::git_server::GitServer;

/// Label on everything the script makes.
pub const LABEL: &str = "bench.slipway.app";
/// Files that Slipway generates for a static site.
const GENERATED: [&str; 3] = ["Dockerfile", ".dockerignore", ".gitlab-ci.yml"];

/// The script with everything it needs.
#[derive(Debug)]
pub struct Baseline {
    script: PathBuf,
    engine: String,
    token: String,
    drain: Duration,
    templates: TempDir,
}

impl Baseline {
    /// Takes the files to add from `main` of a repository that Slipway has deployed, so that both sides add the same.
    ///
    /// # Errors
    /// When they are not there.
    pub async fn new(
        git: &GitServer,
        deployed: &str,
        engine: &str,
        token: &str,
        drain: Duration,
    ) -> Result<Self> {
        let templates = tempfile::tempdir()?;
        for file in GENERATED {
            let contents = git.git(deployed, &["show", &format!("main:{file}")], b"").await?;
            std::fs::write(templates.path().join(file), contents)?;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/bench-baseline.sh");
        let (engine, token) = (engine.to_owned(), token.to_owned());
        Ok(Self { script, engine, token, drain, templates })
    }

    /// Deploys the repository at `url` as `app`; answers how long that took.
    ///
    /// # Errors
    /// When a command of it fails, with what it said.
    pub async fn deploy(&self, app: &str, url: &str) -> Result<Duration> {
        let mut command = Command::new("bash");
        command
            .arg(&self.script)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.templates.path())
            .env("DOCKER_HOST", &self.engine)
            .env("BENCH_APP", app)
            .env("BENCH_REPOSITORY_URL", url)
            .env("BENCH_REPOSITORY_TOKEN", &self.token)
            .env("BENCH_TEMPLATES", self.templates.path())
            .env("BENCH_DRAIN_SECONDS", format!("{:.3}", self.drain.as_secs_f64()))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let started = Instant::now();
        let output = command.output().await.context("starting the script")?;
        let taken = started.elapsed();
        if !output.status.success() {
            bail!("bench-baseline.sh: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(taken)
    }
}
