//! Looks for open jobs that no copy at the broker stands for, and offers them again. Needed after an operator (or a
//! lost disk) took a queue away with what was in it; anything else leaves every job its copy.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::index::{Entry, Lane};
use super::message::{micros, next_generation, unsigned};
use super::{Copy, DELAY_RUNGS_MS, Queue, QueueError, QueueName, delay, encoded, redis_away, store_away};
use crate::model::{Deployment, DeploymentState, Job, JobState};
use crate::store::{DeploymentFilter, Page, Store as _};

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_secs(10);
/// A job is missed when nothing happened to it for this long though the queues are empty.
const MISSED_AFTER: Duration = Duration::from_secs(30);
/// After a repair it is looked this often, at these distances: what was accepted just before may not be in the store yet.
const REPAIR_LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(10)];
/// One process looks at a time.
const LEASE: &str = "queue/sweep";
const LEASE_TTL: Duration = Duration::from_secs(60);
const PAGE_LIMIT: u32 = 100;

/// States of deployments that may have an open job.
const OPEN: [DeploymentState; 5] = [
    DeploymentState::Queued,
    DeploymentState::Preparing,
    DeploymentState::Building,
    DeploymentState::Deploying,
    DeploymentState::Stopping,
];

/// Why it is looked.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// The queues are empty; jobs nothing happened to before this moment are missed.
    Empty,
    /// A queue was made again at about this moment; whatever was queued before may be gone.
    Repair(Timestamp),
}

/// Looks for ever.
pub(super) async fn sweep(queue: Arc<Queue>) {
    let mut repaired = queue.broker.repaired();
    let mut was_empty = false;
    loop {
        let told = tokio::time::timeout(LOOK_PAUSE, repaired.changed()).await;
        if matches!(told, Ok(Ok(()))) {
            let at = Timestamp::now();
            let began = Instant::now();
            for distance in REPAIR_LOOKS {
                tokio::time::sleep_until(began + distance).await;
                queue.look_until_done(Reason::Repair(at)).await;
            }
            continue;
        }
        let is_empty = queue.is_empty().await;
        if is_empty
            && was_empty
            && let Err(error) = queue.sweep_once(Reason::Empty).await
        {
            tracing::debug!(%error, "missed jobs cannot be looked for now");
        }
        was_empty = is_empty;
    }
}

impl Queue {
    async fn is_empty(&self) -> bool {
        for queue in [QueueName::Front, QueueName::Backlog] {
            if !self.broker.counts(queue).await.is_ok_and(|counts| counts.ready == 0) {
                return false;
            }
        }
        true
    }

