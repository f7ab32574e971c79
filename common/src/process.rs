//! What every service process does at its start and end: settings, data folder, sealing key, logs, signals.

mod service;
mod signals;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use service::{Work, serve};
pub use signals::Signals;

use crate::config::{Config, ConfigError};
use crate::health::{self, HealthError, ProbeError};
use crate::secrets::{Sealer, SecretError};
use crate::telemetry;

/// The sealing key's file in the data folder.
pub const SECRET_KEY_FILE: &str = "secret.key";
/// Longest time from the first signal to the end.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a service process cannot start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The settings cannot be used.
    #[error("the settings cannot be used")]
    Config(#[source] ConfigError),
    /// A part's settings cannot be used.
    #[error("the settings cannot be used")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is nowhere to keep data.
    #[error("there is no home folder to keep data in; set `data.dir`")]
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
    /// The runtime or its signals could not be set up.
    #[error("the system refuses what every process needs")]
    System(#[source] std::io::Error),
    /// The sealing key cannot be read or made.
    #[error("the sealing key cannot be used")]
    Key(#[source] SecretError),
    /// The sealing key's folder cannot be written.
    #[error("the folder of the sealing key {path} cannot be written", path = path.display())]
    KeyFolder {
        /// The key's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The health listener cannot be started.
    #[error("the health listener cannot be started")]
    Health(#[source] HealthError),
    /// The process that was asked is not well.
    #[error("the process is not well")]
    Probe(#[source] ProbeError),
    /// What runs did not end in time; another process takes up what it had.
    #[error("not everything stopped within {limit_s} s; unfinished jobs are taken up by others")]
    StopTimeout {
        /// How long it was waited.
        limit_s: u64,
    },
}

impl ProcessError {
    /// The exit code it means: 2 for what a setting is at fault for, otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Settings(_) | Self::NoDataDir | Self::LogFilter { .. } => 2,
            Self::PrintConfig(_)
            | Self::System(_)
            | Self::Key(_)
            | Self::KeyFolder { .. }
            | Self::Health(_)
            | Self::Probe(_)
            | Self::StopTimeout { .. } => 1,
        }
    }

    /// Says on standard error what went wrong, and answers the exit code.
    #[must_use]
    pub fn report(&self) -> u8 {
        eprintln!("error: {}", telemetry::chain(self));
        self.exit_code()
    }
}

/// The settings of one process, with the data folder in them.
#[derive(Debug, Clone)]
pub struct Startup {
    /// All settings.
    pub config: Config,
    /// The data folder, absolute.
    pub data_dir: PathBuf,
}

impl Startup {
    /// Reads the settings: defaults, `file`, `variables`.
    ///
    /// # Errors
    /// When they cannot be used, or there is nowhere to keep data.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ProcessError> {
        let mut config = Config::load(file, variables).map_err(ProcessError::Config)?;
        let given = Some(&config.data.dir).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let data_dir = given.or_else(data_dir_of_this_process).ok_or(ProcessError::NoDataDir)?;
        let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
        config.data.dir = data_dir.display().to_string();
        Ok(Self { config, data_dir })
    }

    /// Starts logging as the settings say.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn start_logs(&self) -> Result<(), ProcessError> {
        telemetry::start(&self.config.log.filter, self.config.log.format)
            .map_err(|error| ProcessError::LogFilter { reason: error.to_string() })
    }

    /// The key that seals secrets: the configured file, or the one in the data folder. One that is missing is made,
    /// once, however many processes start together.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn sealer(&self) -> Result<Sealer, ProcessError> {
        let path = match self.config.secrets.key_file.as_str() {
            "" => self.data_dir.join(SECRET_KEY_FILE),
            named => PathBuf::from(named),
        };
        let _made_alone = if path.exists() { None } else { Some(lock_beside(&path)?) };
        Sealer::from_key_file(&path).map_err(ProcessError::Key)
    }

    /// The settings in force as TOML, without passwords.
    ///
    /// # Errors
    /// When they cannot be written as TOML.
    pub fn print_config(&self) -> Result<String, ProcessError> {
        toml::to_string(&self.config.masked()).map_err(ProcessError::PrintConfig)
    }
}

/// The environment's variables, as far as they are UTF-8: what is not is no setting of ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Waits for a signal, then for `stop` within [`STOP_TIMEOUT`]; a second signal ends the wait at once. Answers the
/// exit code.
///
/// # Errors
/// When what runs does not end in time.
pub async fn run_until_stopped<F: Future<Output = ()>>(
    signals: &mut Signals,
    stop: impl FnOnce() -> F,
) -> Result<u8, ProcessError> {
    let signal = signals.next().await;
    tracing::info!(signal, "stopping; a second signal ends the process at once");
    tokio::select! {
        stopped = tokio::time::timeout(STOP_TIMEOUT, stop()) => match stopped {
            Ok(()) => Ok(0),
            Err(_) => Err(ProcessError::StopTimeout { limit_s: STOP_TIMEOUT.as_secs() }),
        },
        _ = signals.next() => Ok(130),
    }
}

/// Asks the process that runs with these settings whether it is alive and ready.
///
/// # Errors
/// When it is not.
pub async fn probe(config: &Config) -> Result<(), ProcessError> {
    health::probe(config.health.listen, "/livez").await.map_err(ProcessError::Probe)?;
    health::probe(config.health.listen, "/readyz").await.map_err(ProcessError::Probe)
}

/// Runs `main` on a runtime of its own; answers its exit code.
///
/// # Errors
/// When the runtime cannot be made, and what `main` answers.
pub fn block_on(main: impl Future<Output = Result<u8, ProcessError>>) -> Result<u8, ProcessError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ProcessError::System)?;
    let ended = runtime.block_on(main);
    // What still blocks a thread must not keep a process that was told to end.
    runtime.shutdown_background();
    ended
}

/// The default data folder: the system's for root, otherwise the user's. `None` without a home folder.
#[must_use]
pub fn default_data_dir(is_root: bool, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/slipway"));
    }
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("slipway"))
}

fn data_dir_of_this_process() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    // The owner of the process's own entry says who it runs as.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    default_data_dir(is_root, |name| std::env::var(name).ok())
}

/// A lock file beside `path`, whose folder is made; held until dropped.
fn lock_beside(path: &Path) -> Result<std::fs::File, ProcessError> {
    let fail = |source| ProcessError::KeyFolder { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(name).map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
