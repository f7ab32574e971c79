//! The queue: jobs on quorum queues, with an index in Redis beside them.
//!
//! **Why no job is lost.** A job's promise is its newest copy at the broker. A copy is acknowledged only (1) when the
//! next copy, of a larger generation or the same, was confirmed; (2) when the job is done or buried, which its claimer
//! said; (3) when the index has a larger generation, which is written only after that copy was confirmed; (4) when a
//! guard copy was confirmed. Nothing else ends a copy: "somebody works on it" only defers it. So an index that is
//! gone, or older than the truth, can make a job be offered twice, and the lease with its fencing token keeps the
//! second worker from doing anything; it cannot make a job vanish. See `index` for the words, `take` for the rules.
//!
//! **What is charged.** `deliveries` counts claims that were handed out, never deliveries: what a crashed process had
//! only fetched counts nothing.

mod dead;
mod delay;
mod feeder;
mod index;
mod keeper;
mod message;
mod pump;
mod settle;
mod sweep;
mod table;
mod take;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::DistributedSettings;
use super::broker::{
    Broker, BrokerError, BrokerState, DELAY_RUNGS_MS, Delivery, Exchange, MessageKind, Publication,
    PublishError, QueueName,
};
use super::redis::{Redis, RedisFault};
use super::store::RedisStore;
use crate::ledger::Ledger;
use crate::model::{Event, EventKind, JobId, JobMessage, WorkerId};
use crate::queue::{Buried, Claim, JobQueue, QueueDepth, QueueError};
use crate::record::Record;
use crate::store::{Store as _, StoreError};
use index::{Index, Lane};
use table::{Promise, Table};

/// Jobs of one project that may be ready in front; further ones wait in the backlog.
const FRONT_MAX_PER_PROJECT: u64 = 8;

impl Promise for Delivery {
    fn is_live(&self) -> bool {
        Self::is_live(self)
    }
}

/// The queue of this process.
#[derive(Debug)]
pub(super) struct Queue {
    broker: Broker,
    index: Index,
    store: RedisStore,
    ledger: Arc<dyn Ledger>,
    table: Mutex<Table<Delivery>>,
    /// Told when there may be something to claim.
    due: Notify,
    /// Told when something was claimed.
    taken: Notify,
    /// The turn of a job that may be what crashes its worker.
    suspects: Semaphore,
    /// Since when Redis has not answered.
    silent_since: Mutex<Option<Instant>>,
    slots: u16,
    hold_max: Duration,
    limit_jobs: u64,
    stop: CancellationToken,
    /// Ends the taking of jobs alone.
    stop_taking: CancellationToken,
    tasks: TaskTracker,
}

impl Queue {
    /// A queue over the given parts. Starts the tasks it needs: those that take jobs only when there are slots.
    pub(super) fn start(
        settings: &DistributedSettings,
        broker: Broker,
        redis: Redis,
        store: RedisStore,
        ledger: Arc<dyn Ledger>,
    ) -> Arc<Self> {
        let process = Uuid::now_v7().simple().to_string();
        let stop = CancellationToken::new();
        let queue = Arc::new(Self {
            broker,
            index: Index::new(redis, process, settings.keep_finished),
            store,
            ledger,
            table: Mutex::default(),
            due: Notify::new(),
            taken: Notify::new(),
            suspects: Semaphore::new(1),
            silent_since: Mutex::new(None),
            slots: settings.slots,
            hold_max: settings.broker.delivery_hold_max,
            limit_jobs: u64::from(settings.broker.queue_max_jobs),
            stop_taking: stop.child_token(),
            stop,
            tasks: TaskTracker::new(),
        });
        queue.spawn(queue.stop.clone(), dead::collect(Arc::clone(&queue)));
        queue.spawn(queue.stop.clone(), sweep::sweep(Arc::clone(&queue)));
        if queue.slots > 0 {
            queue.spawn(queue.stop_taking.clone(), pump::pump(Arc::clone(&queue)));
            queue.spawn(queue.stop_taking.clone(), feeder::feed(Arc::clone(&queue)));
            queue.spawn(queue.stop.clone(), keeper::keep(Arc::clone(&queue)));
            queue.spawn(queue.stop.clone(), keeper::live(Arc::clone(&queue)));
        }
        queue
    }

