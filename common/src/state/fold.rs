//! The fold itself. `apply` owns every branch; the helpers below it each change one thing.

use super::Illegal;
use crate::model::job::{REPAIR, STOP};
use crate::model::{
    Deployment, DeploymentState, Event, EventKind, Facts, Job, JobKind, JobMessage, JobState, Stage,
    StageReport, StageStatus,
};

/// Repairs of one deployment that are kept.
const REPAIRS_MAX: usize = 10;

/// The deployment that the first event of a history brings into being.
///
/// # Errors
/// When the event is anything but the acceptance of a deploy job.
pub fn begin(event: &Event) -> Result<Deployment, Illegal> {
    let EventKind::Accepted { message } = &event.kind else {
        return Err(Illegal::NotABeginning { event: event.kind.name() });
    };
    let JobKind::Deploy { spec, facts } = &message.kind else {
        return Err(Illegal::NotABeginning { event: event.kind.name() });
    };
    Ok(Deployment {
        id: event.deployment,
        project: message.project.clone(),
        environment: message.environment.clone(),
        target: spec.target.clone(),
        user: message.user.clone(),
        state: DeploymentState::Queued,
        spec: spec.as_ref().clone(),
        trigger: message.trigger.clone(),
        facts: facts.clone(),
        stages: pending_stages(facts),
        jobs: vec![queued_job(message)],
        failure: None,
        degraded: None,
        succeeded_by: None,
        was_active: false,
        fence: 0,
        created_at: event.at,
        updated_at: event.at,
        stopped_at: None,
    })
}

