//! What those who listen are told: one message for each event that matters to them, the same however often it is told.
//! Pure.

use jiff::Timestamp;
use serde::Serialize;
use slipway_common::failure::Failure;
use slipway_common::model::job::{REPAIR, STOP};
use slipway_common::model::{
    Deployment, DeploymentId, DeploymentState, Event, EventKind, JobId, JobKind, Stage,
};

use super::wanted::{Seen, app_url, cut, page};

/// Longest reason in a message.
const REASON_MAX_CHARS: usize = 2_000;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Number of the event it tells of.
    pub(crate) number: u64,
    /// Its id: that of the event, so that a receiver knows a message that is told again.
    pub(crate) id: String,
    /// What it tells of.
    pub(crate) kind: MessageKind,
    /// The JSON document.
    pub(crate) body: String,
}

/// What a message tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// The deployment was accepted.
    Queued,
    /// A worker began.
    Started,
    /// It is in service.
    Succeeded,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// A newer one overtook it.
    Superseded,
    /// Less serves than should.
    Degraded,
    /// As much serves as should again.
    Recovered,
    /// It is out of service.
    Stopped,
}

impl MessageKind {
    /// Its word in types and routing keys.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Degraded => "degraded",
            Self::Recovered => "recovered",
            Self::Stopped => "stopped",
        }
    }

    /// The state of the deployment after the event.
    fn state(self) -> DeploymentState {
        match self {
            Self::Queued => DeploymentState::Queued,
            Self::Started => DeploymentState::Preparing,
            Self::Succeeded | Self::Recovered => DeploymentState::Active,
            Self::Failed => DeploymentState::Failed,
            Self::Cancelled | Self::Stopped => DeploymentState::Stopped,
            Self::Superseded => DeploymentState::Superseded,
            Self::Degraded => DeploymentState::Degraded,
        }
    }
}

/// What a job was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Deploy,
    Repair,
    Stop,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    deployment: DeploymentId,
    project: &'a str,
    environment: &'a str,
    target: &'a str,
    state: DeploymentState,
    reference: Option<&'a str>,
    revision: Option<&'a str>,
    merge_request: Option<u64>,
    url: Option<&'a str>,
    failure: Option<Told<'a>>,
    reason: Option<String>,
    succeeded_by: Option<DeploymentId>,
    job: JobOf<'a>,
    details: Option<String>,
}

/// A failure without the log: what a program printed is for those who may see the project.
#[derive(Serialize)]
struct Told<'a> {
    stage: Stage,
    code: &'a str,
    reason: String,
    hint: Option<String>,
}

#[derive(Serialize)]
struct JobOf<'a> {
    id: JobId,
    kind: &'a str,
}

/// The messages of the events that matter, oldest first.
pub(crate) fn messages(seen: &Seen<'_>) -> Vec<Message> {
    let recent = seen.events.iter().filter(|(_, event)| event.at >= seen.forgotten_before);
    recent.filter_map(|(number, event)| message(seen, *number, event)).collect()
}

fn message(seen: &Seen<'_>, number: u64, event: &Event) -> Option<Message> {
    let kind = kind_of(event, seen.deployment)?;
    let body = Body {
        r#type: format!("deployment.{}", kind.as_str()),
        timestamp: event.at,
        data: data(seen, event, kind),
    };
    let body = serde_json::to_string(&body).ok()?;
    Some(Message { number, id: event.id.to_string(), kind, body })
}

fn data<'a>(seen: &Seen<'a>, event: &'a Event, kind: MessageKind) -> Data<'a> {
    let deployment = seen.deployment;
    let trigger = deployment.trigger.as_ref();
    let pushed = trigger.map(|trigger| trigger.revision.as_str());
    let in_service = kind.state().in_service();
    Data {
        deployment: deployment.id,
        project: deployment.project.slug.as_str(),
        environment: deployment.environment.as_str(),
        target: deployment.target.as_str(),
        state: kind.state(),
        reference: trigger.map(|trigger| trigger.reference.as_str()),
        revision: pushed.or_else(|| deployment.facts.source.as_ref().map(|source| source.revision.as_str())),
        merge_request: trigger.and_then(|trigger| trigger.merge_request),
        url: app_url(deployment).filter(|_| in_service),
        failure: failure_of(event).map(told),
        reason: reason_of(event).map(|reason| cut(reason, REASON_MAX_CHARS)),
        succeeded_by: successor(event),
        job: JobOf { id: event.job, kind: deployment.job(event.job).map_or(REPAIR, |job| job.kind.as_str()) },
        details: page(seen),
    }
}

