//! The consume loop: claim a job, take the lease on its project and environment, run it, settle it.

mod contradiction;
mod heartbeat;
mod settle;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use slipway_common::backend::RecordError;
use slipway_common::failure::Failure;
use slipway_common::health::Progress;
use slipway_common::model::job::JOB_MESSAGE_VERSION;
use slipway_common::model::{
    Deployment, DeploymentId, Event, EventId, EventKind, JobKind, JobMessage, JobState, Stage, WorkerId,
};
use slipway_common::plant::Plant;
use slipway_common::queue::{Claim, QueueError};
use slipway_common::record::Record;
use slipway_common::state::Illegal;
use slipway_common::store::{Lease, StoreError};
use slipway_common::telemetry::chain;
use tokio_util::sync::CancellationToken;

pub(crate) use self::contradiction::Contradictions;
use self::heartbeat::{Beat, Interrupt, StopReason};
use self::settle::{Verdict, settle};
use crate::failpoint::{self, Place};
use crate::figures::Count;
use crate::journal::{Journal, JournalError};
use crate::pipeline::{self, Ended, RunError};
use crate::stage::{Run, Tools};

/// Longest wait for the queue to have something before it is looked at again.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Pause after the queue or the store could not be used.
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// How long a job waits before it asks again for a lease that another holds.
const LEASE_RETRY: SignedDuration = SignedDuration::from_millis(500);
/// How long a job waits that was handed back.
const HAND_BACK_PAUSE: SignedDuration = SignedDuration::from_secs(2);
/// A slot that shows no progress for this long is stuck.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(15);
/// How often a slot shows progress while it waits for something with a deadline of its own.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a claimed job could not be worked on.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error("the queue could not be used")]
    Queue(#[source] QueueError),
    #[error("the store could not be used")]
    Store(#[source] StoreError),
    #[error("the run was given up")]
    Run(#[source] RunError),
}

impl From<QueueError> for ConsumeError {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl From<StoreError> for ConsumeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RunError> for ConsumeError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl ConsumeError {
    /// Whether trying again can never help: the history refuses what the job wants to write, and not because
    /// another worker has it.
    fn is_contradiction(&self) -> bool {
        let illegal = match self {
            Self::Store(StoreError::Illegal(illegal)) => Some(illegal),
            Self::Run(RunError::Journal(JournalError::OutOfDate(StoreError::Illegal(illegal)))) => {
                Some(illegal)
            }
            Self::Queue(_) | Self::Store(_) | Self::Run(_) => None,
        };
        illegal.is_some_and(|illegal| !matches!(illegal, Illegal::Fenced { .. } | Illegal::Ended { .. }))
    }

    /// The store's error, if it was the store.
    fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error)
            | Self::Run(RunError::Journal(
                JournalError::OutOfDate(error) | JournalError::Unavailable(RecordError::Store(error)),
            )) => Some(error),
            Self::Queue(_)
            | Self::Run(RunError::Journal(JournalError::Unavailable(RecordError::Ledger(_)))) => None,
        }
    }
}

/// One slot: works on one job after another until `stop`.
pub(crate) async fn consume(tools: Arc<Tools>, worker: WorkerId, stop: CancellationToken) {
    let progress = tools.liveness.watch("consume", STALL_LIMIT);
    while !stop.is_cancelled() {
        progress.mark();
        if !tools.recorder.store_is_there().await {
            // A job taken now could only be handed back.
            pause(FAULT_PAUSE, &stop).await;
            continue;
        }
        if !tools.disk.has_room().await {
            pause(FAULT_PAUSE, &stop).await;
            continue;
        }
        let queue = &tools.backend.queue;
        match queue.claim(worker, tools.settings.claim_ttl, Timestamp::now()).await {
            Ok(claimed) => {
                tools.queue.works();
                match claimed {
                    Some(claim) => work(&tools, &claim, &progress, &stop).await,
                    None => tokio::select! {
                        () = queue.wait(IDLE_WAIT) => {}
                        () = stop.cancelled() => {}
                    },
                }
            }
            Err(error) => {
                tools.queue.failed(&error);
                pause(FAULT_PAUSE, &stop).await;
            }
        }
    }
}

