//! Measures containers: lists them again and again, keeps one stream of readings for each that runs, and publishes the
//! newest reading of each in batches.

mod batch;
mod watchlist;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, SelectAll};
use jiff::Timestamp;
use slipway_common::metric::{MetricEvent, Metrics};
use slipway_common::model::label::RoutingState;
use slipway_common::model::{DeploymentId, TargetName};
use slipway_common::telemetry::chain;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::batch::Batch;
use self::watchlist::{Listed, Listing, Running, Watchlist};
use super::engine::{Engine, EngineError};
use super::found::{self, Found};
use super::{DockerSettings, container, measure};
use crate::number::from_u64;
use crate::target::Subject;

/// Pause between two lists.
const LIST_INTERVAL: Duration = Duration::from_secs(2);
/// Longest pause while the engine is away.
const LIST_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Containers that are inspected at once.
const INSPECTED_AT_ONCE: usize = 16;
/// By how much of the interval publications are spread, so that many sources do not publish at once.
const JITTER: f64 = 0.1;
/// Most events of one message: with names as long as can be, it stays below the limit of a message.
const EVENTS_PER_MESSAGE_MAX: usize = 400;
/// Deadline of one publication.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Readings of one container; nothing when the engine says no more.
type Readings = BoxStream<'static, (String, Option<ContainerStatsResponse>)>;

/// Measures until nobody names subjects any more.
pub(super) async fn run(
    engine: &Engine,
    settings: &DockerSettings,
    subjects: watch::Receiver<Arc<[Subject]>>,
    metrics: Arc<dyn Metrics>,
) {
    let (listings_out, listings) = mpsc::channel(1);
    let (batches_out, batches) = mpsc::channel(1);
    // Three loops, so that neither a slow list nor a slow publication keeps readings from being taken.
    tokio::select! {
        () = list_on(engine, &settings.name, subjects, listings_out) => {}
        () = read_on(engine, settings.sample_interval, listings, batches_out) => {}
        () = publish_on(metrics, batches) => {}
    }
}

async fn list_on(
    engine: &Engine,
    target: &TargetName,
    mut subjects: watch::Receiver<Arc<[Subject]>>,
    listings: mpsc::Sender<Listing>,
) {
    let mut inspected = HashMap::new();
    let mut failures = 0;
    loop {
        let wanted = Arc::clone(&subjects.borrow_and_update());
        match list(engine, target, &wanted, &mut inspected).await {
            Ok(listing) => {
                if failures > 0 {
                    tracing::info!(%target, "containers are measured again");
                }
                failures = 0;
                if listings.send(listing).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(%target, error = chain(&error), "containers cannot be measured");
                }
            }
        }
        let changed = tokio::time::timeout(pause(failures), subjects.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
    }
}

/// Pause before the next list, after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(8);
    LIST_INTERVAL.saturating_mul(1 << doublings).min(LIST_PAUSE_MAX)
}

/// The containers of those `wanted` that run on this target. `inspected` is what is known of those that ran before.
async fn list(
    engine: &Engine,
    target: &TargetName,
    wanted: &[Subject],
    inspected: &mut HashMap<String, Running>,
) -> Result<Listing, EngineError> {
    let here: HashMap<DeploymentId, &Subject> = wanted
        .iter()
        .filter(|subject| subject.target == *target)
        .map(|subject| (subject.deployment, subject))
        .collect();
    if here.is_empty() {
        inspected.clear();
        return Ok(Listing::default());
    }
    let is_here = |found: &Found| {
        let subject = found.deployment().and_then(|deployment| here.get(&deployment));
        subject.is_some_and(|subject| found.is_of(&subject.place))
    };
    let mut all = found::apps(engine).await?;
    all.retain(is_here);
    inspect_new(engine, &all, inspected).await?;
    let containers = all.into_iter().filter_map(|found| {
        let running = inspected.get(&found.id).cloned();
        let (deployment, routing) = (found.deployment()?, found.routing());
        let name = RoutingState::base_of(&found.name).to_owned();
        Some(Listed { id: found.id, deployment, name, routing, running })
    });
    Ok(Listing { containers: containers.collect(), deployments: here.into_keys().collect() })
}

