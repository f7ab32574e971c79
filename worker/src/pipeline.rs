//! The pipeline: `run` sequences the stages of one job and is the only place that does.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_common::backend::RecordError;
use slipway_common::failure::{FAILURE_LOG_LINES_MAX, Failure, FailureClass};
use slipway_common::model::{Deployment, DeploymentId, DeploymentSpec, EventKind, JobKind, JobState, Stage};
use slipway_common::plant::{self, Plant};
use slipway_common::telemetry::chain;
use tokio::time::Instant;

use crate::docker::DockerError;
use crate::failpoint::{self, Moment, Place};
use crate::figures::Count;
use crate::journal::JournalError;
use crate::kubernetes::KubernetesError;
use crate::policy::{Decision, decide};
use crate::stage::{self, Outcome, Run, StageError, StageResult};

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The job has reached its end; the message is done with.
    Settled,
    /// The job goes on later.
    Parked {
        /// When.
        until: Timestamp,
    },
    /// The run was told to stop; whoever told it knows what becomes of the job.
    Interrupted,
}

/// How long a stage that was told to stop has to end by itself.
const INTERRUPT_GRACE: Duration = Duration::from_secs(3);

/// Why a run was given up without settling the job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The history could not be written.
    #[error("the journal refused")]
    Journal(#[source] JournalError),
}

impl From<JournalError> for RunError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// Runs the job from the first stage whose fact is missing. `deployment` is its state now.
pub(crate) async fn run(run: &Run<'_>, deployment: &Deployment) -> Result<Ended, RunError> {
    match &run.message.kind {
        JobKind::Deploy { spec, .. } => run_deploy(run, deployment, spec).await,
        JobKind::Repair { spec, facts } => {
            let work = Box::pin(stage::perform(Stage::Apply, run, spec, facts));
            run_one(run, deployment, Stage::Apply, work).await
        }
        JobKind::Stop { target } => {
            run_one(run, deployment, Stage::Stop, Box::pin(stage::perform_stop(run, target))).await
        }
    }
}

async fn run_deploy(
    run: &Run<'_>,
    deployment: &Deployment,
    spec: &DeploymentSpec,
) -> Result<Ended, RunError> {
    let mut facts = deployment.facts.clone();
    let reached = stage_reached(run, deployment);
    for stage in Stage::DEPLOY {
        // A stage that was passed without a fact had nothing to do.
        if !plant::performs(stage) || facts.has(stage) || reached.is_some_and(|reached| stage < reached) {
            continue;
        }
        let attempt = attempt_at(run, deployment, stage);
        if let Some(passed) = stage::nothing_to_do(stage, spec, &facts) {
            facts.merge(&passed.facts);
            pass(run, stage, attempt, passed);
            continue;
        }
        let work = Box::pin(stage::perform(stage, run, spec, &facts));
        match attempt_stage(run, stage, attempt, work).await? {
            Ok(Outcome::Done(result)) => {
                facts.merge(&result.facts);
                finish(run, stage, *result);
            }
            Ok(Outcome::Waits { reason, longest }) => {
                return wait(run, stage, attempt, reason, longest).await;
            }
            Err(error) => return after_failure(run, deployment, stage, attempt, &error).await,
        }
    }
    let job = deployment.job(run.message.id).map(|job| &job.state);
    let waits = matches!(job, Some(JobState::Queued | JobState::Waiting { .. }));
    if (waits && deployment.facts.has(Stage::Apply)) || !plant::performs(Stage::Apply) {
        run.journal.note(EventKind::StageStarted { stage: Stage::Apply, attempt: 1 });
    }
    replace_previous(run).await?;
    run.journal.event(EventKind::Succeeded).await?;
    Ok(Ended::Settled)
}

/// Runs a job that has one stage.
async fn run_one(
    run: &Run<'_>,
    deployment: &Deployment,
    stage: Stage,
    work: impl Future<Output = Result<Outcome, StageError>>,
) -> Result<Ended, RunError> {
    let attempt = attempt_at(run, deployment, stage);
    match attempt_stage(run, stage, attempt, work).await? {
        Ok(Outcome::Waits { reason, longest }) => wait(run, stage, attempt, reason, longest).await,
        Ok(Outcome::Done(result)) => {
            finish(run, stage, *result);
            run.journal.event(EventKind::Succeeded).await?;
            Ok(Ended::Settled)
        }
        Err(error) => after_failure(run, deployment, stage, attempt, &error).await,
    }
}

/// The stage an earlier run of this job was at.
fn stage_reached(run: &Run<'_>, deployment: &Deployment) -> Option<Stage> {
    match deployment.job(run.message.id).map(|job| &job.state) {
        Some(JobState::Running { stage, .. } | JobState::Waiting { stage, .. }) => Some(*stage),
        _ => None,
    }
}

