//! Credentials and API tokens, as they are at rest: sealed and hashed.

use rusqlite::{Connection, OptionalExtension as _};

use super::codec::from_json;
use super::fault::Fault;
use crate::model::CredentialName;
use crate::record::{StoredCredential, StoredToken};

pub(super) fn credential(
    connection: &Connection,
    name: &CredentialName,
) -> Result<Option<StoredCredential>, Fault> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM credentials WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()?;
    body.map(|body| from_json("credential", &body)).transpose()
}

pub(super) fn credentials(connection: &Connection) -> Result<Vec<StoredCredential>, Fault> {
    let mut select = connection.prepare_cached("SELECT body FROM credentials ORDER BY name")?;
    let bodies = select.query_map([], |row| row.get::<_, String>(0))?;
    bodies.map(|body| from_json("credential", &body?)).collect()
}

pub(super) fn token(connection: &Connection, sha256: &str) -> Result<Option<StoredToken>, Fault> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM tokens WHERE sha256 = ?1")?
        .query_row([sha256], |row| row.get(0))
        .optional()?;
    body.map(|body| from_json("token", &body)).transpose()
}

pub(super) fn tokens(connection: &Connection) -> Result<Vec<StoredToken>, Fault> {
    let mut select = connection.prepare_cached("SELECT body FROM tokens ORDER BY name")?;
    let bodies = select.query_map([], |row| row.get::<_, String>(0))?;
    bodies.map(|body| from_json("token", &body?)).collect()
}
