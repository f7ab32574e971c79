//! Configuration: the defaults file, then a file, then the environment, read into plain sections and checked
//! once. After `load` nothing is missing and the limits fit each other.

mod check;
mod kubernetes;
mod mask;
mod section;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use kubernetes::{DriftConfig, ExposeConfig, KubernetesConfig, PodSecurityConfig};
pub use section::{
    AuthConfig, BrokerConfig, DataConfig, DockerConfig, GatewayConfig, GitConfig, HealthConfig, InboxConfig,
    LogConfig, PipelinesConfig, RedisConfig, ReportsConfig, ScalerConfig, SecretsConfig, ServerConfig,
    SweepsConfig, Synchronous, TemplateConfig, WorkerConfig,
};

use crate::model::request::RequestLimits;
use crate::model::{ServerAddress, TargetName};

/// The defaults, which are also the reference of all settings.
pub const DEFAULTS: &str = include_str!("config/default.toml");
/// Prefix of the environment variables.
pub const ENV_PREFIX: &str = "SLIPWAY";

/// All settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    pub server: ServerConfig,
    /// Deliveries of forges.
    pub inbox: InboxConfig,
    /// How registered projects are looked at.
    pub sweeps: SweepsConfig,
    /// Pipelines that build images.
    pub pipelines: PipelinesConfig,
    /// How results are told.
    pub reports: ReportsConfig,
    /// Who may use it.
    pub auth: AuthConfig,
    /// What is kept on disk.
    pub data: DataConfig,
    /// Keys.
    pub secrets: SecretsConfig,
    /// RabbitMQ.
    pub broker: BrokerConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// Where processes without an API say how they are.
    pub health: HealthConfig,
    /// What a request may ask for.
    pub limits: RequestLimits,
    /// The worker.
    pub worker: WorkerConfig,
    /// Git.
    pub git: GitConfig,
    /// Generated files.
    pub templates: TemplateConfig,
    /// The Docker target.
    pub docker: DockerConfig,
    /// The Kubernetes targets by name.
    #[serde(default)]
    pub kubernetes: BTreeMap<TargetName, KubernetesConfig>,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// The scaler.
    pub scaler: ScalerConfig,
    /// Logs.
    pub log: LogConfig,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A setting is unknown or of the wrong kind.
    #[error("setting `{key}`: {reason}")]
    Setting {
        /// Its path.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Two settings do not fit each other.
    #[error("{0}")]
    Relation(String),
}

impl Config {
    /// Reads the settings: defaults, then `file`, then `environment` (names and values).
    ///
    /// # Errors
    /// When the file cannot be read, a setting is unknown or of the wrong kind, or two do not fit each other.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut builder =
            config::Config::builder().add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::File { path: path.to_owned(), reason: error.to_string() })?;
            builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Toml));
        }
        let environment = config::Environment::with_prefix(ENV_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("templates.ci_runner_tags")
            .with_list_parse_key("broker.urls")
            .with_list_parse_key("redis.sentinels")
            .source(Some(
                environment.into_iter().filter(|(name, _)| name.starts_with("SLIPWAY__")).collect(),
            ));
        let merged = builder.add_source(environment).build().map_err(|error| setting_error("", &error))?;
        let config: Self = serde_path_to_error::deserialize(merged)
            .map_err(|error| setting_error(&error.path().to_string(), error.inner()))?;
        check::check(&config)?;
        Ok(config)
    }
}

impl Config {
    /// The names of all targets; the first is the default.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetName> {
        let docker = self.docker.enabled.then(|| self.docker.name.clone());
        docker.into_iter().chain(self.clusters()).collect()
    }

    /// The names of the targets that are Kubernetes clusters.
    #[must_use]
    pub fn clusters(&self) -> Vec<TargetName> {
        self.kubernetes.keys().cloned().collect()
    }

    /// Those of them whose API server has an address in the settings, with this address.
    #[must_use]
    pub fn servers(&self) -> Vec<(TargetName, ServerAddress)> {
        let address = |cluster: &KubernetesConfig| cluster.server.parse::<ServerAddress>().ok();
        let clusters = self.kubernetes.iter();
        clusters.filter_map(|(name, cluster)| Some((name.clone(), address(cluster)?))).collect()
    }

    /// The settings as they may be shown: passwords in addresses are `***`.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut shown = self.clone();
        shown.broker.urls = self.broker.urls.iter().map(|url| mask::password(url)).collect();
        shown.redis.url = mask::password(&self.redis.url);
        shown.redis.sentinels = self.redis.sentinels.iter().map(|url| mask::password(url)).collect();
        shown.docker.host = mask::password(&self.docker.host);
        shown
    }
}

fn setting_error(path: &str, error: &config::ConfigError) -> ConfigError {
    let key = if path.is_empty() || path == "." { "?" } else { path };
    ConfigError::Setting { key: key.to_owned(), reason: error.to_string() }
}
