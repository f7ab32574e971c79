//! The projector: applies the ledger to the store, from where it stopped or from the beginning.
//!
//! One process at a time has the turn; it keeps the turn while it lives. Correctness does not hang on that: every
//! chunk names the projection it is for and the offset it follows, and the script that writes it compares both.
//! Catching up and rebuilding are the same loop. A projection that is not whole (Redis was flushed, or somebody
//! declared it void) is begun anew, and is answered from only when the end of the ledger was reached.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::store::{Chunk, RedisStore, Turn, is_refused};
use crate::ledger::{Ledger, LedgerError, Offset};
use crate::record::Record;
use crate::store::StoreError;

/// Records read from the ledger at a time. Behind those that are wanted, the broker has sent up to a thousand more by
/// then, whose reading is in vain: 500 took 0.41 and 0.44 s, 2,500 took 0.56 to 0.80 s (a debug build).
const PAGE_RECORDS: usize = 2_500;
/// Records written to the store at a time; also the page's length after the ledger did not answer in time, from
/// where it grows again.
const CHUNK_RECORDS: usize = 500;
/// How often the ledger is looked at when its end was reached.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often another process asks whether it is its turn.
const WAIT_INTERVAL: Duration = Duration::from_millis(500);
/// How long a turn lasts unless kept.
const TURN_LIFETIME: Duration = Duration::from_secs(4);
/// Longest wait for the ledger: shorter than a turn lasts.
const READ_LIMIT: Duration = Duration::from_secs(3);
/// Empty reads in a row that count as the end of the ledger.
const END_READS: u32 = 2;
/// How often it is looked whether a rebuild is done.
const DONE_INTERVAL: Duration = Duration::from_millis(50);

/// Figures of the projector in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProjectorFigures {
    /// Whether it has the turn.
    pub(crate) active: bool,
    /// Last offset projected.
    pub(crate) projected: u64,
    /// Age of the newest event projected while there are further ones; 0 at the end of the ledger.
    pub(crate) lag_ms: u64,
    /// Projections begun here.
    pub(crate) begun: u64,
    /// Projections completed here.
    pub(crate) rebuilt: u64,
    /// Records that could not be read and were left out.
    pub(crate) corrupt: u64,
}

#[derive(Debug, Default)]
struct Counters {
    active: AtomicBool,
    projected: AtomicU64,
    lag_ms: AtomicU64,
    begun: AtomicU64,
    rebuilt: AtomicU64,
    corrupt: AtomicU64,
}

/// The projector of this process.
#[derive(Debug)]
pub(crate) struct Projector {
    store: RedisStore,
    counters: Arc<Counters>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// A piece of the ledger, which never changes: what was read once is good for any projection.
#[derive(Debug, Default)]
struct Page {
    /// The offset it follows.
    after: u64,
    records: VecDeque<(u64, Record)>,
    /// Whether it had fewer records than were asked for: behind it the ledger ended.
    is_short: bool,
}

impl Page {
    /// The next records to write, and whether they end the ledger as it was read.
    fn chunk(&self) -> (Vec<(u64, Record)>, bool) {
        let chunk: Vec<_> = self.records.iter().take(CHUNK_RECORDS).cloned().collect();
        let at_end = self.is_short && chunk.len() == self.records.len();
        (chunk, at_end)
    }

    /// The projection has come to this offset.
    fn pass(&mut self, to: u64) {
        while self.records.front().is_some_and(|(offset, _)| *offset <= to) {
            self.records.pop_front();
        }
        self.after = to;
    }
}

/// What the loop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// There may be more at once.
    Go,
    /// The end of the ledger was reached, or nothing can be done now.
    Look,
    /// It is another's turn.
    Wait,
}

/// One process's part in the projection.
struct Run {
    holder: String,
    store: RedisStore,
    ledger: Arc<dyn Ledger>,
    counters: Arc<Counters>,
    /// What was read of the ledger and is not applied yet.
    page: Page,
    /// How many records are asked for at a time.
    page_records: usize,
    /// Empty reads in a row.
    empty: u32,
    /// When this process began or took over an incomplete projection.
    since: Timestamp,
    epoch: String,
    /// Whether the last attempt failed, so that it is said once.
    failing: bool,
}

