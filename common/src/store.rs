//! The seam `Store`: progress and indexes, a projection of the ledger, with leases, idempotency
//! reservations and logs beside it.
//!
//! Laws (tested for every adapter by `contract::store`):
//! - S1: the store's deployment is the fold of its events in the order they were applied.
//! - S2: applying an event twice is applying it once; both calls give the same sequence number.
//! - S3: an illegal event changes nothing and says why.
//! - S4: sequence numbers of one deployment are 1, 2, 3 … without gaps.
//! - S5: lists are newest first, pages do not repeat or skip, and the total is the true one.
//! - S6: at most one holder has a lease at a time, and each new holder has a larger fencing token.
//! - S7: the first reservation under a key wins; all later ones get the same ids back, until it expires.
//! - S8: a log is the lines appended to it, in order, cut at its limit with a marker line.
//! - S9: replaying the ledger into an empty store gives an equal store.

pub mod filter;
pub mod log;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

pub use filter::{Cursor, DeploymentFilter, DeploymentPage, Page};
pub use log::{LogLine, LogPage};

use crate::model::{
    CredentialName, Deployment, DeploymentId, EnvironmentName, Event, Job, JobId, LiveState, ProjectSlug,
    Stage,
};
use crate::record::{Record, StoredCredential, StoredToken};
use crate::state::Illegal;

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or written now.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What the adapter met.
        reason: String,
    },
    /// The disk under the store is full.
    #[error("the disk under the store is full")]
    DiskFull,
    /// The event cannot follow the events before it.
    #[error("the event was refused")]
    Illegal(#[source] Illegal),
    /// The deployment is not known.
    #[error("no deployment {deployment} is known")]
    UnknownDeployment {
        /// The deployment.
        deployment: DeploymentId,
    },
    /// Something in the store could not be read back.
    #[error("the store holds an unreadable {what}: {reason}")]
    Corrupt {
        /// What.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// A lease on a key: whoever holds it may write in its name, with its fencing token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What is leased.
    pub key: String,
    /// Who holds it.
    pub holder: String,
    /// Fencing token, larger than any given out for the key before.
    pub fence: u64,
}

/// What a request under an idempotency key is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Who sent it and under which key.
    pub scope: String,
    /// Keyed hash of the request, to tell a repetition from another request under the same key.
    pub fingerprint: String,
    /// The deployment it made or is making.
    pub deployment: DeploymentId,
    /// The job it made or is making.
    pub job: JobId,
    /// When it was made.
    pub at: Timestamp,
}

/// A change that somebody may be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An event was applied.
    Event(DeploymentId),
    /// Log lines were appended.
    Log(DeploymentId, Stage),
}

/// Progress and indexes.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Folds one record into the store. For an event, answers its sequence number in its deployment's
    /// history (from 1); for other records 0.
    async fn apply(&self, record: &Record) -> Result<u64, StoreError>;

    /// Folds records into the store as [`Self::apply`] does, in this order. Those before one that is refused are folded,
    /// it and those after it are not.
    async fn apply_all(&self, records: &[Record]) -> Result<(), StoreError> {
        for record in records {
            self.apply(record).await?;
        }
        Ok(())
    }

    /// One deployment.
    async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError>;

    /// Deployments that match, newest first.
    async fn deployments(&self, filter: &DeploymentFilter, page: &Page)
    -> Result<DeploymentPage, StoreError>;

    /// One job.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// The deployment of the project and environment that was accepted last.
    async fn newest(
        &self,
        project: &ProjectSlug,
        environment: &EnvironmentName,
    ) -> Result<Option<DeploymentId>, StoreError>;

    /// The deployments of the project and environment that are in service, newest first.
    async fn in_service(
        &self,
        project: &ProjectSlug,
        environment: &EnvironmentName,
    ) -> Result<Vec<DeploymentId>, StoreError>;

    /// At most `limit` events of a deployment after sequence number `after`, in order.
    async fn events(
        &self,
        deployment: DeploymentId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError>;

    /// Hints that something changed. May miss or repeat; readers look for themselves.
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// Takes the lease if it is free, expired, or `holder`'s own; `None` when another holds it.
    async fn acquire_lease(
        &self,
        key: &str,
        holder: &str,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError>;

    /// Extends the lease; `false` when it was lost.
    async fn renew_lease(&self, lease: &Lease, ttl: Duration, now: Timestamp) -> Result<bool, StoreError>;

    /// Gives the lease up, if it is still held.
    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Binds a key to a request, or answers what it is bound to already.
    async fn reserve(
        &self,
        wanted: &Reservation,
        keep: Duration,
        now: Timestamp,
    ) -> Result<Reservation, StoreError>;

    /// Appends lines to a stage's log, up to `limit_bytes` in all.
    async fn append_log(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        lines: &[LogLine],
        limit_bytes: u64,
    ) -> Result<(), StoreError>;

    /// At most `limit` lines of a stage's log after line number `after` (the first line is 1).
    async fn read_log(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        after: u64,
        limit: usize,
    ) -> Result<LogPage, StoreError>;

    /// The last `count` lines of a stage's log.
    async fn log_tail(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        count: usize,
    ) -> Result<Vec<LogLine>, StoreError>;

    /// Stores the latest observation of a deployment.
    async fn put_live(&self, deployment: DeploymentId, live: &LiveState) -> Result<(), StoreError>;

    /// The latest observation of a deployment.
    async fn live(&self, deployment: DeploymentId) -> Result<Option<LiveState>, StoreError>;

    /// One credential.
    async fn credential(&self, name: &CredentialName) -> Result<Option<StoredCredential>, StoreError>;

    /// All credentials, by name.
    async fn credentials(&self) -> Result<Vec<StoredCredential>, StoreError>;

    /// The API token with this hash.
    async fn token(&self, sha256: &str) -> Result<Option<StoredToken>, StoreError>;

    /// All API tokens, by name.
    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError>;

    /// How many deployments are in each state.
    async fn count_by_state(&self) -> Result<Vec<(crate::model::DeploymentState, u64)>, StoreError>;

    /// Whether the store can be read and written now.
    async fn check(&self) -> Result<(), StoreError>;
}
