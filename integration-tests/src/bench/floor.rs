//! The floor: what the broker alone does, through lapin and nothing else, with persistent messages of the same size to
//! a quorum queue, `mandatory`, each confirmed, consumed and acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longest time of one measurement of the floor.
const TIMEOUT: Duration = Duration::from_secs(300);
const PERSISTENT: u8 = 2;

/// One connection with one publishing channel, many publications in flight.
#[derive(Debug)]
pub struct Publisher {
    /// Kept, because the channel ends with it.
    _connection: Connection,
    channel: Channel,
    queue: String,
    body: Bytes,
}

impl Publisher {
    /// Connects and declares the quorum queue `queue`.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn open(url: &str, queue: &str, body_bytes: usize) -> Result<Self> {
        Self::open_kind(url, queue, "quorum", body_bytes).await
    }

    /// The same with a stream, as the ledger is one.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn open_stream(url: &str, stream: &str, body_bytes: usize) -> Result<Self> {
        Self::open_kind(url, stream, "stream", body_bytes).await
    }

    async fn open_kind(url: &str, queue: &str, kind: &str, body_bytes: usize) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        declare(&connection, queue, kind).await?;
        let channel = confirming(&connection).await?;
        let body = Bytes::from(vec![b'x'; body_bytes]);
        Ok(Self { _connection: connection, channel, queue: queue.to_owned(), body })
    }

    /// Publishes one message and waits for its confirmation.
    ///
    /// # Errors
    /// What was wrong.
    pub async fn publish(self: Arc<Self>) -> Result<(), String> {
        publish(&self.channel, &self.queue, &self.body).await.map_err(|error| format!("{error:#}"))
    }
}

/// What is moved, and by how many.
#[derive(Debug, Clone, Copy)]
pub struct Cycle {
    /// Messages in all.
    pub messages: u32,
    /// Size of each.
    pub body_bytes: usize,
    /// Connections that consume.
    pub consumers: usize,
    /// Messages each of them has at once; as many publishers as there are of these in all.
    pub at_once: u16,
    /// Messages a consumer publishes to a stream for each that it consumed, one after another, each confirmed, before
    /// it acknowledges. 0 is the bare floor.
    pub records: u32,
    /// Size of each of those.
    pub record_bytes: usize,
}

/// Messages in one second, from the first publication to the last acknowledgement.
///
/// # Errors
/// When the broker refuses, or it takes too long.
pub async fn cycle_rate(url: &str, name: &str, cycle: Cycle) -> Result<f64> {
    let setup = Connection::connect(url, ConnectionProperties::default()).await?;
    let (queue, stream) = (format!("{name}.queue"), format!("{name}.stream"));
    declare(&setup, &queue, "quorum").await?;
    declare(&setup, &stream, "stream").await?;
    let left = Arc::new(AtomicU32::new(cycle.messages));
    let done = tokio_util::sync::CancellationToken::new();
    let mut tasks = JoinSet::new();
    for _ in 0..cycle.consumers {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let (queue, stream) = (queue.clone(), stream.clone());
        let (left, done) = (Arc::clone(&left), done.clone());
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        tasks.spawn(async move { consume(&connection, &queue, &stream, cycle, &left, &done, ready).await });
        is_ready.await.context("a consumer ended at once")?;
    }
    let begun = Instant::now();
    let publishers = u32::try_from(cycle.consumers)? * u32::from(cycle.at_once);
    for index in 0..publishers {
        let share = cycle.messages / publishers + u32::from(index < cycle.messages % publishers);
        let (channel, queue) = (confirming(&setup).await?, queue.clone());
        let body = vec![b'x'; cycle.body_bytes];
        tasks.spawn(async move {
            for _ in 0..share {
                publish(&channel, &queue, &body).await?;
            }
            Ok(())
        });
    }
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        anyhow::Ok(begun.elapsed())
    };
    let took = tokio::time::timeout(TIMEOUT, all).await.context("the floor takes too long")??;
    ensure!(left.load(Ordering::SeqCst) == 0, "not every message was consumed");
    Ok(f64::from(cycle.messages) / took.as_secs_f64())
}

async fn consume(
    connection: &Connection,
    queue: &str,
    stream: &str,
    cycle: Cycle,
    left: &AtomicU32,
    done: &tokio_util::sync::CancellationToken,
    ready: tokio::sync::oneshot::Sender<()>,
) -> Result<()> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(cycle.at_once, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    // A channel for each that is worked on at once, as a publication waits for its own confirmation.
    let spare = tokio::sync::Mutex::new(Vec::new());
    for _ in 0..cycle.at_once {
        spare.lock().await.push(confirming(connection).await?);
    }
    let body = vec![b'x'; cycle.record_bytes];
    // Whoever waits for it may be gone.
    ready.send(()).ok();
    let worked = consumer.take_until(done.clone().cancelled_owned()).map(|delivery| async {
        let delivery = delivery?;
        if cycle.records > 0 {
            let own = spare.lock().await.pop().context("more at once than agreed")?;
            for _ in 0..cycle.records {
                publish(&own, stream, &body).await?;
            }
            spare.lock().await.push(own);
        }
        ensure!(delivery.acker.ack(BasicAckOptions::default()).await?, "an acknowledgement was lost");
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            done.cancel();
        }
        anyhow::Ok(())
    });
    let mut worked = std::pin::pin!(worked.buffer_unordered(usize::from(cycle.at_once)));
    while let Some(one) = worked.next().await {
        one?;
    }
    Ok(())
}

async fn confirming(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn declare(connection: &Connection, queue: &str, kind: &str) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let channel = connection.create_channel().await?;
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    Ok(())
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, properties).await?;
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        other @ (Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested) => {
            Err(anyhow!("the broker did not take the message: {other:?}"))
        }
    }
}
