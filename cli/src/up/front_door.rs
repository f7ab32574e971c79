//! The gateway inside `slipway up`: started as soon as the engine's address can be used, ended with the rest.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;
use slipway_api::{Ailment, Companion};
use slipway_common::metric::Metrics;
use slipway_common::telemetry::chain;
use slipway_gateway::{Gateway, GatewaySettings};
use slipway_worker::docker::{Engine, EngineSettings};
use tokio_util::sync::CancellationToken;

use super::traffic;

/// Pause between two looks for an engine whose socket does not exist yet.
const ENGINE_PAUSE: Duration = Duration::from_secs(2);

/// What the API shows of the gateway. An engine that cannot be reached does not make the API unready: it takes
/// requests, and their jobs wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct FrontDoor {
    metrics: Arc<OnceLock<Registry>>,
}

#[async_trait]
impl Companion for FrontDoor {
    async fn ailments(&self) -> Vec<Ailment> {
        Vec::new()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        if let Some(registry) = self.metrics.get()
            && let Err(error) = encode_registry(&mut text, registry)
        {
            tracing::warn!(%error, "the gateway's metrics could not be written");
        }
        text
    }
}

/// Runs the gateway until `shutdown`, and until requests under way are done. Its traffic is told through `metrics`.
pub(crate) async fn run(
    settings: GatewaySettings,
    engine: EngineSettings,
    front_door: FrontDoor,
    metrics: Arc<dyn Metrics>,
    shutdown: CancellationToken,
) {
    let Some(engine) = wait_for(&engine, &shutdown).await else { return };
    match Gateway::start(settings, engine.docker().clone(), shutdown.clone()).await {
        Ok(gateway) => {
            let mut registry = Registry::default();
            gateway.register_metrics(&mut registry);
            front_door.metrics.get_or_init(|| registry);
            let telling = traffic::run(gateway.status_view(), metrics, shutdown);
            tokio::join!(gateway.stopped(), telling);
        }
        Err(error) => tracing::error!(error = %chain(&error), "the gateway could not be started"),
    }
}

/// The engine, once there is one; `None` when the server stops before.
async fn wait_for(settings: &EngineSettings, shutdown: &CancellationToken) -> Option<Engine> {
    let mut told = false;
    loop {
        match Engine::connect(settings) {
            Ok(engine) => return Some(engine),
            Err(error) if !told => {
                told = true;
                tracing::warn!(error = %chain(&error), "the gateway waits for the Docker engine");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(ENGINE_PAUSE) => {}
        }
    }
}
