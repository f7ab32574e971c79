//! Wakes parked jobs: one per namespace, when the rollout it waits for is complete or in new trouble.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::model::JobId;
use slipway_common::queue::JobQueue;

use super::super::health::{self, Rollout};
use super::super::state::Workloads;

/// Tries to wake a job that may not be parked yet, the first pause between two, and the longest: most are parked within
/// milliseconds.
const WAKE_TRIES: u32 = 25;
const WAKE_PAUSE_MIN: Duration = Duration::from_millis(5);
const WAKE_PAUSE_MAX: Duration = Duration::from_millis(150);

/// What a job waits for.
#[derive(Debug, Clone)]
pub struct Interest {
    /// The job.
    pub job: JobId,
    /// The Deployments it waits for, and the generations they were applied in.
    pub deployments: BTreeMap<String, i64>,
    /// What it knows already.
    pub said: String,
}

/// Who waits where.
#[derive(Debug, Clone)]
pub(super) struct Waker {
    queue: Arc<dyn JobQueue>,
    interests: Arc<Mutex<HashMap<String, Interest>>>,
}

impl Waker {
    pub(super) fn new(queue: Arc<dyn JobQueue>) -> Self {
        Self { queue, interests: Arc::default() }
    }

    pub(super) fn register(&self, namespace: &str, interest: Interest) {
        self.lock().insert(namespace.to_owned(), interest);
    }

    pub(super) fn is_interested(&self, namespace: &str) -> bool {
        self.lock().contains_key(namespace)
    }

    /// Wakes the job that waits in `namespace` if these workloads are news to it.
    pub(super) fn tell(&self, namespace: &str, workloads: &Workloads) {
        let mut interests = self.lock();
        let is_news = interests.get(namespace).is_some_and(|interest| is_news(interest, workloads));
        if !is_news {
            return;
        }
        if let Some(interest) = interests.remove(namespace) {
            tokio::spawn(wake(Arc::clone(&self.queue), interest.job));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Interest>> {
        self.interests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all it waits for is up, or something is wrong that was not said yet.
fn is_news(interest: &Interest, workloads: &Workloads) -> bool {
    let now = Timestamp::now();
    let mut complete = true;
    for (name, generation) in &interest.deployments {
        // What was seen is older than what was applied: the rest is still on its way.
        if workloads.generation(name) < Some(*generation) {
            complete = false;
            continue;
        }
        let deployment = workloads.deployment(name);
        match health::rollout(deployment, &workloads.replica_sets_of(name), &workloads.pods_of(name), now) {
            Rollout::Complete => {}
            Rollout::Failing { reason, .. } if reason != interest.said => return true,
            Rollout::Failing { .. } | Rollout::Progressing { .. } => complete = false,
        }
    }
    complete
}

/// The job may be about to be parked: it is tried until it is. Should it never be, its own wake-up comes.
async fn wake(queue: Arc<dyn JobQueue>, job: JobId) {
    let mut pause = WAKE_PAUSE_MIN;
    for _ in 0..WAKE_TRIES {
        if matches!(queue.wake(job, Timestamp::now()).await, Ok(true)) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(WAKE_PAUSE_MAX);
    }
}
