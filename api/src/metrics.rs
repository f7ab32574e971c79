//! The numbers of `/metrics`: requests by route pattern, never by path; and what store and queue say.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use slipway_common::model::DeploymentState;
use slipway_common::model::registered::Forge;
use slipway_common::queue::QueueDepth;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS_S: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    forge: &'static str,
    outcome: &'static str,
}

/// What became of a delivery of a forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryOutcome {
    /// Kept; something follows from it.
    Taken,
    /// There are so many of its hook that it was only taken as a hint.
    Hinted,
    /// It had arrived before.
    Repeated,
    /// Nothing follows from it.
    Ignored,
    /// It is authentic, and cannot be read.
    Unreadable,
    /// It is not authentic.
    Refused,
    /// There is no such hook.
    Unknown,
    /// It is too large.
    TooLarge,
    /// It did not arrive whole, or not in time.
    Broken,
    /// It could not be kept now.
    Unavailable,
}

impl DeliveryOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Hinted => "hinted",
            Self::Repeated => "repeated",
            Self::Ignored => "ignored",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::TooLarge => "too_large",
            Self::Broken => "broken",
            Self::Unavailable => "unavailable",
        }
    }
}

type UnsignedGauge = Gauge<i64, AtomicI64>;

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter<u64, AtomicU64>>,
    latency: Family<RouteLabels, Histogram>,
    deployments: Family<StateLabels, UnsignedGauge>,
    jobs: Family<StateLabels, UnsignedGauge>,
    streams: UnsignedGauge,
    deliveries: Family<DeliveryLabels, Counter<u64, AtomicU64>>,
    chores_dropped: Counter<u64, AtomicU64>,
    resident: UnsignedGauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("slipway");
        let requests = Family::default();
        let latency: Family<RouteLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS_S));
        let (deployments, jobs) = (Family::default(), Family::default());
        let (streams, resident) = (Gauge::default(), Gauge::default());
        let (deliveries, chores_dropped) = (Family::default(), Counter::default());
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to the head of its answer",
            Unit::Seconds,
            latency.clone(),
        );
        registry.register("deployments", "Deployments by state", deployments.clone());
        registry.register("queue_jobs", "Jobs in the queue", jobs.clone());
        registry.register("streams", "Event and log streams that are open", streams.clone());
        registry.register("deliveries", "Deliveries of forges by what became of them", deliveries.clone());
        registry.register(
            "delivery_chores_dropped",
            "Times that what follows from a delivery was left to others because too much waited",
            chores_dropped.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory of this process",
            Unit::Bytes,
            resident.clone(),
        );
        Self { registry, requests, latency, deployments, jobs, streams, deliveries, chores_dropped, resident }
    }

    pub(crate) fn request(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        let labels =
            RequestLabels { method: method_label(method), route: route.to_owned(), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.latency.get_or_create(&RouteLabels { route: route.to_owned() }).observe(elapsed.as_secs_f64());
    }

    pub(crate) fn delivery(&self, forge: Forge, outcome: DeliveryOutcome) {
        let labels = DeliveryLabels { forge: forge.as_str(), outcome: outcome.as_str() };
        self.deliveries.get_or_create(&labels).inc();
    }

    pub(crate) fn chore_dropped(&self) {
        self.chores_dropped.inc();
    }

    pub(crate) fn set_deployments(&self, counts: &[(DeploymentState, u64)]) {
        for (state, count) in counts {
            self.deployments.get_or_create(&StateLabels { state: state.as_str() }).set(gauge_value(*count));
        }
    }

    pub(crate) fn set_queue(&self, depth: &QueueDepth) {
        let QueueDepth { ready, parked, claimed, buried } = *depth;
        for (state, count) in [("ready", ready), ("parked", parked), ("claimed", claimed), ("buried", buried)]
        {
            self.jobs.get_or_create(&StateLabels { state }).set(gauge_value(count));
        }
    }

    pub(crate) fn set_resident_bytes(&self, bytes: u64) {
        self.resident.set(gauge_value(bytes));
    }

    pub(crate) fn set_streams(&self, open: usize) {
        self.streams.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// All numbers in the OpenMetrics text format, with `more` before its end.
    pub(crate) fn encode(&self, more: &str) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registry)?;
        out.push_str(more);
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The method as a label; methods nobody has heard of share one.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_ends_once_and_holds_what_was_counted() {
        let metrics = Metrics::new();
        metrics.request(&Method::GET, "/jobs/{id}", StatusCode::OK, Duration::from_millis(3));
        metrics.set_deployments(&[(DeploymentState::Active, 2)]);
        metrics.delivery(Forge::Gitlab, DeliveryOutcome::Taken);
        metrics.chore_dropped();
        let text = metrics.encode("other_metric 1").unwrap();
        assert!(text.contains("slipway_deliveries_total{forge=\"gitlab\",outcome=\"taken\"} 1"));
        assert!(text.contains("slipway_delivery_chores_dropped_total 1"));
        assert!(
            text.contains(
                "slipway_http_requests_total{method=\"GET\",route=\"/jobs/{id}\",status=\"200\"} 1"
            )
        );
        assert!(text.contains("slipway_deployments{state=\"active\"} 2"));
        assert!(text.ends_with("other_metric 1\n# EOF\n"));
        assert_eq!(text.matches("# EOF").count(), 1);
    }

    #[test]
    fn odd_methods_share_a_label() {
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