/// Works on one claim. A panic ends the run, not the slot; the crash is counted and the job handed out again.
async fn work(tools: &Tools, claim: &Claim, progress: &Progress, stop: &CancellationToken) {
    let job = claim.message.id;
    let at_work = tools.figures.at_work();
    let decided = AssertUnwindSafe(Box::pin(decide(tools, claim, progress, stop))).catch_unwind().await;
    let verdict = match decided {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) if error.is_contradiction() && tools.contradictions.lasts(job) => {
            tracing::error!(%job, error = chain(&error), "the job contradicts its history and is set aside");
            Verdict::Bury { reason: chain(&error) }
        }
        Ok(Err(error)) => hand_back(tools, claim, &error).await,
        Err(_) => {
            tracing::error!(%job, "the worker panicked on this job");
            tools.figures.count(Count::Panicked);
            Verdict::Crashed
        }
    };
    settle(tools, claim, &verdict, progress, stop).await;
    drop(at_work);
}

/// What becomes of a job whose run was given up without an outcome: it is tried again, at no cost to it.
async fn hand_back(tools: &Tools, claim: &Claim, error: &ConsumeError) -> Verdict {
    let job = claim.message.id;
    if let Some(store) = error.of_store() {
        tools.recorder.store_failed(store);
    }
    tracing::debug!(%job, error = chain(error), "the job is handed back");
    tools.figures.count(Count::HandedBack);
    if Plant::TimeoutIsFailure.is_planted() {
        return fail_at_deadline(tools, &claim.message, error).await;
    }
    Verdict::park_for(HAND_BACK_PAUSE)
}

/// The planted mistake: what nobody knows becomes the failure of the job.
async fn fail_at_deadline(tools: &Tools, message: &JobMessage, error: &ConsumeError) -> Verdict {
    let stage = message.kind.stages().first().copied().unwrap_or(Stage::Clone);
    let event = Event {
        id: EventId::generate(),
        deployment: message.deployment,
        job: message.id,
        fence: u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(u64::MAX),
        at: Timestamp::now(),
        kind: EventKind::Failed { failure: Failure::new(stage, "deadline", chain(error)) },
    };
    let record = Record::Event(event);
    while tools.recorder.record(record.clone()).await.is_err() {
        tokio::time::sleep(FAULT_PAUSE).await;
    }
    Verdict::Complete
}

async fn pause(longest: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(longest) => {}
        () = stop.cancelled() => {}
    }
}

/// What is to become of the claim: looks before it leaps, then runs the job under its lease.
async fn decide(
    tools: &Tools,
    claim: &Claim,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Verdict, ConsumeError> {
    let message = &claim.message;
    if stop.is_cancelled() {
        return Ok(Verdict::Park { until: None });
    }
    if message.version != JOB_MESSAGE_VERSION {
        return Ok(Verdict::Bury { reason: format!("message version {} is not known", message.version) });
    }
    let deployment = known(tools, message).await?;
    let Some(job) = deployment.job(message.id) else {
        return Ok(Verdict::Bury { reason: "its deployment does not know the job".to_owned() });
    };
    if job.state.is_terminal() {
        return Ok(Verdict::Complete);
    }
    if claim.deliveries > tools.settings.crashes_max {
        return marking(progress, Box::pin(quarantine(tools, message, &job.state, claim.deliveries))).await;
    }
    let (key, holder) = (message.serial_key(), message.id.to_string());
    let Some(lease) = lease(tools, &key, &holder).await? else {
        return Ok(Verdict::park_for(LEASE_RETRY));
    };
    let verdict = run_leased(tools, claim, &deployment, &lease, progress, stop).await;
    if let Err(error) = tools.backend.store.release_lease(&lease).await {
        tracing::debug!(job = %message.id, error = chain(&error), "the lease is left to expire");
    }
    verdict
}

/// The deployment's state. A store that has lost it learns of it again from the message, which suffices by itself.
async fn known(tools: &Tools, message: &JobMessage) -> Result<Deployment, ConsumeError> {
    let store = &tools.backend.store;
    if !tools.recorder.catch_up().await {
        let reason = "events of earlier runs wait for it".to_owned();
        return Err(ConsumeError::Store(StoreError::Unavailable { reason }));
    }
    if let Some(found) = store.deployment(message.deployment).await?
        && found.job(message.id).is_some()
    {
        return Ok(found);
    }
    store.apply(&Record::Event(Event::accepted(message))).await?;
    let found = store.deployment(message.deployment).await?;
    found.ok_or(ConsumeError::Store(StoreError::UnknownDeployment { deployment: message.deployment }))
}

async fn lease(tools: &Tools, key: &str, holder: &str) -> Result<Option<Lease>, StoreError> {
    let acquired = tools.backend.store.acquire_lease(key, holder, tools.settings.claim_ttl, Timestamp::now());
    failpoint::around(Place::LeaseAcquire, acquired).await
}

/// Shows progress while `work` lasts, each of whose waits has a deadline of its own.
async fn marking<T>(progress: &Progress, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        progress.mark();
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(MARK_INTERVAL) => {}
        }
    }
}

