//! `slipway-bench`: takes every figure of BENCHMARKS.md and prints one line for each. Missed goals are printed, not
//! failures. SLIPWAY_BIN, SLIPWAY_API_BIN and SLIPWAY_WORKER_BIN name the programs to measure; BENCH_REPETITIONS says
//! how often deployments are repeated, BENCH_SECONDS how long a rate is kept, BENCH_JOBS how many jobs pass, BENCH_FLEET how
//! many deployments a cluster has, BENCH_PROJECTS how many projects are registered.

use anyhow::{Context as _, Result, bail};
use slipway_integration_tests::bench::figure::Figure;
use slipway_integration_tests::bench::server::WorkerLoad;
use slipway_integration_tests::bench::{
    accept, cluster, deploy, disk, growth, hooks, idle, listing, null_pipeline, projects, quorum_accept,
    scaler, workers,
};
use slipway_integration_tests::control_plane::ControlPlane;
use slipway_integration_tests::docker_engine;

/// The parts in the order in which they are taken when none is named.
const PARTS: [&str; 12] = [
    "idle",
    "accept",
    "list",
    "null-jobs",
    "accept-quorum",
    "workers",
    "memory",
    "cluster",
    "scaler",
    "hooks",
    "projects",
    "deploy",
];
const REPETITIONS_DEFAULT: u32 = 7;
const SECONDS_DEFAULT: u32 = 30;
const JOBS_DEFAULT: u32 = 20_000;
const FLEET_DEFAULT: u32 = 1_000;
const PROJECTS_DEFAULT: u32 = 10_000;
/// Most jobs that do nothing, whatever BENCH_JOBS says: more make the figure no better.
const NULL_JOBS_MAX: u32 = 2_000;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [null_pipeline::ARGUMENT, slots] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        println!("{}", null_pipeline::run_here(slots.parse().context("the number of slots")?).await?);
        return Ok(());
    }
    if let Some(unknown) = arguments.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part `{unknown}`; parts are {}", PARTS.join(", "));
    }
    for part in PARTS.iter().filter(|part| arguments.is_empty() || arguments.iter().any(|it| it == *part)) {
        match *part {
            "idle" => print(&idle::measure(docker_engine::docker_host().await.ok().as_deref()).await?),
            "accept" => accept_figures().await?,
            "list" => print(&listing::measure().await?),
            "null-jobs" => print(&null_pipeline::measure().await?),
            "accept-quorum" => {
                print(&quorum_accept::measure(number("BENCH_SECONDS", SECONDS_DEFAULT)?).await?);
            }
            "workers" => {
                print(&workers::measure(number("BENCH_JOBS", JOBS_DEFAULT)?.min(NULL_JOBS_MAX)).await?);
            }
            "memory" => print(&growth::measure(number("BENCH_JOBS", JOBS_DEFAULT)?).await?),
            "cluster" => cluster_figures().await?,
            "scaler" => scaler_figures().await?,
            "hooks" => print(&hooks::measure().await?),
            "projects" => print(&projects::measure(number("BENCH_PROJECTS", PROJECTS_DEFAULT)?).await?),
            _ => deploy_figures().await?,
        }
    }
    Ok(())
}

/// The floor first, then acceptance with the worker idle and with it busy.
async fn accept_figures() -> Result<()> {
    let floor = disk::sync_latency().await?;
    print(&[
        Figure::told("disk-sync-4k-p50", floor.median_ms(), "ms"),
        Figure::told("disk-sync-4k-p99", floor.per_mille_ms(990), "ms"),
    ]);
    for load in [WorkerLoad::Idle, WorkerLoad::Busy] {
        print(&accept::measure(load, &floor).await?);
    }
    Ok(())
}

async fn cluster_figures() -> Result<()> {
    if ControlPlane::available().await {
        print(&cluster::measure(number("BENCH_FLEET", FLEET_DEFAULT)?).await?);
    }
    Ok(())
}

async fn scaler_figures() -> Result<()> {
    if ControlPlane::available().await {
        print(&scaler::measure().await?);
    }
    Ok(())
}

async fn deploy_figures() -> Result<()> {
    let repetitions = number("BENCH_REPETITIONS", REPETITIONS_DEFAULT)?;
    match docker_engine::docker_host().await {
        Ok(engine) => print(&deploy::measure(&engine, repetitions).await?),
        Err(reason) => docker_engine::skip(&reason),
    }
    Ok(())
}

/// The number in an environment variable, at least 1.
fn number(variable: &str, default: u32) -> Result<u32> {
    match std::env::var(variable) {
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            Ok(_) | Err(_) => bail!("{variable} is no number from 1 on: {text}"),
        },
        Err(_) => Ok(default),
    }
}

fn print(figures: &[Figure]) {
    for figure in figures {
        println!("{figure}");
    }
}
