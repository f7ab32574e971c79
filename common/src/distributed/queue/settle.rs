//! What a worker does with its claim, and what others do with a job nobody works on.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::index::{End, Entry, Lane, Ours};
use super::message::{micros, micros_up, next_generation, unsigned};
use super::table::{Hold, Standing, Waiting};
use super::{
    Copy, DELAY_RUNGS_MS, Delivery, Queue, QueueError, Record, delay, encoded, redis_away, store_away,
};
use crate::model::{EventKind, JobId, JobMessage, JobState};
use crate::queue::{Buried, Claim};
use crate::store::Store as _;

/// Longest wait for a claim that is being guarded.
const BUSY_MAX: Duration = Duration::from_secs(4);
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Most events of one deployment that are looked through for a job.
const EVENTS_PAGE: usize = 500;

/// A claim that is being ended. Dropped without a word, the claim stands as before.
struct Ending<'a> {
    queue: &'a Queue,
    standing: Standing,
    hold: Option<Hold<Delivery>>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.queue.table().end_busy(self.standing.message.id, self.standing.token, hold);
        }
    }
}

impl Ending<'_> {
    fn ours(&self, generation: u64) -> Ours<'_> {
        Ours { message: &self.standing.message, generation, token: self.standing.token }
    }

    /// The claim ended as its holder wished. `Ok(false)` when the broker does not know that yet.
    async fn acknowledge(mut self) -> bool {
        let hold = self.hold.take();
        self.queue.table().forget(self.standing.message.id, self.standing.token);
        match hold {
            // In a task, so that a caller who gives up does not leave the delivery hanging.
            Some(Hold::Delivery(delivery)) => {
                matches!(tokio::spawn(delivery.ack()).await, Ok(Ok(())))
            }
            Some(Hold::Guarded | Hold::Busy) | None => false,
        }
    }

    /// A later claim was given out elsewhere. What stands here for the job is looked at like any delivery.
    fn lost(mut self) -> QueueError {
        let job = self.standing.message.id;
        let mut table = self.queue.table();
        if let (Some(held), Some(hold)) = (table.forget(job, self.standing.token), self.hold.take()) {
            table.arrive(Waiting {
                message: held.message,
                generation: held.generation,
                until: None,
                not_before: None,
                arrived: Instant::now(),
                expired: (0, 0),
                hold,
            });
        }
        QueueError::ClaimLost { job }
    }
}

impl Queue {
    async fn ending(&self, claim: &Claim, now: Timestamp) -> Result<Ending<'_>, QueueError> {
        let job = claim.message.id;
        let began = Instant::now();
        loop {
            let standing = self.table().standing(job, claim.token, now);
            let Some(standing) = standing else { return Err(QueueError::ClaimLost { job }) };
            if let Some(hold) = self.table().make_busy(job, claim.token) {
                return Ok(Ending { queue: self, standing, hold: Some(hold) });
            }
            if began.elapsed() > BUSY_MAX {
                return Err(QueueError::Unavailable { reason: "the claim is being changed".to_owned() });
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    pub(super) async fn extend(
        &self,
        claim: &Claim,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let job = claim.message.id;
        let expires = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        let Some(standing) = self.table().standing(job, claim.token, now) else {
            return Err(QueueError::ClaimLost { job });
        };
        let ours =
            Ours { message: &standing.message, generation: standing.generation, token: standing.token };
        match self.index.renew(&ours, standing.deliveries, standing.worker, expires).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(match self.ending(claim, now).await {
                    Ok(ending) => ending.lost(),
                    Err(error) => error,
                });
            }
            // The unacknowledged delivery keeps others from the job; without one only the index could.
            Err(fault) if !standing.is_backed => return Err(redis_away(fault)),
            Err(fault) => tracing::debug!(%job, %fault, "a claim goes on without the index"),
        }
        if self.table().extend(job, claim.token, expires) {
            Ok(())
        } else {
            Err(QueueError::ClaimLost { job })
        }
    }

    pub(super) async fn finish(&self, claim: &Claim, now: Timestamp) -> Result<(), QueueError> {
        let ending = self.ending(claim, now).await?;
        let told = self.index.settle(&ending.ours(ending.standing.generation), End::Done).await;
        match told {
            Ok(true) => {
                ending.acknowledge().await;
                Ok(())
            }
            Ok(false) => Err(ending.lost()),
            Err(fault) if !ending.standing.is_backed || matches!(ending.hold, Some(Hold::Guarded)) => {
                Err(redis_away(fault))
            }
            Err(fault) => {
                if ending.acknowledge().await {
                    Ok(())
                } else {
                    Err(redis_away(fault))
                }
            }
        }
    }

    pub(super) async fn set_parked(
        &self,
        claim: &Claim,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let ending = self.ending(claim, now).await?;
        let entry = self.entry_if_known(claim.message.id).await;
        if entry.as_ref().is_some_and(|entry| entry.token > claim.token) {
            return Err(ending.lost());
        }
        let recorded = entry.map_or(0, |entry| entry.generation).max(ending.standing.generation);
        let clock = Timestamp::now();
        let generation = next_generation(recorded, claim.token, clock);
        let until_us = (until > now).then(|| micros_up(until));
        let left = Duration::from_micros(unsigned(until_us.unwrap_or(0).saturating_sub(micros(clock))));
        let rungs = DELAY_RUNGS_MS.map(u64::from);
        let key = delay::rung(&rungs, left).map_or("front".to_owned(), |rung_ms| format!("delay.{rung_ms}"));
        let body = encoded(&ending.standing.message)?;
        let copy = Copy { key, body: body.clone(), job: claim.message.id, generation, until_us };
        // The copy first: from here on a crash leaves two copies at worst, and the older one is recognised.
        self.move_copy(copy).await?;
        let end = until_us.map_or(End::Ready, |until_us| End::Parked { until_us, body: &body });
        match self.index.settle(&ending.ours(generation), end).await {
            Ok(true) => {}
            Ok(false) => return Err(ending.lost()),
            Err(fault) => {
                tracing::debug!(job = %claim.message.id, %fault, "a job is parked without the index")
            }
        }
        // When this is lost, the old copy comes again, and is dropped for its generation.
        ending.acknowledge().await;
        self.due.notify_waiters();
        Ok(())
    }

