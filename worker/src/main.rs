//! `slipway-worker`: a worker as a process of its own, on RabbitMQ and Redis. Any number may run; on one host they
//! may share the data folder, whose mirrors are locked one by one, but not the health address.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use slipway_common::process::{self, ProcessError, Startup, Work};
use slipway_worker::{Worker, WorkerSettings};

/// Works on jobs: clones, generates, commits, builds and applies.
#[derive(Debug, Parser)]
#[command(name = "slipway-worker", version, max_term_width = 100)]
struct Cli {
    /// Configuration file (TOML); environment variables SLIPWAY__SECTION__KEY count over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings in force, without passwords, and end.
    #[arg(long, conflicts_with = "probe")]
    check_config: bool,
    /// Ask the worker that runs with these settings whether it is alive and ready; end with 0 if so, otherwise 1.
    #[arg(long)]
    probe: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = process::block_on(run(&cli));
    ExitCode::from(ended.unwrap_or_else(|error| error.report()))
}

async fn run(cli: &Cli) -> Result<u8, ProcessError> {
    let startup = Startup::load(cli.config.as_deref(), process::environment())?;
    if cli.check_config {
        println!("{}", startup.print_config()?.trim_end());
        return Ok(0);
    }
    if cli.probe {
        return process::probe(&startup.config).await.map(|()| 0);
    }
    startup.start_logs()?;
    let settings = WorkerSettings::from_config(&startup.config, &startup.data_dir).map_err(refused)?;
    let sealer = startup.sealer()?;
    let slots = u16::try_from(settings.slots).unwrap_or(u16::MAX);
    process::serve("slipway-worker", &startup, slots, async |backend, stop| {
        let worker = Worker::start(settings, backend, sealer, stop).await.map_err(refused)?;
        Ok(Work {
            liveness: worker.liveness().clone(),
            metrics: Box::new(worker.metrics()),
            unready: Box::new(worker.unready()),
            stopped: Box::pin(worker.stopped()),
        })
    })
    .await
}

fn refused(error: slipway_worker::SetupError) -> ProcessError {
    ProcessError::Settings(Box::new(error))
}
