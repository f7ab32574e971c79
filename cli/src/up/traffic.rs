//! Tells whoever scales of the requests that reach the gateway: how many arrive, and how many are under way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::metric::{METRIC_EVENTS_MAX, Measured, MetricEvent, Metrics, TrafficMeasure};
use slipway_common::model::DeploymentId;
use slipway_common::telemetry::chain;
use slipway_gateway::{StatusView, Traffic};
use slipway_scaler::number;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often it is told.
const INTERVAL: Duration = Duration::from_secs(1);
/// The span that arrivals are counted over.
const SPAN: Duration = Duration::from_secs(5);
/// Who has measured.
const SOURCE: &str = "gateway";

/// Tells of every deployment that serves, until `shutdown`.
pub(crate) async fn run(gateway: StatusView, metrics: Arc<dyn Metrics>, shutdown: CancellationToken) {
    let mut rates = Rates::default();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let events = rates.events(&gateway.traffic(), Instant::now(), Timestamp::now());
        for some in events.chunks(METRIC_EVENTS_MAX) {
            if let Err(error) = metrics.publish(some).await {
                tracing::debug!(error = %chain(&error), "the traffic of this second is not told");
            }
        }
    }
}

/// The counts of the last few seconds.
#[derive(Debug, Default)]
struct Rates {
    counted: HashMap<DeploymentId, VecDeque<Count>>,
}

/// How many requests had arrived at a moment.
#[derive(Debug, Clone, Copy)]
struct Count {
    at: Instant,
    arrivals_total: u64,
}

impl Rates {
    /// An event of each deployment. Those that are not there any more are forgotten.
    fn events(&mut self, traffic: &[Traffic], now: Instant, at: Timestamp) -> Vec<MetricEvent> {
        let mut before = std::mem::take(&mut self.counted);
        let event = |traffic: &Traffic| {
            let mut counts = before.remove(&traffic.deployment).unwrap_or_default();
            let count = Count { at: now, arrivals_total: traffic.arrivals_total };
            let arrivals_per_s = arrivals_per_s(&mut counts, count);
            self.counted.insert(traffic.deployment, counts);
            let inflight = Some(number::from_u64(traffic.inflight));
            let measured = Measured::Traffic(TrafficMeasure { arrivals_per_s, inflight });
            MetricEvent::new(traffic.deployment, SOURCE, at, measured)
        };
        traffic.iter().map(event).collect()
    }
}

/// Arrivals in a second, over [`SPAN`] or as much of it as is known. Nothing where there is no count to compare with.
fn arrivals_per_s(counts: &mut VecDeque<Count>, count: Count) -> Option<f64> {
    // A count that is smaller than before has begun anew.
    if counts.back().is_some_and(|last| last.arrivals_total > count.arrivals_total) {
        counts.clear();
    }
    counts.push_back(count);
    let is_far = |other: &Count| count.at.duration_since(other.at) >= SPAN;
    while counts.get(1).is_some_and(is_far) {
        counts.pop_front();
    }
    let first = counts.front()?;
    let (span, arrivals) = (count.at.duration_since(first.at), count.arrivals_total - first.arrivals_total);
    (!span.is_zero()).then(|| number::from_u64(arrivals) / span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of one deployment.
    fn traffic(deployment: DeploymentId, arrivals_total: u64, inflight: u64) -> Traffic {
        let (project, environment) = ("shop".to_owned(), "default".to_owned());
        Traffic { project, environment, deployment, arrivals_total, inflight }
    }

    /// What is told at each second of what was counted then.
    fn told(
        rates: &mut Rates,
        begun: Instant,
        counted: &[(u64, Traffic)],
    ) -> Vec<(Option<f64>, Option<f64>)> {
        let tell = |(second, traffic): &(u64, Traffic)| {
            let now = begun + Duration::from_secs(*second);
            let events = rates.events(std::slice::from_ref(traffic), now, Timestamp::UNIX_EPOCH);
            assert_eq!((events.len(), events[0].deployment), (1, traffic.deployment));
            let Measured::Traffic(measure) = &events[0].measured else { panic!("{events:?}") };
            (measure.arrivals_per_s, measure.inflight)
        };
        counted.iter().map(tell).collect()
    }

    fn rates_of(arrivals: &[(u64, u64)]) -> Vec<Option<f64>> {
        let deployment = DeploymentId::generate();
        let counted: Vec<_> =
            arrivals.iter().map(|(second, total)| (*second, traffic(deployment, *total, 0))).collect();
        let told = told(&mut Rates::default(), Instant::now(), &counted);
        told.into_iter().map(|(rate, _)| rate).collect()
    }

    #[test]
    fn the_rate_is_the_mean_of_the_last_seconds() {
        let counted =
            [(0, 100), (1, 110), (2, 130), (3, 130), (4, 130), (5, 130), (6, 130), (7, 130), (8, 230)];
        let rates = rates_of(&counted);
        assert_eq!(rates[..4], [None, Some(10.0), Some(15.0), Some(10.0)]);
        assert_eq!(rates[5], Some(6.0));
        assert_eq!(rates[6], Some(4.0), "the first second is left behind");
        assert_eq!(rates[7..], [Some(0.0), Some(20.0)]);
    }

    #[test]
    fn a_second_that_was_missed_does_not_make_a_burst() {
        assert_eq!(rates_of(&[(0, 0), (1, 10), (9, 90)])[2], Some(10.0));
    }

    #[test]
    fn a_count_that_began_anew_is_compared_with_nothing_before() {
        let rates = rates_of(&[(0, 1_000), (1, 1_100), (2, 5), (3, 25)]);
        assert_eq!(rates, [None, Some(100.0), None, Some(20.0)]);
    }

    #[test]
    fn each_deployment_has_its_own_count_and_one_that_left_begins_anew() {
        let (one, two) = (DeploymentId::generate(), DeploymentId::generate());
        let mut rates = Rates::default();
        let begun = Instant::now();
        let first = told(&mut rates, begun, &[(0, traffic(one, 100, 7)), (1, traffic(two, 500, 8))]);
        assert_eq!(first, [(None, Some(7.0)), (None, Some(8.0))]);
        assert_eq!(rates.counted.len(), 1, "what is not there is forgotten");
        let second = told(&mut rates, begun, &[(2, traffic(two, 530, 0)), (3, traffic(one, 300, 0))]);
        assert_eq!(second, [(Some(30.0), Some(0.0)), (None, Some(0.0))]);
    }

    #[test]
    fn all_that_serve_are_told_of_at_once() {
        let serving = [traffic(DeploymentId::generate(), 1, 0), traffic(DeploymentId::generate(), 2, 0)];
        let events = Rates::default().events(&serving, Instant::now(), Timestamp::UNIX_EPOCH);
        let deployments: Vec<_> = events.iter().map(|event| event.deployment).collect();
        assert_eq!(deployments, [serving[0].deployment, serving[1].deployment]);
        let message = MetricEvent::write(&events).unwrap();
        assert_eq!(MetricEvent::read(&message).unwrap(), events);
    }
}