fn told(failure: &Failure) -> Told<'_> {
    Told {
        stage: failure.stage,
        code: &failure.code,
        reason: cut(&failure.reason, REASON_MAX_CHARS),
        hint: failure.hint.as_deref().map(|hint| cut(hint, REASON_MAX_CHARS)),
    }
}

fn failure_of(event: &Event) -> Option<&Failure> {
    if let EventKind::Failed { failure } = &event.kind { Some(failure) } else { None }
}

fn reason_of(event: &Event) -> Option<&str> {
    if let EventKind::Degraded { reason } = &event.kind { Some(reason) } else { None }
}

fn successor(event: &Event) -> Option<DeploymentId> {
    match &event.kind {
        EventKind::Superseded { by } | EventKind::Replaced { by } => Some(*by),
        EventKind::Accepted { .. }
        | EventKind::StageStarted { .. }
        | EventKind::StageProgress { .. }
        | EventKind::StageFinished { .. }
        | EventKind::StageWaiting { .. }
        | EventKind::Succeeded
        | EventKind::Failed { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::Cancelled
        | EventKind::Degraded { .. }
        | EventKind::Recovered => None,
    }
}

/// What an event is told as, if it is. What a job that stops or repairs does not achieve is told as what is left behind:
/// a deployment that does not serve as it should.
fn kind_of(event: &Event, deployment: &Deployment) -> Option<MessageKind> {
    let purpose = purpose(event, deployment);
    match (&event.kind, purpose) {
        (EventKind::Accepted { message }, _) => match message.kind {
            JobKind::Deploy { .. } => Some(MessageKind::Queued),
            JobKind::Repair { .. } | JobKind::Stop { .. } => None,
        },
        (EventKind::StageStarted { .. }, Purpose::Deploy) => {
            let began_with = deployment.job(event.job).and_then(|job| job.started_at);
            (began_with == Some(event.at)).then_some(MessageKind::Started)
        }
        (EventKind::Succeeded, Purpose::Deploy) => Some(MessageKind::Succeeded),
        (EventKind::Failed { .. }, Purpose::Deploy) => Some(MessageKind::Failed),
        (EventKind::Cancelled, Purpose::Deploy) => Some(MessageKind::Cancelled),
        (EventKind::Superseded { .. }, Purpose::Deploy) => Some(MessageKind::Superseded),
        (EventKind::Succeeded, Purpose::Stop) | (EventKind::Replaced { .. }, _) => Some(MessageKind::Stopped),
        (EventKind::Cancelled | EventKind::Superseded { .. }, Purpose::Stop)
        | (EventKind::Failed { .. }, Purpose::Repair | Purpose::Stop)
        | (EventKind::Degraded { .. }, _) => Some(MessageKind::Degraded),
        (EventKind::Recovered, _) => Some(MessageKind::Recovered),
        (EventKind::Succeeded | EventKind::Cancelled | EventKind::Superseded { .. }, Purpose::Repair)
        | (EventKind::StageStarted { .. }, Purpose::Repair | Purpose::Stop)
        | (
            EventKind::StageProgress { .. }
            | EventKind::StageFinished { .. }
            | EventKind::StageWaiting { .. }
            | EventKind::CancelRequested { .. },
            _,
        ) => None,
    }
}

/// Only repairs are ever forgotten by the deployment they were of.
fn purpose(event: &Event, deployment: &Deployment) -> Purpose {
    match deployment.job(event.job).map(|job| job.kind.as_str()) {
        Some(REPAIR) | None => Purpose::Repair,
        Some(STOP) => Purpose::Stop,
        Some(_) => Purpose::Deploy,
    }
}

#[cfg(test)]
mod tests;
