//! The recorder: an event is kept once the ledger has it. What the store could not take stays here, in order, and is
//! applied before anything later is, so that no event looks as if it contradicted its history.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use slipway_common::Backend;
use slipway_common::backend::RecordError;
use slipway_common::ledger::LedgerError;
use slipway_common::model::DeploymentId;
use slipway_common::plant::Plant;
use slipway_common::record::Record;
use slipway_common::state::Illegal;
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::condition::Condition;
use crate::failpoint::{self, Place};
use crate::figures::{Count, Figures};
use crate::report::Noted;

/// How long a ledger that cannot be written is tried again before the run is given up.
const LEDGER_PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two tries, of the ledger and of the store.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Most records kept for the store; with more, runs are handed back until it is there again.
const BEHIND_MAX: usize = 10_000;

/// Writes history for all runs of this process.
#[derive(Debug)]
pub(crate) struct Recorder {
    backend: Backend,
    figures: Arc<Figures>,
    behind: Mutex<Behind>,
    ledger: Condition,
    store: Condition,
    noted: Noted,
}

/// What the ledger has and the store has not.
#[derive(Debug, Default)]
struct Behind {
    records: VecDeque<Record>,
    retry_at: Option<Instant>,
}

/// Whether the error says that the store could not be used, rather than that it refused something.
pub(crate) fn is_away(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable { .. } | StoreError::DiskFull => true,
        StoreError::Illegal(_) | StoreError::UnknownDeployment { .. } | StoreError::Corrupt { .. } => false,
    }
}

impl Recorder {
    pub(crate) fn new(backend: Backend, figures: Arc<Figures>) -> Self {
        Self {
            backend,
            figures,
            behind: Mutex::default(),
            ledger: Condition::of("the ledger"),
            store: Condition::of("the store"),
            noted: Noted::default(),
        }
    }

    /// The deployments of which something was recorded, for those who are told of it.
    pub(crate) fn noted(&self) -> &Noted {
        &self.noted
    }

    /// Keeps a record. It is kept although the store is away; it is not when the store finds it illegal.
    ///
    /// # Errors
    /// When the ledger does not take it, or the store refuses it.
    pub(crate) async fn record(&self, record: Record) -> Result<(), RecordError> {
        self.record_all(vec![record]).await
    }

    /// Keeps records in this order, as [`Self::record`] does; those after one that the store finds illegal are in the
    /// ledger only.
    ///
    /// # Errors
    /// When the ledger does not take them, or the store refuses one.
    pub(crate) async fn record_all(&self, records: Vec<Record>) -> Result<(), RecordError> {
        self.append(&records).await.map_err(RecordError::Ledger)?;
        self.project(records).await.map_err(RecordError::Store)
    }

    /// Applies what the store has missed; `false` while it still cannot be used.
    pub(crate) async fn catch_up(&self) -> bool {
        let mut behind = self.behind.lock().await;
        self.drain(&mut behind).await
    }

    /// Whether the store can be used. Only after it could not does this look.
    pub(crate) async fn store_is_there(&self) -> bool {
        if !self.store.is_bad() {
            return true;
        }
        // A deployment nobody knows: the cheapest question that only a complete projection answers.
        match self.backend.store.deployment(DeploymentId::generate()).await {
            Ok(_) => self.catch_up().await,
            Err(_) => false,
        }
    }

    /// The store answered.
    pub(crate) fn store_works(&self) {
        self.store.works();
    }

    /// The store could not be used.
    pub(crate) fn store_failed(&self, error: &StoreError) {
        if is_away(error) {
            self.store.failed(error);
        }
    }

    /// Catches up as soon as the store is there again, until `stop`; then once more.
    pub(crate) async fn keep_catching_up(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RETRY_PAUSE) => {}
                () = stop.cancelled() => break,
            }
            self.catch_up().await;
        }
        self.catch_up().await;
    }

    async fn append(&self, records: &[Record]) -> Result<(), LedgerError> {
        let give_up_at = Instant::now() + LEDGER_PATIENCE;
        loop {
            // Appending one event twice is appending it once: the fold knows it by its id.
            let appended = self.backend.ledger.append_all(records);
            let error = match failpoint::around(Place::LedgerAppend, appended).await {
                Ok(()) => {
                    self.ledger.works();
                    return Ok(());
                }
                Err(error) => error,
            };
            self.ledger.failed(&error);
            let lasting = matches!(error, LedgerError::Corrupt { .. });
            if lasting || Instant::now() >= give_up_at || Plant::TimeoutIsFailure.is_planted() {
                return Err(error);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn project(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let mut behind = self.behind.lock().await;
        if self.drain(&mut behind).await {
            // Runs do not wait for each other: what one deployment's history needs in order, one run writes in order.
            drop(behind);
            match self.apply(&records).await {
                Err(error) if is_away(&error) => {}
                settled => return settled,
            }
            behind = self.behind.lock().await;
            behind.retry_at = Some(Instant::now() + RETRY_PAUSE);
        }
        if behind.records.len() >= BEHIND_MAX {
            let reason = format!("{BEHIND_MAX} records wait for it already; the ledger has these too");
            return Err(StoreError::Unavailable { reason });
        }
        records.iter().for_each(|_| self.figures.count(Count::Unprojected));
        behind.records.extend(records);
        Ok(())
    }

    /// Applies what is behind, in order; `true` when nothing is left.
    async fn drain(&self, behind: &mut Behind) -> bool {
        if behind.records.is_empty() {
            return true;
        }
        if behind.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        while let Some(record) = behind.records.front() {
            match self.apply(std::slice::from_ref(record)).await {
                Err(error) if is_away(&error) => {
                    behind.retry_at = Some(Instant::now() + RETRY_PAUSE);
                    return false;
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a late record was refused; the ledger keeps it");
                }
                Ok(()) => {}
            }
            behind.records.pop_front();
        }
        behind.retry_at = None;
        true
    }

    async fn apply(&self, records: &[Record]) -> Result<(), StoreError> {
        let applied = failpoint::around(Place::StoreApply, self.backend.store.apply_all(records)).await;
        match &applied {
            Ok(()) => {
                self.store.works();
                records.iter().for_each(|record| self.noted.note_record(record));
            }
            Err(StoreError::Illegal(Illegal::Fenced { .. })) => self.figures.count(Count::Fenced),
            Err(error) => self.store_failed(error),
        }
        applied
    }
}

#[cfg(test)]
mod tests;
