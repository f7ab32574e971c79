//! Every exchange, queue, binding and argument, each with its reason, and how they are declared.
//!
//! All arguments that change what happens to a message are explicit, so that RabbitMQ 3.10 and 4.x behave alike.

use std::collections::HashMap;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use uuid::Uuid;

use super::error::{BrokerError, NOT_FOUND, reply_code};
use crate::distributed::BrokerSettings;
use crate::metric::METRIC_BACKLOG_MAX;

/// Waiting times of the delay queues, milliseconds: a ladder with factor 4, up to 17 minutes.
pub(crate) const DELAY_RUNGS_MS: [u32; 7] = [250, 1_000, 4_000, 16_000, 64_000, 256_000, 1_024_000];

/// Deliveries of a message that nobody may drop: the largest number every version takes.
const DELIVERY_LIMIT_NONE: u32 = 1_000_000_000;
/// Size of a stream's segment; retention drops whole segments.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 * 1_024..=64 * 1_024 * 1_024;
/// How many segments make up the largest size of the ledger.
const SEGMENTS: u64 = 8;
/// Longest wait for one declaration: a new quorum queue elects a leader first.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a message waits for its listener: a measurement that old says nothing of now.
const LISTENER_TTL_MS: u32 = 60_000;
/// How long a listener's queue is there without its consumer, should the listener end between declaring and consuming.
const LISTENER_UNUSED_MAX_MS: u32 = 60_000;
/// Most bytes that wait for one listener. Far more than a listener that works ever has waiting.
const LISTENER_BYTES_MAX: u64 = 64 * 1_024 * 1_024;

/// A queue of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum QueueName {
    /// Jobs workers take.
    Front,
    /// Further jobs of projects that have many in front.
    Backlog,
    /// Jobs that wait this many milliseconds; one of [`DELAY_RUNGS_MS`].
    Delay(u32),
    /// Messages the broker set aside.
    Dead,
    /// The ledger.
    Ledger,
}

impl QueueName {
    /// All queues.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let delays = DELAY_RUNGS_MS.into_iter().map(Self::Delay);
        [Self::Front, Self::Backlog, Self::Dead, Self::Ledger].into_iter().chain(delays)
    }

    /// Its routing key at [`Exchange::Jobs`]; the ledger has none there.
    pub(crate) fn jobs_key(self) -> Option<String> {
        match self {
            Self::Front => Some("front".to_owned()),
            Self::Backlog => Some("backlog".to_owned()),
            Self::Delay(rung_ms) => Some(format!("delay.{rung_ms}")),
            Self::Dead => Some("dead".to_owned()),
            Self::Ledger => None,
        }
    }

    /// Its pattern at [`Exchange::Intake`], for the queues that take new records.
    fn intake_key(self) -> Option<&'static str> {
        match self {
            Self::Front => Some("job.front"),
            Self::Backlog => Some("job.backlog"),
            Self::Ledger => Some("#"),
            Self::Delay(_) | Self::Dead => None,
        }
    }
}

/// An exchange of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Exchange {
    /// Accepted jobs (`job.front`, `job.backlog`) and other records (`record`): all reach the ledger.
    Intake,
    /// Moves of jobs that are no new acceptance: `front`, `backlog`, `delay.<ms>`, `dead`.
    Jobs,
    /// Metric events, to everyone who listens: a fanout, without keys. With nobody there they are gone at once, and
    /// nothing fills up. Durable, so that others may publish after a restart of the broker before one of us connects.
    Metrics,
    /// Results of deployments, for other services: a topic, whose keys they bind queues of their own to. Without a queue
    /// a message is gone.
    Events,
}

/// What a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages ready for delivery.
    pub(crate) ready: u64,
    /// Consumers of all processes.
    pub(crate) consumers: u64,
}

/// What a look at all queues found.
#[derive(Debug)]
pub(super) struct Survey {
    /// Exchanges and queues that were missing and are there now.
    pub(super) made: Vec<String>,
    /// Each queue.
    pub(super) counts: HashMap<QueueName, Counts>,
}

/// Names and arguments under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Topology {
    prefix: String,
    delivery_limit: u32,
    queue_max_jobs: u32,
    ledger_max_age: Option<Duration>,
    ledger_max_bytes: Option<u64>,
}

impl Topology {
    pub(super) fn new(settings: &BrokerSettings) -> Self {
        Self {
            prefix: settings.prefix.clone(),
            delivery_limit: settings.delivery_limit,
            queue_max_jobs: settings.queue_max_jobs,
            ledger_max_age: settings.ledger_max_age,
            ledger_max_bytes: settings.ledger_max_bytes,
        }
    }

    /// Full name of a queue.
    pub(super) fn queue(&self, queue: QueueName) -> String {
        match queue {
            QueueName::Front => format!("{}.jobs.front", self.prefix),
            QueueName::Backlog => format!("{}.jobs.backlog", self.prefix),
            QueueName::Delay(rung_ms) => format!("{}.jobs.delay.{rung_ms}", self.prefix),
            QueueName::Dead => format!("{}.jobs.dead", self.prefix),
            QueueName::Ledger => format!("{}.ledger", self.prefix),
        }
    }

