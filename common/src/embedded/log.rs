//! Stage logs: a head with the counts, and one chunk of lines per append.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::codec::{Key, from_json, key, signed, to_json, unsigned};
use super::fault::Fault;
use crate::model::{DeploymentId, Stage};
use crate::store::{LogLine, LogPage, log::LOG_CUT_MARKER};

/// Lines in one chunk at most, so that reading a few lines does not parse many.
const CHUNK_MAX_LINES: usize = 256;
/// Most lines of one read, whatever was asked for.
const READ_MAX_LINES: usize = 10_000;

#[derive(Debug, Clone, Copy, Default)]
struct Head {
    lines: u64,
    bytes: u64,
    cut: bool,
}

/// Appends lines until the log has `limit_bytes`; what does not fit is replaced by one marker line.
pub(super) fn append(
    connection: &Connection,
    deployment: DeploymentId,
    stage: Stage,
    lines: &[LogLine],
    limit_bytes: u64,
) -> Result<(), Fault> {
    let deployment = key(deployment.as_uuid());
    let mut head = head(connection, &deployment, stage)?;
    if head.cut || lines.is_empty() {
        return Ok(());
    }
    let mut kept = Vec::with_capacity(lines.len());
    for line in lines {
        let size = unsigned(signed(line.text.len())).saturating_add(1);
        if head.bytes.saturating_add(size) > limit_bytes {
            head.cut = true;
            kept.push(LogLine::new(line.at, LOG_CUT_MARKER));
            break;
        }
        head.bytes += size;
        kept.push(line.clone());
    }
    let mut insert = connection
        .prepare_cached("INSERT INTO log_chunks (deployment, stage, first, body) VALUES (?1, ?2, ?3, ?4)")?;
    for chunk in kept.chunks(CHUNK_MAX_LINES) {
        let body = to_json("log", &chunk)?;
        insert.execute(params![deployment, stage.as_str(), signed(head.lines + 1), body])?;
        head.lines += unsigned(signed(chunk.len()));
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO logs (deployment, stage, lines, bytes, cut) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![deployment, stage.as_str(), signed(head.lines), signed(head.bytes), head.cut])?;
    Ok(())
}

/// At most `limit` lines after line `after`.
pub(super) fn read(
    connection: &Connection,
    deployment: DeploymentId,
    stage: Stage,
    after: u64,
    limit: usize,
) -> Result<LogPage, Fault> {
    let deployment = key(deployment.as_uuid());
    let limit = limit.min(READ_MAX_LINES);
    let head = head(connection, &deployment, stage)?;
    let mut page = LogPage { lines: Vec::new(), more: head.lines > after };
    if after >= head.lines || limit == 0 {
        return Ok(page);
    }
    let mut select = connection.prepare_cached(
        "SELECT first, body FROM log_chunks WHERE deployment = ?1 AND stage = ?2 AND first >= COALESCE(
             (SELECT MAX(first) FROM log_chunks WHERE deployment = ?1 AND stage = ?2 AND first <= ?3), 0)
         ORDER BY first",
    )?;
    let mut rows = select.query(params![deployment, stage.as_str(), signed(after.saturating_add(1))])?;
    while let Some(row) = rows.next()? {
        let (first, body): (i64, String) = (row.get(0)?, row.get(1)?);
        let lines: Vec<LogLine> = from_json("log", &body)?;
        let numbered = (unsigned(first)..).zip(lines).filter(|(number, _)| *number > after);
        page.lines.extend(numbered.take(limit - page.lines.len()));
        if page.lines.len() == limit {
            break;
        }
    }
    page.more = page.lines.last().is_some_and(|(number, _)| *number < head.lines);
    Ok(page)
}

/// The last `count` lines.
pub(super) fn tail(
    connection: &Connection,
    deployment: DeploymentId,
    stage: Stage,
    count: usize,
) -> Result<Vec<LogLine>, Fault> {
    let count = count.min(READ_MAX_LINES);
    let lines = head(connection, &key(deployment.as_uuid()), stage)?.lines;
    let after = lines.saturating_sub(unsigned(signed(count)));
    let page = read(connection, deployment, stage, after, count)?;
    Ok(page.lines.into_iter().map(|(_, line)| line).collect())
}

fn head(connection: &Connection, deployment: &Key, stage: Stage) -> Result<Head, Fault> {
    let head = connection
        .prepare_cached("SELECT lines, bytes, cut FROM logs WHERE deployment = ?1 AND stage = ?2")?
        .query_row(params![deployment, stage.as_str()], |row| {
            Ok(Head { lines: unsigned(row.get(0)?), bytes: unsigned(row.get(1)?), cut: row.get(2)? })
        })
        .optional()?;
    Ok(head.unwrap_or_default())
}
