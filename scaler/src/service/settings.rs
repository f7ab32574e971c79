//! What a scaler needs, resolved from the configuration once.

use std::time::Duration;

use slipway_common::config::Config;

use crate::docker::DockerSettings;
use crate::kubernetes::ClusterSettings;

/// Shards of an installation with any number of scalers.
const SHARDS: u64 = 16;
/// How long the only scaler of an installation holds its shard: nobody waits for it.
const ALONE_TTL: Duration = Duration::from_secs(60);

/// The scaler's settings.
#[derive(Debug, Clone)]
pub struct ScalerSettings {
    /// What it is called among the scalers.
    pub name: String,
    /// How many shards there are; the same for all scalers of one installation.
    pub shards: u64,
    /// When a scaler that does not renew its leases has lost them.
    pub lease_ttl: Duration,
    /// The Docker target, if there is one.
    pub docker: Option<DockerSettings>,
    /// The Kubernetes targets.
    pub clusters: Vec<ClusterSettings>,
}

impl ScalerSettings {
    /// The settings of one of any number of scalers.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let number = uuid::Uuid::now_v7().simple().to_string();
        Self {
            name: format!("scaler-{}", number.get(20..).unwrap_or(&number)),
            shards: SHARDS,
            lease_ttl: Duration::from_millis(config.scaler.lease_ttl_ms),
            docker: DockerSettings::from_config(config, std::env::var("DOCKER_HOST").ok()),
            clusters: ClusterSettings::from_config(config),
        }
    }

    /// The settings of the only scaler of an installation.
    #[must_use]
    pub fn alone(config: &Config) -> Self {
        Self { shards: 1, lease_ttl: ALONE_TTL, ..Self::from_config(config) }
    }
}
