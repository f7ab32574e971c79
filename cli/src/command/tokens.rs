//! `slipway tokens`

use std::path::Path;

use serde_json::{Value, json};
use slipway_common::secrets::write_private;

use super::credentials::done;
use super::{CommandError, deploy};
use crate::args::TokensCommand;
use crate::client::types::TokenView;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::view::{self, table::Table, text};

/// Creates, lists or revokes tokens.
///
/// # Errors
/// When the server cannot be reached or refuses, or a file cannot be written.
pub(super) async fn run(client: &Client, command: TokensCommand, json: bool) -> Result<Exit, CommandError> {
    match command {
        TokensCommand::Create { name, output } => create(client, &name, output.as_deref(), json).await?,
        TokensCommand::List => list(client, json).await?,
        TokensCommand::Revoke { name } => {
            client.delete(&["tokens", &name]).await?;
            done(json, &format!("revoked the token {name}"));
        }
    }
    Ok(Exit::Done)
}

async fn create(client: &Client, name: &str, output: Option<&Path>, json: bool) -> Result<(), CommandError> {
    let answer: Value = client.post(&["tokens"], &json!({ "name": name }), &deploy::new_key()).await?;
    let token = answer["token"].as_str().ok_or_else(|| ClientError::Answer {
        server: client.server().clone(),
        reason: "a new token without its value".to_owned(),
    })?;
    match output {
        Some(path) => {
            write_private(path, format!("{token}\n").as_bytes())
                .map_err(|source| CommandError::Write { path: path.to_owned(), source })?;
            done(json, &format!("wrote the token {name} to {}", path.display()));
        }
        None if json => view::json(&answer),
        None => {
            view::line(token);
            eprintln!("This is the token {name}. It is not shown again.");
        }
    }
    Ok(())
}

async fn list(client: &Client, json: bool) -> Result<(), CommandError> {
    let answer: Value = client.get(&["tokens"], &[]).await?;
    if json {
        view::json(&answer);
        return Ok(());
    }
    let tokens: Vec<TokenView> = super::items(client, answer)?;
    let now = jiff::Timestamp::now();
    let mut table = Table::new(&["NAME", "CREATED"]);
    for token in tokens {
        table.row([token.name, text::ago(token.created_at, now)]);
    }
    table.print("");
    Ok(())
}
