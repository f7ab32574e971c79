//! The seams together, as the API and the workers are given them.

use std::sync::Arc;

use crate::agenda::Agenda;
use crate::autoscaler::Autoscalers;
use crate::inquiry::Inquiries;
use crate::ledger::{Ledger, LedgerError};
use crate::metric::Metrics;
use crate::projects::Projects;
use crate::queue::JobQueue;
use crate::record::Record;
use crate::store::{Store, StoreError};
use crate::topic::Topic;

/// The seams of one form of Slipway. Chosen in `main` and the test harness, nowhere else.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Work to do.
    pub queue: Arc<dyn JobQueue>,
    /// Append-only history.
    pub ledger: Arc<dyn Ledger>,
    /// Progress and indexes.
    pub store: Arc<dyn Store>,
    /// Questions about what runs.
    pub inquiries: Arc<dyn Inquiries>,
    /// What is kept of autoscalers.
    pub autoscalers: Arc<dyn Autoscalers>,
    /// Metric events.
    pub metrics: Arc<dyn Metrics>,
    /// Registered projects.
    pub projects: Arc<dyn Projects>,
    /// What is to be looked at.
    pub agenda: Arc<dyn Agenda>,
    /// Results for other services.
    pub topic: Arc<dyn Topic>,
}

/// Why a record could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The ledger did not take it.
    #[error("the ledger did not take the record")]
    Ledger(#[source] LedgerError),
    /// The ledger has it; the store refused it or could not be written.
    #[error("the store did not take the record")]
    Store(#[source] StoreError),
}

impl Backend {
    /// Keeps a record: first in the ledger, then in its projection. Answers the event's sequence number.
    ///
    /// # Errors
    /// When either does not take it. A record that only reached the ledger is projected by the next
    /// catch-up; the fold ignores it there if it is illegal.
    pub async fn record(&self, record: &Record) -> Result<u64, RecordError> {
        self.ledger.append(record).await.map_err(RecordError::Ledger)?;
        self.store.apply(record).await.map_err(RecordError::Store)
    }
}
