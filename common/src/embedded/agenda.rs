//! The agenda: one row per entry, and a wait that knows when the next one is due.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Shared;
use super::codec::{after, micros, signed, unsigned};
use super::fault::Fault;
use crate::agenda::{Agenda, Due, List, Next};
use crate::model::ProjectSlug;
use crate::store::StoreError;

/// Notes what `$source` selects: list, key and time. A claimed entry remembers that it was noted.
macro_rules! noting {
    ($source:literal) => {
        concat!(
            "INSERT INTO agenda (list, key, due) ",
            $source,
            " ON CONFLICT (list, key) DO UPDATE SET
                 noted = CASE WHEN claimed = 1 THEN min(COALESCE(noted, excluded.due), excluded.due) END,
                 due = CASE WHEN claimed = 1 THEN due ELSE min(COALESCE(due, excluded.due), excluded.due) END,
                 expires = NULL"
        )
    };
}

/// An entry that is due, as it is laid down: key, time, memo.
type DueRow = (String, i64, Option<String>);

#[async_trait]
impl Agenda for Shared {
    async fn note(&self, list: List, keys: &[String], at: Timestamp) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let (keys, at) = (keys.to_vec(), micros(at));
        let noted = self.write_and_hint(
            move |connection| {
                let mut insert = connection.prepare_cached(noting!("VALUES (?1, ?2, ?3)"))?;
                for key in &keys {
                    insert.execute(params![list.as_str(), key, at])?;
                }
                Ok(())
            },
            move |hints| hints.agenda_due(list),
        );
        Ok(noted.await?)
    }

    async fn claim(
        &self,
        list: List,
        limit: usize,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<Due>, StoreError> {
        let (expires, now) = (micros(after(now, ttl)), micros(now));
        Ok(self.write(move |connection| claim(connection, list, limit, expires, now)).await?)
    }

    async fn renew(&self, list: List, due: &Due, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        let (key, token, expires) = (due.key.clone(), signed(due.token), micros(after(now, ttl)));
        Ok(self.write(move |connection| renew(connection, list, &key, token, expires)).await?)
    }

    async fn settle(
        &self,
        list: List,
        due: &Due,
        next: Next,
        memo: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (key, token, memo) = (due.key.clone(), signed(due.token), memo.map(str::to_owned));
        let settled = self.write_and_hint(
            move |connection| {
                let Some(claimed) = claimed(connection, list, &key, token)? else { return Ok(false) };
                leave(connection, list, &key, outcome(claimed.noted, next, memo.as_deref(), now))?;
                Ok(true)
            },
            // Whoever waits must reckon with the new time.
            move |hints| hints.agenda_due(list),
        );
        Ok(settled.await?)
    }

    async fn memo(&self, list: List, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        Ok(self.read(move |connection| memo(connection, list, &key)).await?)
    }

    async fn wait(&self, list: List, longest: Duration) {
        // Listening begins before looking, so that what happens in between is heard.
        let told = self.hints.next_due(list);
        tokio::pin!(told);
        told.as_mut().enable();
        let pause = match self.read(move |connection| next_due(connection, list)).await {
            Ok(Some(at)) => {
                let left = at.saturating_sub(micros(Timestamp::now()));
                longest.min(Duration::from_micros(unsigned(left)))
            }
            Ok(None) => longest,
            Err(fault) => {
                tracing::warn!(error = %fault, "the next entry of an agenda could not be read");
                longest
            }
        };
        // Either way the caller looks for itself.
        drop(tokio::time::timeout(pause, told).await);
    }

    async fn depth(&self, list: List, now: Timestamp) -> Result<(u64, u64), StoreError> {
        let now = micros(now);
        Ok(self.read(move |connection| depth(connection, list, now)).await?)
    }
}

