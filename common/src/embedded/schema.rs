//! The database file: its connections, their settings, and the migrations of its schema.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::Fault;
use super::{EmbeddedSettings, OpenError, Synchronous};

/// The steps from an empty file to the schema of this build; entry `n` leads to version `n + 1`.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/001.sql"),
    include_str!("schema/002.sql"),
    include_str!("schema/003.sql"),
    include_str!("schema/004.sql"),
];
/// Page cache of the writing connection; negative means KiB to SQLite.
const WRITER_CACHE_KIB: i64 = -4_096;
/// Page cache of a reading connection.
const READER_CACHE_KIB: i64 = -1_024;
const PAGE_SIZE_BYTES: u64 = 4_096;
/// Prepared statements kept per connection.
const STATEMENTS_KEPT: usize = 64;
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_KEPT_BYTES: i64 = 8 * 1024 * 1024;

/// Opens the writing connection and brings the schema up to date.
pub(super) fn open_writer(file: &Path, settings: &EmbeddedSettings) -> Result<Connection, OpenError> {
    let fail = |source| OpenError::Database { path: file.to_owned(), source };
    let mut connection = Connection::open(file).map_err(fail)?;
    configure_writer(&connection, settings).map_err(fail)?;
    migrate(&mut connection, file)?;
    Ok(connection)
}

fn configure_writer(connection: &Connection, settings: &EmbeddedSettings) -> rusqlite::Result<()> {
    connection.busy_timeout(settings.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match settings.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
    limit_size(connection, settings.database_max_bytes)
}

/// Sets how large the database file may grow; less than it has already means its present size.
pub(super) fn limit_size(connection: &Connection, max_bytes: u64) -> rusqlite::Result<()> {
    let pages = i64::try_from(max_bytes / PAGE_SIZE_BYTES).unwrap_or(i64::MAX).clamp(1, 4_294_967_294);
    connection.pragma_update(None, "max_page_count", pages)
}

/// Opens a connection that cannot write.
pub(super) fn open_reader(file: &Path, busy_timeout: Duration) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, file: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::Database { path: file.to_owned(), source };
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(OpenError::NewerSchema { path: file.to_owned(), found, known });
    }
    for (version, step) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        transaction.execute_batch(step).map_err(fail)?;
        transaction.pragma_update(None, "user_version", version).map_err(fail)?;
        transaction.commit().map_err(fail)?;
    }
    Ok(())
}
