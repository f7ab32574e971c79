//! What the gateway counts, in the Prometheus text form.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};
use tokio::sync::watch;

use crate::source::Snapshot;

/// Why a replica failed a request or a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum FailureKind {
    /// No connection.
    Connect,
    /// The connection broke before a response.
    Broken,
    /// No response head in time.
    Timeout,
    /// A health check failed.
    Health,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabel {
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    port: u16,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    port: u16,
    kind: FailureKind,
}

/// Every metric of one gateway. Clones share their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    retries: Family<PortLabel, Counter>,
    connections: Family<PortLabel, Gauge>,
}

impl Metrics {
    /// Adds the metrics to `registry`, with the age of the routes read off `feed` at each scrape.
    pub(crate) fn register(&self, registry: &mut Registry, feed: watch::Receiver<Snapshot>) {
        let gateway = registry.sub_registry_with_prefix("slipway_gateway");
        gateway.register("requests", "Requests answered, by port and status class", self.requests.clone());
        gateway.register(
            "upstream_failures",
            "Failures of replicas, by port and kind",
            self.failures.clone(),
        );
        gateway.register("retries", "Requests tried again on another connection", self.retries.clone());
        gateway.register("connections", "Open client connections", self.connections.clone());
        gateway.register_collector(Box::new(RouteAge { feed: Arc::new(feed) }));
    }

    /// The metrics of one port.
    pub(crate) fn port(&self, port: u16) -> PortMetrics {
        PortMetrics { metrics: self.clone(), port }
    }
}

/// The metrics of one port.
#[derive(Debug, Clone)]
pub(crate) struct PortMetrics {
    metrics: Metrics,
    port: u16,
}

impl PortMetrics {
    pub(crate) fn answered(&self, status: http::StatusCode) {
        let class = match status.as_u16() {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.metrics.requests.get_or_create(&RequestLabels { port: self.port, class }).inc();
    }

    pub(crate) fn upstream_failed(&self, kind: FailureKind) {
        self.metrics.failures.get_or_create(&FailureLabels { port: self.port, kind }).inc();
    }

    pub(crate) fn retried(&self) {
        self.metrics.retries.get_or_create(&PortLabel { port: self.port }).inc();
    }

    /// Counts a client connection for as long as the guard lives.
    pub(crate) fn connection(&self) -> ConnectionGuard {
        let gauge = self.metrics.connections.get_or_create(&PortLabel { port: self.port }).clone();
        gauge.inc();
        ConnectionGuard { gauge }
    }
}

/// One open client connection.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    gauge: Gauge,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Seconds since the routes were last confirmed; absent before the first read.
#[derive(Debug)]
struct RouteAge {
    feed: Arc<watch::Receiver<Snapshot>>,
}

impl Collector for RouteAge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(read_at) = self.feed.borrow().read_at else { return Ok(()) };
        let age = ConstGauge::new(read_at.elapsed().as_secs_f64());
        let help = "Time since the routes were last confirmed";
        age.encode(encoder.encode_descriptor("route_age_seconds", help, None, age.metric_type())?)
    }
}
