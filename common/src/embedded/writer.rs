//! The one writer: a thread that owns the only writing connection and commits what is pending in groups,
//! so that many callers share one `fsync`.

use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;

/// Calls that may wait for the writer; further callers wait for room.
const INBOX_CALLS: usize = 1_024;
/// Most calls in one transaction.
const GROUP_CALLS_MAX: usize = 256;

/// Hands calls to the writer thread. The thread ends when the last handle is gone.
#[derive(Debug)]
pub(super) struct Writer {
    inbox: mpsc::Sender<Box<dyn Call>>,
    deadline: Duration,
}

impl Writer {
    /// Starts the thread. `belongings` live as long as the connection does (the lock on the folder).
    pub(super) fn start<B: Send + 'static>(
        connection: Connection,
        belongings: B,
        deadline: Duration,
    ) -> std::io::Result<Self> {
        let (inbox, calls) = mpsc::channel(INBOX_CALLS);
        std::thread::Builder::new().name("slipway-writer".to_owned()).spawn(move || {
            serve(&connection, calls);
            drop(connection);
            drop(belongings);
        })?;
        Ok(Self { inbox, deadline })
    }

    /// Runs `work` inside a transaction and answers once it is committed. `work` may be run again when the
    /// group it was first part of had to be rolled back, and must not commit anything itself. `afterwards` is
    /// called once after the commit, also when the caller has stopped waiting by then.
    pub(super) async fn write<T, F, A>(&self, work: F, afterwards: A) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
        A: FnOnce() + Send + 'static,
    {
        tokio::time::timeout(self.deadline, self.write_without_deadline(work, afterwards))
            .await
            .unwrap_or(Err(Fault::Timeout { limit_ms: self.deadline.as_millis() }))
    }

    /// Like [`Self::write`], for work that takes as long as there is data.
    pub(super) async fn write_without_deadline<T, F, A>(&self, work: F, afterwards: A) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
        A: FnOnce() + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Box::new(WriteCall { work, outcome: Err(Fault::Closed), afterwards, reply });
        self.inbox.send(call).await.map_err(|_| Fault::Closed)?;
        answer.await.unwrap_or(Err(Fault::Closed))
    }
}

/// One caller's work, whatever its result type.
trait Call: Send {
    /// Runs the work and keeps its outcome; `true` when what it wrote is to be kept.
    fn run(&mut self, connection: &Connection) -> Result<bool, ()>;
    /// Replaces the outcome: the transaction around it was lost.
    fn fail(&mut self, fault: Fault);
    /// Gives the caller the outcome.
    fn answer(self: Box<Self>);
}

struct WriteCall<F, T, A> {
    work: F,
    outcome: Result<T, Fault>,
    afterwards: A,
    reply: oneshot::Sender<Result<T, Fault>>,
}

impl<F, T, A> Call for WriteCall<F, T, A>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, Fault> + Send,
    A: FnOnce() + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<bool, ()> {
        self.outcome = (self.work)(connection);
        match &self.outcome {
            Ok(_) => Ok(true),
            Err(fault) if fault.spoils_transaction() => Err(()),
            Err(_) => Ok(false),
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.outcome = Err(fault);
    }

    fn answer(self: Box<Self>) {
        if self.outcome.is_ok() {
            (self.afterwards)();
        }
        // A caller that stopped waiting has no use for the outcome.
        drop(self.reply.send(self.outcome));
    }
}

fn serve(connection: &Connection, mut calls: mpsc::Receiver<Box<dyn Call>>) {
    while let Some(first) = calls.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_CALLS_MAX {
            let Ok(next) = calls.try_recv() else { break };
            group.push(next);
        }
        commit_group(connection, group);
    }
}

/// Commits the calls together; when the database refuses that, each for itself, so that one call that
/// cannot be written does not take the others with it.
fn commit_group(connection: &Connection, mut group: Vec<Box<dyn Call>>) {
    let together = transact(connection, &mut group);
    match together {
        Ok(()) => {}
        Err(failure) if group.len() == 1 => {
            if let (Some(fault), Some(call)) = (failure, group.first_mut()) {
                call.fail(fault);
            }
        }
        Err(_) => {
            for call in group {
                commit_group(connection, vec![call]);
            }
            return;
        }
    }
    for call in group {
        call.answer();
    }
}

/// One transaction around all calls. `Err(None)` says that a call keeps the fault itself.
fn transact(connection: &Connection, group: &mut [Box<dyn Call>]) -> Result<(), Option<Fault>> {
    let result = run_all(connection, group);
    if result.is_err() && !connection.is_autocommit() {
        // SQLite rolls back by itself after some errors; where it did not, this cannot fail for want of space.
        if let Err(error) = connection.execute_batch("ROLLBACK") {
            tracing::error!(%error, "a failed transaction could not be rolled back");
        }
    }
    result
}

fn run_all(connection: &Connection, group: &mut [Box<dyn Call>]) -> Result<(), Option<Fault>> {
    let execute = |sql: &str| -> Result<(), Option<Fault>> {
        let mut statement = connection.prepare_cached(sql).map_err(|error| Some(error.into()))?;
        statement.execute([]).map(drop).map_err(|error| Some(error.into()))
    };
    execute("BEGIN IMMEDIATE")?;
    for call in group {
        execute("SAVEPOINT call")?;
        if !call.run(connection).map_err(|()| None)? {
            execute("ROLLBACK TO call")?;
        }
        execute("RELEASE call")?;
    }
    execute("COMMIT")
}