/// Notes a project, if it is registered.
pub(super) fn note_project(connection: &Connection, slug: &ProjectSlug, at: Timestamp) -> Result<(), Fault> {
    connection
        .prepare_cached(noting!("SELECT ?1, slug, ?3 FROM projects WHERE slug = ?2"))?
        .execute(params![List::Sweeps.as_str(), slug.as_str(), micros(at)])?;
    Ok(())
}

/// Notes every registered project.
pub(super) fn note_projects(connection: &Connection, at: Timestamp) -> Result<(), Fault> {
    connection
        .prepare_cached(noting!("SELECT ?1, slug, ?2 FROM projects WHERE true"))?
        .execute(params![List::Sweeps.as_str(), micros(at)])?;
    Ok(())
}

/// Voids every claim: its entry is due.
pub(super) fn release_all(connection: &Connection, now: Timestamp) -> Result<(), Fault> {
    connection.execute(
        "UPDATE agenda SET claimed = 0, noted = NULL, due = min(due, ?1) WHERE claimed = 1",
        [micros(now)],
    )?;
    Ok(())
}

/// Forgets at most `limit` entries whose memos have been kept long enough; answers how many.
pub(super) fn prune(connection: &Connection, now: Timestamp, limit: usize) -> Result<usize, Fault> {
    let pruned = connection
        .prepare_cached(
            "DELETE FROM agenda WHERE (list, key) IN (
                 SELECT list, key FROM agenda WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![micros(now), signed(limit)])?;
    Ok(pruned)
}

fn claim(
    connection: &Connection,
    list: List,
    limit: usize,
    expires: i64,
    now: i64,
) -> Result<Vec<Due>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT key, due, memo FROM agenda WHERE list = ?1 AND due <= ?2 ORDER BY due, key LIMIT ?3",
    )?;
    let rows = select.query_map(params![list.as_str(), now, signed(limit)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let rows: Vec<DueRow> = rows.collect::<rusqlite::Result<_>>()?;
    rows.into_iter().map(|row| take(connection, list, row, expires, now)).collect()
}

/// Claims one entry under the next token. What was noted before now is looked at with it.
fn take(
    connection: &Connection,
    list: List,
    (key, due, memo): DueRow,
    expires: i64,
    now: i64,
) -> Result<Due, Fault> {
    let token: i64 = connection
        .prepare_cached("UPDATE agenda_tokens SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))?;
    connection
        .prepare_cached(
            "UPDATE agenda SET claimed = 1, token = ?3, due = ?4,
                    noted = CASE WHEN noted > ?5 THEN noted END
             WHERE list = ?1 AND key = ?2",
        )?
        .execute(params![list.as_str(), key, token, expires, now])?;
    Ok(Due { key, token: unsigned(token), due_at: time(due), memo })
}

/// Extends a claim; `false` when the entry is not claimed under this token.
fn renew(connection: &Connection, list: List, key: &str, token: i64, expires: i64) -> Result<bool, Fault> {
    let renewed = connection
        .prepare_cached(
            "UPDATE agenda SET due = ?4 WHERE list = ?1 AND key = ?2 AND token = ?3 AND claimed = 1",
        )?
        .execute(params![list.as_str(), key, token, expires])?;
    Ok(renewed > 0)
}

fn time(micros: i64) -> Timestamp {
    let end = if micros < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(micros).unwrap_or(end)
}

/// An entry that is claimed.
struct Claimed {
    /// From when on it was noted since.
    noted: Option<i64>,
}

/// The entry, if it is claimed under this token.
fn claimed(connection: &Connection, list: List, key: &str, token: i64) -> Result<Option<Claimed>, Fault> {
    let claimed = connection
        .prepare_cached(
            "SELECT noted FROM agenda WHERE list = ?1 AND key = ?2 AND token = ?3 AND claimed = 1",
        )?
        .query_row(params![list.as_str(), key, token], |row| Ok(Claimed { noted: row.get(0)? }))
        .optional()?;
    Ok(claimed)
}

/// What a settled entry is left as.
#[derive(Debug, PartialEq, Eq)]
struct Outcome<'a> {
    due: Option<i64>,
    expires: Option<i64>,
    memo: Option<&'a str>,
}

/// What was noted meanwhile comes first; `None` when the entry is forgotten.
fn outcome(noted: Option<i64>, next: Next, memo: Option<&str>, now: Timestamp) -> Option<Outcome<'_>> {
    match (next, noted) {
        (Next::At(at), noted) => {
            let at = micros(at);
            Some(Outcome { due: Some(noted.map_or(at, |noted| noted.min(at))), expires: None, memo })
        }
        (Next::Rest(keep), None) => {
            Some(Outcome { due: None, expires: Some(micros(after(now, keep))), memo })
        }
        (Next::Rest(_), Some(noted)) => Some(Outcome { due: Some(noted), expires: None, memo }),
        (Next::Gone, None) => None,
        (Next::Gone, Some(noted)) => Some(Outcome { due: Some(noted), expires: None, memo: None }),
    }
}