    /// Takes no further jobs; those already claimed go on. What was only fetched goes back for others at once.
    pub(super) async fn stop_taking(&self) {
        self.stop_taking.cancel();
        let stale =
            self.table().take_stale(Duration::ZERO, Duration::ZERO, Instant::now() + Duration::from_secs(1));
        for waiting in stale {
            self.hand_on(waiting, Duration::ZERO).await;
        }
    }

    /// Ends every task. What was fetched comes back to others when the connection is closed.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if self.slots > 0
            && let Err(fault) = self.index.leave().await
        {
            tracing::debug!(%fault, "others learn of the end of this process when its mark expires");
        }
    }

    /// Ends every task at once, as a crash would.
    pub(super) fn abandon(&self) {
        self.stop.cancel();
    }

    /// Deliveries that wait here for a slot.
    pub(super) fn buffered(&self) -> usize {
        self.table().waiting_count()
    }

    fn spawn(&self, stop: CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move { stop.run_until_cancelled_owned(work).await });
    }

    fn table(&self) -> MutexGuard<'_, Table<Delivery>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a copy of a job that is no new acceptance, and waits until the broker has it.
    async fn move_copy(&self, copy: Copy) -> Result<(), QueueError> {
        let until = copy.until_us.and_then(|until_us| Timestamp::from_microsecond(until_us).ok());
        let publication = Publication {
            exchange: Exchange::Jobs,
            key: copy.key,
            kind: MessageKind::Job,
            body: copy.body,
            job: Some(copy.job),
            generation: copy.generation,
            until,
        };
        self.broker.publish(publication).await.map(drop).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: PublishError) -> QueueError {
        match error {
            PublishError::Unavailable { .. } | PublishError::Unroutable { .. } => {
                QueueError::Unavailable { reason: error.to_string() }
            }
            PublishError::Unknown { .. } => QueueError::Unknown { reason: error.to_string() },
            PublishError::Refused { .. } => QueueError::Full { limit_jobs: self.limit_jobs },
        }
    }

    /// Keeps a record in the ledger, and in the store as far as that can be written now.
    async fn record(&self, record: &Record) -> Result<(), QueueError> {
        let kept = self.ledger.append(record).await;
        kept.map_err(|error| QueueError::Unavailable { reason: error.to_string() })?;
        if let Err(error) = self.store.apply(record).await {
            tracing::debug!(%error, "the store will catch up with a record of the queue");
        }
        Ok(())
    }

    /// Publishes the acceptance to queue and ledger at once.
    async fn accept(&self, message: &JobMessage) -> Result<(), QueueError> {
        let look = match self.index.look(message).await {
            Ok(look) => Some(look),
            Err(fault) => {
                tracing::debug!(job = %message.id, %fault, "a job is accepted without the index");
                None
            }
        };
        if look.is_some_and(|look| look.is_known) {
            return Ok(());
        }
        let is_many = look.is_some_and(|look| look.backlog > 0 || look.front >= FRONT_MAX_PER_PROJECT);
        let lane = if is_many { Lane::Backlog } else { Lane::Front };
        let publication = Publication {
            exchange: Exchange::Intake,
            key: format!("job.{}", lane.key()),
            kind: MessageKind::Job,
            body: encoded(message)?,
            job: Some(message.id),
            generation: 0,
            until: None,
        };
        match self.broker.publish(publication).await {
            Ok(_) => {}
            Err(error) => {
                if matches!(error, PublishError::Refused { .. }) {
                    self.take_back(message).await;
                }
                return Err(self.refused(error));
            }
        }
        if let Err(fault) = self.index.offered(message, 0, lane, false).await {
            tracing::debug!(job = %message.id, %fault, "an accepted job is not in the index");
        }
        Ok(())
    }

    /// A queue refused the acceptance, but the ledger may have it: the job is cancelled there, so that it does not
    /// run later against the answer that was given. Not when it came under an idempotency key or of a push: then the
    /// repetition that the answer asks for finds the same job, and the sweep or it brings the job into a queue.
    async fn take_back(&self, message: &JobMessage) {
        if message.request.is_some() || message.trigger.is_some() {
            return;
        }
        let cancelled =
            Event::of_request(message.deployment, message.id, Timestamp::now(), EventKind::Cancelled);
        if let Err(error) = self.record(&Record::Event(cancelled)).await {
            tracing::warn!(job = %message.id, %error, "a refused job may be run later");
        }
    }

    async fn parked_and_claimed(&self, now: Timestamp) -> Result<(u64, u64), QueueError> {
        match self.index.counts(now).await {
            Ok(counts) => Ok(counts),
            Err(fault) => {
                tracing::debug!(%fault, "parked jobs are counted at the broker");
                let mut parked = 0;
                for rung_ms in DELAY_RUNGS_MS {
                    let counts = self.broker.counts(QueueName::Delay(rung_ms)).await;
                    parked += counts.map_err(unavailable)?.ready;
                }
                Ok((parked, 0))
            }
        }
    }
}