    pub(super) async fn set_buried(
        &self,
        claim: &Claim,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let ending = self.ending(claim, now).await?;
        let entry = self.entry_if_known(claim.message.id).await;
        if entry.is_some_and(|entry| entry.token > claim.token) {
            return Err(ending.lost());
        }
        let buried = Buried {
            id: claim.message.id,
            message: Some(Box::new(claim.message.clone())),
            unreadable: None,
            reason: reason.to_owned(),
            at: now,
        };
        self.record(&Record::JobBuried(buried)).await?;
        match self.index.settle(&ending.ours(ending.standing.generation), End::Buried).await {
            Ok(true) => {}
            Ok(false) => return Err(ending.lost()),
            Err(fault) => {
                tracing::debug!(job = %claim.message.id, %fault, "a job is buried without the index")
            }
        }
        ending.acknowledge().await;
        Ok(())
    }

    /// What the index knows of the job; `None` also when it cannot be asked.
    async fn entry_if_known(&self, job: JobId) -> Option<Entry> {
        self.index.entry(job).await.unwrap_or_else(|fault| {
            tracing::debug!(%job, %fault, "the index cannot be asked");
            None
        })
    }

    /// Makes a parked job due. When its time comes at the same moment, two copies are on their way; whichever is
    /// claimed first has the job, and the other is deferred and then dropped.
    pub(super) async fn bring_back(&self, job: JobId) -> Result<bool, QueueError> {
        let entry = self.index.entry(job).await.map_err(redis_away)?;
        let (message, known) = match entry {
            Some(entry) if entry.state == "parked" => {
                let body = entry.body.unwrap_or_default();
                match super::message::decode(&body) {
                    Ok(message) => (message, entry.generation.max(entry.token)),
                    Err(_) => return Ok(false),
                }
            }
            Some(_) => return Ok(false),
            None => match self.forgotten_parked(job).await? {
                Some(message) => (message, 0),
                None => return Ok(false),
            },
        };
        let generation = next_generation(known, 0, Timestamp::now());
        self.offer(&message, generation, true).await?;
        Ok(true)
    }

    /// The message of a job that the store has as waiting, though the index has forgotten it.
    async fn forgotten_parked(&self, job: JobId) -> Result<Option<JobMessage>, QueueError> {
        let known = self.store.job(job).await.map_err(store_away)?;
        match known {
            Some(known) if matches!(known.state, JobState::Waiting { .. }) => {
                self.message_of(known.deployment, job).await
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The message of a job, from its deployment's history.
    pub(super) async fn message_of(
        &self,
        deployment: crate::model::DeploymentId,
        job: JobId,
    ) -> Result<Option<JobMessage>, QueueError> {
        let mut after = 0;
        loop {
            let events = self.store.events(deployment, after, EVENTS_PAGE).await.map_err(store_away)?;
            let Some((last, _)) = events.last() else { return Ok(None) };
            after = *last;
            for (_, event) in events {
                if let EventKind::Accepted { message } = event.kind
                    && message.id == job
                {
                    return Ok(Some(*message));
                }
            }
        }
    }

    /// Publishes a further copy to front, and tells the index once it is confirmed.
    pub(super) async fn offer(
        &self,
        message: &JobMessage,
        generation: u64,
        anew: bool,
    ) -> Result<(), QueueError> {
        let body = encoded(message)?;
        let key = Lane::Front.key().to_owned();
        self.move_copy(Copy { key, body, job: message.id, generation, until_us: None }).await?;
        if let Err(fault) = self.index.offered(message, generation, Lane::Front, anew).await {
            tracing::debug!(job = %message.id, %fault, "a job is offered without the index");
        }
        Ok(())
    }

    /// Queues a buried job again. First the copy, then the record: a crash in between leaves the job both listed and
    /// queued, never neither.
    pub(super) async fn unbury(&self, id: JobId) -> Result<bool, QueueError> {
        let buried = self.store.dead_job(id).await.map_err(store_away)?;
        let Some(message) = buried.and_then(|buried| buried.message) else { return Ok(false) };
        let entry = self.index.entry(id).await.map_err(redis_away)?;
        let known = entry.map_or(0, |entry| entry.generation.max(entry.token));
        self.offer(&message, next_generation(known, 0, Timestamp::now()), true).await?;
        self.record(&Record::JobUnburied { id }).await?;
        Ok(true)
    }

    pub(super) async fn forget_buried(&self, id: JobId) -> Result<bool, QueueError> {
        let buried = self.store.dead_job(id).await.map_err(store_away)?;
        let Some(buried) = buried else { return Ok(false) };
        let project = buried.message.as_ref().map_or("", |message| message.project.slug.as_str());
        self.record(&Record::JobUnburied { id }).await?;
        if let Err(fault) = self.index.set_aside(id, project, End::Done, 0).await {
            tracing::debug!(job = %id, %fault, "the index did not note a discarded job");
        }
        Ok(true)
    }
}
