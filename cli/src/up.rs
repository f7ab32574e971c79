//! `slipway up`: API, worker and gateway in one process, on the embedded adapter. This is where adapters are chosen.

mod announce;
mod error;
mod front_door;
mod housekeeping;
mod inside;
mod services;
mod settings;
mod signals;
mod traffic;

use std::time::Duration;

use slipway_common::telemetry;

use crate::args::UpArgs;
use crate::exit::Exit;

use error::UpError;
use services::Services;
use settings::UpSettings;
use signals::Signals;

/// Longest time from the first signal to the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs until a signal ends it.
pub(crate) async fn run(args: UpArgs) -> Exit {
    match serve(&args).await {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {}", telemetry::chain(&error));
            error.exit()
        }
    }
}

async fn serve(args: &UpArgs) -> Result<Exit, UpError> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        // What is not UTF-8 is no setting of ours.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    let settings = UpSettings::resolve(args, variables)?;
    if args.check_config {
        announce::print_config(&settings)?;
        return Ok(Exit::Done);
    }
    telemetry::start(&settings.config.log.filter, settings.config.log.format)
        .map_err(|error| UpError::LogFilter { reason: error.to_string() })?;
    let mut signals = Signals::watch().map_err(UpError::Signals)?;
    let mut services = Services::start(&settings).await?;
    announce::print(&settings, &services).await;
    announce::write_up_file(&settings, &services)?;

    let ended_by = signals.first_or(services.failed()).await;
    announce::remove_up_file(&settings);
    let failed = match ended_by {
        signals::EndedBy::Signal(name) => {
            tracing::info!(signal = name, "stopping; a second signal ends the process at once");
            false
        }
        signals::EndedBy::Service(name) => {
            tracing::error!(service = name, "a part of the server has ended; stopping the others");
            true
        }
    };
    tokio::select! {
        stopped = tokio::time::timeout(STOP_TIMEOUT, services.stop()) => match stopped {
            Ok(()) if failed => Ok(Exit::Failed),
            Ok(()) => Ok(Exit::Done),
            Err(_) => Err(UpError::StopTimeout { limit_s: STOP_TIMEOUT.as_secs() }),
        },
        () = signals.another() => Ok(Exit::Interrupted),
    }
}