/// Which attempt at `stage` this is: one more than those that failed, the same again after a crash.
fn attempt_at(run: &Run<'_>, deployment: &Deployment, stage: Stage) -> u32 {
    match deployment.job(run.message.id).map(|job| &job.state) {
        Some(JobState::Waiting { stage: waiting, attempt, .. }) if *waiting == stage => attempt + 1,
        Some(JobState::Running { stage: running, attempt }) if *running == stage => *attempt,
        _ => 1,
    }
}

/// A stage in which there is nothing to do: its events are written with the next that says more.
fn pass(run: &Run<'_>, stage: Stage, attempt: u32, passed: StageResult) {
    run.journal.note(EventKind::StageStarted { stage, attempt });
    finish(run, stage, passed);
}

fn finish(run: &Run<'_>, stage: Stage, result: StageResult) {
    let StageResult { facts, skipped } = result;
    run.journal.note(EventKind::StageFinished { stage, facts: Box::new(facts), skipped });
}

/// One attempt at one stage, with its events around it.
async fn attempt_stage(
    run: &Run<'_>,
    stage: Stage,
    attempt: u32,
    work: impl Future<Output = Result<Outcome, StageError>>,
) -> Result<Result<Outcome, StageError>, RunError> {
    run.journal.begin(stage);
    run.journal.event(EventKind::StageStarted { stage, attempt }).await?;
    failpoint::reach(place(stage), Moment::Before).await;
    let begun = Instant::now();
    let limit = run.tools.settings.stage_timeouts.of(stage);
    let ended = tokio::select! {
        ended = tokio::time::timeout(limit, work) => {
            ended.unwrap_or(Err(StageError::TimedOut { limit_s: limit.as_secs() }))
        }
        () = run.journal.keep_flushing() => Err(StageError::Crashed),
        () = interrupted(run) => Err(StageError::Interrupted),
    };
    run.tools.figures.stage_took(stage, begun.elapsed());
    failpoint::reach(place(stage), Moment::After).await;
    run.journal.flush().await;
    Ok(ended)
}

/// Parks the job until something outside has happened. That costs no attempt.
async fn wait(
    run: &Run<'_>,
    stage: Stage,
    attempt: u32,
    reason: String,
    longest: Duration,
) -> Result<Ended, RunError> {
    let (until, attempt) = (later(longest), attempt - 1);
    let waiting = EventKind::StageWaiting { stage, attempt, until, reason, outcome_unknown: false };
    run.journal.event(waiting).await?;
    Ok(Ended::Parked { until })
}

/// Where a process is halted around a stage.
fn place(stage: Stage) -> Place {
    match stage {
        Stage::Clone => Place::Clone,
        Stage::Template => Place::Template,
        Stage::Commit => Place::Commit,
        Stage::Build => Place::Build,
        Stage::Apply => Place::Apply,
        Stage::Stop => Place::Stop,
    }
}

/// What becomes of the job after a failed attempt; `policy` decides, this does it.
async fn after_failure(
    run: &Run<'_>,
    deployment: &Deployment,
    stage: Stage,
    attempt: u32,
    error: &StageError,
) -> Result<Ended, RunError> {
    tracing::info!(
        job = %run.message.id, deployment = %run.message.deployment, %stage, attempt,
        error = chain(error), "a stage failed"
    );
    if is_fenced(error) {
        run.tools.figures.count(Count::Fenced);
    }
    if run.cancel.is_cancelled() {
        return Ok(Ended::Interrupted);
    }
    let failure = error.failure(stage, run.journal.tail(stage, FAILURE_LOG_LINES_MAX).await);
    // A full disk of this worker is no failure of the job: others have room.
    let is_own_disk = error.is_disk_full() && run.tools.disk.is_full().await;
    let outcome_unknown = is_outcome_unknown(run, deployment, stage, error);
    let class = if is_own_disk || outcome_unknown { FailureClass::Stale } else { error.class() };
    match decide(class, attempt, &run.tools.settings.retry, jitter(run, attempt)) {
        Decision::Retry { after } => {
            let until = later(after.max(error.pause_min()));
            let reason = format!("{}; trying again", failure.reason);
            let waiting = EventKind::StageWaiting { stage, attempt, until, reason, outcome_unknown };
            run.journal.event(waiting).await?;
            Ok(Ended::Parked { until })
        }
        Decision::Defer { after } => {
            let pause_min = if outcome_unknown { stage::OPEN_PAUSE } else { error.pause_min() };
            let until = later(after.max(pause_min));
            let (attempt, reason) = (attempt - 1, failure.reason);
            let waiting = EventKind::StageWaiting { stage, attempt, until, reason, outcome_unknown };
            run.journal.event(waiting).await?;
            Ok(Ended::Parked { until })
        }
        Decision::Fail => fail(run, stage, failure).await,
        Decision::Cancel => cancel(run).await,
    }
}

