//! Reading the ledger's stream: pages for those who ask, and a tail for the one who follows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::Delivery;
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
/// Records acknowledged at once.
const ACK_EVERY: u16 = 100;
/// How long a stream that nothing is known of may keep silent before it counts as empty.
const EMPTY_WAIT: Duration = Duration::from_millis(500);
/// Answers after which what came in between is new: while others keep writing, there is always more. Unless the
/// prefetch held some back, all that was there before has come.
const HEAD_ROUNDS: u32 = 3;

/// A record as it lies in the stream: its offset, from 0, and its body. Offsets grow, but not always by one: the
/// broker's own entry at the start of each segment takes one.
pub(crate) type Entry = (u64, Bytes);

/// Where a reader begins.
enum Start {
    /// At this offset, or at the first that is left.
    Offset(u64),
    /// At the newest chunk: some records before the head, never none unless the stream is empty.
    Newest,
}

/// A consumer of the stream.
struct Reader {
    session: Arc<Session>,
    channel: Channel,
    consumer: Consumer,
    next: u64,
    unacked: u16,
}

impl Reader {
    async fn open(shared: &Shared, session: Arc<Session>, start: Start) -> Result<Self, BrokerError> {
        let created = session.consuming.connection.create_channel();
        let channel = within(STEP_TIMEOUT, "opening a channel", created).await?;
        answered(&channel).await?;
        let (offset, next) = match start {
            Start::Offset(from) => (AMQPValue::LongLongInt(i64::try_from(from).unwrap_or(i64::MAX)), from),
            Start::Newest => (AMQPValue::LongString("last".into()), 0),
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), offset);
        let queue = shared.topology.queue(QueueName::Ledger);
        let options = BasicConsumeOptions::default();
        let consume = channel.basic_consume(queue.into(), "".into(), options, arguments);
        let consumer = within(STEP_TIMEOUT, "reading the stream", consume).await?;
        Ok(Self { session, channel, consumer, next, unacked: 0 })
    }

    /// The next record; `None` when none came until `deadline`.
    async fn next(&mut self, deadline: Instant) -> Result<Option<Entry>, BrokerError> {
        loop {
            let next = tokio::select! {
                biased;
                next = timeout_at(deadline, self.consumer.next()) => next,
                () = self.session.ended() => {
                    return Err(BrokerError::Unavailable { reason: self.session.reason() });
                }
            };
            let delivery = match next {
                Err(_) => return Ok(None),
                Ok(Some(delivery)) => delivery?,
                Ok(None) => return Err(ended()),
            };
            self.unacked += 1;
            if self.unacked >= ACK_EVERY {
                self.acknowledge(&delivery).await?;
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

    /// Asks for more: the broker sends as many as are acknowledged.
    async fn acknowledge(&mut self, last: &Delivery) -> Result<(), BrokerError> {
        self.unacked = 0;
        let acked = last.acker.ack(BasicAckOptions { multiple: true });
        if within(STEP_TIMEOUT, "taking records", acked).await? { Ok(()) } else { Err(ended()) }
    }

    async fn close(self) {
        let closed = within(STEP_TIMEOUT, "closing", self.channel.close(200, "done".into())).await;
        if let Err(error) = closed {
            tracing::debug!(%error, "a channel did not close");
        }
    }
}

/// Sets the prefetch and awaits the answer. As the broker handles a channel in order, all it had to deliver on this
/// channel before is here when this returns.
async fn answered(channel: &Channel) -> Result<(), BrokerError> {
    let qos = channel.basic_qos(PREFETCH, BasicQosOptions::default());
    within(STEP_TIMEOUT, "an answer on the channel of the stream", qos).await
}

fn ended() -> BrokerError {
    BrokerError::Unavailable { reason: "the broker ended the reading of the stream".to_owned() }
}

/// The offset of the last record there is; `None` when there is none.
///
/// The count of a passive declaration is no help: for a stream it lags by seconds (measured on 3.10). So this reads
/// the newest chunk. Once its first record is here, the broker sends the others before it answers anything else on
/// the channel, as far as the prefetch allows: no more after an answer means that this was the head. Under steady
/// writing there is always more; then the head is what was there some answers after the question.
async fn head(shared: &Shared, session: &Arc<Session>) -> Result<Option<u64>, BrokerError> {
    let mut reader = Reader::open(shared, session.clone(), Start::Newest).await?;
    let holds_some = shared.ledger_holds_some.load(Ordering::Acquire);
    let patience = if holds_some { STEP_TIMEOUT } else { EMPTY_WAIT };
    let mut head = reader.next(Instant::now() + patience).await?.map(|(offset, _)| offset);
    let mut rounds = 0;
    while head.is_some() {
        shared.ledger_holds_some.store(true, Ordering::Release);
        answered(&reader.channel).await?;
        rounds += 1;
        let mut count: u16 = 0;
        // One answer for all that is here by then, not one for each.
        while let Some((offset, _)) = reader.next(Instant::now()).await? {
            head = Some(offset);
            count = count.saturating_add(1);
        }
        if count == 0 || (rounds >= HEAD_ROUNDS && count < PREFETCH - ACK_EVERY) {
            break;
        }
    }
    if head.is_none() && (holds_some || reports_some(shared, session).await?) {
        return Err(BrokerError::Overdue { what: "the newest records of the stream", deadline: patience });
    }
    reader.close().await;
    Ok(head)
}

async fn reports_some(shared: &Shared, session: &Session) -> Result<bool, BrokerError> {
    let counts = shared.topology.counts(&session.consuming.connection, QueueName::Ledger).await?;
    Ok(counts.ready > 0)
}

/// Reads what is there now.
pub(super) async fn read(shared: &Shared, from: u64, limit: usize) -> Result<Vec<Entry>, BrokerError> {
    let session = shared.session_now()?;
    let mut entries = Vec::new();
    let head = if limit == 0 { None } else { head(shared, &session).await? };
    let Some(head) = head.filter(|head| *head >= from) else { return Ok(entries) };
    let mut reader = Reader::open(shared, session, Start::Offset(from)).await?;
    while entries.len() < limit && reader.next <= head {
        let Some(entry) = reader.next(Instant::now() + STEP_TIMEOUT).await? else {
            return Err(BrokerError::Overdue {
                what: "a record that is in the stream",
                deadline: STEP_TIMEOUT,
            });
        };
        entries.push(entry);
    }
    reader.close().await;
    Ok(entries)
}
