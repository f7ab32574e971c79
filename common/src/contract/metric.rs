//! The laws of metric events, M1, M2, M3 and M5. M4 is about messages: an adapter that has any tests it by itself.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::{EVENTUALLY_MAX, EVENTUALLY_PAUSE, Fixture};
use crate::metric::{
    ContainerMeasure, Heard, METRIC_BACKLOG_MAX, METRIC_EVENTS_MAX, METRIC_NAME_MAX_BYTES, Measured,
    MetricEvent, MetricSubscription, Metrics,
};
use crate::model::DeploymentId;

/// How long one probe is listened for before the next is sent.
const PROBE_WAIT: Duration = Duration::from_millis(200);
/// Messages beyond those that may wait.
const SURPLUS: usize = 512;

/// An event of this deployment; the number tells it from others.
#[must_use]
pub fn event(deployment: DeploymentId, number: usize) -> MetricEvent {
    let measured = Measured::Container(ContainerMeasure {
        container: format!("shop-{number}"),
        cpu_used_total_s: Some(81.25),
        cpu_allowed_cores: 0.5,
        ..ContainerMeasure::default()
    });
    MetricEvent::new(deployment, "contract", Timestamp::now(), measured)
}

fn events(count: usize) -> Vec<MetricEvent> {
    let deployment = DeploymentId::generate();
    (0..count).map(|number| event(deployment, number)).collect()
}

/// Those events that are of the same deployment as `one`.
fn like(one: &MetricEvent, heard: Vec<MetricEvent>) -> Vec<MetricEvent> {
    heard.into_iter().filter(|event| event.deployment == one.deployment).collect()
}

/// What was heard.
#[derive(Debug, Default)]
struct Told {
    events: Vec<MetricEvent>,
    missed: u64,
}

/// Listens until `last` is heard.
async fn listen_until(subscription: &mut dyn MetricSubscription, last: &MetricEvent, told: &mut Told) {
    loop {
        match subscription.next().await {
            Heard::Events(events) => {
                let is_last = events.contains(last);
                told.events.extend(events);
                if is_last {
                    return;
                }
            }
            Heard::Missed(messages) => told.missed += messages,
            Heard::Refused(refusal) => panic!("nobody has sent what cannot be read: {refusal}"),
        }
    }
}

async fn say(metrics: &Arc<dyn Metrics>, event: &MetricEvent) {
    metrics.publish(slice::from_ref(event)).await.expect("events are passed on");
}

/// Everything that is heard up to `last`.
async fn until(subscription: &mut dyn MetricSubscription, last: &MetricEvent) -> Told {
    let mut told = Told::default();
    let listening = listen_until(subscription, last, &mut told);
    assert!(timeout(EVENTUALLY_MAX, listening).await.is_ok(), "the last event is not heard");
    told
}

/// Publishes probes until one of them is heard: so it is known that the subscription listens, and that all which was
/// published before it has been taken. Answers what else was heard.
///
/// # Panics
/// When none is heard in time.
pub async fn hears(
    metrics: &Arc<dyn Metrics>,
    subscription: &mut dyn MetricSubscription,
) -> Vec<MetricEvent> {
    let deadline = Instant::now() + EVENTUALLY_MAX;
    let mut told = Told::default();
    loop {
        assert!(Instant::now() < deadline, "nothing is heard");
        let probe = event(DeploymentId::generate(), 0);
        // There may be no connection yet.
        if metrics.publish(slice::from_ref(&probe)).await.is_err() {
            sleep(EVENTUALLY_PAUSE).await;
        } else if timeout(PROBE_WAIT, listen_until(subscription, &probe, &mut told)).await.is_ok() {
            return told.events;
        }
    }
}

/// A subscription that listens, and what was heard until it did.
///
/// # Panics
/// When it does not listen in time.
pub async fn listening(metrics: &Arc<dyn Metrics>) -> (Box<dyn MetricSubscription>, Vec<MetricEvent>) {
    let mut subscription = metrics.subscribe();
    let heard = hears(metrics, subscription.as_mut()).await;
    (subscription, heard)
}