impl Projector {
    /// Starts projecting `ledger` into `store`, until `shutdown`. Must be called within a runtime.
    pub(crate) fn start(store: RedisStore, ledger: Arc<dyn Ledger>, shutdown: CancellationToken) -> Self {
        let counters = Arc::new(Counters::default());
        let run = Run {
            holder: Uuid::now_v7().to_string(),
            store: store.clone(),
            ledger,
            counters: Arc::clone(&counters),
            page: Page::default(),
            page_records: PAGE_RECORDS,
            empty: 0,
            since: Timestamp::now(),
            epoch: String::new(),
            failing: false,
        };
        let task = Mutex::new(Some(tokio::spawn(run.project(shutdown))));
        Self { store, counters, task }
    }

    /// Makes it look at the ledger now.
    pub(crate) fn nudge(&self) {
        self.store.nudge();
    }

    /// Figures since the start.
    pub(crate) fn figures(&self) -> ProjectorFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProjectorFigures {
            active: self.counters.active.load(Ordering::Relaxed),
            projected: read(&self.counters.projected),
            lag_ms: read(&self.counters.lag_ms),
            begun: read(&self.counters.begun),
            rebuilt: read(&self.counters.rebuilt),
            corrupt: read(&self.counters.corrupt),
        }
    }

    /// Makes the store anew from the ledger, whichever process does it; waits until that is done. Leases,
    /// reservations, logs, what scalers say, what is to be looked at and the index of the queue stay.
    ///
    /// # Errors
    /// When Redis cannot be used, or it is not done within `longest`.
    pub(crate) async fn rebuild(&self, longest: Duration) -> Result<(), StoreError> {
        self.store.discard().await?;
        self.nudge();
        let done = async {
            while self.store.dead_count().await.is_err() {
                tokio::time::sleep(DONE_INTERVAL).await;
            }
        };
        tokio::time::timeout(longest, done).await.map_err(|_| StoreError::Unavailable {
            reason: format!("the rebuild was not done within {} s; it goes on", longest.as_secs()),
        })
    }

    /// Waits until it has ended, once its shutdown was asked for.
    pub(crate) async fn ended(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A panic was told where it happened.
            drop(task.await);
        }
    }
}

impl Run {
    async fn project(mut self, shutdown: CancellationToken) {
        let (store, holder) = (self.store.clone(), self.holder.clone());
        let forever = async {
            loop {
                let pause = match self.step().await {
                    Next::Go => continue,
                    Next::Look => LOOK_INTERVAL,
                    Next::Wait => WAIT_INTERVAL,
                };
                // Sooner when somebody says so.
                drop(tokio::time::timeout(pause, self.store.nudged()).await);
            }
        };
        shutdown.run_until_cancelled(forever).await;
        store.resign(&holder).await;
    }

