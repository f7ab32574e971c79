//! The embedded adapter: queue, ledger and store in one SQLite file, for `slipway up` and for tests; questions
//! about what runs and metric events never leave the process.
//!
//! One thread writes and commits in groups; a few connections read. A job's acceptance, or any other event,
//! reaches queue, ledger and projection in one transaction, so that projecting it again afterwards is a read.

mod agenda;
mod autoscaler;
mod codec;
mod fault;
mod hints;
mod inquiry;
mod lease;
mod ledger;
mod lists;
mod live;
mod log;
pub(crate) mod metric;
mod projection;
mod projects;
mod queue;
mod reader;
mod reservation;
mod retention;
mod schema;
mod store;
mod vault;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use crate::Backend;
use crate::agenda::List;
use crate::store::StoreError;
use crate::topic::NobodyListens;
use fault::Fault;
use hints::Hints;
use inquiry::Desk;
use metric::Audience;
use reader::Reader;
pub use retention::Pruned;
use writer::Writer;

/// Name of the database inside the data folder.
const DATABASE_FILE: &str = "slipway.db";
/// Name of the file that is locked while a process owns the data folder.
const LOCK_FILE: &str = "slipway.lock";
/// Finished jobs are known by their id at least this long, so that a late repetition is recognised.
pub const FINISHED_JOBS_KEEP_MIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a commit waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    /// The disk: nothing acknowledged is lost when the machine loses power.
    #[default]
    Full,
    /// The operating system: faster, survives a crash of the process, but the last commits may be lost
    /// when the machine loses power.
    Normal,
}

/// Settings of the embedded adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// Most jobs that are ready, parked or claimed at the same time.
    pub queue_limit_jobs: u64,
    /// How long finished jobs are known by their id; at least [`FINISHED_JOBS_KEEP_MIN`].
    pub finished_jobs_keep: Duration,
    /// How large the database file may grow.
    pub database_max_bytes: u64,
    /// Longest wait for a lock of SQLite.
    pub busy_timeout: Duration,
    /// Longest wait for the answer to one read or write.
    pub answer_deadline: Duration,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            queue_limit_jobs: 100_000,
            finished_jobs_keep: FINISHED_JOBS_KEEP_MIN,
            database_max_bytes: 16 * 1024 * 1024 * 1024,
            busy_timeout: Duration::from_secs(5),
            answer_deadline: Duration::from_secs(30),
        }
    }
}

/// Why the data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the folder.
    #[error("the data folder {path} is in use by another process", path = path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder or the lock in it could not be made.
    #[error("the data folder {path} cannot be used", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("the database {path} cannot be opened", path = path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer version of Slipway has written the database.
    #[error(
        "the database {path} has schema version {found}, and this build knows {known} at most: it was \
         written by a newer version", path = path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest this build knows.
        known: i64,
    },
    /// A setting is out of its range.
    #[error("`finished_jobs_keep` is {given_s} s; it must be at least {least_s} s")]
    KeepTooShort {
        /// What was given, in seconds.
        given_s: u64,
        /// The least, in seconds.
        least_s: u64,
    },
    /// The writing thread could not be started.
    #[error("the database thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// An open data folder. The folder is given up when this and every [`Backend`] made from it are dropped and
/// the last write is done.
#[derive(Debug, Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

/// What the seams have in common.
#[derive(Debug)]
struct Shared {
    writer: Writer,
    reader: Reader,
    settings: EmbeddedSettings,
    hints: Arc<Hints>,
    inquiries: Arc<Desk>,
    metrics: Arc<Audience>,
}

impl Embedded {
    /// Opens the data folder at `path`, making it when it does not exist. Blocks for a few milliseconds.
    ///
    /// # Errors
    /// When another process owns the folder, it cannot be written, or a newer version has written it.
    pub fn open(path: &Path, settings: &EmbeddedSettings) -> Result<Self, OpenError> {
        if settings.finished_jobs_keep < FINISHED_JOBS_KEEP_MIN {
            return Err(OpenError::KeepTooShort {
                given_s: settings.finished_jobs_keep.as_secs(),
                least_s: FINISHED_JOBS_KEEP_MIN.as_secs(),
            });
        }
        let lock = own_folder(path)?;
        let file = path.join(DATABASE_FILE);
        let connection = schema::open_writer(&file, settings)?;
        let writer = Writer::start(connection, lock, settings.answer_deadline).map_err(OpenError::Thread)?;
        let shared = Shared {
            writer,
            reader: Reader::new(file, settings.busy_timeout, settings.answer_deadline),
            settings: settings.clone(),
            hints: Arc::default(),
            inquiries: Arc::default(),
            metrics: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The seams.
    #[must_use]
    pub fn backend(&self) -> Backend {
        Backend {
            queue: self.shared.clone(),
            ledger: self.shared.clone(),
            store: self.shared.clone(),
            inquiries: self.shared.inquiries.clone(),
            autoscalers: self.shared.clone(),
            metrics: self.shared.metrics.clone(),
            projects: self.shared.clone(),
            agenda: self.shared.clone(),
            topic: Arc::new(NobodyListens),
        }
    }

    /// Voids all claims and leases, and forgets which scalers were there: they have died with the previous
    /// owner of the folder. Jobs and what else was claimed become due at once, tokens go on growing. Answers how
    /// many jobs were claimed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn release_all_claims(&self, now: Timestamp) -> Result<u64, StoreError> {
        let hints = Arc::clone(&self.shared.hints);
        let released = self.shared.writer.write(
            move |connection| {
                lease::release_all(connection)?;
                autoscaler::withdraw_all(connection)?;
                agenda::release_all(connection, now)?;
                queue::release_all(connection, now)
            },
            move || {
                hints.job_due();
                hints.agenda_due(List::Sweeps);
                hints.agenda_due(List::Reports);
            },
        );
        Ok(released.await?)
    }

    /// Deletes finished jobs, reservations and memos whose time to be kept is over, a bounded number per call.
    /// History, logs and deployments are kept: they are the record.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn prune(&self, now: Timestamp) -> Result<Pruned, StoreError> {
        let keep = self.shared.settings.finished_jobs_keep;
        let pruned = self.shared.write(move |connection| retention::prune(connection, keep, now));
        Ok(pruned.await?)
    }

    /// Empties the projection and folds the whole ledger into it again; every registered project is looked at
    /// then. Answers the number of records. Nothing else is written meanwhile.
    ///
    /// # Errors
    /// When the ledger cannot be read or the projection cannot be written; the old one is kept then.
    pub async fn rebuild(&self) -> Result<u64, StoreError> {
        let (hints, now) = (Arc::clone(&self.shared.hints), Timestamp::now());
        let rebuilt = self.shared.writer.write_without_deadline(
            move |connection| projection::rebuild(connection, now),
            move || hints.agenda_due(List::Sweeps),
        );
        Ok(rebuilt.await?)
    }
}

impl Shared {
    async fn read<T, F>(&self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.reader.read(work).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.writer.write(work, || {}).await
    }

    /// Writes, and gives `hint` once it is committed.
    async fn write_and_hint<T, F, H>(&self, work: F, hint: H) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
        H: FnOnce(&Hints) + Send + 'static,
    {
        let hints = Arc::clone(&self.hints);
        self.writer.write(work, move || hint(&hints)).await
    }
}

/// Makes the folder if need be and locks it for this process.
fn own_folder(path: &Path) -> Result<File, OpenError> {
    let fail = |source| OpenError::Folder { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join(LOCK_FILE))
        .map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(fail(source)),
    }
}
