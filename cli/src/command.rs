//! The commands that ask a server: which module does what, and what all of them share.

mod act;
mod admin;
mod autoscaler;
pub(crate) mod completion;
mod credentials;
mod dead;
mod deploy;
mod follow;
mod list;
mod logs;
mod pods;
pub(crate) mod project;
pub(crate) mod resolve;
mod status;
mod tokens;

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;
use slipway_scaler::replay::TuneError;

use crate::args::{ClientCommand, ConnectionArgs};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::request::RequestError;

/// Why a command brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The server did not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The flags make no request.
    #[error("no request can be made of these flags")]
    Request(#[source] RequestError),
    /// A secret cannot be read.
    #[error("no secret can be read: {reason}")]
    Secret {
        /// Why.
        reason: String,
    },
    /// The flags make no settings of an autoscaler.
    #[error("no autoscaler can be set up like that: {reason}")]
    Settings {
        /// Why.
        reason: String,
    },
    /// No constants can be proposed.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// Part of an id that is too short to look for.
    #[error("`{part}` is too short; give at least {} characters of an id", resolve::PART_MIN_CHARS)]
    ShortId {
        /// What was given.
        part: String,
    },
    /// Nothing has such an id.
    #[error("no {what} has `{part}` in its id")]
    UnknownId {
        /// What was looked for.
        what: resolve::What,
        /// What was given.
        part: String,
    },
    /// More than one has.
    #[error("`{part}` is part of more than one id: {first} and {second}")]
    AmbiguousId {
        /// What was looked for.
        what: resolve::What,
        /// What was given.
        part: String,
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
    /// The store was not rebuilt.
    #[error("the store is not rebuilt: {reason}")]
    Rebuild {
        /// Why.
        reason: String,
    },
    /// The forge was not set up.
    #[error(transparent)]
    Forge(Box<project::SetupError>),
    /// A file cannot be read.
    #[error("the file {path} cannot be read", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("the file {path} cannot be written", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Runs one command.
///
/// # Errors
/// When it could not be carried out.
pub(crate) async fn run(
    command: ClientCommand,
    connection: &ConnectionArgs,
    json: bool,
) -> Result<Exit, CommandError> {
    let client = Client::new(connection)?;
    match command {
        ClientCommand::Deploy(args) => deploy::run(&client, &args, json).await,
        ClientCommand::List(args) => list::run(&client, &args, json).await,
        ClientCommand::Status { id } => status::run(&client, &id, json).await,
        ClientCommand::Logs(args) => logs::run(&client, &args, json).await,
        ClientCommand::Events(args) => pods::events(&client, &args, json).await,
        ClientCommand::Stop(args) => act::stop(&client, &args, json).await,
        ClientCommand::Cancel(args) => act::cancel(&client, &args, json).await,
        ClientCommand::Retry(args) => act::retry(&client, &args, json).await,
        ClientCommand::Repair(args) => act::repair(&client, &args, json).await,
        ClientCommand::Rollback(args) => act::rollback(&client, &args, json).await,
        ClientCommand::Project(command) => project::run(&client, command, json).await,
        ClientCommand::Autoscaler(command) => autoscaler::run(&client, command, json).await,
        ClientCommand::Credentials(args) => credentials::run(&client, args, json).await,
        ClientCommand::Tokens(args) => tokens::run(&client, args, json).await,
        ClientCommand::Dead(args) => dead::run(&client, args, json).await,
        ClientCommand::Admin(args) => admin::run(&client, &args, json).await,
    }
}

/// The entries of a list, read from its document.
fn items<T: DeserializeOwned>(client: &Client, mut document: Value) -> Result<Vec<T>, CommandError> {
    serde_json::from_value(document["data"].take()).map_err(|error| {
        let server = client.server().clone();
        CommandError::Client(ClientError::Answer { server, reason: error.to_string() })
    })
}
