//! The consume loop: claim a job, take the lease on its project and environment, run it, settle it.

mod heartbeat;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use slipway_common::failure::Failure;
use slipway_common::model::job::JOB_MESSAGE_VERSION;
use slipway_common::model::{
    Deployment, DeploymentId, Event, EventId, EventKind, JobKind, JobMessage, JobState, Stage, WorkerId,
};
use slipway_common::queue::{Claim, QueueError};
use slipway_common::record::Record;
use slipway_common::state::Illegal;
use slipway_common::store::{Lease, StoreError};
use slipway_common::telemetry::chain;
use tokio_util::sync::CancellationToken;

use self::heartbeat::{Interrupt, StopReason};
use crate::journal::{Journal, JournalError};
use crate::pipeline::{self, Ended, RunError};
use crate::stage::{Run, Tools};

/// Longest wait for the queue to have something before it is looked at again.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Pause after the queue or the store could not be used.
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// How long a job waits before it asks again for a lease that another holds.
const LEASE_RETRY: SignedDuration = SignedDuration::from_millis(500);

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
}

/// What becomes of a claim.
enum Verdict {
    Complete,
    Park {
        until: Timestamp,
    },
    Bury {
        reason: String,
    },
    /// Somebody else has the job now; leave it alone.
    Leave,
}

/// One slot: works on one job after another until `stop`.
pub(crate) async fn consume(tools: Arc<Tools>, worker: WorkerId, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let queue = &tools.backend.queue;
        match queue.claim(worker, tools.settings.claim_ttl, Timestamp::now()).await {
            Ok(Some(claim)) => work(&tools, &claim, &stop).await,
            Ok(None) => tokio::select! {
                () = queue.wait(IDLE_WAIT) => {}
                () = stop.cancelled() => {}
            },
            Err(error) => {
                tracing::warn!(error = chain(&error), "no job could be claimed");
                tokio::time::sleep(FAULT_PAUSE).await;
            }
        }
    }
}

/// Works on one claim. A panic ends the run, not the slot; the claim expires and the crash is counted.
async fn work(tools: &Tools, claim: &Claim, stop: &CancellationToken) {
    let job = claim.message.id;
    let verdict = std::panic::AssertUnwindSafe(decide(tools, claim, stop)).catch_unwind().await;
    let verdict = match verdict {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) if error.is_contradiction() => {
            tracing::error!(%job, error = chain(&error), "the job contradicts its history and is set aside");
            Verdict::Bury { reason: chain(&error) }
        }
        Ok(Err(error)) => {
            tracing::warn!(%job, error = chain(&error), "the job is handed back");
            Verdict::Park { until: later(SignedDuration::from_secs(2)) }
        }
        Err(_) => {
            tracing::error!(%job, "the worker panicked on this job");
            Verdict::Leave
        }
    };
    let (queue, now) = (&tools.backend.queue, Timestamp::now());
    let settled = match verdict {
        Verdict::Complete => queue.complete(claim, now).await,
        Verdict::Park { until } => queue.park(claim, until, now).await,
        Verdict::Bury { reason } => queue.bury(claim, &reason, now).await,
        Verdict::Leave => Ok(()),
    };
    if let Err(error) = settled {
        tracing::warn!(%job, error = chain(&error), "the claim could not be settled; the job may arrive again");
    }
}

/// What is to become of the claim: looks before it leaps, then runs the job under its lease.
async fn decide(tools: &Tools, claim: &Claim, stop: &CancellationToken) -> Result<Verdict, ConsumeError> {
    let message = &claim.message;
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
        return quarantine(tools, message, &job.state, claim.deliveries).await;
    }
    let (key, holder) = (message.serial_key(), message.id.to_string());
    let leased =
        tools.backend.store.acquire_lease(&key, &holder, tools.settings.claim_ttl, Timestamp::now()).await?;
    let Some(lease) = leased else {
        return Ok(Verdict::Park { until: later(LEASE_RETRY) });
    };
    let verdict = run_leased(tools, claim, &deployment, &lease, stop).await;
    if let Err(error) = tools.backend.store.release_lease(&lease).await {
        tracing::warn!(job = %message.id, error = chain(&error), "the lease is left to expire");
    }
    verdict
}

