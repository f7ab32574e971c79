//! `slipway autoscaler`: what keeps a deployment at its size.

mod replay;
mod set;
mod watch;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{CommandError, resolve};
use crate::args::AutoscalerCommand;
use crate::client::types::AutoscalerView;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::view;

/// Code of the answer when there is none.
const ABSENT: &str = "autoscaler_absent";

/// Carries out one of its commands.
///
/// # Errors
/// When the server cannot be reached or refuses, or the flags make no settings.
pub(super) async fn run(
    client: &Client,
    command: AutoscalerCommand,
    json: bool,
) -> Result<Exit, CommandError> {
    match command {
        AutoscalerCommand::Get { id } => get(client, &id, json).await,
        AutoscalerCommand::Set(args) => set::run(client, &args, json).await,
        AutoscalerCommand::Off { id } => off(client, &id, json).await,
        AutoscalerCommand::Watch { id } => watch::run(client, &id, json).await,
        AutoscalerCommand::WhatIf(args) => replay::what_if(client, &args, json).await,
        AutoscalerCommand::Tune(args) => replay::tune(client, &args, json).await,
    }
}

async fn get(client: &Client, id: &str, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, id).await?;
    let document: Value = client.get(&path(&id), &[]).await?;
    if json {
        view::json(&document);
    } else {
        let autoscaler: AutoscalerView = read(client, document)?;
        view::autoscaler::print(&autoscaler, jiff::Timestamp::now());
    }
    Ok(Exit::Done)
}

async fn off(client: &Client, id: &str, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, id).await?;
    client.delete(&path(&id)).await?;
    if json {
        view::json(&json!({ "deployment": id, "autoscaler": null }));
    } else {
        view::line("the autoscaler is deleted; the number of replicas stays");
    }
    Ok(Exit::Done)
}

/// Where a deployment's autoscaler is.
fn path(id: &str) -> [&str; 3] {
    ["deployments", id, "autoscaler"]
}

/// Whether the server said that there is no autoscaler.
fn is_absent(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(problem) if problem.code == ABSENT)
}

/// What a document says.
fn read<T: DeserializeOwned>(client: &Client, document: Value) -> Result<T, ClientError> {
    serde_json::from_value(document)
        .map_err(|error| ClientError::Answer { server: client.server().clone(), reason: error.to_string() })
}
