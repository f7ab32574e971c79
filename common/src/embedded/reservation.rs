//! Reservations of idempotency keys: the first request under a key wins until the key expires.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::codec::{from_json, to_json};
use super::fault::Fault;
use crate::store::Reservation;

/// Binds the key to the request until `expires`, or answers what it is bound to already.
pub(super) fn reserve(
    connection: &Connection,
    wanted: &Reservation,
    expires: i64,
    now: i64,
) -> Result<Reservation, Fault> {
    let bound: Option<String> = connection
        .prepare_cached("SELECT body FROM reservations WHERE scope = ?1 AND expires > ?2")?
        .query_row(params![wanted.scope, now], |row| row.get(0))
        .optional()?;
    if let Some(body) = bound {
        return from_json("reservation", &body);
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO reservations (scope, expires, body) VALUES (?1, ?2, ?3)")?
        .execute(params![wanted.scope, expires, to_json("reservation", wanted)?])?;
    Ok(wanted.clone())
}
