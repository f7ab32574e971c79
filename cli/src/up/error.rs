//! Why `slipway up` cannot start, or not stop in time.

use std::path::PathBuf;

use slipway_common::config::ConfigError;
use slipway_common::embedded::OpenError;
use slipway_common::secrets::SecretError;
use slipway_common::store::StoreError;

use crate::exit::Exit;

/// Why `slipway up` ended with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    /// The settings cannot be used.
    #[error("the settings cannot be used")]
    Config(#[source] ConfigError),
    /// There is nowhere to keep data.
    #[error("there is no home folder to keep data in; name a folder with --data-dir")]
    NoDataDir,
    /// The settings could not be printed.
    #[error("the settings cannot be printed")]
    PrintConfig(#[source] toml::ser::Error),
    /// The filter of log lines cannot be read.
    #[error("setting `log.filter`: {reason}")]
    LogFilter {
        /// What is wrong with it.
        reason: String,
    },
    /// Signals cannot be watched.
    #[error("signals cannot be watched")]
    Signals(#[source] std::io::Error),
    /// The data folder cannot be opened.
    #[error("the data folder cannot be opened")]
    Open(#[source] OpenError),
    /// The data folder cannot be read or written.
    #[error("the data folder cannot be prepared")]
    Prepare(#[source] StoreError),
    /// The sealing key cannot be read or made.
    #[error("the sealing key cannot be used")]
    Key(#[source] SecretError),
    /// A file in the data folder cannot be written.
    #[error("the file {path} cannot be written", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The first token cannot be made.
    #[error("the first token cannot be made")]
    FirstToken(#[source] slipway_api::FirstTokenError),
    /// The API cannot be started.
    #[error("the API cannot be started")]
    Api(#[source] slipway_api::ApiError),
    /// The worker cannot be started.
    #[error("the worker cannot be started")]
    Worker(#[source] slipway_worker::SetupError),
    /// The gateway cannot be started.
    #[error("the gateway cannot be started")]
    Gateway(#[source] slipway_gateway::GatewayError),
    /// What runs did not end in time; what it had is taken up again at the next start.
    #[error(
        "not everything stopped within {limit_s} s; unfinished jobs are taken up again at the next start"
    )]
    StopTimeout {
        /// How long it was waited.
        limit_s: u64,
    },
}

impl UpError {
    /// The exit code it means: 2 for what the command line or a setting is at fault for.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::NoDataDir | Self::LogFilter { .. } => Exit::Usage,
            Self::PrintConfig(_)
            | Self::Signals(_)
            | Self::Open(_)
            | Self::Prepare(_)
            | Self::Key(_)
            | Self::Write { .. }
            | Self::FirstToken(_)
            | Self::Api(_)
            | Self::Worker(_)
            | Self::Gateway(_)
            | Self::StopTimeout { .. } => Exit::Failed,
        }
    }
}
