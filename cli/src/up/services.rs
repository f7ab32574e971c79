//! The services of one process: started in the order they need each other, stopped together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use slipway_api::{Api, ApiHandle, ApiSettings, Beside, FirstToken};
use slipway_common::config::Config;
use slipway_common::embedded::{Embedded, EmbeddedSettings};
use slipway_common::secrets::Sealer;
use slipway_common::telemetry::chain;
use slipway_gateway::GatewaySettings;
use slipway_scaler::{Scaler, ScalerHandle, ScalerSettings};
use slipway_worker::docker::EngineSettings;
use slipway_worker::{Worker, WorkerHandle, WorkerSettings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::UpError;
use super::front_door;
use super::housekeeping::Upkeep;
use super::inside::Inside;
use super::settings::UpSettings;
use super::{announce, housekeeping};
use crate::data_dir::SECRET_KEY_FILE;

/// Longest time the gateway goes on with requests under way; it must fit into the time to stop.
const GATEWAY_DRAIN_LIMIT_MS: u64 = 20_000;

/// What runs.
#[derive(Debug)]
pub(crate) struct Services {
    api: ApiHandle,
    worker: WorkerHandle,
    gateway: Option<JoinHandle<()>>,
    scaler: Option<ScalerHandle>,
    engine: EngineSettings,
    housekeeping: JoinHandle<()>,
    shutdown: CancellationToken,
    start: StartReport,
}

/// What was met at the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartReport {
    /// Claims that a process before this one had left behind.
    pub(crate) claims_released: u64,
    /// Whether the first token was made now.
    pub(crate) token_made: bool,
}

impl Services {
    /// Opens the data folder, which no other process may have open, and starts everything on it.
    ///
    /// # Errors
    /// When a part cannot be started. A Docker engine that cannot be reached is no error.
    pub(crate) async fn start(settings: &UpSettings) -> Result<Self, UpError> {
        let config = &settings.config;
        let embedded =
            Embedded::open(&settings.data_dir, &embedded_settings(config)).map_err(UpError::Open)?;
        // What a killed process left must not be taken for the address of this one.
        announce::remove_up_file(settings);
        let sealer = Sealer::from_key_file(&key_file(settings)).map_err(UpError::Key)?;
        let backend = embedded.backend();
        let claims_released =
            embedded.release_all_claims(Timestamp::now()).await.map_err(UpError::Prepare)?;
        let first_token = FirstToken::new(&config.auth.first_token_file, &settings.data_dir);
        let token_made = first_token.ensure(&backend).await.map_err(UpError::FirstToken)?;

        let shutdown = CancellationToken::new();
        let worker_settings =
            WorkerSettings::from_config(config, &settings.data_dir).map_err(UpError::Worker)?;
        let engine = worker_settings.docker.engine.clone();
        let gateway_settings = gateway_settings(config);
        gateway_settings.validate().map_err(UpError::Gateway)?;
        let api_settings = ApiSettings::from_config(config, env!("CARGO_PKG_VERSION"));
        let inside = Inside::default();
        let beside = Beside {
            companion: Some(Arc::new(inside.clone())),
            maintenance: Some(Arc::new(Upkeep(embedded.clone()))),
        };
        let api = Api::start(api_settings, backend.clone(), sealer.clone(), beside).map_err(UpError::Api)?;
        let worker = Worker::start(worker_settings, backend.clone(), sealer, shutdown.clone())
            .await
            .map_err(UpError::Worker)?;
        let scaler = (config.scaler.enabled)
            .then(|| Scaler::start(&ScalerSettings::alone(config), backend.clone(), &shutdown));
        if let Some(scaler) = &scaler {
            inside.show_scaler(scaler.metrics());
        }
        let gateway = (config.gateway.enabled && config.docker.enabled).then(|| {
            tokio::spawn(front_door::run(
                gateway_settings,
                engine.clone(),
                inside.front_door(),
                backend.metrics.clone(),
                shutdown.clone(),
            ))
        });
        let housekeeping = tokio::spawn(housekeeping::run(embedded, shutdown.clone()));
        let start = StartReport { claims_released, token_made };
        Ok(Self { api, worker, gateway, scaler, engine, housekeeping, shutdown, start })
    }

    /// Where the API listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.api.addr()
    }

    /// Where the Docker engine should be.
    pub(crate) fn engine(&self) -> &EngineSettings {
        &self.engine
    }

    /// What was met at the start.
    pub(crate) fn start_report(&self) -> StartReport {
        self.start
    }

    /// Waits until a service ends by itself, which none should; answers its name.
    pub(crate) async fn failed(&mut self) -> &'static str {
        if let Err(error) = self.api.stopped().await {
            tracing::error!(error = %chain(&error), "the API has ended");
        }
        "api"
    }

    /// Ends everything: no new requests, then the work and the open streams, then the traffic.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.api.stop(true).await;
        self.worker.stopped().await;
        if let Some(scaler) = self.scaler {
            scaler.stopped().await;
        }
        for task in self.gateway.into_iter().chain([self.housekeeping]) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the server ended unexpectedly");
            }
        }
    }
}

/// The sealing key: in the configured file, or in the data folder.
fn key_file(settings: &UpSettings) -> PathBuf {
    match settings.config.secrets.key_file.as_str() {
        "" => settings.file(SECRET_KEY_FILE),
        named => PathBuf::from(named),
    }
}

fn embedded_settings(config: &Config) -> EmbeddedSettings {
    let keep = Duration::from_secs(u64::from(config.data.keep_finished_days) * 24 * 3600);
    EmbeddedSettings {
        synchronous: config.data.synchronous,
        queue_limit_jobs: config.data.queue_max_jobs,
        finished_jobs_keep: keep,
        ..EmbeddedSettings::default()
    }
}

fn gateway_settings(config: &Config) -> GatewaySettings {
    GatewaySettings {
        bind: config.gateway.bind,
        port_min: config.gateway.port_min,
        port_max: config.gateway.port_max,
        listeners_max: usize::from(config.gateway.port_max - config.gateway.port_min) + 1,
        drain_limit_ms: GATEWAY_DRAIN_LIMIT_MS,
        ..GatewaySettings::default()
    }
}
