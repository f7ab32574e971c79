//! What is done after a delivery was answered: the projection, the note that its project is to be looked at, and waking the
//! jobs that wait for a pipeline. Whatever of it is not done is made up for by others: the store reads the ledger, projects
//! are looked at anyway, and waiting jobs look for themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::agenda::List;
use slipway_common::model::{Delivery, DeploymentState, Job, JobId, JobState, ProjectSlug};
use slipway_common::record::Record;
use slipway_common::store::{DeploymentFilter, Page, StoreError};
use slipway_common::telemetry::chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::hooks::stopped;
use crate::idempotency::now;

/// Most that waits to be done.
const WAITING_MAX: usize = 1_024;
/// Most that is done together.
const BATCH_MAX: usize = 64;
/// Longest work on one step of it.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Most deployments of a project that are looked through for those that wait for a pipeline.
const BUILDING_MAX: u32 = 100;
/// Pauses after which a job that does not wait yet is woken again: it may have looked before the news and park after it.
const AGAIN_AFTER: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Most jobs that are to be woken again.
const AGAIN_MAX: usize = 256;
/// As long as nothing is to be done.
const IDLE: Duration = Duration::from_secs(3_600);

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chore {
    /// A delivery is in the ledger: fold it, and have its project looked at.
    Taken(Delivery),
    /// A project is to be looked at.
    Look(ProjectSlug),
    /// A pipeline of a project's commit changed: jobs that wait for it are to look.
    Wake {
        /// The project.
        project: ProjectSlug,
        /// The commit.
        revision: String,
    },
}

/// A job that did not wait when it was to be woken.
#[derive(Debug)]
struct Again {
    job: JobId,
    at: Instant,
    tries: usize,
}

/// Does what is to be done, one after the other.
#[derive(Debug)]
pub(crate) struct Chores {
    backend: Backend,
    waiting: mpsc::Receiver<Chore>,
    again: Vec<Again>,
}

impl Chores {
    /// Nothing to do yet, and where to say what is.
    pub(crate) fn new(backend: Backend) -> (mpsc::Sender<Chore>, Self) {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        (sender, Self { backend, waiting, again: Vec::new() })
    }

    /// Works until the server stops.
    pub(crate) async fn work(mut self, stopping: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work_for_ever() => {}
            () = stopped(stopping) => {}
        }
    }

    async fn work_for_ever(&mut self) {
        loop {
            let mut batch = Vec::new();
            let next = self.again.iter().map(|again| again.at).min().unwrap_or_else(|| Instant::now() + IDLE);
            let waited = timeout_at(next, self.waiting.recv_many(&mut batch, BATCH_MAX)).await;
            if waited == Ok(0) {
                return;
            }
            self.carry_out(batch).await;
            self.wake_again().await;
        }
    }

    async fn carry_out(&mut self, batch: Vec<Chore>) {
        let mut looks = BTreeSet::new();
        let mut wakes = BTreeSet::new();
        let mut records = Vec::new();
        for chore in batch {
            match chore {
                Chore::Taken(delivery) => {
                    looks.insert(delivery.project.to_string());
                    records.push(Record::DeliveryReceived(delivery));
                }
                Chore::Look(project) => {
                    looks.insert(project.to_string());
                }
                Chore::Wake { project, revision } => {
                    wakes.insert((project, revision));
                }
            }
        }
        if !looks.is_empty() {
            let keys: Vec<String> = looks.into_iter().collect();
            said("a note", self.backend.agenda.note(List::Sweeps, &keys, now())).await;
        }
        if !records.is_empty() {
            said("a projection", self.backend.store.apply_all(&records)).await;
        }
        for (project, revision) in wakes {
            self.wake_waiting(&project, &revision).await;
        }
    }

    /// Wakes the jobs of the project that wait for a pipeline of this commit.
    async fn wake_waiting(&mut self, project: &ProjectSlug, revision: &str) {
        let filter = DeploymentFilter {
            project: Some(project.to_string()),
            state: Some(DeploymentState::Building),
            ..DeploymentFilter::default()
        };
        let page = Page { limit: BUILDING_MAX, ..Page::default() };
        let found = said("a look for jobs", self.backend.store.deployments(&filter, &page)).await;
        let of_commit = found.into_iter().flat_map(|page| page.deployments).filter(|deployment| {
            deployment.facts.commit.as_ref().is_some_and(|commit| commit.revision == revision)
        });
        let jobs: Vec<JobId> = of_commit.filter_map(|deployment| at_work(deployment.latest_job()?)).collect();
        for job in jobs {
            self.wake(job, 0).await;
        }
    }

    /// Wakes a job, and notes that it is to be tried again when it does not wait.
    async fn wake(&mut self, job: JobId, tries: usize) {
        let woken = timeout(STEP_TIMEOUT, self.backend.queue.wake(job, Timestamp::now())).await;
        if matches!(woken, Ok(Ok(true))) {
            return;
        }
        let is_noted = self.again.iter().any(|again| again.job == job);
        if let Some(pause) = AGAIN_AFTER.get(tries)
            && !is_noted
            && self.again.len() < AGAIN_MAX
        {
            self.again.push(Again { job, at: Instant::now() + *pause, tries: tries + 1 });
        }
    }

    async fn wake_again(&mut self) {
        let now = Instant::now();
        let due: Vec<Again> = self.again.extract_if(.., |again| again.at <= now).collect();
        for again in due {
            self.wake(again.job, again.tries).await;
        }
    }
}

/// The job, unless it is over.
fn at_work(job: &Job) -> Option<JobId> {
    match job.state {
        JobState::Queued | JobState::Running { .. } | JobState::Waiting { .. } => Some(job.id),
        JobState::Succeeded | JobState::Failed { .. } | JobState::Cancelled | JobState::Superseded { .. } => {
            None
        }
    }
}

/// Waits for a step, for a limited time. That it failed is said, and nothing follows from it.
async fn said<T>(what: &'static str, step: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    match timeout(STEP_TIMEOUT, step).await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            tracing::debug!(what, error = chain(&error), "what follows from deliveries is left to others");
            None
        }
        Err(_) => {
            tracing::debug!(what, "what follows from deliveries is left to others: it takes too long");
            None
        }
    }
}
