//! `slipway autoscaler watch`: an autoscaler's decisions and states as they come, over as many connections as it takes.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use slipway_common::model::autoscaler::Observed;
use tokio::time::Instant;

use super::replay::seen_since;
use super::{is_absent, path, read};
use crate::client::types::{AutoscalerDecisionView, AutoscalerStateView, AutoscalerView, ObservedView};
use crate::client::{Client, ClientError, EventStream};
use crate::command::{CommandError, resolve};
use crate::exit::Exit;
use crate::sse::Message;
use crate::view::autoscaler::live::Watching;

/// Longest time without a connection before the server counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(60);
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How far back a chart begins.
const BEFORE: SignedDuration = SignedDuration::from_mins(30);

/// Watches until the autoscaler is deleted or Ctrl-C.
///
/// # Errors
/// When there is no autoscaler, or the server is lost for good or refuses.
pub(super) async fn run(client: &Client, id: &str, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, id).await?;
    let document: Value = client.get(&path(&id), &[]).await?;
    let autoscaler: AutoscalerView = read(client, document)?;
    let before = if Watching::is_chart(json) { before(client, &id).await? } else { Vec::new() };
    let mut watched = Watched {
        id,
        cpu_target: autoscaler.settings.cpu_target,
        last_event_id: autoscaler.decisions.last().map(|decision| decision.number.to_string()),
        heard_at: Instant::now(),
        watching: Watching::start(json, &autoscaler, &before),
    };
    let outcome = tokio::select! {
        outcome = until_end(client, &mut watched) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    watched.watching.draw();
    outcome.map(|()| Exit::Done)
}

/// What is watched, and how far it was heard.
#[derive(Debug)]
struct Watched {
    id: String,
    cpu_target: f64,
    last_event_id: Option<String>,
    heard_at: Instant,
    watching: Watching,
}

async fn before(client: &Client, id: &str) -> Result<Vec<Observed>, CommandError> {
    let document = seen_since(client, id, Some(BEFORE)).await?;
    let kept: ObservedView = read(client, document)?;
    Ok(kept.observed)
}

async fn until_end(client: &Client, watched: &mut Watched) -> Result<(), CommandError> {
    loop {
        match one_connection(client, watched).await {
            Ok(true) => return Ok(()),
            // The server has ended the stream, e.g. because it stops.
            Ok(false) => {}
            // It was there before: it was deleted while nobody listened.
            Err(error) if is_absent(&error) => {
                watched.watching.deleted(&Value::Null);
                return Ok(());
            }
            Err(error @ ClientError::Unreachable { .. }) if watched.heard_at.elapsed() > LOST_AFTER => {
                return Err(error.into());
            }
            Err(ClientError::Unreachable { .. }) => watched.watching.reconnecting(),
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

/// Shows what one connection brings; says whether the autoscaler is no more.
async fn one_connection(client: &Client, watched: &mut Watched) -> Result<bool, ClientError> {
    let path = ["deployments", &watched.id, "autoscaler", "events"];
    let mut events = client.events(&path, &[], watched.last_event_id.as_deref()).await?;
    watched.heard_at = Instant::now();
    while let Some(message) = next(&mut events, &mut watched.watching).await? {
        watched.heard_at = Instant::now();
        if message.id.is_some() {
            watched.last_event_id.clone_from(&message.id);
        }
        if watched.take(&message) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The next message; meanwhile, what waits to be drawn is drawn in its time.
async fn next(events: &mut EventStream, watching: &mut Watching) -> Result<Option<Message>, ClientError> {
    if let Some(due) = watching.due() {
        match tokio::time::timeout_at(due, events.next()).await {
            Ok(message) => return message,
            Err(_) => watching.draw(),
        }
    }
    events.next().await
}

impl Watched {
    /// Shows a message; says whether it was the last. What is not understood is passed over.
    fn take(&mut self, message: &Message) -> bool {
        let Ok(document) = serde_json::from_str::<Value>(&message.data) else { return false };
        match message.event.as_str() {
            "decision" => {
                if let Ok(decision) = serde_json::from_value::<AutoscalerDecisionView>(document.clone()) {
                    self.watching.decision(&decision, &document);
                }
            }
            "state" => {
                if let Ok(state) = serde_json::from_value::<AutoscalerStateView>(document.clone()) {
                    self.cpu_target = state.terms.map_or(self.cpu_target, |terms| terms.cpu_target);
                    self.watching.state(&state, self.cpu_target, &document);
                }
            }
            "end" => {
                self.watching.deleted(&document);
                return true;
            }
            // A newer server may say more.
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{self, Answer, header};

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const THERE: &str = r#"{"updated_at":"2026-01-01T00:00:00Z","settings":{"cpu_target":0.6,"replicas_max":9},
        "decisions":[{"number":4,"at":"2026-01-01T00:00:00Z","replicas":2}]}"#;
    const DECIDED: &str = "id: 5\nevent: decision\ndata: {\"number\":5,\"at\":\"2026-01-01T00:00:05Z\",\"replicas\":2}\n\n\
        event: state\ndata: {\"at\":\"2026-01-01T00:00:05Z\",\"replicas\":2,\"ready\":2}\n\nevent: mood\ndata: {}\n\n";
    const END: &str = "event: end\ndata: {\"reason\":\"deleted\"}\n\n";

    async fn watch(script: Vec<Answer>) -> (Result<Exit, CommandError>, Vec<String>) {
        let (client, heads) = fake::client(script).await;
        let outcome = run(&client, ID, true).await;
        let heads = heads.lock().unwrap().clone();
        (outcome, heads)
    }

    #[tokio::test]
    async fn a_cut_stream_goes_on_after_the_last_decision() {
        let (outcome, heads) = watch(vec![
            Answer::Json(200, THERE),
            Answer::Events { text: DECIDED, cut: true },
            Answer::Cut,
            Answer::Events { text: END, cut: false },
        ])
        .await;
        assert_eq!(outcome.unwrap(), Exit::Done);
        assert_eq!(header(&heads[1], "last-event-id").as_deref(), Some("4"));
        assert_eq!(header(&heads[3], "last-event-id").as_deref(), Some("5"));
    }

    #[tokio::test]
    async fn a_deployment_without_an_autoscaler_cannot_be_watched() {
        let absent = r#"{"title":"Not Found","code":"autoscaler_absent","detail":"none"}"#;
        let (outcome, heads) = watch(vec![Answer::Json(404, absent)]).await;
        assert!(matches!(outcome, Err(CommandError::Client(ClientError::Refused(_)))));
        assert_eq!(heads.len(), 1);
    }

    #[tokio::test]
    async fn an_autoscaler_that_is_deleted_while_nobody_listens_ends_the_watch() {
        let absent = r#"{"title":"Not Found","code":"autoscaler_absent","detail":"none"}"#;
        let (outcome, _) = watch(vec![
            Answer::Json(200, THERE),
            Answer::Events { text: DECIDED, cut: false },
            Answer::Json(404, absent),
        ])
        .await;
        assert_eq!(outcome.unwrap(), Exit::Done);
    }
}
