//! Autoscalers: settings and wishes as the ledger has them, and beside them what scalers say.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Shared;
use super::codec::{after, from_json, micros, signed, to_json, unsigned};
use super::fault::Fault;
use crate::autoscaler::{Autoscalers, Entry, Mark};
use crate::model::autoscaler::{
    Autoscaler, AutoscalerState, DECISIONS_KEPT_MAX, DecisionEntry, Learned, OBSERVED_KEPT_MAX, Observed,
    Place, Wish,
};
use crate::store::StoreError;

/// Observations in one row at most, so that old ones can go.
const CHUNK_MAX: usize = 256;
/// The tables of what stands beside an autoscaler.
const BESIDE: [&str; 4] = [STATES, "autoscaler_decisions", "autoscaler_observed", LEARNED];
/// The two that have one row for each autoscaler, under a fencing token.
const STATES: &str = "autoscaler_states";
const LEARNED: &str = "autoscaler_learned";

/// A state, or what was learned, as it is laid down: where, fencing token, body.
type FencedRow = (Place, i64, String);

/// Observations as they are laid down.
#[derive(Debug)]
struct Chunk {
    count: i64,
    /// Time of the newest.
    newest: i64,
    body: String,
}

impl Chunk {
    fn of(observed: &[Observed]) -> Result<Self, Fault> {
        Ok(Self {
            count: signed(observed.len()),
            newest: observed.iter().map(|observed| micros(observed.at)).max().unwrap_or_default(),
            body: to_json("observation", &observed)?,
        })
    }
}

#[async_trait]
impl Autoscalers for Shared {
    async fn all_since(&self, known: Option<&Mark>) -> Result<Option<(Mark, Vec<Entry>)>, StoreError> {
        let known = known.cloned();
        Ok(self.read(move |connection| all_since(connection, known.as_ref())).await?)
    }

    async fn autoscaler(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let place = place.clone();
        Ok(self.read(move |connection| one(connection, &place)).await?)
    }

    async fn put_states(&self, states: &[(Place, AutoscalerState)]) -> Result<(), StoreError> {
        if states.is_empty() {
            return Ok(());
        }
        let row = |(place, state): &(Place, AutoscalerState)| {
            Ok((place.clone(), signed(state.fence), to_json("autoscaler state", state)?))
        };
        let rows = states.iter().map(row).collect::<Result<Vec<FencedRow>, Fault>>()?;
        Ok(self.write(move |connection| put_fenced(connection, STATES, &rows)).await?)
    }

    async fn state(&self, place: &Place) -> Result<Option<AutoscalerState>, StoreError> {
        let place = place.clone();
        Ok(self
            .read(move |connection| {
                let body = fenced(connection, STATES, &place)?;
                body.map(|(_, body)| from_json("autoscaler state", &body)).transpose()
            })
            .await?)
    }

    async fn append_decisions(&self, decisions: &[(Place, DecisionEntry)]) -> Result<(), StoreError> {
        if decisions.is_empty() {
            return Ok(());
        }
        let row =
            |(place, decision): &(Place, DecisionEntry)| Ok((place.clone(), to_json("decision", decision)?));
        let rows = decisions.iter().map(row).collect::<Result<Vec<_>, Fault>>()?;
        Ok(self.write(move |connection| append_decisions(connection, &rows)).await?)
    }

    async fn decisions(
        &self,
        place: &Place,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DecisionEntry)>, StoreError> {
        let place = place.clone();
        Ok(self.read(move |connection| decisions(connection, &place, after, limit)).await?)
    }

    async fn newest_decisions(
        &self,
        place: &Place,
        limit: usize,
    ) -> Result<Vec<(u64, DecisionEntry)>, StoreError> {
        let place = place.clone();
        Ok(self.read(move |connection| newest_decisions(connection, &place, limit)).await?)
    }

