//! What leaves Slipway is without the secrets that are known: texts of failures, reasons, messages of stages.

use slipway_common::failure::Failure;
use slipway_common::model::{Deployment, Event, EventKind, JobState};

use crate::text::Redactor;

/// Replaces secrets in all texts of the deployment.
pub(super) fn clean_deployment(deployment: &mut Deployment, redactor: &Redactor) {
    if let Some(failure) = &mut deployment.failure {
        clean_failure(failure, redactor);
    }
    if let Some(reason) = &mut deployment.degraded {
        *reason = redactor.shown(reason);
    }
    for message in deployment.stages.iter_mut().filter_map(|report| report.message.as_mut()) {
        *message = redactor.shown(message);
    }
    for job in &mut deployment.jobs {
        match &mut job.state {
            JobState::Failed { failure } => clean_failure(failure, redactor),
            JobState::Waiting { reason, .. } => *reason = redactor.shown(reason),
            JobState::Queued
            | JobState::Running { .. }
            | JobState::Succeeded
            | JobState::Cancelled
            | JobState::Superseded { .. } => {}
        }
    }
}

/// Replaces secrets in what is told of the event.
pub(super) fn clean_event(event: &mut Event, redactor: &Redactor) {
    match &mut event.kind {
        EventKind::Failed { failure } => clean_failure(failure, redactor),
        EventKind::Degraded { reason } => *reason = redactor.shown(reason),
        EventKind::Accepted { .. }
        | EventKind::StageStarted { .. }
        | EventKind::StageProgress { .. }
        | EventKind::StageFinished { .. }
        | EventKind::StageWaiting { .. }
        | EventKind::Succeeded
        | EventKind::CancelRequested { .. }
        | EventKind::Cancelled
        | EventKind::Superseded { .. }
        | EventKind::Replaced { .. }
        | EventKind::Recovered => {}
    }
}

fn clean_failure(failure: &mut Failure, redactor: &Redactor) {
    failure.reason = redactor.shown(&failure.reason);
    failure.hint = failure.hint.as_ref().map(|hint| redactor.shown(hint));
    for line in &mut failure.log_tail {
        *line = redactor.shown(line);
    }
}