    /// Full name of an exchange.
    pub(super) fn exchange(&self, exchange: Exchange) -> String {
        match exchange {
            Exchange::Intake => format!("{}.intake", self.prefix),
            Exchange::Jobs => format!("{}.jobs", self.prefix),
            Exchange::Metrics => format!("{}.metrics", self.prefix),
            Exchange::Events => format!("{}.events", self.prefix),
        }
    }

    /// Arguments of a queue.
    pub(super) fn arguments(&self, queue: QueueName) -> FieldTable {
        let mut table = FieldTable::default();
        match queue {
            QueueName::Front | QueueName::Backlog => self.job_queue(&mut table),
            QueueName::Delay(rung_ms) => {
                self.quorum(&mut table);
                put(&mut table, "x-message-ttl", AMQPValue::LongUInt(rung_ms));
                self.dead_letters(&mut table, "front");
            }
            QueueName::Dead => {
                put(&mut table, "x-queue-type", text("quorum"));
                // 4.x drops after 20 deliveries unless told otherwise; nothing comes after this queue.
                put(&mut table, "x-delivery-limit", AMQPValue::LongUInt(DELIVERY_LIMIT_NONE));
            }
            QueueName::Ledger => self.ledger(&mut table),
        }
        table
    }

    fn job_queue(&self, table: &mut FieldTable) {
        self.quorum(table);
        put(table, "x-delivery-limit", AMQPValue::LongUInt(self.delivery_limit));
        self.dead_letters(table, "dead");
    }

    /// Replicated, and full means refused: without `reject-publish` the oldest job would be dropped.
    fn quorum(&self, table: &mut FieldTable) {
        put(table, "x-queue-type", text("quorum"));
        put(table, "x-overflow", text("reject-publish"));
        put(table, "x-max-length", AMQPValue::LongUInt(self.queue_max_jobs));
    }

    /// At least once: the default loses the message when the next queue cannot take it.
    fn dead_letters(&self, table: &mut FieldTable, key: &str) {
        put(table, "x-dead-letter-exchange", text(&self.exchange(Exchange::Jobs)));
        put(table, "x-dead-letter-routing-key", text(key));
        put(table, "x-dead-letter-strategy", text("at-least-once"));
    }

    fn ledger(&self, table: &mut FieldTable) {
        put(table, "x-queue-type", text("stream"));
        let segment = self.ledger_max_bytes.unwrap_or(u64::MAX) / SEGMENTS;
        let segment = segment.clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        put(table, "x-stream-max-segment-size-bytes", long(segment));
        if let Some(age) = self.ledger_max_age {
            put(table, "x-max-age", text(&format!("{}s", age.as_secs())));
        }
        if let Some(bytes) = self.ledger_max_bytes {
            put(table, "x-max-length-bytes", long(bytes));
        }
    }

    /// Looks whether everything is there in our form; declares what is missing; binds everything.
    ///
    /// # Errors
    /// [`BrokerError::Misfit`] when something exists in another form.
    pub(super) async fn ensure(&self, connection: &Connection) -> Result<Survey, BrokerError> {
        let mut declarer = Declarer { connection, channel: channel(connection).await?, made: Vec::new() };
        for (exchange, kind) in [
            (Exchange::Intake, ExchangeKind::Topic),
            (Exchange::Jobs, ExchangeKind::Direct),
            (Exchange::Metrics, ExchangeKind::Fanout),
            (Exchange::Events, ExchangeKind::Topic),
        ] {
            declarer.exchange(&self.exchange(exchange), kind).await?;
        }
        let mut counts = HashMap::new();
        for queue in QueueName::all() {
            let found = declarer.queue(&self.queue(queue), self.arguments(queue)).await?;
            counts.insert(queue, found);
            self.bind(&declarer.channel, queue).await?;
        }
        let made = std::mem::take(&mut declarer.made);
        close(declarer.channel).await;
        Ok(Survey { made, counts })
    }

