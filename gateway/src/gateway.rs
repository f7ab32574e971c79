//! Starting a gateway, and the handle on one that runs.

use std::sync::Arc;

use bollard::Docker;
use prometheus_client::registry::Registry;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    DockerSource, GatewayError, GatewaySettings, GatewayStatus, RouteSource, Traffic,
    manager::{Manager, Shared},
    source::{Snapshot, Watcher},
};

/// The front door of one Docker engine.
#[derive(Debug)]
pub struct Gateway;

impl Gateway {
    /// Starts a gateway that learns its routes from `docker`. It runs until `shutdown` is cancelled, and
    /// need not reach the engine to start.
    ///
    /// # Errors
    /// When `settings` cannot work.
    pub async fn start(
        settings: GatewaySettings,
        docker: Docker,
        shutdown: CancellationToken,
    ) -> Result<GatewayHandle, GatewayError> {
        Self::start_with(settings, Arc::new(DockerSource::new(docker)), shutdown).await
    }

    /// Starts a gateway that learns its routes from any `source`.
    ///
    /// # Errors
    /// When `settings` cannot work.
    pub async fn start_with(
        settings: GatewaySettings,
        source: Arc<dyn RouteSource>,
        shutdown: CancellationToken,
    ) -> Result<GatewayHandle, GatewayError> {
        settings.validate()?;
        let settings = Arc::new(settings);
        let (publish, feed) = watch::channel(Snapshot::default());
        let shared = Arc::new(Shared::new(Arc::clone(&settings), feed));
        tokio::spawn(Watcher::new(source, settings, publish).run(shutdown.clone()));
        let manager = tokio::spawn(Manager::new(Arc::clone(&shared)).run(shutdown));
        Ok(GatewayHandle { shared, manager })
    }
}

/// A running gateway. Dropping the handle does not stop it; its shutdown token does.
#[derive(Debug)]
pub struct GatewayHandle {
    shared: Arc<Shared>,
    manager: JoinHandle<()>,
}

impl GatewayHandle {
    /// What it routes at the moment.
    pub fn status(&self) -> GatewayStatus {
        self.shared.status()
    }

    /// The requests of every deployment that serves.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.shared.traffic()
    }

    /// A view of the status that outlives the handle.
    pub fn status_view(&self) -> StatusView {
        StatusView { shared: Arc::clone(&self.shared) }
    }

    /// Adds its metrics to `registry`, under the prefix `slipway_gateway`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry, self.shared.feed.clone());
    }

    /// Resolves when it has stopped and drained, which takes no longer than its drain limit.
    pub async fn stopped(self) {
        if let Err(error) = self.manager.await {
            error!(%error, "the gateway ended abnormally");
        }
    }
}

/// Reads the status and the traffic of a gateway.
#[derive(Debug, Clone)]
pub struct StatusView {
    shared: Arc<Shared>,
}

impl StatusView {
    /// What the gateway routes at the moment.
    pub fn status(&self) -> GatewayStatus {
        self.shared.status()
    }

    /// The requests of every deployment that serves.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.shared.traffic()
    }
}
