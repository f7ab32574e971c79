//! `slipway-scaler`: a scaler as a process of its own, on RabbitMQ and Redis, of which any number may run; a check of an
//! autoscaler's settings; and the simulator.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use slipway_common::process::{self, ProcessError, Startup, Work};
use slipway_scaler::settings::RawSettings;
use slipway_scaler::sim::command::{SimulateArgs, simulate};
use slipway_scaler::{AutoscalerSettings, Scaler, ScalerSettings};

/// Largest settings file that is read.
const SETTINGS_MAX_BYTES: u64 = 64 * 1024;

/// Keeps deployments that have an autoscaler at their size.
///
/// Runs beside API and workers. Any number may run: they share the deployments among them.
#[derive(Debug, Parser)]
#[command(name = "slipway-scaler", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    /// Configuration file (TOML); environment variables SLIPWAY__SECTION__KEY count over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings in force, without passwords, and end.
    #[arg(long, conflicts_with = "probe")]
    check_config: bool,
    /// Ask the process that runs with these settings whether it is alive and ready; end with 0 if so, otherwise 1.
    #[arg(long)]
    probe: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a settings file (JSON) is valid, and what it means.
    #[command(after_help = "Example:
  slipway-scaler check-settings autoscaler.json

A smallest file:
  {\"cpu_target\": 0.6, \"replicas_max\": 10}")]
    CheckSettings {
        /// The file.
        file: PathBuf,
    },
    /// Compare controllers on a simulated plant: the HPA, the KPA, the law of Kabernetes and Slipway's own.
    Simulate(Box<SimulateArgs>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Some(Command::CheckSettings { file }) => check_settings(file),
        Some(Command::Simulate(args)) => print_simulation(args),
        None => {
            let ended = process::block_on(run(&cli));
            ExitCode::from(ended.unwrap_or_else(|error| error.report()))
        }
    }
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
    let settings = ScalerSettings::from_config(&startup.config);
    process::serve("slipway-scaler", &startup, 0, async |backend, stop| {
        let scaler = Scaler::start(&settings, backend, &stop);
        Ok(Work {
            liveness: scaler.liveness().clone(),
            metrics: Box::new(scaler.metrics()),
            unready: Box::new(Vec::new),
            stopped: Box::pin(scaler.stopped()),
        })
    })
    .await
}

fn print_simulation(args: &SimulateArgs) -> ExitCode {
    match simulate(args).context("simulate") {
        Ok(text) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check_settings(file: &Path) -> ExitCode {
    match check(file) {
        Ok(settings) => {
            println!("{}", describe(&settings));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: &Path) -> anyhow::Result<AutoscalerSettings> {
    let context = || format!("the settings file {}", file.display());
    let mut text = String::new();
    std::fs::File::open(file)
        .with_context(context)?
        .take(SETTINGS_MAX_BYTES)
        .read_to_string(&mut text)
        .with_context(context)?;
    let raw: RawSettings = serde_json::from_str(&text).with_context(context)?;
    AutoscalerSettings::try_from(raw).with_context(context)
}

fn describe(settings: &AutoscalerSettings) -> String {
    let (kp, ki, kd) = settings.gains();
    let (replicas_min, replicas_max) = settings.replicas();
    format!(
        "valid: cpu_target {}, kp {}, ki {}, kd {}, {} to {} replicas, a decision every {} s over {} s of samples, \
         hold after {} s of silence",
        settings.cpu_target().get(),
        kp.get(),
        ki.get(),
        kd.get(),
        replicas_min.get(),
        replicas_max.get(),
        settings.interval().as_secs(),
        settings.window().as_secs(),
        settings.stale_after().as_secs(),
    )
}