/// The deployment's state. A store that has lost it learns of it again from the message, which suffices by itself.
async fn known(tools: &Tools, message: &JobMessage) -> Result<Deployment, ConsumeError> {
    let store = &tools.backend.store;
    if let Some(found) = store.deployment(message.deployment).await?
        && found.job(message.id).is_some()
    {
        return Ok(found);
    }
    store.apply(&Record::Event(Event::accepted(message))).await?;
    let found = store.deployment(message.deployment).await?;
    found.ok_or(ConsumeError::Store(StoreError::UnknownDeployment { deployment: message.deployment }))
}

/// Runs the job under its lease, with a heartbeat that keeps claim and lease and watches for cancellation.
async fn run_leased(
    tools: &Tools,
    claim: &Claim,
    deployment: &Deployment,
    lease: &Lease,
    stop: &CancellationToken,
) -> Result<Verdict, ConsumeError> {
    let message = &claim.message;
    let interrupt = Interrupt::default();
    let journal = Journal::new(
        tools.backend.clone(),
        message.deployment,
        message.id,
        lease.fence,
        tools.settings.stage_log_max_bytes,
    );
    let run = Run { tools, message, fence: lease.fence, journal: &journal, cancel: interrupt.token() };
    if deployment.job(message.id).is_some_and(|job| job.cancel_requested) {
        return settle(pipeline::cancel(&run).await?);
    }
    if let Some(newer) = overtaken_by(tools, message).await? {
        return settle(pipeline::supersede(&run, newer).await?);
    }
    wake_overtaken(tools, message).await;
    let ended = tokio::select! {
        ended = pipeline::run(&run, deployment) => ended?,
        () = heartbeat::beat(tools, claim, lease, &interrupt, stop) => Ended::Interrupted,
    };
    match (ended, interrupt.reason()) {
        (Ended::Interrupted, Some(StopReason::Cancelled)) => {
            let quiet = CancellationToken::new();
            settle(pipeline::cancel(&Run { cancel: &quiet, ..run }).await?)
        }
        (Ended::Interrupted, Some(StopReason::Shutdown)) => Ok(Verdict::Park { until: Timestamp::now() }),
        (Ended::Interrupted, Some(StopReason::Lost) | None) => Ok(Verdict::Leave),
        (ended @ (Ended::Settled | Ended::Parked { .. }), _) => settle(ended),
    }
}

fn settle(ended: Ended) -> Result<Verdict, ConsumeError> {
    Ok(match ended {
        Ended::Settled => Verdict::Complete,
        Ended::Parked { until } => Verdict::Park { until },
        Ended::Interrupted => Verdict::Leave,
    })
}

/// The newer deployment of the same project and environment whose job was accepted after this one, if any.
async fn overtaken_by(tools: &Tools, message: &JobMessage) -> Result<Option<DeploymentId>, ConsumeError> {
    if matches!(message.kind, JobKind::Stop { .. }) {
        return Ok(None);
    }
    let newest = tools.backend.store.newest(&message.project.slug, &message.environment).await?;
    let Some(newest) = newest.filter(|newest| *newest != message.deployment) else { return Ok(None) };
    let newer = tools.backend.store.deployment(newest).await?.is_some_and(|newest| {
        newest.jobs.iter().any(|job| job.kind == "deploy" && job.accepted_at > message.accepted_at)
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
    let lease = store.acquire_lease(&key, &holder, tools.settings.claim_ttl, Timestamp::now()).await?;
    let Some(lease) = lease else {
        return Ok(Verdict::Park { until: later(LEASE_RETRY) });
    };
    let event = Event {
        id: EventId::generate(),
        deployment: message.deployment,
        job: message.id,
        fence: lease.fence,
        at: Timestamp::now(),
        kind: EventKind::Failed { failure },
    };
    if let Err(error) = tools.backend.record(&Record::Event(event)).await {
        tracing::warn!(job = %message.id, error = chain(&error), "the quarantine could not be recorded");
    }
    store.release_lease(&lease).await?;
    Ok(Verdict::Bury { reason })
}

fn later(pause: SignedDuration) -> Timestamp {
    Timestamp::now().checked_add(pause).unwrap_or(Timestamp::MAX)
}
