//! `slipway admin`

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::CommandError;
use super::deploy::new_key;
use crate::args::AdminCommand;
use crate::client::types::RebuildView;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::view;

/// Pause between two looks at a rebuild.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for a rebuild; it goes on without the client.
const REBUILD_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Status of an answer that the store or another part is in the way of.
const UNAVAILABLE: u16 = 503;

/// Does what an operator asks for.
///
/// # Errors
/// When the server cannot be reached or refuses, or it does not succeed.
pub(super) async fn run(client: &Client, command: &AdminCommand, json: bool) -> Result<Exit, CommandError> {
    match command {
        AdminCommand::RebuildStore => rebuild(client, json).await,
    }
}

async fn rebuild(client: &Client, json: bool) -> Result<Exit, CommandError> {
    let give_up = Instant::now() + REBUILD_TIMEOUT;
    let mut answer: Value = client.post(&["admin", "rebuild-store"], &json!({}), &new_key()).await?;
    loop {
        let course: RebuildView = serde_json::from_value(answer.clone()).map_err(|error| {
            let server = client.server().clone();
            ClientError::Answer { server, reason: error.to_string() }
        })?;
        match (course.status.as_str(), course.reason) {
            (_, Some(reason)) => return Err(CommandError::Rebuild { reason }),
            ("running", None) => answer = next_look(client, give_up).await?,
            (_, None) => {
                // Another process of the same installation may have answered: the store is full, and that is all it knows.
                let records = course.records.map(|records| format!(" from {records} records"));
                if json {
                    view::json(&answer);
                } else {
                    view::line(&format!("rebuilt the store{}", records.unwrap_or_default()));
                }
                return Ok(Exit::Done);
            }
        }
    }
}

/// Asks until there is an answer: the token is looked up in the store, so there is none before the store is full.
async fn next_look(client: &Client, give_up: Instant) -> Result<Value, CommandError> {
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        match client.get(&["admin", "rebuild-store"], &[]).await {
            Err(ClientError::Refused(problem))
                if problem.status == UNAVAILABLE && Instant::now() < give_up => {}
            Ok(answer) if Instant::now() < give_up => return Ok(answer),
            Ok(_) => {
                let reason = format!("it still goes on after {} s", REBUILD_TIMEOUT.as_secs());
                return Err(CommandError::Rebuild { reason });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{Answer, client};

    #[tokio::test]
    async fn a_rebuild_is_watched_to_its_end() {
        let script = vec![
            Answer::Json(202, r#"{"status":"running"}"#),
            Answer::Json(503, r#"{"status":503,"code":"store_unavailable","detail":"x"}"#),
            Answer::Json(200, r#"{"status":"running"}"#),
            Answer::Json(200, r#"{"status":"done","records":7}"#),
        ];
        let (client, heads) = client(script).await;
        assert_eq!(rebuild(&client, false).await.unwrap(), Exit::Done);
        assert_eq!(heads.lock().unwrap().len(), 4);
    }

    #[tokio::test]
    async fn a_rebuild_that_fails_is_an_error() {
        let script = vec![
            Answer::Json(202, r#"{"status":"running"}"#),
            Answer::Json(200, r#"{"status":"failed","reason":"no ledger"}"#),
        ];
        let (client, _) = client(script).await;
        let error = rebuild(&client, false).await.unwrap_err();
        assert!(error.to_string().contains("no ledger"), "{error}");
    }
}
