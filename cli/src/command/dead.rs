//! `slipway dead`

use jiff::Timestamp;
use serde_json::{Value, json};

use super::credentials::done;
use super::deploy::{after_acceptance, new_key};
use super::{CommandError, resolve};
use crate::args::DeadCommand;
use crate::client::types::{DeadPage, DeadView};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::view::{self, table::Table, text};

/// Lists, shows, queues again or drops jobs that were set aside.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn run(client: &Client, command: DeadCommand, json: bool) -> Result<Exit, CommandError> {
    match command {
        DeadCommand::List { limit, cursor } => list(client, limit, cursor, json).await?,
        DeadCommand::Show { id } => show(client, &id, json).await?,
        DeadCommand::Requeue(args) => {
            let id = resolve::dead_job(client, &args.id).await?;
            let answer: Value = client.post(&["dead", &id, "requeue"], &json!({}), &new_key()).await?;
            return after_acceptance(client, answer, args.detach, json).await;
        }
        DeadCommand::Drop { id } => {
            let id = resolve::dead_job(client, &id).await?;
            client.delete(&["dead", &id]).await?;
            done(json, &format!("dropped the job {id}"));
        }
    }
    Ok(Exit::Done)
}

async fn list(client: &Client, limit: u32, cursor: Option<String>, json: bool) -> Result<(), CommandError> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    let answer: Value = client.get(&["dead"], &query).await?;
    if json {
        view::json(&answer);
        return Ok(());
    }
    let page: DeadPage = read(client, answer)?;
    let now = Timestamp::now();
    let mut table = Table::new(&["ID", "PROJECT", "ENVIRONMENT", "KIND", "SET ASIDE", "REASON"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for dead in page.data {
        table.row([
            text::short_id(&dead.id).to_owned(),
            or_dash(dead.project),
            or_dash(dead.environment),
            if dead.readable { or_dash(dead.kind) } else { "unreadable".to_owned() },
            text::ago(dead.at, now),
            dead.reason,
        ]);
    }
    table.print("");
    if let Some(cursor) = page.next_cursor {
        view::line(&format!("{} in all; go on with --cursor {cursor}", page.total));
    }
    Ok(())
}

async fn show(client: &Client, id: &str, json: bool) -> Result<(), CommandError> {
    let id = resolve::dead_job(client, id).await?;
    let answer: Value = client.get(&["dead", &id], &[]).await?;
    if json {
        view::json(&answer);
        return Ok(());
    }
    let dead: DeadView = read(client, answer)?;
    let mut table = Table::plain();
    let rows = [
        ("job", Some(dead.id)),
        ("deployment", dead.deployment),
        ("project", dead.project),
        ("environment", dead.environment),
        ("kind", dead.kind),
        ("user", dead.user),
        ("set aside", Some(format!("{} ({})", dead.at, text::ago(dead.at, Timestamp::now())))),
        ("reason", Some(dead.reason)),
        ("unreadable", dead.unreadable),
    ];
    for (name, value) in rows {
        table.row([name.to_owned(), value.unwrap_or_else(|| "-".to_owned())]);
    }
    table.print("");
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(client: &Client, answer: Value) -> Result<T, CommandError> {
    serde_json::from_value(answer).map_err(|error| {
        let server = client.server().clone();
        CommandError::Client(ClientError::Answer { server, reason: error.to_string() })
    })
}