fn leave(connection: &Connection, list: List, key: &str, outcome: Option<Outcome<'_>>) -> Result<(), Fault> {
    let Some(Outcome { due, expires, memo }) = outcome else {
        connection
            .prepare_cached("DELETE FROM agenda WHERE list = ?1 AND key = ?2")?
            .execute([list.as_str(), key])?;
        return Ok(());
    };
    connection
        .prepare_cached(
            "UPDATE agenda SET claimed = 0, noted = NULL, due = ?3, expires = ?4, memo = ?5
             WHERE list = ?1 AND key = ?2",
        )?
        .execute(params![list.as_str(), key, due, expires, memo])?;
    Ok(())
}

fn memo(connection: &Connection, list: List, key: &str) -> Result<Option<String>, Fault> {
    let memo = connection
        .prepare_cached("SELECT memo FROM agenda WHERE list = ?1 AND key = ?2 AND memo IS NOT NULL")?
        .query_row([list.as_str(), key], |row| row.get(0))
        .optional()?;
    Ok(memo)
}

fn next_due(connection: &Connection, list: List) -> Result<Option<i64>, Fault> {
    let next = connection
        .prepare_cached("SELECT MIN(due) FROM agenda WHERE list = ?1 AND due IS NOT NULL")?
        .query_row([list.as_str()], |row| row.get(0))?;
    Ok(next)
}

/// How many are due, those whose claims are over among them, and how many wait.
fn depth(connection: &Connection, list: List, now: i64) -> Result<(u64, u64), Fault> {
    let (due, waiting): (i64, i64) = connection
        .prepare_cached(
            "SELECT COUNT(*) FILTER (WHERE due <= ?2), COUNT(*) FILTER (WHERE due > ?2 AND claimed = 0)
             FROM agenda WHERE list = ?1 AND due IS NOT NULL",
        )?
        .query_row(params![list.as_str(), now], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((unsigned(due), unsigned(waiting)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_meanwhile_comes_first() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |micros| Next::At(Timestamp::from_microsecond(micros).unwrap());
        let due = |outcome: Option<Outcome<'_>>| outcome.and_then(|outcome| outcome.due);
        assert_eq!(due(outcome(None, at(9), None, now)), Some(9));
        assert_eq!(due(outcome(Some(5), at(9), None, now)), Some(5));
        assert_eq!(due(outcome(Some(12), at(9), None, now)), Some(9));
        let rest = Next::Rest(Duration::from_micros(7));
        let resting = Outcome { due: None, expires: Some(7), memo: Some("m") };
        assert_eq!(outcome(None, rest, Some("m"), now), Some(resting));
        let awake = Outcome { due: Some(5), expires: None, memo: Some("m") };
        assert_eq!(outcome(Some(5), rest, Some("m"), now), Some(awake));
        assert_eq!(outcome(None, Next::Gone, Some("m"), now), None);
        let anew = Outcome { due: Some(5), expires: None, memo: None };
        assert_eq!(outcome(Some(5), Next::Gone, Some("m"), now), Some(anew));
    }
}
