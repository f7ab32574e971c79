//! Reading the ledger's stream: pages for those who ask, and a tail for the one who follows it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::error::{BrokerError, within};
use super::message::Headers;
use super::session::Session;
use super::topology::QueueName;

/// Longest wait for one step, and for the next record while some are known to be there.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Records on their way at once.
const PREFETCH: u16 = 1_000;
/// A tail that met nothing for so long subscribes again: a consumer that got lost must not look like a quiet ledger.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// A record as it lies in the stream: its offset, from 0, and its body.
pub(crate) type Entry = (u64, Bytes);

/// A consumer of the stream.
struct Reader {
    session: Arc<Session>,
    channel: Channel,
    consumer: Consumer,
    next: u64,
}

impl Reader {
    async fn open(shared: &Shared, session: Arc<Session>, from: u64) -> Result<Self, BrokerError> {
        let created = session.consuming.connection.create_channel();
        let channel = within(STEP_TIMEOUT, "opening a channel", created).await?;
        let qos = channel.basic_qos(PREFETCH, BasicQosOptions::default());
        within(STEP_TIMEOUT, "setting the prefetch", qos).await?;
        let mut arguments = FieldTable::default();
        let offset = i64::try_from(from).unwrap_or(i64::MAX);
        arguments.insert("x-stream-offset".into(), AMQPValue::LongLongInt(offset));
        let queue = shared.topology.queue(QueueName::Ledger);
        let options = BasicConsumeOptions::default();
        let consume = channel.basic_consume(queue.into(), "".into(), options, arguments);
        let consumer = within(STEP_TIMEOUT, "reading the stream", consume).await?;
        Ok(Self { session, channel, consumer, next: from })
    }

    /// The next record; `None` when none came until `deadline`.
    async fn next(&mut self, deadline: Instant) -> Result<Option<Entry>, BrokerError> {
        loop {
            let next = tokio::select! {
                () = self.session.ended() => {
                    return Err(BrokerError::Unavailable { reason: self.session.reason() });
                }
                next = timeout_at(deadline, self.consumer.next()) => next,
            };
            let delivery = match next {
                Err(_) => return Ok(None),
                Ok(Some(delivery)) => delivery?,
                Ok(None) => return Err(ended()),
            };
            let acked = delivery.acker.ack(BasicAckOptions::default());
            if !within(STEP_TIMEOUT, "taking a record", acked).await? {
                return Err(ended());
            }
            let Some(offset) = Headers::read(&delivery.properties).stream_offset else {
                return Err(BrokerError::Misfit {
                    reason: "a record of the stream has no offset".to_owned(),
                });
            };
            if offset >= self.next {
                self.next = offset + 1;
                return Ok(Some((offset, Bytes::from(delivery.data))));
            }
        }
    }

    async fn close(self) {
        let closed = within(STEP_TIMEOUT, "closing", self.channel.close(200, "done".into())).await;
        if let Err(error) = closed {
            tracing::debug!(%error, "a channel did not close");
        }
    }
}

fn ended() -> BrokerError {
    BrokerError::Unavailable { reason: "the broker ended the reading of the stream".to_owned() }
}

/// Reads what is there now.
pub(super) async fn read(shared: &Shared, from: u64, limit: usize) -> Result<Vec<Entry>, BrokerError> {
    let session = shared.session_now()?;
    let mut entries = Vec::new();
    if limit == 0 {
        return Ok(entries);
    }
    let mut reader = Reader::open(shared, session, from).await?;
    while entries.len() < limit {
        let deadline = Instant::now() + Duration::from_millis(300);
        let Some(entry) = reader.next(deadline).await? else { break };
        entries.push(entry);
    }
    reader.close().await;
    Ok(entries)
}

/// A reader that follows the stream across reconnects.
pub(crate) struct StreamTail {
    shared: Arc<Shared>,
    reader: Option<Reader>,
    next: u64,
    heard: Instant,
}

impl std::fmt::Debug for StreamTail {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StreamTail").field("next", &self.next).finish_non_exhaustive()
    }
}

impl StreamTail {
    pub(super) fn new(shared: Arc<Shared>, from: u64) -> Self {
        Self { shared, reader: None, next: from, heard: Instant::now() }
    }

    /// At most `max` records, in order, as soon as there are any; none when none came within `longest_wait`.
    /// Every record comes once. A gap means that retention removed what was there.
    ///
    /// # Errors
    /// When the broker cannot be read; the next call goes on where this one stopped.
    pub(crate) async fn next_batch(
        &mut self,
        max: usize,
        longest_wait: Duration,
    ) -> Result<Vec<Entry>, BrokerError> {
        let mut entries = Vec::new();
        match self.fill(&mut entries, max, Instant::now() + longest_wait).await {
            Err(error) => {
                self.reader = None;
                if entries.is_empty() { Err(error) } else { Ok(entries) }
            }
            Ok(()) => Ok(entries),
        }
    }

    async fn fill(
        &mut self,
        entries: &mut Vec<Entry>,
        max: usize,
        until: Instant,
    ) -> Result<(), BrokerError> {
        if self.heard.elapsed() > QUIET_MAX {
            self.reader = None;
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let session = self.shared.session_by_then(until).await?;
                self.heard = Instant::now();
                self.reader.insert(Reader::open(&self.shared, session, self.next).await?)
            }
        };
        while entries.len() < max {
            // The first is waited for; the others are taken as they are there.
            let deadline = if entries.is_empty() { until } else { Instant::now() };
            let Some(entry) = reader.next(deadline).await? else { return Ok(()) };
            self.heard = Instant::now();
            self.next = entry.0 + 1;
            entries.push(entry);
        }
        Ok(())
    }
}
