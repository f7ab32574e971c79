//! What is published reaches the queues bound to its key, and nobody else is needed.

use std::time::Duration;

use lapin::options::{BasicGetOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::*;
use crate::contract::eventually;
use crate::distributed::testing::{rabbit_shared, unique_prefix};
use crate::distributed::tests::fixture::settings;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

async fn connected(url: &str, prefix: &str) -> (Broker, RabbitTopic) {
    let broker = Broker::start(settings(url, "redis://127.0.0.1:1/0", prefix, 0).broker);
    broker.wait_ready(PATIENCE).await.expect("the broker becomes ready");
    (broker.clone(), RabbitTopic::new(broker))
}

/// Another service: its connection, and a queue of its own bound to this key.
async fn service(
    url: &str,
    prefix: &str,
    key: &str,
    arguments: FieldTable,
) -> (lapin::Connection, lapin::Channel, String) {
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(url, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{prefix}.service");
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
    let exchange = format!("{prefix}.events");
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(queue.as_str().into(), exchange.into(), key.into(), options, none);
    bound.await.unwrap();
    (connection, channel, queue)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_bound_a_queue_has_what_was_published() {
    let (url, prefix) = (rabbit_shared().await.url(), unique_prefix());
    let (broker, topic) = connected(&url, &prefix).await;
    topic.publish("deployment.succeeded.shop", "zero", b"{}").await.expect("nobody need listen");
    let none = FieldTable::default();
    let (other, channel, queue) = service(&url, &prefix, "deployment.succeeded.*", none).await;
    for (key, id) in [("deployment.succeeded.shop", "one"), ("deployment.failed.shop", "two")] {
        topic.publish(key, id, br#"{"project":"shop"}"#).await.unwrap();
    }
    let options = BasicGetOptions { no_ack: true };
    let got = channel.basic_get(queue.as_str().into(), options).await.unwrap().expect("it is there at once");
    assert_eq!(got.delivery.data, br#"{"project":"shop"}"#);
    let properties = &got.delivery.properties;
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str()), Some("one"));
    assert_eq!(properties.delivery_mode(), &Some(2));
    let second = channel.basic_get(queue.as_str().into(), options).await.unwrap();
    assert!(second.is_none(), "it is bound to no other key");
    let long = "k".repeat(256);
    assert!(topic.publish(&long, "three", b"{}").await.is_err());
    assert!(topic.publish("k", &long, b"{}").await.is_err());
    topic.publish(&long[..255], "four", b"{}").await.expect("the protocol can carry it");
    other.close(200, "done".into()).await.unwrap();
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_refuses_is_told_of() {
    let (url, prefix) = (rabbit_shared().await.url(), unique_prefix());
    let (broker, topic) = connected(&url, &prefix).await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongUInt(1));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let (other, ..) = service(&url, &prefix, "#", full).await;
    topic.publish("a.b", "one", b"{}").await.unwrap();
    let refused = topic.publish("a.b", "two", b"{}").await.unwrap_err();
    assert!(refused.to_string().contains(&format!("{prefix}.events")), "{refused}");
    other.close(200, "done".into()).await.unwrap();
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_deleted_is_made_again() {
    let (url, prefix) = (rabbit_shared().await.url(), unique_prefix());
    let (broker, topic) = connected(&url, &prefix).await;
    let (other, channel, _) = service(&url, &prefix, "#", FieldTable::default()).await;
    let exchange = format!("{prefix}.events");
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    assert!(topic.publish("a.b", "one", b"{}").await.is_err());
    eventually("the exchange being there again", || async { topic.publish("a.b", "two", b"{}").await.ok() })
        .await;
    other.close(200, "done".into()).await.unwrap();
    broker.close().await;
}