    async fn append_observed(&self, place: &Place, observed: &[Observed]) -> Result<(), StoreError> {
        if observed.is_empty() {
            return Ok(());
        }
        let kept = &observed[observed.len().saturating_sub(OBSERVED_KEPT_MAX)..];
        let chunks = kept.chunks(CHUNK_MAX).map(Chunk::of).collect::<Result<Vec<_>, Fault>>()?;
        let place = place.clone();
        Ok(self.write(move |connection| append_observed(connection, &place, &chunks)).await?)
    }

    async fn observed(&self, place: &Place, since: Timestamp) -> Result<Vec<Observed>, StoreError> {
        let place = place.clone();
        Ok(self.read(move |connection| observed(connection, &place, since)).await?)
    }

    async fn put_learned(&self, learned: &[(Place, Learned)]) -> Result<(), StoreError> {
        if learned.is_empty() {
            return Ok(());
        }
        let row = |(place, learned): &(Place, Learned)| {
            (place.clone(), signed(learned.fence), learned.body.clone())
        };
        let rows: Vec<FencedRow> = learned.iter().map(row).collect();
        Ok(self.write(move |connection| put_fenced(connection, LEARNED, &rows)).await?)
    }

    async fn learned(&self, place: &Place) -> Result<Option<Learned>, StoreError> {
        let place = place.clone();
        let found = self.read(move |connection| fenced(connection, LEARNED, &place)).await?;
        Ok(found.map(|(fence, body)| Learned { fence: unsigned(fence), body }))
    }

    async fn announce(&self, name: &str, ttl: Duration, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let (name, expires, now) = (name.to_owned(), micros(after(now, ttl)), micros(now));
        Ok(self.write(move |connection| announce(connection, &name, expires, now)).await?)
    }

    async fn withdraw(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        let withdrawn = self.write(move |connection| {
            connection.prepare_cached("DELETE FROM scalers WHERE name = ?1")?.execute([&name])?;
            Ok(())
        });
        Ok(withdrawn.await?)
    }
}

/// Sets or changes an autoscaler.
pub(super) fn store(connection: &Connection, autoscaler: &Autoscaler) -> Result<(), Fault> {
    let Place { project, environment } = &autoscaler.place;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO autoscalers (project, environment, body) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![project.as_str(), environment.as_str(), to_json("autoscaler", autoscaler)?])?;
    Ok(())
}

/// Notes a wish, if there is an autoscaler to fulfil it.
pub(super) fn wish(connection: &Connection, wish: &Wish) -> Result<(), Fault> {
    let Place { project, environment } = &wish.place;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO wishes (project, environment, body)
             SELECT project, environment, ?3 FROM autoscalers WHERE project = ?1 AND environment = ?2",
        )?
        .execute(params![project.as_str(), environment.as_str(), to_json("wish", wish)?])?;
    Ok(())
}

/// Deletes an autoscaler and its wish; what stands beside it stays.
pub(super) fn delete(connection: &Connection, place: &Place) -> Result<(), Fault> {
    ["autoscalers", "wishes"].iter().try_for_each(|table| clear(connection, table, place))
}

/// Deletes what stands beside an autoscaler.
pub(super) fn forget(connection: &Connection, place: &Place) -> Result<(), Fault> {
    BESIDE.iter().try_for_each(|table| clear(connection, table, place))
}

fn clear(connection: &Connection, table: &str, Place { project, environment }: &Place) -> Result<(), Fault> {
    connection
        .prepare_cached(&format!("DELETE FROM {table} WHERE project = ?1 AND environment = ?2"))?
        .execute([project.as_str(), environment.as_str()])?;
    Ok(())
}

/// Deletes what stands beside no autoscaler.
pub(super) fn forget_orphans(connection: &Connection) -> Result<(), Fault> {
    for table in BESIDE {
        let sql = format!(
            "DELETE FROM {table}
             WHERE (project, environment) NOT IN (SELECT project, environment FROM autoscalers)"
        );
        connection.execute(&sql, [])?;
    }
    Ok(())
}

