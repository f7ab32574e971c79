//! What is published, and its properties on the wire.

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use super::topology::Exchange;
use crate::model::JobId;

const JOB: &str = "slipway-job";
const GENERATION: &str = "slipway-generation";
const UNTIL: &str = "slipway-until";
/// Set by quorum queues on every delivery after the first.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Set by streams on every delivery.
const STREAM_OFFSET: &str = "x-stream-offset";
/// `delivery_mode` of messages that survive the broker.
pub(super) const PERSISTENT: u8 = 2;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// A job: the body is the event of its acceptance.
    Job,
    /// Any other record.
    Record,
}

impl MessageKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Record => "record",
        }
    }
}

/// One message to publish.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// Where to.
    pub(crate) exchange: Exchange,
    /// The routing key.
    pub(crate) key: String,
    /// What it is.
    pub(crate) kind: MessageKind,
    /// JSON of a record.
    pub(crate) body: Bytes,
    /// The job it is a copy of.
    pub(crate) job: Option<JobId>,
    /// Which copy: 0 is the acceptance, each park, wake or re-offer counts on.
    pub(crate) generation: u64,
    /// Parked until then.
    pub(crate) until: Option<Timestamp>,
}

impl Publication {
    /// A record for the ledger alone.
    pub(crate) fn record(body: Bytes) -> Self {
        Self {
            exchange: Exchange::Intake,
            key: "record".to_owned(),
            kind: MessageKind::Record,
            body,
            job: None,
            generation: 0,
            until: None,
        }
    }

    pub(super) fn properties(&self, publication: Uuid) -> BasicProperties {
        let mut headers = FieldTable::default();
        if let Some(job) = self.job {
            headers.insert(JOB.into(), AMQPValue::LongString(job.to_string().into()));
        }
        let generation = i64::try_from(self.generation).unwrap_or(i64::MAX);
        headers.insert(GENERATION.into(), AMQPValue::LongLongInt(generation));
        if let Some(until) = self.until {
            headers.insert(UNTIL.into(), AMQPValue::LongLongInt(until.as_microsecond()));
        }
        BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(publication.to_string().into())
            .with_type(self.kind.as_str().into())
            .with_content_type("application/json".into())
            .with_headers(headers)
    }
}

/// What the headers of a delivery say; absent and unreadable ones are equal.
#[derive(Debug, Default)]
pub(super) struct Headers {
    pub(super) publication: Option<Uuid>,
    pub(super) job: Option<JobId>,
    pub(super) generation: u64,
    pub(super) until: Option<Timestamp>,
    pub(super) delivery_count: u64,
    pub(super) stream_offset: Option<u64>,
}

impl Headers {
    pub(super) fn read(properties: &BasicProperties) -> Self {
        let publication = properties.message_id().as_ref();
        let publication = publication.and_then(|id| Uuid::parse_str(id.as_str()).ok());
        let Some(headers) = properties.headers() else { return Self { publication, ..Self::default() } };
        let number = |key: &str| headers.inner().get(key).and_then(integer);
        let unsigned = |key: &str| number(key).and_then(|number| u64::try_from(number).ok());
        let job = headers.inner().get(JOB).and_then(AMQPValue::as_long_string);
        Self {
            publication,
            job: job.and_then(|job| job.to_string().parse().ok()),
            generation: unsigned(GENERATION).unwrap_or(0),
            until: number(UNTIL).and_then(|until| Timestamp::from_microsecond(until).ok()),
            delivery_count: unsigned(DELIVERY_COUNT).unwrap_or(0),
            stream_offset: unsigned(STREAM_OFFSET),
        }
    }
}

/// Any integer of AMQP: brokers choose the width by the value.
#[expect(clippy::wildcard_enum_match_arm, reason = "everything else is no integer")]
fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}
