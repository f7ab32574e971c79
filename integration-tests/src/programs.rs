//! The programs under test: each the one that a variable of the environment names, otherwise built once per test process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use tokio::sync::Mutex;

/// A program of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// `slipway`; named by `SLIPWAY_BIN`.
    Slipway,
    /// `slipway-api`; named by `SLIPWAY_API_BIN`.
    Api,
    /// `slipway-worker`; named by `SLIPWAY_WORKER_BIN`.
    Worker,
    /// `slipway-gateway`; named by `SLIPWAY_GATEWAY_BIN`.
    Gateway,
    /// `slipway-scaler`; named by `SLIPWAY_SCALER_BIN`.
    Scaler,
}

impl Program {
    /// Its variable, its package and its name.
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::Slipway => ["SLIPWAY_BIN", "slipway-cli", "slipway"],
            Self::Api => ["SLIPWAY_API_BIN", "slipway-api", "slipway-api"],
            Self::Worker => ["SLIPWAY_WORKER_BIN", "slipway-worker", "slipway-worker"],
            Self::Gateway => ["SLIPWAY_GATEWAY_BIN", "slipway-gateway", "slipway-gateway"],
            Self::Scaler => ["SLIPWAY_SCALER_BIN", "slipway-scaler", "slipway-scaler"],
        }
    }

    /// Where it is.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn path(self) -> anyhow::Result<PathBuf> {
        static BUILT: Mutex<Option<HashMap<Program, PathBuf>>> = Mutex::const_new(None);
        let [variable, package, name] = self.names();
        if let Some(named) = std::env::var_os(variable) {
            return Ok(PathBuf::from(named));
        }
        let mut built = BUILT.lock().await;
        let built = built.get_or_insert_default();
        if let Some(program) = built.get(&self) {
            return Ok(program.clone());
        }
        let program = build(package, name).await?;
        built.insert(self, program.clone());
        Ok(program)
    }
}

async fn build(package: &str, name: &str) -> anyhow::Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package", package, "--bin", name, "--manifest-path"])
        .arg(manifest)
        .stdin(Stdio::null())
        .status()
        .await
        .context("starting cargo")?;
    ensure!(status.success(), "{name} could not be built");
    let own = std::env::current_exe().context("finding the build folder")?;
    let folder = own.parent().context("the build folder has no parent")?;
    // Tests are one folder further down than programs.
    let folder = if folder.ends_with("deps") { folder.parent().context("no parent")? } else { folder };
    Ok(folder.join(name))
}
