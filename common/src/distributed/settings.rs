//! Settings of the distributed adapter, read from the configuration; passwords come from their files.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::{BrokerConfig, Config, RedisConfig};

/// Settings of the distributed adapter.
#[derive(Debug, Clone)]
pub struct DistributedSettings {
    /// RabbitMQ.
    pub broker: BrokerSettings,
    /// Redis.
    pub redis: RedisSettings,
    /// Jobs this process works on at once: as many deliveries are taken. 0 in a process that claims none.
    pub slots: u16,
    /// How long finished jobs and reservations are known.
    pub keep_finished: Duration,
}

/// Settings of the broker.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Nodes of one cluster, tried in turn.
    pub urls: Vec<SecretString>,
    /// User and password that replace those of the addresses.
    pub login: Option<(String, SecretString)>,
    /// Further certificates to trust, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Beginning of every name.
    pub prefix: String,
    /// Heartbeat of a connection.
    pub heartbeat: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for a confirmation.
    pub confirm_timeout: Duration,
    /// How often broker and belief are compared.
    pub watch_interval: Duration,
    /// Longest time a delivery is held.
    pub delivery_hold_max: Duration,
    /// Deliveries before the broker sets a message aside.
    pub delivery_limit: u32,
    /// Most jobs in each job queue.
    pub queue_max_jobs: u32,
    /// How long the ledger is kept; for ever when absent.
    pub ledger_max_age: Option<Duration>,
    /// How large the ledger may grow; without limit when absent.
    pub ledger_max_bytes: Option<u64>,
}

/// Settings of Redis.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Address, unless Sentinel knows it; its database number counts either way.
    pub url: SecretString,
    /// Sentinels, `host:port`; empty for none.
    pub sentinels: Vec<String>,
    /// The primary's name at the sentinels.
    pub master_name: String,
    /// User (may be empty) and password that replace those of the address.
    pub login: Option<(String, SecretString)>,
    /// Further certificates to trust, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Beginning of every key.
    pub prefix: String,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer.
    pub response_timeout: Duration,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file named by a setting cannot be read.
    #[error("setting `{key}`: the file {path} cannot be read: {reason}")]
    File {
        /// Which setting.
        key: &'static str,
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl DistributedSettings {
    /// Takes the settings over from the configuration; reads the files it names. `slots` as in [`Self::slots`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn from_config(config: &Config, slots: u16) -> Result<Self, SettingsError> {
        Ok(Self {
            broker: broker(&config.broker)?,
            redis: redis(&config.redis, &config.broker.prefix)?,
            slots,
            keep_finished: Duration::from_secs(u64::from(config.data.keep_finished_days) * 24 * 3_600),
        })
    }
}

fn broker(config: &BrokerConfig) -> Result<BrokerSettings, SettingsError> {
    let password = secret_file("broker.password_file", &config.password_file)?;
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 3_600);
    Ok(BrokerSettings {
        urls: config.urls.iter().map(|url| SecretString::from(url.clone())).collect(),
        login: password.map(|password| (config.username.clone(), password)),
        ca_pem: file("broker.ca_file", &config.ca_file)?,
        prefix: config.prefix.clone(),
        heartbeat: Duration::from_secs(u64::from(config.heartbeat_s)),
        connect_timeout: Duration::from_millis(config.connect_timeout_ms),
        confirm_timeout: Duration::from_millis(config.confirm_timeout_ms),
        watch_interval: Duration::from_millis(config.watch_interval_ms),
        delivery_hold_max: Duration::from_secs(config.delivery_hold_max_s),
        delivery_limit: config.delivery_limit,
        queue_max_jobs: config.queue_max_jobs,
        ledger_max_age: (config.ledger_max_age_days > 0).then(|| days(config.ledger_max_age_days)),
        ledger_max_bytes: (config.ledger_max_bytes > 0).then_some(config.ledger_max_bytes),
    })
}

fn redis(config: &RedisConfig, prefix: &str) -> Result<RedisSettings, SettingsError> {
    let password = secret_file("redis.password_file", &config.password_file)?;
    Ok(RedisSettings {
        url: SecretString::from(config.url.clone()),
        sentinels: config.sentinels.clone(),
        master_name: config.master_name.clone(),
        login: password.map(|password| (config.username.clone(), password)),
        ca_pem: file("redis.ca_file", &config.ca_file)?,
        prefix: prefix.to_owned(),
        connect_timeout: Duration::from_millis(config.connect_timeout_ms),
        response_timeout: Duration::from_millis(config.response_timeout_ms),
    })
}

/// The content of the file a setting names; `None` when it names none.
fn file(key: &'static str, path: &str) -> Result<Option<Vec<u8>>, SettingsError> {
    if path.is_empty() {
        return Ok(None);
    }
    let read = std::fs::read(Path::new(path));
    read.map(Some).map_err(|error| SettingsError::File {
        key,
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// A secret in a file, without the line end an editor leaves.
fn secret_file(key: &'static str, path: &str) -> Result<Option<SecretString>, SettingsError> {
    let Some(bytes) = file(key, path)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| SettingsError::File {
        key,
        path: path.to_owned(),
        reason: "it is not UTF-8".to_owned(),
    })?;
    Ok(Some(SecretString::from(text.trim_end_matches(['\r', '\n']))))
}
