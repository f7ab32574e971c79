//! The gateway inside `slipway up`: started as soon as the engine's address can be used, ended with the rest.

use std::time::Duration;

use slipway_common::telemetry::chain;
use slipway_gateway::{Gateway, GatewaySettings};
use slipway_worker::docker::{Engine, EngineSettings};
use tokio_util::sync::CancellationToken;

/// Pause between two looks for an engine whose socket does not exist yet.
const ENGINE_PAUSE: Duration = Duration::from_secs(2);

/// Runs the gateway until `shutdown`, and until requests under way are done.
pub(crate) async fn run(settings: GatewaySettings, engine: EngineSettings, shutdown: CancellationToken) {
    let Some(engine) = wait_for(&engine, &shutdown).await else { return };
    match Gateway::start(settings, engine.docker().clone(), shutdown).await {
        Ok(gateway) => gateway.stopped().await,
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
