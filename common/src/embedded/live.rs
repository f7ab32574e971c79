//! Latest observations of what runs: one row per deployment.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::codec::{from_json, key};
use super::fault::Fault;
use crate::model::{DeploymentId, LiveState};

pub(super) fn put(connection: &Connection, deployment: DeploymentId, body: &str) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO live (deployment, body) VALUES (?1, ?2)")?
        .execute(params![key(deployment.as_uuid()), body])?;
    Ok(())
}

pub(super) fn get(connection: &Connection, deployment: DeploymentId) -> Result<Option<LiveState>, Fault> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM live WHERE deployment = ?1")?
        .query_row([key(deployment.as_uuid())], |row| row.get(0))
        .optional()?;
    body.map(|body| from_json("live state", &body)).transpose()
}