/// No scaler is there any more.
pub(super) fn withdraw_all(connection: &Connection) -> Result<(), Fault> {
    connection.execute("DELETE FROM scalers", [])?;
    Ok(())
}

fn entry((autoscaler, wish): (String, Option<String>)) -> Result<Entry, Fault> {
    Ok(Entry {
        autoscaler: from_json("autoscaler", &autoscaler)?,
        wish: wish.map(|wish| from_json("wish", &wish)).transpose()?,
    })
}

fn bodies(row: &Row<'_>) -> rusqlite::Result<(String, Option<String>)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// The mark is a hash of all rows.
fn all_since(connection: &Connection, known: Option<&Mark>) -> Result<Option<(Mark, Vec<Entry>)>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT autoscalers.body, wishes.body
         FROM autoscalers LEFT JOIN wishes USING (project, environment)
         ORDER BY autoscalers.project, autoscalers.environment",
    )?;
    let rows = select.query_map([], bodies)?.collect::<Result<Vec<_>, _>>()?;
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    let mark = Mark(hasher.finish().to_string());
    if known == Some(&mark) {
        return Ok(None);
    }
    let all = rows.into_iter().map(entry).collect::<Result<_, Fault>>()?;
    Ok(Some((mark, all)))
}

fn one(connection: &Connection, Place { project, environment }: &Place) -> Result<Option<Entry>, Fault> {
    let row = connection
        .prepare_cached(
            "SELECT autoscalers.body, wishes.body
             FROM autoscalers LEFT JOIN wishes USING (project, environment)
             WHERE autoscalers.project = ?1 AND autoscalers.environment = ?2",
        )?
        .query_row([project.as_str(), environment.as_str()], bodies)
        .optional()?;
    row.map(entry).transpose()
}

/// Puts what has an autoscaler, and a fencing token that is not overtaken.
fn put_fenced(connection: &Connection, table: &str, rows: &[FencedRow]) -> Result<(), Fault> {
    let mut put = connection.prepare_cached(&format!(
        "INSERT INTO {table} (project, environment, fence, body)
         SELECT project, environment, ?3, ?4 FROM autoscalers WHERE project = ?1 AND environment = ?2
         ON CONFLICT (project, environment) DO UPDATE SET fence = excluded.fence, body = excluded.body
             WHERE excluded.fence >= {table}.fence"
    ))?;
    for (Place { project, environment }, fence, body) in rows {
        put.execute(params![project.as_str(), environment.as_str(), fence, body])?;
    }
    Ok(())
}

/// The fencing token and the body that stand at a place.
fn fenced(
    connection: &Connection,
    table: &str,
    Place { project, environment }: &Place,
) -> Result<Option<(i64, String)>, Fault> {
    let row = connection
        .prepare_cached(&format!("SELECT fence, body FROM {table} WHERE project = ?1 AND environment = ?2"))?
        .query_row([project.as_str(), environment.as_str()], numbered)
        .optional()?;
    Ok(row)
}

/// Appends decisions, each under the number after its autoscaler's last one.
fn append_decisions(connection: &Connection, rows: &[(Place, String)]) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO autoscaler_decisions (project, environment, number, body)
         SELECT project, environment, 1 + COALESCE((SELECT MAX(number) FROM autoscaler_decisions
                                                    WHERE project = ?1 AND environment = ?2), 0), ?3
         FROM autoscalers WHERE project = ?1 AND environment = ?2
         RETURNING number",
    )?;
    let mut prune = connection.prepare_cached(
        "DELETE FROM autoscaler_decisions WHERE project = ?1 AND environment = ?2 AND number <= ?3",
    )?;
    for (Place { project, environment }, body) in rows {
        let number: Option<i64> = insert
            .query_row(params![project.as_str(), environment.as_str(), body], |row| row.get(0))
            .optional()?;
        if let Some(number) = number {
            let gone = number - signed(DECISIONS_KEPT_MAX);
            prune.execute(params![project.as_str(), environment.as_str(), gone])?;
        }
    }
    Ok(())
}

