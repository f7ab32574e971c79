//! Retention: what has been kept long enough goes, a bounded number per call.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::agenda;
use super::codec::{micros, signed, unsigned};
use super::fault::Fault;
use super::queue::FINISHED;

/// Most rows of one kind deleted by one call.
const PRUNE_MAX_ROWS: usize = 1_000;

/// What one call deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Finished jobs.
    pub jobs: u64,
    /// Reservations of idempotency keys.
    pub reservations: u64,
    /// Memos of what is to be looked at no more.
    pub memos: u64,
    /// Whether there may be more to delete.
    pub more: bool,
}

pub(super) fn prune(connection: &Connection, keep: Duration, now: Timestamp) -> Result<Pruned, Fault> {
    let limit = signed(PRUNE_MAX_ROWS);
    let finished_before = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
    let jobs = connection
        .prepare_cached(
            "DELETE FROM queue WHERE ordinal IN (
                 SELECT ordinal FROM queue WHERE state = ?1 AND at <= ?2 ORDER BY at LIMIT ?3)",
        )?
        .execute(params![FINISHED, micros(finished_before), limit])?;
    let reservations = connection
        .prepare_cached(
            "DELETE FROM reservations WHERE scope IN (
                 SELECT scope FROM reservations WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![micros(now), limit])?;
    let memos = agenda::prune(connection, now, PRUNE_MAX_ROWS)?;
    Ok(Pruned {
        jobs: unsigned(signed(jobs)),
        reservations: unsigned(signed(reservations)),
        memos: unsigned(signed(memos)),
        more: [jobs, reservations, memos].contains(&PRUNE_MAX_ROWS),
    })
}
