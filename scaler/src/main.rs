//! `slipway-scaler`: checks the settings of an autoscaler. The control loop is not part of this version.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use slipway_scaler::AutoscalerSettings;
use slipway_scaler::settings::RawSettings;

/// Largest settings file that is read.
const SETTINGS_MAX_BYTES: u64 = 64 * 1024;

/// Checks the settings of an autoscaler.
///
/// The control loop, which reads metrics and sets replica counts, is not part of this version.
#[derive(Debug, Parser)]
#[command(name = "slipway-scaler", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a settings file (JSON) is valid, and what it means.
    #[command(after_help = "Example:
  slipway-scaler check-settings autoscaler.json

A smallest file:
  {\"cpu_target\": 0.6, \"constants\": {\"kp\": 1, \"ki\": 0.1, \"kd\": 0}, \"replicas_max\": 10}")]
    CheckSettings {
        /// The file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let Command::CheckSettings { file } = Cli::parse().command;
    match check(&file) {
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
