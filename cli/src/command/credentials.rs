//! `slipway credentials`

use std::io::Read as _;

use serde_json::Value;
use slipway_common::secrets::SecretText;

use super::CommandError;
use crate::args::CredentialsCommand;
use crate::client::Client;
use crate::client::types::CredentialView;
use crate::exit::Exit;
use crate::view::{self, table::Table, text};

/// Longest secret that is read from standard input.
const SECRET_MAX_BYTES: u64 = 64 * 1024;

/// The body of `PUT /credentials/{name}`.
#[derive(serde::Serialize)]
pub(super) struct CredentialRequest {
    pub(super) secret: SecretText,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
}

/// Stores, lists or deletes credentials.
///
/// # Errors
/// When a secret cannot be read, or the server cannot be reached or refuses.
pub(super) async fn run(
    client: &Client,
    command: CredentialsCommand,
    json: bool,
) -> Result<Exit, CommandError> {
    match command {
        CredentialsCommand::Set { name, from_env, username, host } => {
            let secret = read_secret(from_env.as_deref())?;
            client
                .put(&["credentials", name.as_str()], &CredentialRequest { secret, username, host })
                .await?;
            done(json, &format!("stored the credential {name}"));
        }
        CredentialsCommand::List => list(client, json).await?,
        CredentialsCommand::Delete { name } => {
            client.delete(&["credentials", name.as_str()]).await?;
            done(json, &format!("deleted the credential {name}"));
        }
    }
    Ok(Exit::Done)
}

/// Says what was done, as text only: there is no document to print.
pub(super) fn done(json: bool, words: &str) {
    if !json {
        view::line(words);
    }
}

async fn list(client: &Client, json: bool) -> Result<(), CommandError> {
    let answer: Value = client.get(&["credentials"], &[]).await?;
    if json {
        view::json(&answer);
        return Ok(());
    }
    let credentials: Vec<CredentialView> = super::items(client, answer)?;
    let now = jiff::Timestamp::now();
    let mut table = Table::new(&["NAME", "USER", "HOST", "STORED"]);
    for credential in credentials {
        table.row([
            credential.name,
            credential.username.unwrap_or_else(|| "-".to_owned()),
            credential.host.unwrap_or_else(|| "-".to_owned()),
            text::ago(credential.updated_at, now),
        ]);
    }
    table.print("");
    Ok(())
}

fn read_secret(variable: Option<&str>) -> Result<SecretText, CommandError> {
    let fail = |reason: String| CommandError::Secret { reason };
    let secret = match variable {
        Some(name) => std::env::var(name)
            .map_err(|_| fail(format!("the variable {name} is not set, or is not UTF-8")))?,
        None => {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(SECRET_MAX_BYTES + 1).read_to_string(&mut text);
            let length = read.map_err(|error| fail(error.to_string()))?;
            if u64::try_from(length).is_ok_and(|length| length > SECRET_MAX_BYTES) {
                return Err(fail(format!("it has more than {SECRET_MAX_BYTES} bytes")));
            }
            text
        }
    };
    // The line end that editors and `echo` leave is no part of a secret.
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(fail("it is empty".to_owned()));
    }
    Ok(SecretText::from(secret.to_owned()))
}