/// M1: each of two subscribers hears all that one publisher says, as it says it.
pub async fn m1_events_reach_every_subscriber_in_order(fixture: &dyn Fixture) {
    let metrics = fixture.backend().await.metrics;
    let (mut one, _) = listening(&metrics).await;
    let (mut two, _) = listening(&metrics).await;
    let sent = events(300);
    for some in sent.chunks(7) {
        metrics.publish(some).await.expect("events are passed on");
    }
    for subscription in [&mut one, &mut two] {
        let told = until(subscription.as_mut(), &sent[sent.len() - 1]).await;
        assert_eq!(like(&sent[0], told.events), sent);
        assert_eq!(told.missed, 0);
    }
}

/// M1: as many events as may be published at once arrive, each once and in order, however long they are.
pub async fn m1_as_many_as_may_be_published_arrive(fixture: &dyn Fixture) {
    let metrics = fixture.backend().await.metrics;
    let (mut subscription, _) = listening(&metrics).await;
    let mut sent = events(METRIC_EVENTS_MAX);
    for event in &mut sent {
        let Measured::Container(container) = &mut event.measured else { unreachable!("it was made as one") };
        container.container = format!("{:x>METRIC_NAME_MAX_BYTES$}", container.container);
        container.owner = Some("o".repeat(METRIC_NAME_MAX_BYTES));
    }
    metrics.publish(&sent).await.expect("events are passed on");
    let told = until(subscription.as_mut(), &sent[sent.len() - 1]).await;
    assert_eq!(like(&sent[0], told.events), sent);
}

/// M2: what was published before a subscription, between two, or before a restart is never heard.
pub async fn m2_nothing_is_kept_for_who_is_not_there(fixture: &dyn Fixture) {
    let metrics = fixture.backend().await.metrics;
    let unheard = events(3);
    say(&metrics, &unheard[0]).await;
    let (subscription, heard) = listening(&metrics).await;
    assert!(like(&unheard[0], heard).is_empty(), "what nobody was there for is heard");
    drop(subscription);
    say(&metrics, &unheard[1]).await;
    let (subscription, heard) = listening(&metrics).await;
    assert!(like(&unheard[0], heard).is_empty(), "what nobody was there for is heard");
    drop(subscription);
    say(&metrics, &unheard[2]).await;
    drop(metrics);
    let metrics = fixture.restart().await.metrics;
    let (_, heard) = listening(&metrics).await;
    assert!(like(&unheard[0], heard).is_empty(), "what nobody was there for is heard");
}

/// M3: who takes nothing misses the oldest messages and is told how many; the others, and who publishes, go on.
pub async fn m3_a_slow_subscriber_loses_the_oldest_and_is_told(fixture: &dyn Fixture) {
    let metrics = fixture.backend().await.metrics;
    let (mut quick, _) = listening(&metrics).await;
    let (mut slow, _) = listening(&metrics).await;
    let sent = events(METRIC_BACKLOG_MAX + SURPLUS);
    let last = sent[sent.len() - 1].clone();
    for some in sent.chunks(SURPLUS) {
        for event in some {
            say(&metrics, event).await;
        }
        let told = until(quick.as_mut(), &some[some.len() - 1]).await;
        assert_eq!(like(&last, told.events), some, "who listens hears all");
        assert_eq!(told.missed, 0);
    }
    let told = until(slow.as_mut(), &last).await;
    let missed = usize::try_from(told.missed).expect("a small number");
    assert!((1..=SURPLUS).contains(&missed), "{missed} were missed");
    assert_eq!(like(&last, told.events), sent[missed..], "the newest are left, in order");
}

/// M5: a subscription goes on when its connection was cut.
pub async fn m5_a_subscription_outlives_a_connection(fixture: &dyn Fixture) {
    let metrics = fixture.backend().await.metrics;
    let (mut subscription, _) = listening(&metrics).await;
    for _ in 0..2 {
        fixture.cut().await;
        hears(&metrics, subscription.as_mut()).await;
        let sent = events(50);
        for event in &sent {
            say(&metrics, event).await;
        }
        let told = until(subscription.as_mut(), &sent[sent.len() - 1]).await;
        assert_eq!(like(&sent[0], told.events), sent);
    }
}
