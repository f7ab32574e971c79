//! Brokers: what is durable survives, what is broken is noticed, and a cluster lives on without one node.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::options::BasicConsumeOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use slipway_integration_tests::rabbitmq::{RabbitCluster, RabbitMq, RabbitOptions};

/// A queue that was just declared may lose its leader for good when its broker is killed.
const SETTLED: Duration = Duration::from_secs(2);

fn queue_of(kind: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    arguments
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_keeps_what_is_durable() {
    let options = RabbitOptions::with_config(&["consumer_timeout = 61000"]);
    let broker = RabbitMq::start(options).await.expect("it starts");
    let timeout = broker.ctl(&["eval", "application:get_env(rabbit, consumer_timeout)."]).await.unwrap();
    assert!(timeout.contains("61000"), "{timeout}");
    broker.declare_queue("jobs", queue_of("quorum")).await.unwrap();
    broker.publish_raw("", "jobs", FieldTable::default(), b"one").await.unwrap();
    tokio::time::sleep(SETTLED).await;

    broker.kill().await.unwrap();
    assert!(broker.messages("jobs").await.is_err(), "a killed broker answers");
    broker.start_again().await.expect("it starts again");
    broker.publish_raw("", "jobs", FieldTable::default(), b"two").await.unwrap();
    broker.stop().await.unwrap();
    broker.start_again().await.expect("it starts a third time");
    let bodies: Vec<Vec<u8>> =
        broker.peek_all("jobs").await.unwrap().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, [b"one", b"two"]);

    broker.freeze().await.unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(1), broker.messages("jobs")).await;
    assert!(asked.is_err(), "a frozen broker answers: {asked:?}");
    broker.thaw().unwrap();
    assert_eq!(broker.take("jobs").await.unwrap().unwrap().body, b"one");
    assert_eq!(broker.messages("jobs").await.unwrap(), 1);

    broker.alarm(true).await.unwrap();
    let publishing = broker.publish_raw("", "jobs", FieldTable::default(), b"three");
    let published = tokio::time::timeout(Duration::from_secs(1), publishing).await;
    assert!(published.is_err(), "an alarmed broker takes messages: {published:?}");
    broker.alarm(false).await.unwrap();
    broker.publish_raw("", "jobs", FieldTable::default(), b"four").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_broker_does_what_it_is_told() {
    let broker = RabbitMq::shared().await.expect("it starts");
    broker.declare_queue("told.jobs", queue_of("quorum")).await.unwrap();
    broker.declare_queue("told.ledger", queue_of("stream")).await.unwrap();
    assert!(broker.declare_queue("told.jobs", queue_of("classic")).await.is_err());
    for queue in ["told.jobs", "told.ledger"] {
        broker.bind("amq.topic", queue, "told.#").await.unwrap();
    }
    let mut headers = FieldTable::default();
    headers.insert("slipway-generation".into(), AMQPValue::LongLongInt(3));
    broker.publish_raw("amq.topic", "told.one", headers, b"body").await.unwrap();
    let peeked = broker.peek_all("told.jobs").await.unwrap();
    assert_eq!(peeked.len(), 1);
    assert_eq!(peeked[0].routing_key, "told.one");
    let headers = peeked[0].properties.headers().clone().unwrap();
    assert_eq!(headers.inner().get("slipway-generation"), Some(&AMQPValue::LongLongInt(3)));
    assert_eq!(broker.take("told.jobs").await.unwrap().unwrap().body, b"body");
    assert!(broker.take("told.jobs").await.unwrap().is_none());
    let recorded = broker.read_stream("told.ledger").await.unwrap();
    assert_eq!(recorded.iter().map(|message| message.body.as_slice()).collect::<Vec<_>>(), [b"body"]);

    broker.unbind("amq.topic", "told.jobs", "told.#").await.unwrap();
    broker.publish_raw("amq.topic", "told.two", FieldTable::default(), b"to the ledger").await.unwrap();
    assert_eq!(broker.messages("told.jobs").await.unwrap(), 0);
    broker.delete_queue("told.jobs").await.unwrap();
    broker.delete_queue("told.ledger").await.unwrap();
    assert!(broker.messages("told.jobs").await.is_err());
    let unroutable = broker.publish_raw("amq.topic", "told.three", FieldTable::default(), b"lost").await;
    assert!(unroutable.is_err(), "nothing takes it, and still it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_broker_is_the_same_for_everybody() {
    let broker = RabbitMq::shared().await.expect("it starts");
    let again = RabbitMq::shared().await.unwrap();
    assert_eq!(broker.pid().unwrap(), again.pid().unwrap());
    broker.declare_queue("same.jobs", FieldTable::default()).await.unwrap();
    assert_eq!(broker.consumers("same.jobs").await.unwrap(), 0);
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume("same.jobs".into(), "".into(), options, FieldTable::default()).await.unwrap();
    assert_eq!(broker.consumers("same.jobs").await.unwrap(), 1);
    broker.delete_queue("same.jobs").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), consumer.next()).await.expect("it is told");
    assert!(!matches!(ended, Some(Ok(_))));
    connection.close(200, "done".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_lives_on_without_one_node() {
    let cluster = RabbitCluster::start(3).await.expect("it starts");
    let jobs = Clients { cluster: &cluster };
    jobs.declare(0).await;
    jobs.publish(0).await.expect("all are up");
    tokio::time::sleep(SETTLED).await;

    cluster.kill(0).await.unwrap();
    jobs.publish_soon(1).await;
    cluster.start_again(0).await.expect("the node comes back");
    jobs.publish_soon(0).await;

    cluster.isolate(2).await.unwrap();
    jobs.publish_soon(1).await;
    jobs.gone_soon(2).await;
    cluster.heal().await.unwrap();
    cluster.wait_ready(2).await.expect("the node comes back");
    jobs.publish_soon(2).await;
    assert!(jobs.count(2).await >= 5);
}

/// What a client of one node or another does.
struct Clients<'cluster> {
    cluster: &'cluster RabbitCluster,
}

impl Clients<'_> {
    const WITHIN: Duration = Duration::from_secs(40);

    async fn declare(&self, node: usize) {
        let broker = self.cluster.client(node).expect("there is such a node");
        broker.declare_queue("jobs", queue_of("quorum")).await.expect("it is declared");
    }

    async fn publish(&self, node: usize) -> anyhow::Result<()> {
        let publishing =
            async { self.cluster.client(node)?.publish_raw("", "jobs", FieldTable::default(), b"job").await };
        tokio::time::timeout(Duration::from_secs(3), publishing).await?
    }

    /// The queue may need a moment to find another leader.
    async fn publish_soon(&self, node: usize) {
        let begun = Instant::now();
        while let Err(error) = self.publish(node).await {
            assert!(begun.elapsed() < Self::WITHIN, "node {node} takes nothing: {error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A node in the minority stops serving.
    async fn gone_soon(&self, node: usize) {
        let begun = Instant::now();
        while self.publish(node).await.is_ok() {
            assert!(begun.elapsed() < Self::WITHIN, "node {node} still takes messages");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn count(&self, node: usize) -> u32 {
        self.cluster
            .client(node)
            .expect("there is such a node")
            .messages("jobs")
            .await
            .expect("it is counted")
    }
}
