//! Reading connections: a few, opened once, each used by one read at a time on a blocking thread.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::schema;

/// Reads at the same time; further ones wait for a connection.
const CONNECTIONS: usize = 2;

/// Runs reads.
#[derive(Debug)]
pub(super) struct Reader {
    file: PathBuf,
    busy_timeout: Duration,
    deadline: Duration,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Reader {
    /// A reader of the database at `file`. Connections are opened when first needed.
    pub(super) fn new(file: PathBuf, busy_timeout: Duration, deadline: Duration) -> Self {
        Self {
            file,
            busy_timeout,
            deadline,
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            idle: Arc::default(),
        }
    }

    /// Runs `work` on a snapshot that holds every write answered before this call.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (permits, idle) = (Arc::clone(&self.permits), Arc::clone(&self.idle));
        let (file, busy_timeout) = (self.file.clone(), self.busy_timeout);
        let exchange = async move {
            let permit = permits.acquire_owned().await.map_err(|_| Fault::Closed)?;
            let task = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let connection = match kept {
                    Some(connection) => connection,
                    None => schema::open_reader(&file, busy_timeout)?,
                };
                let result = snapshot(&connection, work);
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                result
            });
            task.await.unwrap_or(Err(Fault::Closed))
        };
        tokio::time::timeout(self.deadline, exchange)
            .await
            .unwrap_or(Err(Fault::Timeout { limit_ms: self.deadline.as_millis() }))
    }
}

/// One transaction around all statements of a read, so that they agree with each other.
fn snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let transaction = connection.unchecked_transaction()?;
    let result = work(&transaction);
    transaction.finish()?;
    result
}