    async fn bind(&self, channel: &Channel, queue: QueueName) -> Result<(), BrokerError> {
        let intake = queue.intake_key().map(|key| (Exchange::Intake, key.to_owned()));
        let jobs = queue.jobs_key().map(|key| (Exchange::Jobs, key));
        for (exchange, key) in intake.into_iter().chain(jobs) {
            let (queue, exchange) = (self.queue(queue), self.exchange(exchange));
            let options = QueueBindOptions::default();
            let bound =
                channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default());
            within(bound).await?;
        }
        Ok(())
    }

    /// Declares a queue for one listener of [`Exchange::Metrics`], binds it and answers its name.
    ///
    /// Exclusive and deleted with its consumer: nobody else listens there, and it is gone with its listener or, at the
    /// latest, with the connection. It has another name each time, because the broker may not have noticed the end of
    /// the connection that had the last one. It is not among [`QueueName`]: no watchdog looks after it, and whoever
    /// misses it declares another.
    pub(super) async fn listener(&self, channel: &Channel) -> Result<String, BrokerError> {
        let name = format!("{}.metrics.{}", self.prefix, Uuid::now_v7().simple());
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let declared = channel.queue_declare(name.as_str().into(), options, listener_arguments());
        within(declared).await?;
        self.bind_listener(channel, &name).await?;
        Ok(name)
    }

    /// Binds a listener's queue. That it is bound already is no error.
    pub(super) async fn bind_listener(&self, channel: &Channel, name: &str) -> Result<(), BrokerError> {
        let exchange = self.exchange(Exchange::Metrics);
        let options = QueueBindOptions::default();
        let bound =
            channel.queue_bind(name.into(), exchange.into(), "".into(), options, FieldTable::default());
        Ok(within(bound).await?)
    }

    /// Messages and consumers of one queue, by a passive declaration.
    ///
    /// # Errors
    /// [`BrokerError::Missing`] when the queue does not exist.
    pub(super) async fn counts(
        &self,
        connection: &Connection,
        queue: QueueName,
    ) -> Result<Counts, BrokerError> {
        let name = self.queue(queue);
        let channel = channel(connection).await?;
        let found = passive(&channel, &name).await?;
        close(channel).await;
        found.ok_or(BrokerError::Missing { queue: name })
    }
}

/// Full means that the oldest go: a listener that hangs costs the broker little, and publishers nothing.
fn listener_arguments() -> FieldTable {
    let mut table = FieldTable::default();
    // Said, as a virtual host may have another default. Nothing of it is worth a replica.
    put(&mut table, "x-queue-type", text("classic"));
    put(&mut table, "x-overflow", text("drop-head"));
    put(&mut table, "x-max-length", long(u64::try_from(METRIC_BACKLOG_MAX).unwrap_or(u64::MAX)));
    put(&mut table, "x-max-length-bytes", long(LISTENER_BYTES_MAX));
    put(&mut table, "x-message-ttl", AMQPValue::LongUInt(LISTENER_TTL_MS));
    put(&mut table, "x-expires", AMQPValue::LongUInt(LISTENER_UNUSED_MAX_MS));
    table
}

/// Declares on a channel that the broker closes whenever something is missing.
struct Declarer<'a> {
    connection: &'a Connection,
    channel: Channel,
    made: Vec<String>,
}

impl Declarer<'_> {
    async fn exchange(&mut self, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let asked = self.channel.exchange_declare(name.into(), kind.clone(), passive, FieldTable::default());
        if unless_missing(within(asked).await)?.is_none() {
            self.channel = channel(self.connection).await?;
            self.made.push(name.to_owned());
        }
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declared = self.channel.exchange_declare(name.into(), kind, durable, FieldTable::default());
        Ok(within(declared).await?)
    }

    async fn queue(&mut self, name: &str, arguments: FieldTable) -> Result<Counts, BrokerError> {
        if passive(&self.channel, name).await?.is_none() {
            self.channel = channel(self.connection).await?;
            self.made.push(name.to_owned());
        }
        let declared = self.channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments);
        Ok(counts(&within(declared).await?))
    }
}

async fn passive(channel: &Channel, name: &str) -> Result<Option<Counts>, BrokerError> {
    let options = QueueDeclareOptions::durable().passive();
    let asked = channel.queue_declare(name.into(), options, FieldTable::default());
    Ok(unless_missing(within(asked).await)?.map(|queue| counts(&queue)))
}

fn counts(queue: &lapin::Queue) -> Counts {
    Counts { ready: queue.message_count().into(), consumers: queue.consumer_count().into() }
}

/// A step that failed, still with the broker's reply code.
enum Failed {
    Told(lapin::Error),
    Overdue,
}

impl From<Failed> for BrokerError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Told(error) => error.into(),
            Failed::Overdue => Self::Overdue { what: "declaring", deadline: DECLARE_TIMEOUT },
        }
    }
}

async fn within<T>(step: impl Future<Output = lapin::Result<T>>) -> Result<T, Failed> {
    match tokio::time::timeout(DECLARE_TIMEOUT, step).await {
        Ok(answer) => answer.map_err(Failed::Told),
        Err(_) => Err(Failed::Overdue),
    }
}

fn unless_missing<T>(answer: Result<T, Failed>) -> Result<Option<T>, Failed> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Failed::Told(error)) if reply_code(&error) == Some(NOT_FOUND) => Ok(None),
        Err(failed) => Err(failed),
    }
}

async fn channel(connection: &Connection) -> Result<Channel, BrokerError> {
    Ok(within(connection.create_channel()).await?)
}

/// Closes a channel that served its purpose; when that fails, the end of the connection closes it.
async fn close(channel: Channel) {
    if within(channel.close(200, ShortString::from("done"))).await.is_err() {
        tracing::debug!("a channel did not close in time");
    }
}

fn put(table: &mut FieldTable, key: &str, value: AMQPValue) {
    table.insert(key.into(), value);
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Numbers beyond the signed range mean "as large as can be".
fn long(number: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(number).unwrap_or(i64::MAX))
}
