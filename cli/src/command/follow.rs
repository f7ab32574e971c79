//! Watching a deployment: its events as they happen, over as many connections as it takes, until its job has ended.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Value, json};
use slipway_common::model::JobState;
use tokio::time::Instant;

use super::CommandError;
use crate::client::types::{DeploymentView, EventData};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::sse::Message;
use crate::view;
use crate::view::progress::Progress;

/// Longest time without a connection before the server counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(60);
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// What is watched.
#[derive(Debug)]
pub(super) struct Watched {
    /// The deployment.
    pub(super) deployment: String,
    /// The job whose end is waited for.
    pub(super) job: String,
}

/// How the job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Succeeded,
    Failed,
    Overtaken,
}

impl Outcome {
    fn of(state: &JobState) -> Option<Self> {
        match state {
            JobState::Queued | JobState::Running { .. } | JobState::Waiting { .. } => None,
            JobState::Succeeded => Some(Self::Succeeded),
            JobState::Failed { .. } => Some(Self::Failed),
            JobState::Cancelled | JobState::Superseded { .. } => Some(Self::Overtaken),
        }
    }

    fn of_event(name: &str) -> Option<Self> {
        match name {
            "succeeded" => Some(Self::Succeeded),
            "failed" => Some(Self::Failed),
            "cancelled" | "superseded" => Some(Self::Overtaken),
            // Every other event is a step on the way.
            _ => None,
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Succeeded => Exit::Done,
            Self::Failed => Exit::Failed,
            Self::Overtaken => Exit::Overtaken,
        }
    }
}

/// Watches until the job has ended, and shows how the deployment stands then.
///
/// # Errors
/// When the server is lost for good or refuses.
pub(super) async fn run(client: &Client, watched: &Watched, json: bool) -> Result<Exit, CommandError> {
    let mut progress = Progress::start(json, &watched.deployment);
    let outcome = until_end(client, watched, &mut progress).await;
    progress.end();
    let outcome = outcome?;
    let document: Value = client.get(&["deployments", &watched.deployment], &[]).await?;
    if json {
        view::json_line(&json!({ "event": "outcome", "deployment": document }));
    } else {
        view::deployment::print_outcome(&read(client, document)?);
    }
    Ok(outcome.exit())
}

async fn until_end(
    client: &Client,
    watched: &Watched,
    progress: &mut Progress,
) -> Result<Outcome, CommandError> {
    let mut last_event_id: Option<String> = None;
    let mut heard_at = Instant::now();
    loop {
        match one_connection(client, watched, progress, &mut last_event_id, &mut heard_at).await {
            Ok(Some(outcome)) => return Ok(outcome),
            // The server ended the stream: perhaps there is nothing more to say.
            Ok(None) => {
                if let Some(outcome) = ended(client, watched).await? {
                    return Ok(outcome);
                }
            }
            Err(error @ ClientError::Unreachable { .. }) if heard_at.elapsed() > LOST_AFTER => {
                return Err(error.into());
            }
            Err(ClientError::Unreachable { .. }) => progress.reconnecting(),
            Err(
                error @ (ClientError::Setup(_)
                | ClientError::Token(_)
                | ClientError::Server { .. }
                | ClientError::Refused(_)
                | ClientError::Answer { .. }),
            ) => return Err(error.into()),
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn one_connection(
    client: &Client,
    watched: &Watched,
    progress: &mut Progress,
    last_event_id: &mut Option<String>,
    heard_at: &mut Instant,
) -> Result<Option<Outcome>, ClientError> {
    let path = ["deployments", &watched.deployment, "events"];
    let mut events = client.events(&path, &[], last_event_id.as_deref()).await?;
    *heard_at = Instant::now();
    while let Some(message) = events.next().await? {
        *heard_at = Instant::now();
        if message.id.is_some() {
            last_event_id.clone_from(&message.id);
        }
        if let Some(outcome) = take(&message, watched, progress) {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

/// Shows one event; answers how the watched job ended if this is its end.
fn take(message: &Message, watched: &Watched, progress: &mut Progress) -> Option<Outcome> {
    let document: Value = serde_json::from_str(&message.data).ok()?;
    let event: EventData = serde_json::from_value(document.clone()).ok()?;
    if event.job != watched.job {
        return None;
    }
    progress.event(&message.event, &event, &document);
    Outcome::of_event(&message.event)
}

async fn ended(client: &Client, watched: &Watched) -> Result<Option<Outcome>, CommandError> {
    let document: Value = client.get(&["deployments", &watched.deployment], &[]).await?;
    let deployment = read(client, document)?;
    let job = deployment.jobs.iter().find(|job| job.id == watched.job);
    Ok(job.and_then(|job| Outcome::of(&job.state)))
}

fn read(client: &Client, document: Value) -> Result<DeploymentView, CommandError> {
    serde_json::from_value(document).map_err(|error| {
        let server = client.server().clone();
        CommandError::Client(ClientError::Answer { server, reason: error.to_string() })
    })
}
