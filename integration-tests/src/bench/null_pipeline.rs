//! A thousand jobs through a pipeline whose stages do nothing: what queue, leases, journal and consume loop cost.
//!
//! The worker and the embedded adapter are the real ones. Each job names an image and brings the facts of `build` and
//! `apply` with it: `clone`, `template` and `commit` run and find nothing to do, the other two are passed over as after
//! a resume. It runs in a process of its own, so that its memory is nobody else's.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_common::Backend;
use slipway_common::config::Config;
use slipway_common::contract::sample::deploy_job;
use slipway_common::embedded::{Embedded, EmbeddedSettings};
use slipway_common::model::{DeploymentState, Facts, ImageFact, InventoryFact, JobKind, JobMessage};
use slipway_common::secrets::{KEY_LENGTH_BYTES, Sealer};
use slipway_common::store::{DeploymentFilter, Page};
use slipway_common::submit::submit;
use slipway_worker::{Worker, WorkerSettings};
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::figure::Figure;
use super::memory::{Memory, mib};

/// Argument with which the bench program runs [`run_here`].
pub const ARGUMENT: &str = "null-pipeline-child";
const JOBS: u32 = 1_000;
const TIMEOUT: Duration = Duration::from_secs(300);
/// Numbers of slots that are measured: the default, and enough for commits to share a write to the disk.
const SLOTS: [usize; 2] = [2, 8];

/// What the process of its own tells.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    seconds: f64,
    resident_before_kib: u32,
    peak_kib: u32,
}

/// Measures with each number of slots.
///
/// # Errors
/// When the process of its own fails.
pub async fn measure() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for slots in SLOTS {
        let told = run_in_child(slots).await?;
        let name = |what: &str| format!("null-jobs-{slots}-slots-{what}");
        figures.extend([
            Figure::told(name("rate"), f64::from(JOBS) / told.seconds, "jobs/s"),
            Figure::told(name("resident-before"), mib(told.resident_before_kib), "MiB"),
            Figure::told(name("resident-peak"), mib(told.peak_kib), "MiB"),
        ]);
    }
    Ok(figures)
}

async fn run_in_child(slots: usize) -> Result<Told> {
    let output = Command::new(std::env::current_exe()?)
        .args([ARGUMENT, &slots.to_string()])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("starting the process of its own")?;
    if !output.status.success() {
        bail!("the null pipeline failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("reading what the null pipeline tells")
}

/// Does the work in this process and tells the result as one line of JSON.
///
/// # Errors
/// When a job does not end as a success within five minutes.
pub async fn run_here(slots: usize) -> Result<String> {
    let data = tempfile::tempdir()?;
    let variables = [
        ("SLIPWAY__DOCKER__HOST".to_owned(), "unix:///nonexistent/docker.sock".to_owned()),
        ("SLIPWAY__WORKER__SLOTS".to_owned(), slots.to_string()),
        // There is nothing to look at, and no engine to ask.
        ("SLIPWAY__WORKER__OBSERVE_INTERVAL_MS".to_owned(), "600000".to_owned()),
    ];
    let settings = WorkerSettings::from_config(&Config::load(None, variables)?, data.path())?;
    let embedded = Embedded::open(data.path(), &EmbeddedSettings::default())?;
    let backend = embedded.backend();
    for index in 0..JOBS {
        submit(&backend, &job(index)?).await?;
    }
    let resident_before_kib = Memory::of(std::process::id())?.resident_kib;
    let shutdown = CancellationToken::new();
    let started = Instant::now();
    let sealer = Sealer::new(&[7; KEY_LENGTH_BYTES]);
    let worker = Worker::start(settings, backend.clone(), sealer, shutdown.clone()).await?;
    wait_until_empty(&backend).await?;
    let seconds = started.elapsed().as_secs_f64();
    shutdown.cancel();
    worker.stopped().await;
    let filter = DeploymentFilter { state: Some(DeploymentState::Active), ..DeploymentFilter::default() };
    let succeeded = backend.store.deployments(&filter, &Page::default()).await?.total;
    ensure!(succeeded == u64::from(JOBS), "only {succeeded} of {JOBS} jobs succeeded");
    let peak_kib = Memory::of(std::process::id())?.peak_kib;
    Ok(serde_json::to_string(&Told { seconds, resident_before_kib, peak_kib })?)
}

/// A job of a project of its own whose stages have nothing to do.
///
/// # Errors
/// When its image has no valid name.
pub(super) fn job(index: u32) -> Result<JobMessage> {
    let mut message = deploy_job(&format!("null-{index}"), Timestamp::now());
    let digest = format!("sha256:{}", "0".repeat(64));
    if let JobKind::Deploy { spec, facts } = &mut message.kind {
        spec.image = Some("bench/null:1".parse().context("the image's name")?);
        *facts = Facts {
            image: Some(ImageFact {
                digest,
                tag: "bench/null:1".to_owned(),
                reused: true,
                pushed: None,
                port: None,
            }),
            inventory: Some(InventoryFact {
                url: None,
                gateway_port: None,
                namespace: None,
                objects: Vec::new(),
            }),
            ..Facts::default()
        };
    }
    Ok(message)
}

async fn wait_until_empty(backend: &Backend) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let depth = backend.queue.depth(Timestamp::now()).await?;
        if depth.ready + depth.parked + depth.claimed == 0 {
            ensure!(depth.buried == 0, "{} jobs were set aside", depth.buried);
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the jobs do not end: {depth:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
