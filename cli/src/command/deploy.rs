//! `slipway deploy`

use serde_json::Value;

use super::{CommandError, follow};
use crate::args::DeployArgs;
use crate::client::types::Accepted;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::{request, view};

/// Sends the request, and watches the deployment unless told not to.
///
/// # Errors
/// When no request can be made, or the server cannot be reached or refuses it.
pub(super) async fn run(client: &Client, args: &DeployArgs, json: bool) -> Result<Exit, CommandError> {
    let body = request::build(args, |name| std::env::var(name).ok()).map_err(CommandError::Request)?;
    let key = args.idempotency_key.clone().unwrap_or_else(new_key);
    let answer: Value = client.post(&["deployments"], &body, &key).await?;
    after_acceptance(client, answer, args.detach, json).await
}

/// A key no other request has.
pub(super) fn new_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// What every command does once a job is accepted: say so, and watch it unless told not to.
///
/// # Errors
/// When the answer is not what this client understands, or the server is lost while watching.
pub(super) async fn after_acceptance(
    client: &Client,
    answer: Value,
    detach: bool,
    json: bool,
) -> Result<Exit, CommandError> {
    let accepted: Accepted = serde_json::from_value(answer.clone()).map_err(|error| ClientError::Answer {
        server: client.server().clone(),
        reason: error.to_string(),
    })?;
    match (accepted.job_id, json) {
        (Some(job), _) if !detach => {
            follow::run(client, &follow::Watched { deployment: accepted.id, job }, json).await
        }
        (_, true) => {
            view::json(&answer);
            Ok(Exit::Done)
        }
        // Without a job there was nothing to do.
        (None, false) => {
            view::line(&format!("deployment {} stays as it is", accepted.id));
            Ok(Exit::Done)
        }
        (Some(_), false) => {
            view::line(&format!("accepted: deployment {}", accepted.id));
            view::line(&format!("watch it with: slipway logs -f {}", view::text::short_id(&accepted.id)));
            Ok(Exit::Done)
        }
    }
}
