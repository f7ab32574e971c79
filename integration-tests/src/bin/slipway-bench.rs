//! `slipway-bench`: takes every figure of BENCHMARKS.md and prints one line for each. Missed goals are printed, not
//! failures. SLIPWAY_BIN names the `slipway` to measure; BENCH_REPETITIONS how often deployments are repeated.

use anyhow::{Context as _, Result, bail};
use slipway_integration_tests::bench::figure::Figure;
use slipway_integration_tests::bench::server::WorkerLoad;
use slipway_integration_tests::bench::{accept, deploy, disk, idle, listing, null_pipeline};
use slipway_integration_tests::docker_engine;

/// The parts in the order in which they are taken when none is named.
const PARTS: [&str; 5] = ["idle", "accept", "list", "null-jobs", "deploy"];
const REPETITIONS_DEFAULT: u32 = 7;

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

async fn deploy_figures() -> Result<()> {
    let repetitions = match std::env::var("BENCH_REPETITIONS") {
        Ok(text) => text.parse().context("BENCH_REPETITIONS is no number")?,
        Err(_) => REPETITIONS_DEFAULT,
    };
    match docker_engine::docker_host().await {
        Ok(engine) => print(&deploy::measure(&engine, repetitions).await?),
        Err(reason) => docker_engine::skip(&reason),
    }
    Ok(())
}

fn print(figures: &[Figure]) {
    for figure in figures {
        println!("{figure}");
    }
}