/// A further copy of a job.
struct Copy {
    key: String,
    body: Bytes,
    job: JobId,
    generation: u64,
    until_us: Option<i64>,
}

fn encoded(message: &JobMessage) -> Result<Bytes, QueueError> {
    message::encode(message).map_err(|error| QueueError::Unavailable {
        reason: format!("the job cannot be written as JSON: {error}"),
    })
}

fn unavailable(error: BrokerError) -> QueueError {
    QueueError::Unavailable { reason: error.to_string() }
}

fn redis_away(fault: RedisFault) -> QueueError {
    QueueError::Unavailable { reason: fault.to_string() }
}

fn store_away(error: StoreError) -> QueueError {
    QueueError::Unavailable { reason: error.to_string() }
}

/// Why nothing can be claimed, if the broker is the reason. Under an alarm deliveries go on.
fn not_ready(state: BrokerState) -> Option<String> {
    match state {
        BrokerState::Ready | BrokerState::Blocked { .. } => None,
        BrokerState::Away { reason } | BrokerState::Misfit { reason } => Some(reason),
    }
}

#[async_trait]
impl JobQueue for Queue {
    async fn enqueue(&self, message: &JobMessage) -> Result<(), QueueError> {
        self.accept(message).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Claim>, QueueError> {
        let claimed = self.take(worker, ttl, now).await;
        if claimed.is_some() {
            self.taken.notify_one();
            return Ok(claimed);
        }
        not_ready(self.broker.state()).map_or(Ok(None), |reason| Err(QueueError::Unavailable { reason }))
    }

    async fn renew(&self, claim: &Claim, ttl: Duration, now: Timestamp) -> Result<(), QueueError> {
        self.extend(claim, ttl, now).await
    }

    async fn complete(&self, claim: &Claim, now: Timestamp) -> Result<(), QueueError> {
        self.finish(claim, now).await
    }

    async fn park(&self, claim: &Claim, until: Timestamp, now: Timestamp) -> Result<(), QueueError> {
        self.set_parked(claim, until, now).await
    }

    async fn bury(&self, claim: &Claim, reason: &str, now: Timestamp) -> Result<(), QueueError> {
        self.set_buried(claim, reason, now).await
    }

    async fn wake(&self, job: JobId, _now: Timestamp) -> Result<bool, QueueError> {
        self.bring_back(job).await
    }

    async fn wait(&self, longest: Duration) {
        let told = self.due.notified();
        tokio::pin!(told);
        // Listening begins before looking, so that what happens in between is heard.
        told.as_mut().enable();
        let next = self.table().next_due(Timestamp::now(), Instant::now());
        let pause = next.map_or(longest, |next| next.min(longest));
        // Either way the caller looks for itself.
        drop(tokio::time::timeout(pause, told).await);
    }

    async fn depth(&self, now: Timestamp) -> Result<QueueDepth, QueueError> {
        let front = self.broker.counts(QueueName::Front).await.map_err(unavailable)?;
        let backlog = self.broker.counts(QueueName::Backlog).await.map_err(unavailable)?;
        let buffered = u64::try_from(self.buffered()).unwrap_or(u64::MAX);
        let (parked, claimed) = self.parked_and_claimed(now).await?;
        let buried = self.store.dead_count().await.unwrap_or(0);
        Ok(QueueDepth { ready: front.ready + backlog.ready + buffered, parked, claimed, buried })
    }

    async fn buried(&self, limit: usize) -> Result<Vec<Buried>, QueueError> {
        self.store.dead(limit).await.map_err(store_away)
    }

    async fn buried_job(&self, id: JobId) -> Result<Option<Buried>, QueueError> {
        self.store.dead_job(id).await.map_err(store_away)
    }

    async fn requeue(&self, id: JobId, _now: Timestamp) -> Result<bool, QueueError> {
        self.unbury(id).await
    }

    async fn discard(&self, id: JobId, _now: Timestamp) -> Result<bool, QueueError> {
        self.forget_buried(id).await
    }
}
