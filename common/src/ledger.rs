//! The seam `Ledger`: the append-only record of everything that was decided.
//!
//! Laws (tested for every adapter by `contract::ledger`):
//! - L1: when `append` returns, the record survives a crash of every process.
//! - L2: records are read back in the order of their offsets, none missing, each once and exactly as appended. Offsets
//!   grow, but not always by one: a stream numbers entries of its own in between.
//! - L3: reading from an offset resumes exactly there; reading past the head gives nothing.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::record::Record;

/// Position of a record; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

/// Why the ledger could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The ledger cannot be reached or written now.
    #[error("the ledger is unavailable: {reason}")]
    Unavailable {
        /// What the adapter met.
        reason: String,
    },
    /// A record could not be read back.
    #[error("the ledger holds an unreadable record at {offset}: {reason}")]
    Corrupt {
        /// Where.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// The append-only record.
#[async_trait]
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Appends one record durably. Where it lies is known to who reads it: a broker confirms without saying.
    async fn append(&self, record: &Record) -> Result<(), LedgerError>;

    /// Appends records durably, in this order. When it fails, any of them may be there; to append them again is harmless
    /// for records that are known by an id, as events are.
    async fn append_all(&self, records: &[Record]) -> Result<(), LedgerError> {
        for record in records {
            self.append(record).await?;
        }
        Ok(())
    }

    /// At most `limit` records from `from` on, in order.
    async fn read(&self, from: Offset, limit: usize) -> Result<Vec<(Offset, Record)>, LedgerError>;
}