    async fn look_until_done(&self, reason: Reason) {
        while let Err(error) = self.sweep_once(reason).await {
            tracing::debug!(%error, "jobs that may be lost cannot be looked for yet");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// One look, by one process at a time. After a repair it is not left to another: that one may not know of it.
    async fn sweep_once(&self, reason: Reason) -> Result<(), QueueError> {
        let now = Timestamp::now();
        self.index.prune(now).await.map_err(redis_away)?;
        let holder = uuid::Uuid::now_v7().to_string();
        let lease = self.store.acquire_lease(LEASE, &holder, LEASE_TTL, now).await.map_err(store_away)?;
        let Some(lease) = lease else {
            return match reason {
                Reason::Empty => Ok(()),
                Reason::Repair(_) => {
                    Err(QueueError::Unavailable { reason: "another process is looking".to_owned() })
                }
            };
        };
        let swept = self.sweep_all(reason).await;
        self.store.release_lease(&lease).await.map_err(store_away)?;
        let offered = swept?;
        if offered > 0 {
            tracing::warn!(offered, ?reason, "jobs no queue held were offered again");
        }
        Ok(())
    }

    async fn sweep_all(&self, reason: Reason) -> Result<u64, QueueError> {
        let mut offered = 0;
        for state in OPEN {
            let filter = DeploymentFilter { state: Some(state), ..DeploymentFilter::default() };
            let mut open = Vec::new();
            let mut page = Page { limit: PAGE_LIMIT, ..Page::default() };
            loop {
                let found = self.store.deployments(&filter, &page).await.map_err(store_away)?;
                open.extend(found.deployments);
                let Some(next) = found.next else { break };
                page.cursor = Some(next);
            }
            // The oldest first, as they were accepted.
            for deployment in open.iter().rev() {
                let jobs = deployment.jobs.iter().filter(|job| !job.state.is_terminal());
                for job in jobs {
                    offered += u64::from(self.offer_if_missed(deployment, job, reason).await?);
                }
            }
        }
        Ok(offered)
    }

    async fn offer_if_missed(
        &self,
        deployment: &Deployment,
        job: &Job,
        reason: Reason,
    ) -> Result<bool, QueueError> {
        let entry = self.index.entry(job.id).await.map_err(redis_away)?;
        let is_held = match &entry {
            Some(entry) if entry.state == "claimed" => {
                entry.expires_us > micros(Timestamp::now())
                    && self.index.is_living(&entry.holder).await.map_err(redis_away)?
            }
            Some(_) | None => false,
        };
        let until_us = wake_up(entry.as_ref(), job);
        if is_held || !is_missed(entry.as_ref(), deployment, until_us, reason) {
            return Ok(false);
        }
        let Some(message) = self.message_of(deployment.id, job.id).await? else { return Ok(false) };
        let known = entry.map_or(0, |entry| entry.generation.max(entry.token));
        let generation = next_generation(known, 0, Timestamp::now());
        match until_us.filter(|until_us| *until_us > micros(Timestamp::now())) {
            Some(until_us) => self.park_again(&message, generation, until_us).await?,
            None => self.offer(&message, generation, false).await?,
        }
        Ok(true)
    }

    /// A parked job whose delay queue was taken away: a new copy for the same time.
    async fn park_again(
        &self,
        message: &crate::model::JobMessage,
        generation: u64,
        until_us: i64,
    ) -> Result<(), QueueError> {
        let left = Duration::from_micros(unsigned(until_us.saturating_sub(micros(Timestamp::now()))));
        let rungs = DELAY_RUNGS_MS.map(u64::from);
        let lane = Lane::Front.key();
        let key = delay::rung(&rungs, left).map_or(lane.to_owned(), |rung_ms| format!("delay.{rung_ms}"));
        let body = encoded(message)?;
        let copy = Copy { key, body: body.clone(), job: message.id, generation, until_us: Some(until_us) };
        self.move_copy(copy).await?;
        let parked = self.index.parked_again(message, generation, until_us, &body).await;
        parked.map(drop).map_err(redis_away)
    }
}

/// When the job wakes up by itself, as far as anybody knows.
fn wake_up(entry: Option<&Entry>, job: &Job) -> Option<i64> {
    match (entry, &job.state) {
        (Some(entry), _) => (entry.state == "parked").then_some(entry.until_us),
        (None, JobState::Waiting { until, .. }) => Some(micros(*until)),
        (
            None,
            JobState::Queued
            | JobState::Running { .. }
            | JobState::Succeeded
            | JobState::Failed { .. }
            | JobState::Cancelled
            | JobState::Superseded { .. },
        ) => None,
    }
}

/// Whether no copy at the broker can be relied upon.
fn is_missed(entry: Option<&Entry>, deployment: &Deployment, until_us: Option<i64>, reason: Reason) -> bool {
    let is_over = entry.is_some_and(|entry| entry.state == "done" || entry.state == "buried");
    let changed_us = entry.map_or(micros(deployment.updated_at), |entry| entry.at_us);
    match reason {
        _ if is_over => false,
        Reason::Repair(at) => changed_us < micros(at),
        Reason::Empty => {
            let quiet = SignedDuration::try_from(MISSED_AFTER).unwrap_or(SignedDuration::ZERO);
            let before = micros(Timestamp::now().saturating_sub(quiet).unwrap_or(Timestamp::MIN));
            changed_us.max(until_us.unwrap_or(0)) < before
        }
    }
}
