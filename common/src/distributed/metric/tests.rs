//! What the laws do not say: messages of others, queues, and brokers that fail.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions};
use tokio::time::{Instant, timeout};

use super::*;
use crate::contract::eventually;
use crate::contract::metric::{event, hears, listening};
use crate::distributed::testing::{TestRabbit, rabbit_shared, unique_prefix};
use crate::distributed::tests::fixture::settings;
use crate::metric::MetricRefusal;
use crate::model::DeploymentId;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time in which what cannot be passed on is refused.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A connection to this broker, and metric events through it.
async fn connected(url: &str, prefix: &str) -> (Broker, Arc<dyn Metrics>) {
    let broker = Broker::start(settings(url, "redis://127.0.0.1:1/0", prefix, 0).broker);
    broker.wait_ready(PATIENCE).await.expect("the broker becomes ready");
    let metrics: Arc<dyn Metrics> = Arc::new(RabbitMetrics::new(broker.clone()));
    (broker, metrics)
}

/// A connection of somebody else.
async fn foreign(url: &str) -> lapin::Connection {
    lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap()
}

fn one() -> Vec<MetricEvent> {
    vec![event(DeploymentId::generate(), 1)]
}

/// Queues of listeners under this prefix.
async fn queues(rabbit: &TestRabbit, prefix: &str) -> usize {
    let listed = rabbit.control(&["--silent", "list_queues", "name"]).await;
    listed.lines().filter(|name| name.starts_with(&format!("{prefix}.metrics."))).count()
}

/// M4, and what the module says of others who publish.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_and_keeps_nothing_from_being_read() {
    let (url, prefix) = (rabbit_shared().await.url(), unique_prefix());
    let (broker, metrics) = connected(&url, &prefix).await;
    let (mut subscription, _) = listening(&metrics).await;
    let others = foreign(&url).await;
    let channel = others.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let (first, last) = (one(), one());
    let later = r#"{"version":2,"deployment":"01890a5d-ac96-774b-bcce-b302099a8057","kind":"traffic",
        "at":"2026-11-27T12:00:00Z"}"#;
    for message in [
        b"rubbish".to_vec(),
        MetricEvent::write(&first).unwrap(),
        Vec::new(),
        later.as_bytes().to_vec(),
        vec![b' '; METRIC_MESSAGE_MAX_BYTES + 1],
        MetricEvent::write(&last).unwrap(),
    ] {
        let exchange = format!("{prefix}.metrics");
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let sending = channel.basic_publish(exchange.into(), "".into(), options, &message, properties);
        assert!(sending.await.unwrap().await.unwrap().is_ack());
    }
    let mut heard = Vec::new();
    for _ in 0..6 {
        heard.push(timeout(PATIENCE, subscription.next()).await.unwrap());
    }
    assert!(matches!(heard[0], Heard::Refused(MetricRefusal::Unreadable { .. })), "{heard:?}");
    assert_eq!(heard[1], Heard::Events(first));
    assert!(matches!(heard[2], Heard::Refused(MetricRefusal::Unreadable { .. })), "{heard:?}");
    assert_eq!(heard[3], Heard::Refused(MetricRefusal::Version { version: 2 }));
    let limit_bytes = METRIC_MESSAGE_MAX_BYTES;
    assert_eq!(heard[4], Heard::Refused(MetricRefusal::TooLarge { limit_bytes }));
    assert_eq!(heard[5], Heard::Events(last));
    others.close(200, "done".into()).await.unwrap();
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_has_one_queue_and_leaves_none() {
    let (rabbit, prefix) = (rabbit_shared().await, unique_prefix());
    let (broker, metrics) = connected(&rabbit.url(), &prefix).await;
    let (subscription, _) = listening(&metrics).await;
    assert_eq!(queues(rabbit, &prefix).await, 1);
    drop(subscription);
    eventually("the queue being gone", || async { (queues(rabbit, &prefix).await == 0).then_some(()) }).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_deleted_is_made_and_bound_again() {
    let (url, prefix) = (rabbit_shared().await.url(), unique_prefix());
    let (broker, metrics) = connected(&url, &prefix).await;
    let (mut subscription, _) = listening(&metrics).await;
    let operator = foreign(&url).await;
    let channel = operator.create_channel().await.unwrap();
    let (exchange, before) = (format!("{prefix}.metrics"), broker.figures().repaired);
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    hears(&metrics, subscription.as_mut()).await;
    assert!(broker.figures().repaired > before);
    operator.close(200, "done".into()).await.unwrap();
    broker.close().await;
}

/// Under an alarm and without a broker publishers are refused at once; a subscription from before hears again after.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_fails_refuses_at_once_and_is_heard_again() {
    let rabbit = TestRabbit::start().await;
    let (broker, metrics) = connected(&rabbit.url(), "p").await;
    let (mut subscription, _) = listening(&metrics).await;
    rabbit.memory_alarm(true).await;
    // The first that meets the alarm may have to wait for an answer.
    eventually("a refusal", || async { metrics.publish(&one()).await.err() }).await;
    eventually("a refusal at once", || async {
        let begun = Instant::now();
        (metrics.publish(&one()).await.is_err() && begun.elapsed() < AT_ONCE).then_some(())
    })
    .await;
    rabbit.memory_alarm(false).await;
    hears(&metrics, subscription.as_mut()).await;
    rabbit.settle().await;
    rabbit.kill().await;
    eventually("the loss being noticed", || async { metrics.publish(&one()).await.err() }).await;
    let begun = Instant::now();
    assert!(metrics.publish(&one()).await.is_err());
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    rabbit.start_again().await;
    hears(&metrics, subscription.as_mut()).await;
    broker.close().await;
}

#[test]
fn events_are_written_in_as_few_messages_as_can_be_read() {
    let deployment = DeploymentId::generate();
    let mut events: Vec<MetricEvent> =
        (0..METRIC_EVENTS_MAX).map(|number| event(deployment, number)).collect();
    let small = written(&events).unwrap();
    assert_eq!(small.len(), 1);
    assert_eq!(MetricEvent::read(&small[0]).unwrap(), events);
    events.push(event(deployment, METRIC_EVENTS_MAX));
    let split = written(&events).unwrap();
    assert_eq!(split.len(), 2);
    let read: Vec<MetricEvent> =
        split.iter().flat_map(|message| MetricEvent::read(message).unwrap()).collect();
    assert_eq!(read, events);
}
