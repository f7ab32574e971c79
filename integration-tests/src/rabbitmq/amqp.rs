//! What the harness does to a broker as a client: one connection for each operation, all of them with a deadline.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

/// Longest time for a handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for an operation on a connection that stands.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
/// A stream has been read to its end when nothing came for this long.
const STREAM_IDLE: Duration = Duration::from_secs(2);
const STREAM_PREFETCH: u16 = 500;
const CLOSED_NORMALLY: u16 = 200;

/// A message as the broker has it.
#[derive(Clone, Debug)]
pub struct RawMessage {
    /// What was published.
    pub body: Vec<u8>,
    /// With the headers.
    pub properties: BasicProperties,
    /// The key it was published with.
    pub routing_key: String,
    /// Whether it was handed out before.
    pub redelivered: bool,
}

/// Connects, does the work, closes the connection whatever became of the work.
async fn with_channel<T, Work, Doing>(url: &str, work: Work) -> anyhow::Result<T>
where
    Work: FnOnce(Channel) -> Doing + Send,
    Doing: Future<Output = anyhow::Result<T>> + Send,
{
    let connecting = Connection::connect(url, ConnectionProperties::default());
    let connection =
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.context("no handshake in time")??;
    let worked = tokio::time::timeout(OPERATION_TIMEOUT, async {
        let channel = connection.create_channel().await?;
        work(channel).await
    });
    let worked = worked.await;
    let closing = connection.close(CLOSED_NORMALLY, "done".into());
    // The work counts, not how the connection ends.
    drop(tokio::time::timeout(CONNECT_TIMEOUT, closing).await);
    worked.context("the broker does not answer in time")?
}

/// Whether the broker shakes hands and opens a channel.
pub(super) async fn handshake(url: &str) -> anyhow::Result<()> {
    with_channel(url, |_| async { Ok(()) }).await
}

pub(super) async fn declare_queue(url: &str, queue: &str, arguments: FieldTable) -> anyhow::Result<()> {
    with_channel(url, |channel| async move {
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
        Ok(())
    })
    .await
}

pub(super) async fn delete_queue(url: &str, queue: &str) -> anyhow::Result<()> {
    with_channel(url, |channel| async move {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    })
    .await
}

pub(super) async fn delete_exchange(url: &str, exchange: &str) -> anyhow::Result<()> {
    with_channel(url, |channel| async move {
        Ok(channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?)
    })
    .await
}

pub(super) async fn bind(url: &str, exchange: &str, queue: &str, key: &str) -> anyhow::Result<()> {
    with_channel(url, |channel| async move {
        let options = QueueBindOptions::default();
        Ok(channel
            .queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default())
            .await?)
    })
    .await
}

pub(super) async fn unbind(url: &str, exchange: &str, queue: &str, key: &str) -> anyhow::Result<()> {
    with_channel(url, |channel| async move {
        Ok(channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default()).await?)
    })
    .await
}

/// Messages that wait, and consumers.
pub(super) async fn counts(url: &str, queue: &str) -> anyhow::Result<(u32, u32)> {
    with_channel(url, |channel| async move {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        Ok((queue.message_count(), queue.consumer_count()))
    })
    .await
}

pub(super) async fn publish(
    url: &str,
    exchange: &str,
    key: &str,
    properties: BasicProperties,
    body: &[u8],
) -> anyhow::Result<()> {
    with_channel(url, |channel| async move {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?;
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => bail!("no queue takes {key} from {exchange}"),
            Confirmation::Nack(_) => bail!("the broker refuses {key} at {exchange}"),
            Confirmation::NotRequested => bail!("the broker confirms nothing"),
        }
    })
    .await
}

pub(super) async fn take(url: &str, queue: &str) -> anyhow::Result<Option<RawMessage>> {
    with_channel(url, |channel| async move {
        let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? else {
            return Ok(None);
        };
        got.ack(BasicAckOptions::default()).await?;
        // The acknowledgement has no answer; this one comes after it.
        channel.close(CLOSED_NORMALLY, "done".into()).await?;
        Ok(Some(raw(got.delivery)))
    })
    .await
}

pub(super) async fn peek_all(url: &str, queue: &str) -> anyhow::Result<Vec<RawMessage>> {
    with_channel(url, |channel| async move {
        let mut messages = Vec::new();
        while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
            messages.push(raw(got.delivery));
        }
        // What is not acknowledged when the channel closes goes back.
        channel.close(CLOSED_NORMALLY, "done".into()).await?;
        Ok(messages)
    })
    .await
}

pub(super) async fn read_stream(url: &str, stream: &str) -> anyhow::Result<Vec<RawMessage>> {
    with_channel(url, |channel| async move {
        channel.basic_qos(STREAM_PREFETCH, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
        let options = BasicConsumeOptions::default();
        let mut consumer = channel.basic_consume(stream.into(), "".into(), options, arguments).await?;
        let mut messages = Vec::new();
        while let Ok(next) = tokio::time::timeout(STREAM_IDLE, consumer.next()).await {
            let delivery = next.context("the stream's consumer was ended")??;
            delivery.acker.ack(BasicAckOptions::default()).await?;
            messages.push(raw(delivery));
        }
        Ok(messages)
    })
    .await
}

fn raw(delivery: lapin::message::Delivery) -> RawMessage {
    RawMessage {
        routing_key: delivery.routing_key.to_string(),
        redelivered: delivery.redelivered,
        properties: delivery.properties,
        body: delivery.data,
    }
}