/// Forgets what does not run, and inspects what runs and is not known.
async fn inspect_new(
    engine: &Engine,
    all: &[Found],
    inspected: &mut HashMap<String, Running>,
) -> Result<(), EngineError> {
    let running: HashSet<&str> =
        all.iter().filter(|found| found.is_running()).map(|found| found.id.as_str()).collect();
    inspected.retain(|id, _| running.contains(id.as_str()));
    let new: Vec<&str> = running.into_iter().filter(|id| !inspected.contains_key(*id)).collect();
    for some in new.chunks(INSPECTED_AT_ONCE) {
        let answers = join_all(some.iter().map(|id| container::inspect(engine, id))).await;
        for (id, answer) in some.iter().zip(answers) {
            match answer {
                Ok(Some(found)) => {
                    inspected.insert((*id).to_owned(), running_of(&found));
                }
                Ok(None) => {}
                // One that cannot be read must not keep the others from being measured.
                Err(error @ EngineError::Answer { .. }) => {
                    tracing::debug!(container = id, error = chain(&error), "a container cannot be inspected");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn running_of(found: &ContainerInspectResponse) -> Running {
    let started_at = found.state.as_ref().and_then(|state| state.started_at.as_deref());
    Running {
        limit_cores: found.host_config.as_ref().and_then(measure::limit_cores),
        // A container never started has the year 1 here.
        started_at: started_at
            .and_then(|at| at.parse::<Timestamp>().ok())
            .filter(|at| *at > Timestamp::UNIX_EPOCH),
    }
}

async fn read_on(
    engine: &Engine,
    interval: Duration,
    mut listings: mpsc::Receiver<Listing>,
    batches: mpsc::Sender<Vec<MetricEvent>>,
) {
    let (mut watchlist, mut batch) = (Watchlist::default(), Batch::default());
    let mut readings: SelectAll<Readings> = SelectAll::new();
    let random = RandomState::new();
    let mut published = 0_u64;
    let mut due = Instant::now() + jittered(interval, random.hash_one(published));
    loop {
        tokio::select! {
            listing = listings.recv() => {
                let Some(listing) = listing else { return };
                let changes = watchlist.list(&listing, Timestamp::now(), Instant::now());
                for (id, event) in changes.gone {
                    batch.gone(&id, event);
                }
                let opened = changes.opened.into_iter();
                readings.extend(opened.filter_map(|(id, closed)| readings_of(engine, id, closed)));
            }
            Some((id, reading)) = readings.next() => match reading {
                Some(stats) => {
                    if let Some(event) = watchlist.take(&id, &stats, Timestamp::now(), Instant::now()) {
                        batch.take(id, event);
                    }
                }
                None => watchlist.close(&id),
            },
            () = tokio::time::sleep_until(due) => {
                published = published.wrapping_add(1);
                due = Instant::now() + jittered(interval, random.hash_one(published));
                if batch.is_empty() {
                    continue;
                }
                match batches.try_reserve() {
                    Ok(free) => free.send(std::mem::take(&mut batch).into_events()),
                    // The last publication is still under way: what is newer by then goes with the next.
                    Err(TrySendError::Full(())) => {}
                    Err(TrySendError::Closed(())) => return,
                }
            }
        }
    }
}

/// The engine's readings of one container, about one in a second, until it says no more or `closed`.
fn readings_of(engine: &Engine, id: String, closed: CancellationToken) -> Option<Readings> {
    let options = StatsOptions { stream: true, one_shot: false };
    let stats = engine.docker().ok()?.stats(&id, Some(options));
    let and_end = stats.map(Result::ok).chain(stream::once(std::future::ready(None)));
    let named = and_end.map(move |reading| (id.clone(), reading));
    Some(named.take_until(closed.cancelled_owned()).boxed())
}

/// The interval, longer or shorter by up to [`JITTER`] of it.
fn jittered(interval: Duration, random: u64) -> Duration {
    let share = from_u64(random % 2_001) / 1_000.0 - 1.0;
    interval.mul_f64(1.0 + JITTER * share)
}

async fn publish_on(metrics: Arc<dyn Metrics>, mut batches: mpsc::Receiver<Vec<MetricEvent>>) {
    let mut fails = false;
    while let Some(events) = batches.recv().await {
        for some in events.chunks(EVENTS_PER_MESSAGE_MAX) {
            let failure = publish(&*metrics, some).await.err();
            match &failure {
                Some(reason) if !fails => tracing::warn!(reason, "measurements cannot be published"),
                None if fails => tracing::info!("measurements are published again"),
                Some(_) | None => {}
            }
            fails = failure.is_some();
        }
    }
}

async fn publish(metrics: &dyn Metrics, events: &[MetricEvent]) -> Result<(), String> {
    match tokio::time::timeout(PUBLISH_TIMEOUT, metrics.publish(events)).await {
        Ok(published) => published.map_err(|error| chain(&error)),
        Err(_elapsed) => Err(format!("not done within {} s", PUBLISH_TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publications_are_spread_by_a_tenth_of_the_interval_and_no_more() {
        let interval = Duration::from_secs(10);
        assert_eq!(jittered(interval, 0), Duration::from_secs(9));
        assert_eq!(jittered(interval, 1_000), interval);
        assert_eq!(jittered(interval, 2_000), Duration::from_secs(11));
        assert_eq!(jittered(interval, 2_001), Duration::from_secs(9));
    }

    #[test]
    fn an_engine_that_is_away_is_asked_ever_less_often() {
        let pauses: Vec<u64> = (0..7).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [2, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pause(u32::MAX), LIST_PAUSE_MAX);
    }
}
