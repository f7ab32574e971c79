//! The seam `JobQueue`: the promise to try.
//!
//! Laws (tested for every adapter by `contract::queue`):
//! - Q1: when `enqueue` returns, the job survives a crash of every process, and the ledger holds its
//!   acceptance.
//! - Q2: an enqueued job is delivered until a claim on it is completed or buried.
//! - Q3: a claim is exclusive until it expires; a claim that expired or was taken over can do nothing.
//! - Q4: claims of one job carry ever larger tokens.
//! - Q5: a parked job is not delivered before its time, unless woken, and then is.
//! - Q6: enqueuing a job id that the queue still knows changes nothing.
//! - Q7: `Claim::deliveries` counts the claims since the job was last parked, this one included.
//! - Q8: a buried job is kept, with the reason, and not delivered again unless it is requeued, and then is.
//! - Q9: jobs that are due are delivered, oldest first within one project, and a project with many jobs
//!   does not keep another's waiting for all of them.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{JobId, JobMessage, WorkerId};

/// Why the queue could not be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The queue cannot be reached or written now.
    #[error("the queue is unavailable: {reason}")]
    Unavailable {
        /// What the adapter met.
        reason: String,
    },
    /// The queue did not say in time whether it took what it was given.
    #[error("it is not known whether the queue took it: {reason}")]
    Unknown {
        /// What the adapter met.
        reason: String,
    },
    /// The queue holds as many jobs as it may.
    #[error("the queue is full: it holds {limit_jobs} jobs")]
    Full {
        /// The limit.
        limit_jobs: u64,
    },
    /// The claim expired or was taken over.
    #[error("the claim on job {job} was lost")]
    ClaimLost {
        /// The job.
        job: JobId,
    },
}

/// One delivery of a job to one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub message: JobMessage,
    /// Grows with every claim of this job.
    pub token: u64,
    /// Claims since the job was last parked, this one included: more than one means a crash.
    pub deliveries: u32,
    /// When the claim expires unless renewed.
    pub expires_at: Timestamp,
}

/// How many jobs are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDepth {
    /// Due and not claimed.
    pub ready: u64,
    /// Parked with a wake-up.
    pub parked: u64,
    /// Claimed by a worker.
    pub claimed: u64,
    /// Set aside for a person to look at.
    pub buried: u64,
}

/// A job set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buried {
    /// The job; a name given to it here when its message could not be read.
    pub id: JobId,
    /// The message, when it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<JobMessage>>,
    /// The beginning of what could not be read, as far as it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Longest part of an unreadable message that is kept.
pub const UNREADABLE_KEPT_MAX_BYTES: usize = 4_096;

/// Most jobs set aside that are looked through for one of them.
pub const BURIED_SEARCHED_MAX: usize = 10_000;

/// Work to do.
#[async_trait]
pub trait JobQueue: Send + Sync + std::fmt::Debug {
    /// Accepts a job, durably, into queue and ledger at once.
    async fn enqueue(&self, message: &JobMessage) -> Result<(), QueueError>;

    /// Claims the next job that is due at `now` for `ttl`, if there is one.
    async fn claim(
        &self,
        worker: WorkerId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Claim>, QueueError>;

    /// Extends a claim to `now + ttl`.
    async fn renew(&self, claim: &Claim, ttl: Duration, now: Timestamp) -> Result<(), QueueError>;

    /// The job is done; it will not be delivered again.
    async fn complete(&self, claim: &Claim, now: Timestamp) -> Result<(), QueueError>;

    /// Gives the claim up; the job is delivered again at `until`, or when woken.
    async fn park(&self, claim: &Claim, until: Timestamp, now: Timestamp) -> Result<(), QueueError>;

    /// Sets the job aside with a reason.
    async fn bury(&self, claim: &Claim, reason: &str, now: Timestamp) -> Result<(), QueueError>;

    /// Makes a parked job due at once; `false` when it is not parked.
    async fn wake(&self, job: JobId, now: Timestamp) -> Result<bool, QueueError>;

    /// Waits until a job may be due, `longest` at most. May return early; a hint, never a promise.
    async fn wait(&self, longest: Duration);

    /// How many jobs are where.
    async fn depth(&self, now: Timestamp) -> Result<QueueDepth, QueueError>;

    /// Jobs set aside, newest first.
    async fn buried(&self, limit: usize) -> Result<Vec<Buried>, QueueError>;

    /// The job set aside under this id, if it is among the newest [`BURIED_SEARCHED_MAX`].
    async fn buried_job(&self, id: JobId) -> Result<Option<Buried>, QueueError> {
        let buried = self.buried(BURIED_SEARCHED_MAX).await?;
        Ok(buried.into_iter().find(|buried| buried.id == id))
    }

    /// Queues a job that was set aside again, due at once; `false` when there is none, or its message cannot be read.
    async fn requeue(&self, id: JobId, now: Timestamp) -> Result<bool, QueueError>;

    /// Forgets a job that was set aside; `false` when there is none. It stays known, so that it cannot come back.
    async fn discard(&self, id: JobId, now: Timestamp) -> Result<bool, QueueError>;
}