/// Runs the job under its lease, with a heartbeat that keeps claim and lease and watches for cancellation.
async fn run_leased(
    tools: &Tools,
    claim: &Claim,
    deployment: &Deployment,
    lease: &Lease,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Verdict, ConsumeError> {
    let message = &claim.message;
    let interrupt = Interrupt::default();
    let beat = Beat { tools, claim, lease, progress };
    let journal = Journal::new(tools, message.deployment, message.id, lease.fence);
    let said = stage_of(deployment, message).and_then(|stage| deployment.stage(stage)?.message.as_deref());
    let is_pushed = deployment.trigger.is_some();
    let cancel = interrupt.token();
    let run = Run { tools, message, fence: lease.fence, journal: &journal, cancel, said, is_pushed };
    if deployment.job(message.id).is_some_and(|job| job.cancel_requested) {
        return end(&beat, Box::pin(pipeline::cancel(&run))).await;
    }
    if let Some(newer) = overtaken_by(tools, message).await? {
        return end(&beat, Box::pin(pipeline::supersede(&run, newer))).await;
    }
    wake_overtaken(tools, message).await;
    let ended = tokio::select! {
        ended = Box::pin(pipeline::run(&run, deployment)) => ended?,
        () = beat.until_stopped(&interrupt, stop) => Ended::Interrupted,
    };
    match (ended, interrupt.reason()) {
        (Ended::Interrupted, Some(StopReason::Cancelled)) => {
            let quiet = CancellationToken::new();
            end(&beat, Box::pin(pipeline::cancel(&Run { cancel: &quiet, ..run }))).await
        }
        (Ended::Interrupted, Some(StopReason::Shutdown)) => {
            if let Err(error) = journal.write_noted().await {
                tracing::debug!(job = %message.id, error = chain(&error), "the last stage may be run again");
            }
            Ok(Verdict::Park { until: None })
        }
        (Ended::Interrupted, Some(StopReason::LeaseLost)) => Ok(lease_lost(tools)),
        (Ended::Interrupted, Some(StopReason::ClaimLost) | None) => Ok(claim_lost(tools)),
        (Ended::Settled, _) => Ok(Verdict::Complete),
        (Ended::Parked { until }, _) => Ok(Verdict::Park { until: Some(until) }),
    }
}

/// The stage the job is at, once it has begun.
fn stage_of(deployment: &Deployment, message: &JobMessage) -> Option<Stage> {
    match deployment.job(message.id)?.state {
        JobState::Running { stage, .. } | JobState::Waiting { stage, .. } => Some(stage),
        JobState::Queued
        | JobState::Succeeded
        | JobState::Failed { .. }
        | JobState::Cancelled
        | JobState::Superseded { .. } => None,
    }
}

/// Brings the job to its end, with claim and lease kept meanwhile.
async fn end(
    beat: &Beat<'_>,
    work: impl Future<Output = Result<Ended, RunError>>,
) -> Result<Verdict, ConsumeError> {
    tokio::select! {
        ended = work => match ended? {
            Ended::Settled => Ok(Verdict::Complete),
            Ended::Parked { until } => Ok(Verdict::Park { until: Some(until) }),
            Ended::Interrupted => Ok(claim_lost(beat.tools)),
        },
        lost = beat.keep() => Ok(match lost {
            StopReason::LeaseLost => lease_lost(beat.tools),
            StopReason::ClaimLost | StopReason::Cancelled | StopReason::Shutdown => claim_lost(beat.tools),
        }),
    }
}

/// The claim still holds, so the job is handed back and no crash is counted.
fn lease_lost(tools: &Tools) -> Verdict {
    tools.figures.count(Count::LeaseLost);
    Verdict::park_for(LEASE_RETRY)
}

fn claim_lost(tools: &Tools) -> Verdict {
    tools.figures.count(Count::ClaimLost);
    Verdict::Leave
}

/// The newer deployment of the same project and environment whose job was accepted after this one, if any.
async fn overtaken_by(tools: &Tools, message: &JobMessage) -> Result<Option<DeploymentId>, ConsumeError> {
    if matches!(message.kind, JobKind::Stop { .. }) {
        return Ok(None);
    }
    let newest = tools.backend.store.newest(&message.project.slug, &message.environment).await?;
    let Some(newest) = newest.filter(|newest| *newest != message.deployment) else { return Ok(None) };
    // A repair gives way to every newer deployment that is on its way, however long that has been accepted.
    let gives_way = matches!(message.kind, JobKind::Repair { .. });
    let newer = tools.backend.store.deployment(newest).await?.is_some_and(|newest| {
        let mut deploys = newest.jobs.iter().filter(|job| job.kind == "deploy");
        deploys.any(|job| job.accepted_at > message.accepted_at || (gives_way && !job.state.is_terminal()))
    });
    Ok(newer.then_some(newest))
}

/// Wakes parked jobs that this one overtakes, so that they end now and not at their wake-up.
async fn wake_overtaken(tools: &Tools, message: &JobMessage) {
    use slipway_common::store::{DeploymentFilter, Page};
    if matches!(message.kind, JobKind::Stop { .. }) {
        return;
    }
    let filter = DeploymentFilter {
        project: Some(message.project.slug.to_string()),
        environment: Some(message.environment.to_string()),
        ..DeploymentFilter::default()
    };
    let Ok(page) = tools.backend.store.deployments(&filter, &Page::default()).await else { return };
    let parked =
        page.deployments.iter().filter(|other| other.id != message.deployment).flat_map(|other| &other.jobs);
    for job in parked.filter(|job| matches!(job.state, JobState::Waiting { .. })) {
        if let Err(error) = tools.backend.queue.wake(job.id, Timestamp::now()).await {
            tracing::debug!(job = %job.id, error = chain(&error), "a parked job could not be woken");
        }
    }
}

/// A job that keeps crashing its worker fails, visibly, and is set aside.
async fn quarantine(
    tools: &Tools,
    message: &JobMessage,
    state: &JobState,
    deliveries: u32,
) -> Result<Verdict, ConsumeError> {
    let stage = match state {
        JobState::Running { stage, .. } | JobState::Waiting { stage, .. } => *stage,
        JobState::Queued
        | JobState::Succeeded
        | JobState::Failed { .. }
        | JobState::Cancelled
        | JobState::Superseded { .. } => message.kind.stages().first().copied().unwrap_or(Stage::Clone),
    };
    let crashes = deliveries - 1;
    let reason = format!("the worker ended {crashes} times while it was at this job");
    let failure = Failure::new(stage, "poison", reason.clone())
        .with_hint("Look at the worker's log for the cause, then retry the deployment.");
    let (key, holder) = (message.serial_key(), message.id.to_string());
    let store = &tools.backend.store;
    let Some(lease) = lease(tools, &key, &holder).await? else {
        return Ok(Verdict::park_for(LEASE_RETRY));
    };
    let event = Event {
        id: EventId::generate(),
        deployment: message.deployment,
        job: message.id,
        fence: lease.fence,
        at: Timestamp::now(),
        kind: EventKind::Failed { failure },
    };
    if let Err(error) = tools.recorder.record(Record::Event(event)).await {
        tracing::warn!(job = %message.id, error = chain(&error), "the quarantine could not be recorded");
    }
    if let Err(error) = store.release_lease(&lease).await {
        tracing::debug!(job = %message.id, error = chain(&error), "the lease is left to expire");
    }
    Ok(Verdict::Bury { reason })
}

#[cfg(test)]
mod tests;
