//! `slipway stop`, `cancel`, `retry`, `repair` and `rollback`: a new job for a deployment that exists.

use serde_json::{Value, json};

use super::deploy::{after_acceptance, new_key};
use super::{CommandError, resolve};
use crate::args::{ActArgs, RollbackArgs};
use crate::client::Client;
use crate::exit::Exit;

/// Takes a deployment out of service.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn stop(client: &Client, args: &ActArgs, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let answer: Value = client.delete_answered(&["deployments", &id]).await?;
    after_acceptance(client, answer, args.detach, json).await
}

/// Cancels what it is doing. Watching a cancellation ends well when it is cancelled.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn cancel(client: &Client, args: &ActArgs, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let answer = post(client, &id, "cancel", &json!({})).await?;
    match after_acceptance(client, answer, args.detach, json).await? {
        Exit::Overtaken => Ok(Exit::Done),
        exit @ (Exit::Done | Exit::Failed | Exit::Usage | Exit::Unreachable | Exit::Interrupted) => Ok(exit),
    }
}

/// Tries it again.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn retry(client: &Client, args: &ActArgs, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let answer = post(client, &id, "retry", &json!({})).await?;
    after_acceptance(client, answer, args.detach, json).await
}

/// Undoes what others have changed or deleted of it.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn repair(client: &Client, args: &ActArgs, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let answer = post(client, &id, "repair", &json!({})).await?;
    after_acceptance(client, answer, args.detach, json).await
}

/// Goes back to an earlier deployment's image.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn rollback(client: &Client, args: &RollbackArgs, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let body = match &args.to {
        Some(to) => json!({ "to": resolve::deployment(client, to).await? }),
        None => json!({}),
    };
    let answer = post(client, &id, "rollback", &body).await?;
    after_acceptance(client, answer, args.detach, json).await
}

async fn post(client: &Client, id: &str, verb: &str, body: &Value) -> Result<Value, CommandError> {
    Ok(client.post(&["deployments", id, verb], body, &new_key()).await?)
}