fn decisions(
    connection: &Connection,
    Place { project, environment }: &Place,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, DecisionEntry)>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT number, body FROM autoscaler_decisions
         WHERE project = ?1 AND environment = ?2 AND number > ?3 ORDER BY number LIMIT ?4",
    )?;
    let rows = select
        .query_map(params![project.as_str(), environment.as_str(), signed(after), signed(limit)], numbered)?;
    rows.map(|row| decision(row?)).collect()
}

fn newest_decisions(
    connection: &Connection,
    Place { project, environment }: &Place,
    limit: usize,
) -> Result<Vec<(u64, DecisionEntry)>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT number, body FROM autoscaler_decisions
         WHERE project = ?1 AND environment = ?2 ORDER BY number DESC LIMIT ?3",
    )?;
    let rows = select.query_map(params![project.as_str(), environment.as_str(), signed(limit)], numbered)?;
    let mut newest = rows.map(|row| decision(row?)).collect::<Result<Vec<_>, Fault>>()?;
    newest.reverse();
    Ok(newest)
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<(i64, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn decision((number, body): (i64, String)) -> Result<(u64, DecisionEntry), Fault> {
    Ok((unsigned(number), from_json("decision", &body)?))
}

/// Appends observations; rows that hold none of the newest go.
fn append_observed(
    connection: &Connection,
    Place { project, environment }: &Place,
    chunks: &[Chunk],
) -> Result<(), Fault> {
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT COALESCE(
                 (SELECT MAX(last) FROM autoscaler_observed WHERE project = ?1 AND environment = ?2), 0)
             FROM autoscalers WHERE project = ?1 AND environment = ?2",
        )?
        .query_row([project.as_str(), environment.as_str()], |row| row.get(0))
        .optional()?;
    let Some(mut last) = last else { return Ok(()) };
    let mut insert = connection.prepare_cached(
        "INSERT INTO autoscaler_observed (project, environment, last, newest, body)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for chunk in chunks {
        last += chunk.count;
        insert.execute(params![project.as_str(), environment.as_str(), last, chunk.newest, chunk.body])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM autoscaler_observed WHERE project = ?1 AND environment = ?2 AND last <= ?3",
        )?
        .execute(params![project.as_str(), environment.as_str(), last - signed(OBSERVED_KEPT_MAX)])?;
    Ok(())
}

/// The observations since then that are among the newest; the oldest row may hold some that are not.
fn observed(
    connection: &Connection,
    Place { project, environment }: &Place,
    since: Timestamp,
) -> Result<Vec<Observed>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT last, body,
                (SELECT MAX(last) FROM autoscaler_observed WHERE project = ?1 AND environment = ?2)
         FROM autoscaler_observed
         WHERE project = ?1 AND environment = ?2 AND newest >= ?3 ORDER BY last",
    )?;
    let mut rows = select.query(params![project.as_str(), environment.as_str(), micros(since)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (last, body, end): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let chunk: Vec<Observed> = from_json("observation", &body)?;
        let gone = end - signed(OBSERVED_KEPT_MAX);
        let first = last - signed(chunk.len()) + 1;
        let kept = (first..).zip(chunk).filter(|(number, seen)| *number > gone && seen.at >= since);
        found.extend(kept.map(|(_, seen)| seen));
    }
    Ok(found)
}

/// The scaler is there until `expires`; answers who is there at `now`.
fn announce(connection: &Connection, name: &str, expires: i64, now: i64) -> Result<Vec<String>, Fault> {
    connection.prepare_cached("DELETE FROM scalers WHERE expires <= ?1")?.execute([now])?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO scalers (name, expires) VALUES (?1, ?2)")?
        .execute(params![name, expires])?;
    let mut select =
        connection.prepare_cached("SELECT name FROM scalers WHERE expires > ?1 ORDER BY name")?;
    let names = select.query_map([now], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}
