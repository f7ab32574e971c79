//! `slipway-api`: the API as a process of its own, over RabbitMQ and Redis. Any number of them may run.
//!
//! It starts whatever is reachable; what is not is waited for, and `/readyz` names it.

#[path = "main/beside.rs"]
mod beside;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use slipway_api::{Api, ApiHandle, ApiSettings, Beside, FirstToken};
use slipway_common::Backend;
use slipway_common::distributed::{Distributed, DistributedSettings};
use slipway_common::health;
use slipway_common::process::{self, ProcessError, STOP_TIMEOUT, Signals, Startup};
use slipway_common::telemetry::chain;

use beside::OfTheInstallation;

/// Pause between two attempts to make the first token.
const FIRST_TOKEN_PAUSE: Duration = Duration::from_millis(500);
/// Exit code of an end that a second signal asked for.
const INTERRUPTED: u8 = 130;

/// Takes requests and answers questions; the work is done by slipway-worker.
#[derive(Debug, Parser)]
#[command(name = "slipway-api", version, max_term_width = 100)]
struct Args {
    /// Settings file (TOML) over the defaults; variables SLIPWAY__SECTION__KEY override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the settings, print those in force without passwords, and exit.
    #[arg(long)]
    check_config: bool,
    /// Ask the process that runs with these settings whether it is ready, and exit: 0 when it is.
    #[arg(long, conflicts_with = "check_config")]
    probe: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = process::block_on(run(&args));
    ExitCode::from(ended.unwrap_or_else(|error| error.report()))
}

async fn run(args: &Args) -> Result<u8, ProcessError> {
    let startup = Startup::load(args.config.as_deref(), process::environment())?;
    if args.check_config {
        println!("{}", startup.print_config()?.trim_end());
        return Ok(0);
    }
    if args.probe {
        health::probe(startup.config.server.listen, "/readyz").await.map_err(ProcessError::Probe)?;
        return Ok(0);
    }
    serve(&startup).await
}

async fn serve(startup: &Startup) -> Result<u8, ProcessError> {
    startup.start_logs()?;
    let config = &startup.config;
    let sealer = startup.sealer()?;
    let mut signals = Signals::watch()?;
    let settings = DistributedSettings::from_config(config, 0)
        .map_err(|error| ProcessError::Settings(Box::new(error)))?;
    let distributed = Distributed::open(&settings);
    let backend = distributed.backend();
    let installation = Arc::new(OfTheInstallation(distributed.clone()));
    let beside = Beside { companion: Some(installation.clone()), maintenance: Some(installation) };
    let api_settings = ApiSettings::from_config(config, env!("CARGO_PKG_VERSION"));
    let mut api = Api::start(api_settings, backend.clone(), sealer, beside)
        .map_err(|error| ProcessError::Settings(Box::new(error)))?;
    tracing::info!(address = %api.addr(), "the API listens");
    let first_token = FirstToken::new(&config.auth.first_token_file, &startup.data_dir);
    let token_maker = tokio::spawn(make_first_token(first_token, backend));

    let ended = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping; a second signal ends the process at once");
            0
        }
        stopped = api.stopped() => {
            let error = stopped.err().map(|error| chain(&error)).unwrap_or_default();
            tracing::error!(error, "the API has ended by itself");
            1
        }
    };
    token_maker.abort();
    tokio::select! {
        stopped = tokio::time::timeout(STOP_TIMEOUT, stop(&api, &distributed)) => match stopped {
            Ok(()) => Ok(ended),
            Err(_) => Err(ProcessError::StopTimeout { limit_s: STOP_TIMEOUT.as_secs() }),
        },
        _ = signals.next() => Ok(INTERRUPTED),
    }
}

/// No new requests, then the end of those under way, then the connections they needed.
async fn stop(api: &ApiHandle, distributed: &Distributed) {
    api.stop(true).await;
    distributed.close().await;
}

/// Makes the first token as soon as the store can be asked whether there is one.
async fn make_first_token(first_token: FirstToken, backend: Backend) {
    loop {
        match first_token.ensure(&backend).await {
            Ok(made) => {
                if made {
                    tracing::info!("the first token was stored");
                }
                return;
            }
            Err(error) if error.may_pass() => tracing::debug!(error = %chain(&error), "no first token yet"),
            Err(error) => {
                tracing::error!(error = %chain(&error), "the first token cannot be made; it is tried again");
            }
        }
        tokio::time::sleep(FIRST_TOKEN_PAUSE).await;
    }
}