    async fn step(&mut self) -> Next {
        let next = self.advance().await;
        match next {
            Ok(next) => {
                self.failing = false;
                next
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(error = %error, "the ledger cannot be projected now");
                }
                self.failing = true;
                Next::Look
            }
        }
    }

    /// Projects one chunk.
    async fn advance(&mut self) -> Result<Next, StoreError> {
        let turn = self.store.turn(&self.holder, TURN_LIFETIME, &Uuid::now_v7().to_string()).await?;
        self.counters.active.store(turn.is_some(), Ordering::Relaxed);
        let Some(turn) = turn else { return Ok(Next::Wait) };
        self.meet(&turn);
        if self.page.after != turn.projected || self.page.records.is_empty() {
            self.page = self.read(turn.projected).await?;
        }
        let (records, short) = self.page.chunk();
        if records.is_empty() {
            return self.at_end(&turn).await;
        }
        self.empty = 0;
        let newest = records.iter().rev().find_map(|(_, record)| time_of(record));
        match self.apply(&turn, &records).await? {
            Chunk::Gone => Ok(Next::Go),
            Chunk::Done { to } => {
                self.page.pass(to);
                self.note(to, newest);
                let all = records.last().is_some_and(|(offset, _)| *offset == to);
                // What is newer than the rebuild lies behind the end there was when it began.
                if !turn.ready && short && all && newest.is_some_and(|newest| newest > self.since) {
                    self.finish(&turn, to).await?;
                }
                // Each look costs the broker two channels, and what is new was applied directly by whoever wrote it:
                // once the end is reached, many records at a time cost less than each as it comes.
                Ok(if turn.ready && short && all { Next::Look } else { Next::Go })
            }
        }
    }

    /// Takes notice of the projection it works at.
    fn meet(&mut self, turn: &Turn) {
        if turn.begun {
            self.counters.begun.fetch_add(1, Ordering::Relaxed);
            tracing::info!(epoch = turn.epoch, "the store is made anew from the ledger");
        }
        if self.epoch != turn.epoch {
            self.epoch.clone_from(&turn.epoch);
            // Where the ledger ends is to be asked after the projection was begun, not before.
            self.page = Page::default();
            self.empty = 0;
            self.since = Timestamp::now();
        }
        self.counters.projected.store(turn.projected, Ordering::Relaxed);
    }

    async fn apply(&self, turn: &Turn, records: &[(u64, Record)]) -> Result<Chunk, StoreError> {
        let applied = self.store.apply_chunk(&turn.epoch, turn.projected, records, !turn.ready).await;
        match applied {
            // What the records themselves are to blame for must not hold up those after them.
            Err(error) if is_refused(&error) => {
                tracing::error!(error = %error, "a chunk of the ledger was refused");
                self.store.discard().await?;
                Ok(Chunk::Gone)
            }
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(error = %error, "the projection is damaged and is made anew");
                self.store.discard().await?;
                Err(error)
            }
            other => other,
        }
    }

    async fn at_end(&mut self, turn: &Turn) -> Result<Next, StoreError> {
        self.counters.lag_ms.store(0, Ordering::Relaxed);
        self.empty = self.empty.saturating_add(1);
        if turn.ready {
            return Ok(Next::Look);
        }
        if self.empty < END_READS {
            return Ok(Next::Go);
        }
        self.finish(turn, turn.projected).await?;
        Ok(Next::Look)
    }

    async fn finish(&self, turn: &Turn, projected: u64) -> Result<(), StoreError> {
        if self.store.finish(&turn.epoch, projected).await? {
            self.counters.rebuilt.fetch_add(1, Ordering::Relaxed);
            let took_ms = Timestamp::now().duration_since(self.since).as_millis();
            tracing::info!(epoch = turn.epoch, projected, took_ms, "the store is complete");
        }
        Ok(())
    }

    fn note(&self, projected: u64, newest: Option<Timestamp>) {
        self.counters.projected.store(projected, Ordering::Relaxed);
        let lag = newest.map_or(0, |newest| Timestamp::now().duration_since(newest).as_millis());
        self.counters.lag_ms.store(u64::try_from(lag).unwrap_or_default(), Ordering::Relaxed);
    }

    /// The records after offset `after`. One that cannot be read is left out, those before it come first.
    async fn read(&mut self, after: u64) -> Result<Page, StoreError> {
        let mut from = after + 1;
        let mut limit = self.page_records;
        loop {
            let read = tokio::time::timeout(READ_LIMIT, self.ledger.read(Offset(from), limit)).await;
            let Ok(read) = read else {
                self.page_records = CHUNK_RECORDS;
                return Err(StoreError::Unavailable {
                    reason: format!("the ledger did not answer within {} ms", READ_LIMIT.as_millis()),
                });
            };
            match read {
                Ok(records) => {
                    let is_short = records.len() < self.page_records;
                    self.page_records = (2 * self.page_records).min(PAGE_RECORDS);
                    let records = records.into_iter().map(|(offset, record)| (offset.0, record)).collect();
                    return Ok(Page { after, records, is_short });
                }
                Err(LedgerError::Unavailable { reason }) => {
                    return Err(StoreError::Unavailable { reason: format!("the ledger is away: {reason}") });
                }
                Err(LedgerError::Corrupt { offset, .. }) if offset > from && limit > 1 => {
                    limit = usize::try_from(offset - from).unwrap_or(limit).min(limit - 1);
                }
                Err(LedgerError::Corrupt { offset, reason }) => {
                    tracing::error!(offset, reason, "a record of the ledger cannot be read and is left out");
                    self.counters.corrupt.fetch_add(1, Ordering::Relaxed);
                    from = offset.max(from) + 1;
                    limit = self.page_records;
                }
            }
        }
    }
}

/// When an event happened.
fn time_of(record: &Record) -> Option<Timestamp> {
    match record {
        Record::Event(event) => Some(event.at),
        Record::CredentialStored(_)
        | Record::CredentialDeleted { .. }
        | Record::TokenCreated(_)
        | Record::TokenRevoked { .. }
        | Record::AutoscalerStored(_)
        | Record::AutoscalerDeleted { .. }
        | Record::ReplicasWished(_)
        | Record::ProjectStored(_)
        | Record::ProjectDeleted { .. }
        | Record::DeliveryReceived(_)
        | Record::HeadsSeen { .. }
        | Record::JobBuried(_)
        | Record::JobUnburied { .. } => None,
    }
}

#[cfg(test)]
mod tests;
