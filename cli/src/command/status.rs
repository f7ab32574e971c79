//! `slipway status`

use serde_json::Value;

use super::{CommandError, resolve};
use crate::client::Client;
use crate::exit::Exit;
use crate::view;

/// Prints one deployment.
///
/// # Errors
/// When it is not known, or the server cannot be reached.
pub(super) async fn run(client: &Client, id: &str, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, id).await?;
    if json {
        let deployment: Value = client.get(&["deployments", &id], &[]).await?;
        view::json(&deployment);
    } else {
        view::deployment::print(&client.get(&["deployments", &id], &[]).await?, jiff::Timestamp::now());
    }
    Ok(Exit::Done)
}