/// Folds one more event into the deployment, or leaves it as it was.
///
/// # Errors
/// When the event cannot follow the events before it.
pub fn apply(deployment: &mut Deployment, event: &Event) -> Result<(), Illegal> {
    check_fence(deployment, event)?;
    match &event.kind {
        EventKind::Accepted { message } => accept(deployment, message)?,
        EventKind::Replaced { by } => {
            require_in_service(deployment, event)?;
            deployment.state = DeploymentState::Stopped;
            deployment.succeeded_by = Some(*by);
            deployment.stopped_at = Some(event.at);
        }
        EventKind::Degraded { reason } => {
            require_in_service(deployment, event)?;
            deployment.state = DeploymentState::Degraded;
            deployment.degraded = Some(reason.clone());
        }
        EventKind::Recovered => {
            require_in_service(deployment, event)?;
            deployment.state = DeploymentState::Active;
            deployment.degraded = None;
        }
        EventKind::StageStarted { .. }
        | EventKind::StageProgress { .. }
        | EventKind::StageFinished { .. }
        | EventKind::StageWaiting { .. }
        | EventKind::Succeeded
        | EventKind::Failed { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::Cancelled
        | EventKind::Superseded { .. } => advance_job(deployment, event)?,
    }
    deployment.fence = deployment.fence.max(event.fence);
    deployment.updated_at = deployment.updated_at.max(event.at);
    Ok(())
}

/// A writer whose lease was taken over must not write; requests (token 0) write only what needs no lease.
fn check_fence(deployment: &Deployment, event: &Event) -> Result<(), Illegal> {
    let parked = deployment
        .job(event.job)
        .is_some_and(|job| matches!(job.state, JobState::Queued | JobState::Waiting { .. }));
    let leaseless = match &event.kind {
        EventKind::Accepted { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::Degraded { .. }
        | EventKind::Recovered => true,
        EventKind::Superseded { .. } | EventKind::Cancelled | EventKind::Failed { .. } => parked,
        EventKind::StageStarted { .. }
        | EventKind::StageProgress { .. }
        | EventKind::StageFinished { .. }
        | EventKind::StageWaiting { .. }
        | EventKind::Succeeded
        | EventKind::Replaced { .. } => false,
    };
    let current = event.fence >= deployment.fence && event.fence > 0;
    if current || (leaseless && event.fence == 0) {
        Ok(())
    } else {
        Err(Illegal::Fenced { fence: event.fence, newest: deployment.fence })
    }
}

fn require_in_service(deployment: &Deployment, event: &Event) -> Result<(), Illegal> {
    if deployment.state.in_service() {
        Ok(())
    } else {
        Err(Illegal::WrongDeploymentState { event: event.kind.name(), state: deployment.state })
    }
}

/// A further job: a retry once the last one has ended, a repair of what is in service, or a stop at any time.
fn accept(deployment: &mut Deployment, message: &JobMessage) -> Result<(), Illegal> {
    if deployment.job(message.id).is_some() {
        return Err(Illegal::AcceptedBefore { job: message.id });
    }
    let at_work = deployment.jobs.iter().find(|job| !job.state.is_terminal()).map(|job| job.id);
    match (&message.kind, at_work) {
        (JobKind::Deploy { .. }, Some(job)) => return Err(Illegal::JobAtWork { job }),
        (JobKind::Deploy { facts, .. }, None) => {
            if !matches!(deployment.state, DeploymentState::Failed | DeploymentState::Stopped) {
                return Err(Illegal::WrongDeploymentState { event: "accepted", state: deployment.state });
            }
            deployment.state = DeploymentState::Queued;
            deployment.facts = facts.clone();
            deployment.stages = pending_stages(facts);
            deployment.stopped_at = None;
            deployment.degraded = None;
            deployment.succeeded_by = None;
        }
        (JobKind::Repair { .. }, Some(job)) => return Err(Illegal::JobAtWork { job }),
        (JobKind::Repair { .. }, None) => {
            if !deployment.state.in_service() {
                return Err(Illegal::WrongDeploymentState { event: "accepted", state: deployment.state });
            }
            forget_old_repairs(deployment);
        }
        (JobKind::Stop { .. }, _) => {
            for job in deployment.jobs.iter_mut().filter(|job| !job.state.is_terminal()) {
                job.cancel_requested = true;
            }
            deployment.state = DeploymentState::Stopping;
        }
    }
    deployment.failure = None;
    deployment.jobs.push(queued_job(message));
    Ok(())
}

/// Repairs that came to their end are kept in a bounded number: where somebody changes things again and again, there is
/// no end of them.
fn forget_old_repairs(deployment: &mut Deployment) {
    let is_over = |job: &Job| job.kind == REPAIR && job.state.is_terminal();
    let over = deployment.jobs.iter().filter(|job| is_over(job)).count();
    let mut surplus = (over + 1).saturating_sub(REPAIRS_MAX);
    deployment.jobs.retain(|job| {
        let goes = surplus > 0 && is_over(job);
        surplus -= usize::from(goes);
        !goes
    });
}

fn queued_job(message: &JobMessage) -> Job {
    Job {
        id: message.id,
        deployment: message.deployment,
        kind: message.kind.as_str().to_owned(),
        state: JobState::Queued,
        cancel_requested: false,
        accepted_at: message.accepted_at,
        started_at: None,
        finished_at: None,
    }
}

fn pending_stages(facts: &Facts) -> Vec<StageReport> {
    let report = |stage| {
        let mut report = StageReport::pending(stage);
        if facts.has(stage) {
            report.status = StageStatus::Skipped;
            report.message = Some("established by an earlier job".to_owned());
        }
        report
    };
    Stage::DEPLOY.into_iter().map(report).collect()
}

/// An event of one job: first the job's own state, then what it means for stages and deployment.
fn advance_job(deployment: &mut Deployment, event: &Event) -> Result<(), Illegal> {
    let index = deployment
        .jobs
        .iter()
        .position(|job| job.id == event.job)
        .ok_or(Illegal::UnknownJob { job: event.job })?;
    let is_latest = index + 1 == deployment.jobs.len();
    let job = &mut deployment.jobs[index];
    let next = next_job_state(job, event)?;
    if let Some(next) = next {
        if job.started_at.is_none() && matches!(next, JobState::Running { .. }) {
            job.started_at = Some(event.at);
        }
        if next.is_terminal() {
            job.finished_at = Some(event.at);
        }
        job.state = next;
    } else if matches!(event.kind, EventKind::CancelRequested { .. }) {
        job.cancel_requested = true;
    }
    if let EventKind::StageFinished { facts, .. } = &event.kind {
        deployment.facts.merge(facts);
    }
    report_stage(deployment, event);
    if is_latest {
        follow_job(deployment, event);
    }
    Ok(())
}

/// The state that `event` leads to; `None` leaves it as it is.
fn next_job_state(job: &Job, event: &Event) -> Result<Option<JobState>, Illegal> {
    let name = event.kind.name();
    let wrong_state = || Illegal::WrongState { event: name, state: job.state.as_str() };
    let (running, reached) = match &job.state {
        JobState::Queued => (None, None),
        JobState::Running { stage, .. } => (Some(*stage), Some(*stage)),
        JobState::Waiting { stage, .. } => (None, Some(*stage)),
        JobState::Succeeded | JobState::Failed { .. } | JobState::Cancelled | JobState::Superseded { .. } => {
            return Err(Illegal::Ended { event: name, state: job.state.as_str() });
        }
    };
    let require_ahead = |stage: Stage| {
        let belongs = match job.kind.as_str() {
            STOP => stage == Stage::Stop,
            REPAIR => stage == Stage::Apply,
            _ => stage != Stage::Stop,
        };
        let ahead = reached.is_none_or(|reached| reached <= stage);
        if belongs && ahead { Ok(()) } else { Err(Illegal::WrongStage { event: name, stage }) }
    };
    match &event.kind {
        EventKind::StageStarted { stage, attempt } => {
            require_ahead(*stage)?;
            Ok(Some(JobState::Running { stage: *stage, attempt: *attempt }))
        }
        EventKind::StageProgress { stage, .. } | EventKind::StageFinished { stage, .. } => match running {
            Some(current) if current == *stage => Ok(None),
            Some(_) => Err(Illegal::WrongStage { event: name, stage: *stage }),
            None => Err(wrong_state()),
        },
        EventKind::StageWaiting { stage, attempt, until, reason, outcome_unknown: _ } => {
            require_ahead(*stage)?;
            Ok(Some(JobState::Waiting {
                stage: *stage,
                attempt: *attempt,
                until: *until,
                reason: reason.clone(),
            }))
        }
        EventKind::Succeeded => match running {
            Some(Stage::Apply | Stage::Stop) => Ok(Some(JobState::Succeeded)),
            Some(stage) => Err(Illegal::WrongStage { event: name, stage }),
            None => Err(wrong_state()),
        },
        EventKind::Failed { failure } => Ok(Some(JobState::Failed { failure: failure.clone() })),
        EventKind::CancelRequested { .. } => Ok(None),
        EventKind::Cancelled => Ok(Some(JobState::Cancelled)),
        EventKind::Superseded { by } => Ok(Some(JobState::Superseded { by: *by })),
        EventKind::Accepted { .. }
        | EventKind::Replaced { .. }
        | EventKind::Degraded { .. }
        | EventKind::Recovered => Err(wrong_state()),
    }
}

/// Keeps the stage reports in step with the events of a deploy job.
fn report_stage(deployment: &mut Deployment, event: &Event) {
    let update = |deployment: &mut Deployment, stage: Stage, change: &dyn Fn(&mut StageReport)| {
        if let Some(report) = deployment.stages.iter_mut().find(|report| report.stage == stage) {
            change(report);
        }
    };
    match &event.kind {
        EventKind::StageStarted { stage, attempt } => update(deployment, *stage, &|report| {
            report.status = StageStatus::Running;
            report.attempts = *attempt;
            report.started_at = report.started_at.or(Some(event.at));
            report.finished_at = None;
        }),
        EventKind::StageProgress { stage, message } => {
            update(deployment, *stage, &|report| report.message = Some(message.clone()));
        }
        EventKind::StageFinished { stage, skipped, .. } => update(deployment, *stage, &|report| {
            report.status = if skipped.is_some() { StageStatus::Skipped } else { StageStatus::Succeeded };
            report.finished_at = Some(event.at);
            report.message = skipped.clone().or_else(|| report.message.clone());
            report.outcome_unknown = false;
        }),
        EventKind::StageWaiting { stage, attempt, reason, outcome_unknown, .. } => {
            update(deployment, *stage, &|report| {
                report.status = StageStatus::Waiting;
                report.attempts = *attempt;
                report.message = Some(reason.clone());
                report.outcome_unknown = *outcome_unknown;
            });
        }
        EventKind::Failed { failure } => update(deployment, failure.stage, &|report| {
            report.status = StageStatus::Failed;
            report.finished_at = Some(event.at);
            report.message = Some(failure.reason.clone());
        }),
        EventKind::Cancelled | EventKind::Superseded { .. } => {
            let unfinished = |report: &&mut StageReport| {
                matches!(report.status, StageStatus::Running | StageStatus::Waiting)
            };
            for report in deployment.stages.iter_mut().filter(unfinished) {
                report.status = StageStatus::Stopped;
                report.finished_at = Some(event.at);
            }
        }
        EventKind::Accepted { .. }
        | EventKind::Succeeded
        | EventKind::CancelRequested { .. }
        | EventKind::Replaced { .. }
        | EventKind::Degraded { .. }
        | EventKind::Recovered => {}
    }
}

/// What an event of the latest job means for the deployment.
fn follow_job(deployment: &mut Deployment, event: &Event) {
    let is_of = |kind: &str| deployment.latest_job().is_some_and(|job| job.kind == kind);
    if is_of(REPAIR) {
        return follow_repair(deployment, event);
    }
    let is_stop = is_of(STOP);
    match &event.kind {
        EventKind::StageStarted { stage, .. } => deployment.state = DeploymentState::during(*stage),
        EventKind::Succeeded if is_stop => {
            deployment.state = DeploymentState::Stopped;
            deployment.stopped_at = Some(event.at);
            deployment.degraded = None;
        }
        EventKind::Succeeded => {
            deployment.state = DeploymentState::Active;
            deployment.was_active = true;
        }
        EventKind::Failed { failure } => {
            deployment.failure = Some(failure.clone());
            deployment.state = if is_stop { DeploymentState::Degraded } else { DeploymentState::Failed };
        }
        // A stop that did not succeed leaves what it should have stopped, or part of it, in service.
        EventKind::Cancelled | EventKind::Superseded { .. } if is_stop => {
            deployment.state = DeploymentState::Degraded;
        }
        EventKind::Cancelled => {
            deployment.state = DeploymentState::Stopped;
            deployment.stopped_at = Some(event.at);
        }
        EventKind::Superseded { by } => {
            deployment.state = DeploymentState::Superseded;
            deployment.succeeded_by = Some(*by);
        }
        EventKind::Accepted { .. }
        | EventKind::StageProgress { .. }
        | EventKind::StageFinished { .. }
        | EventKind::StageWaiting { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::Replaced { .. }
        | EventKind::Degraded { .. }
        | EventKind::Recovered => {}
    }
}

/// A repaired deployment is in service all the time; only that it could not be repaired changes how it stands.
fn follow_repair(deployment: &mut Deployment, event: &Event) {
    if let EventKind::Failed { failure } = &event.kind {
        deployment.failure = Some(failure.clone());
        deployment.degraded = Some(format!("the repair failed: {}", failure.reason));
        deployment.state = DeploymentState::Degraded;
    }
}
