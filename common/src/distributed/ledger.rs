//! The ledger: a stream at the broker.

use async_trait::async_trait;
use bytes::Bytes;

use super::broker::{Broker, BrokerError, Publication, PublishError};
use crate::ledger::{Ledger, LedgerError, Offset};
use crate::record::Record;

/// Most records of one read, whatever was asked for.
const READ_MAX_RECORDS: usize = 10_000;

/// The ledger on the broker's stream; the offset n lies at n - 1 of the stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamLedger {
    broker: Broker,
}

impl StreamLedger {
    /// The ledger of this broker.
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker }
    }
}

#[async_trait]
impl Ledger for StreamLedger {
    async fn append(&self, record: &Record) -> Result<(), LedgerError> {
        self.broker.publish(encoded(record)?).await?;
        Ok(())
    }

    async fn append_all(&self, records: &[Record]) -> Result<(), LedgerError> {
        let publications = records.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
        Ok(self.broker.publish_all(&publications).await?)
    }

    async fn read(&self, from: Offset, limit: usize) -> Result<Vec<(Offset, Record)>, LedgerError> {
        let entries = self.broker.read_stream(from.0.saturating_sub(1), limit.min(READ_MAX_RECORDS)).await?;
        entries.into_iter().map(|(offset, body)| decoded(offset, &body)).collect()
    }
}

fn encoded(record: &Record) -> Result<Publication, LedgerError> {
    let body = serde_json::to_vec(record).map_err(|error| LedgerError::Unavailable {
        reason: format!("the record cannot be written: {error}"),
    })?;
    Ok(Publication::record(Bytes::from(body)))
}

/// The record of an entry of the stream.
///
/// # Errors
/// [`LedgerError::Corrupt`] with its offset when it cannot be read.
pub(crate) fn decoded(stream_offset: u64, body: &[u8]) -> Result<(Offset, Record), LedgerError> {
    let offset = stream_offset.saturating_add(1);
    match serde_json::from_slice(body) {
        Ok(record) => Ok((Offset(offset), record)),
        Err(error) => Err(LedgerError::Corrupt { offset, reason: error.to_string() }),
    }
}

impl From<BrokerError> for LedgerError {
    fn from(error: BrokerError) -> Self {
        Self::Unavailable { reason: error.to_string() }
    }
}

impl From<PublishError> for LedgerError {
    fn from(error: PublishError) -> Self {
        Self::Unavailable { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_body_is_named_by_its_offset() {
        let error = decoded(41, b"{}").unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { offset: 42, .. }), "{error}");
    }
}
