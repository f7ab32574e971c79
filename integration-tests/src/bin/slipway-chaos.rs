//! `slipway-chaos`: a long run of random faults with the effect ledger as the judge. Prints a table; exits with 1 on
//! any violation. CHAOS_JOBS, CHAOS_FAULTS, CHAOS_SEED, CHAOS_NODES, CHAOS_APIS, CHAOS_WORKERS, CHAOS_RATE, CHAOS_PLANT
//! and CHAOS_DIR change it; with the same seed, jobs, faults and parts it draws the same faults.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context as _;
use slipway_common::plant::Plant;
use slipway_integration_tests::chaos::{ChaosSettings, Shape, run};

const JOBS: usize = 10_000;
const FAULTS: usize = 100;
const APIS: usize = 2;
const WORKERS: usize = 3;
const NODES: usize = 3;
/// Jobs a second; two cores carry out about as many beside everything else that runs.
const RATE: f64 = 4.0;
const FOLDER: &str = "target/chaos-run";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let settings = settings()?;
    let planted = settings.plant.as_deref().unwrap_or("nothing");
    println!(
        "chaos: seed {}, {} jobs, {} faults, planted: {planted}",
        settings.seed, settings.jobs, settings.faults
    );
    let report = run(&settings).await?;
    println!("{report}");
    let folder = settings.folder.join(format!("seed-{}", settings.seed));
    println!("chaos: report, plan and logs are in {}", folder.display());
    println!(
        "chaos: again with CHAOS_SEED={} CHAOS_JOBS={} CHAOS_FAULTS={} CHAOS_NODES={} make chaos",
        settings.seed, settings.jobs, settings.faults, settings.shape.brokers
    );
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn settings() -> anyhow::Result<ChaosSettings> {
    let plant: Option<String> = std::env::var("CHAOS_PLANT").ok().filter(|name| !name.is_empty());
    if let Some(name) = &plant {
        let known: Vec<&str> = Plant::ALL.into_iter().map(Plant::as_str).collect();
        anyhow::ensure!(known.contains(&name.as_str()), "CHAOS_PLANT is one of {}", known.join(", "));
    }
    // The low half of a fresh identifier is random.
    let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
    let shape = Shape {
        apis: number("CHAOS_APIS", APIS)?,
        workers: number("CHAOS_WORKERS", WORKERS)?,
        brokers: number("CHAOS_NODES", NODES)?,
    };
    anyhow::ensure!(
        shape.apis > 0 && shape.workers > 0 && shape.brokers > 0,
        "there must be one of each part"
    );
    Ok(ChaosSettings {
        seed: number("CHAOS_SEED", random & 0xFFFF_FFFF)?,
        jobs: number("CHAOS_JOBS", JOBS)?,
        faults: number("CHAOS_FAULTS", FAULTS)?,
        shape,
        rate: number("CHAOS_RATE", RATE)?,
        plant,
        folder: PathBuf::from(std::env::var("CHAOS_DIR").unwrap_or_else(|_| FOLDER.to_owned())),
    })
}

fn number<T: FromStr>(variable: &str, default: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => text.parse().with_context(|| format!("{variable} is no number")),
        _ => Ok(default),
    }
}
