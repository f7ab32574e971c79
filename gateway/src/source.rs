//! Where routes come from: the seam to the engine, and the watcher that keeps the last good table.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use slipway_common::telemetry::chain;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    GatewaySettings, SourceError,
    route::{Container, RouteTable},
    settings::ms,
};

pub(crate) mod docker;

/// A place that knows the containers.
#[async_trait]
pub trait RouteSource: Send + Sync + 'static {
    /// Every managed container there is, running or not.
    ///
    /// # Errors
    /// When the list cannot be had; the routes in use then stay.
    async fn containers(&self) -> Result<Vec<Container>, SourceError>;

    /// A stream that yields whenever the list may have changed. It only shortens the wait for the next
    /// read, so missing or doubled items do no harm; when it ends or fails it is asked for again.
    fn changes(&self) -> BoxStream<'static, Result<(), SourceError>>;
}

/// The last good table, and how good it still is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) table: Arc<RouteTable>,
    /// When the table was last confirmed; `None` before the first read.
    pub(crate) read_at: Option<Instant>,
    /// Set while the source cannot be read.
    pub(crate) stale: Option<Staleness>,
}

/// Since when and why the table cannot be confirmed.
#[derive(Debug, Clone)]
pub(crate) struct Staleness {
    pub(crate) since: SystemTime,
    pub(crate) reason: String,
}

/// Reads a source for as long as the gateway runs and publishes what it finds.
pub(crate) struct Watcher {
    source: Arc<dyn RouteSource>,
    settings: Arc<GatewaySettings>,
    publish: watch::Sender<Snapshot>,
    failures: u32,
}

impl Watcher {
    pub(crate) fn new(
        source: Arc<dyn RouteSource>,
        settings: Arc<GatewaySettings>,
        publish: watch::Sender<Snapshot>,
    ) -> Self {
        Self { source, settings, publish, failures: 0 }
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.read() => {}
            }
            // A broken stream is replaced at the pace of the reads, which back off while the engine is away.
            let mut stream = changes.take().unwrap_or_else(|| self.source.changes());
            let alive = tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(self.pause()) => true,
                alive = self.await_change(&mut stream) => alive,
            };
            if alive {
                changes = Some(stream);
            } else if !shutdown_within(&shutdown, self.pause()).await {
                continue;
            } else {
                return;
            }
        }
    }

    /// Waits for a change and gathers what follows it at once. False when the stream is of no more use.
    async fn await_change(&self, stream: &mut BoxStream<'static, Result<(), SourceError>>) -> bool {
        match stream.next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                warn!(error = chain(&error), "container events are unavailable, reading the list instead");
                return false;
            }
            None => return false,
        }
        sleep(ms(self.settings.event_coalesce_ms)).await;
        while let Some(Some(Ok(()))) = stream.next().now_or_never() {}
        true
    }

    async fn read(&mut self) {
        let limit_ms = self.settings.engine_timeout_ms;
        let read = timeout(ms(limit_ms), self.source.containers()).await;
        match read.unwrap_or(Err(SourceError::ListTimeout { limit_ms })) {
            Ok(containers) => self.publish_table(&containers),
            Err(error) => self.publish_failure(&error),
        }
    }

    fn publish_table(&mut self, containers: &[Container]) {
        if self.failures > 0 {
            info!("the container list can be read again");
        }
        self.failures = 0;
        self.publish.send_if_modified(|snapshot| {
            let table = RouteTable::build(containers, &snapshot.table);
            let changed = *snapshot.table != table || snapshot.stale.is_some() || snapshot.read_at.is_none();
            if *snapshot.table != table {
                report(&snapshot.table, &table);
                snapshot.table = Arc::new(table);
            }
            snapshot.read_at = Some(Instant::now());
            snapshot.stale = None;
            changed
        });
    }

    fn publish_failure(&mut self, error: &SourceError) {
        let reason = chain(error);
        if self.failures == 0 {
            warn!(error = reason, "the container list cannot be read, keeping the last routes");
        }
        self.failures = self.failures.saturating_add(1);
        self.publish.send_modify(|snapshot| {
            let since = snapshot.stale.as_ref().map_or_else(SystemTime::now, |stale| stale.since);
            snapshot.stale = Some(Staleness { since, reason });
        });
    }

    fn pause(&self) -> Duration {
        let factor = 1_u64 << self.failures.min(6);
        let pause_ms = self.settings.relist_interval_ms.saturating_mul(factor);
        ms(pause_ms.min(self.settings.engine_backoff_max_ms))
    }
}

/// Waits, and says whether the gateway stopped meanwhile.
async fn shutdown_within(shutdown: &CancellationToken, pause: Duration) -> bool {
    timeout(pause, shutdown.cancelled()).await.is_ok()
}

/// Logs what is new in a table and an operator should know.
fn report(before: &RouteTable, after: &RouteTable) {
    for conflict in after.conflicts.iter().filter(|conflict| !before.conflicts.contains(conflict)) {
        let (owner, refused) = (&conflict.owner, &conflict.refused);
        warn!(port = conflict.port, %owner, %refused, "two applications want one port, the older keeps it");
    }
    for rejected in after.rejected.iter().filter(|rejected| !before.rejected.contains(rejected)) {
        warn!(container = rejected.container, reason = rejected.reason, "a container cannot be routed");
    }
}
