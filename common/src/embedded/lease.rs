//! Leases: one row per key for ever, so that fencing tokens never go back. A token is never below the time it was
//! given out at either: what a target remembers of a database that is gone is older than a fresh database's tokens.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::codec::{signed, unsigned};
use super::fault::Fault;
use crate::store::Lease;

/// Takes the lease until `expires` if it is free, expired at `now` or `holder`'s own.
pub(super) fn acquire(
    connection: &Connection,
    key: &str,
    holder: &str,
    expires: i64,
    now: i64,
) -> Result<Option<Lease>, Fault> {
    let fence: Option<i64> = connection
        .prepare_cached(
            "INSERT INTO leases (key, holder, fence, expires) VALUES (?1, ?2, max(1, ?4), ?3)
             ON CONFLICT (key) DO UPDATE SET holder = ?2, fence = max(fence + 1, ?4), expires = ?3
                 WHERE holder IS NULL OR holder = ?2 OR expires <= ?4
             RETURNING fence",
        )?
        .query_row(params![key, holder, expires, now], |row| row.get(0))
        .optional()?;
    Ok(fence.map(|fence| Lease { key: key.to_owned(), holder: holder.to_owned(), fence: unsigned(fence) }))
}

/// Extends the lease to `expires`; `false` when it was lost.
pub(super) fn renew(connection: &Connection, lease: &Lease, expires: i64, now: i64) -> Result<bool, Fault> {
    let renewed = connection
        .prepare_cached(
            "UPDATE leases SET expires = ?4 WHERE key = ?1 AND holder = ?2 AND fence = ?3 AND expires > ?5",
        )?
        .execute(params![lease.key, lease.holder, signed(lease.fence), expires, now])?;
    Ok(renewed > 0)
}

/// Frees the lease, if it is still held.
pub(super) fn release(connection: &Connection, lease: &Lease) -> Result<(), Fault> {
    connection
        .prepare_cached("UPDATE leases SET holder = NULL WHERE key = ?1 AND holder = ?2 AND fence = ?3")?
        .execute(params![lease.key, lease.holder, signed(lease.fence)])?;
    Ok(())
}

/// Frees every lease.
pub(super) fn release_all(connection: &Connection) -> Result<(), Fault> {
    connection.execute("UPDATE leases SET holder = NULL WHERE holder IS NOT NULL", [])?;
    Ok(())
}