/// Whether a newer job has worked at the same place.
fn is_fenced(error: &StageError) -> bool {
    matches!(
        error,
        StageError::Docker(DockerError::Stale { .. }) | StageError::Kubernetes(KubernetesError::Stale { .. })
    )
}

/// Whether this run may have pushed; or an earlier one may, and this one could not ask the host: that it cannot be
/// reached says nothing about the push, however often it is tried.
fn is_outcome_unknown(run: &Run<'_>, deployment: &Deployment, stage: Stage, error: &StageError) -> bool {
    if Plant::TimeoutIsFailure.is_planted() {
        return false;
    }
    let state = deployment.job(run.message.id).map(|job| &job.state);
    // A run that ended without a word was killed or cut off, perhaps while it pushed.
    let was_cut_off = matches!(state, Some(JobState::Running { stage: running, .. }) if *running == stage);
    let was_unknown = was_cut_off || deployment.stage(stage).is_some_and(|report| report.outcome_unknown);
    error.is_outcome_unknown() || (stage == Stage::Commit && was_unknown && error.is_host_away())
}

/// Ready some time after the run was told to stop.
async fn interrupted(run: &Run<'_>) {
    run.cancel.cancelled().await;
    tokio::time::sleep(INTERRUPT_GRACE).await;
}

async fn fail(run: &Run<'_>, stage: Stage, failure: Failure) -> Result<Ended, RunError> {
    if stage == Stage::Apply {
        clean_up(run).await;
    }
    run.journal.event(EventKind::Failed { failure }).await?;
    Ok(Ended::Settled)
}

/// Ends the job on request: removes what it put on the target, ends what it waited for, then says so.
pub(crate) async fn cancel(run: &Run<'_>) -> Result<Ended, RunError> {
    clean_up(run).await;
    abandon(run).await;
    run.journal.event(EventKind::Cancelled).await?;
    Ok(Ended::Settled)
}

/// Ends a job that a newer deployment has overtaken.
pub(crate) async fn supersede(run: &Run<'_>, by: DeploymentId) -> Result<Ended, RunError> {
    clean_up(run).await;
    abandon(run).await;
    run.journal.event(EventKind::Superseded { by }).await?;
    Ok(Ended::Settled)
}

/// Leftovers on the target are looked for again by the next apply there, so failing to remove them fails nothing.
async fn clean_up(run: &Run<'_>) {
    let begun = match run.tools.backend.store.deployment(run.message.deployment).await {
        Ok(deployment) => deployment
            .is_some_and(|found| found.stage(Stage::Apply).is_some_and(|it| it.started_at.is_some())),
        Err(_) => true,
    };
    let JobKind::Deploy { spec, .. } = &run.message.kind else { return };
    if !begun {
        return;
    }
    if let Err(error) = stage::clean_up(run, &spec.target).await {
        tracing::warn!(deployment = %run.message.deployment, error = chain(&error), "clean-up was incomplete");
    }
}

/// Ends outside what the job waited for in its build stage, if it got that far.
async fn abandon(run: &Run<'_>) {
    let JobKind::Deploy { spec, .. } = &run.message.kind else { return };
    let read = run.tools.backend.store.deployment(run.message.deployment).await;
    let Ok(Some(deployment)) = read else { return };
    if deployment.stage(Stage::Build).is_some_and(|build| build.started_at.is_some()) {
        stage::abandon(run, spec, &deployment.facts).await;
    }
}

/// The deployments that were in service until now are marked stopped; what ran of them is gone already.
async fn replace_previous(run: &Run<'_>) -> Result<(), RunError> {
    let (project, environment) = (&run.message.project.slug, &run.message.environment);
    let in_service = run.tools.backend.store.in_service(project, environment).await;
    let previous = in_service.map_err(|error| JournalError::Unavailable(RecordError::Store(error)))?;
    for id in previous.into_iter().filter(|id| *id != run.message.deployment) {
        run.journal.note_of(id, EventKind::Replaced { by: run.message.deployment });
    }
    Ok(())
}

fn later(pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    Timestamp::now().checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// From 0 to 1, the same for every attempt repeated after a crash: taken from the job's random bits.
fn jitter(run: &Run<'_>, attempt: u32) -> f64 {
    let bytes = run.message.id.as_uuid().into_bytes();
    let index = usize::try_from(attempt).unwrap_or_default() % 8;
    f64::from(bytes[8 + index]) / f64::from(u8::MAX)
}
