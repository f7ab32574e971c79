//! The ledger: one row per record, projected in the transaction that appends it.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::codec::{from_json, signed, to_json, unsigned};
use super::fault::Fault;
use super::{Shared, projection};
use crate::ledger::{Ledger, LedgerError, Offset};
use crate::record::Record;

/// Most records of one read, whatever was asked for.
const READ_MAX_RECORDS: usize = 10_000;

#[async_trait]
impl Ledger for Shared {
    async fn append(&self, record: &Record) -> Result<(), LedgerError> {
        self.append_all(std::slice::from_ref(record)).await
    }

    async fn append_all(&self, records: &[Record]) -> Result<(), LedgerError> {
        let with_body = |record: &Record| Ok((to_json("record", record)?, record.clone()));
        let written = records.iter().map(with_body).collect::<Result<Vec<_>, Fault>>()?;
        let told = records.to_vec();
        let appended = self.write_and_hint(
            move |connection| {
                written.iter().try_for_each(|(body, record)| append(connection, record, body).map(drop))
            },
            move |hints| told.iter().for_each(|record| hints.recorded(record)),
        );
        Ok(appended.await?)
    }

    async fn read(&self, from: Offset, limit: usize) -> Result<Vec<(Offset, Record)>, LedgerError> {
        let limit = limit.min(READ_MAX_RECORDS);
        let rows = self.reader.read(move |connection| rows(connection, signed(from.0), limit)).await?;
        rows.into_iter()
            .map(|(position, body)| {
                let offset = unsigned(position);
                let record = serde_json::from_str(&body).map_err(|error| LedgerError::Corrupt {
                    offset,
                    reason: Fault::unreadable("record", &error).to_string(),
                })?;
                Ok((Offset(offset), record))
            })
            .collect()
    }
}

/// Appends a record and projects it. The record stays even when the projection refuses it: what was said
/// was said, and a replay refuses it equally.
pub(super) fn append(connection: &Connection, record: &Record, body: &str) -> Result<i64, Fault> {
    connection
        .prepare_cached("INSERT INTO ledger (subject, body) VALUES (?1, ?2)")?
        .execute(params![projection::subject(record), body])?;
    let position = connection.last_insert_rowid();
    projection::project_appended(connection, position, record)?;
    Ok(position)
}

/// At most `limit` rows from `from` on.
pub(super) fn rows(connection: &Connection, from: i64, limit: usize) -> Result<Vec<(i64, String)>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT position, body FROM ledger WHERE position >= ?1 ORDER BY position LIMIT ?2",
    )?;
    let rows = select.query_map(params![from, signed(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Reads a row back.
pub(super) fn record(body: &str) -> Result<Record, Fault> {
    from_json("record", body)
}
