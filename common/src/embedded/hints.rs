//! Hints to those who wait: a job may be due, something changed. Given after the commit, by the writer.

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, broadcast};

use crate::record::Record;
use crate::store::Change;

/// Changes kept for slow readers of the hints; who falls behind misses some.
const CHANGES_KEPT: usize = 1_024;

#[derive(Debug)]
pub(super) struct Hints {
    jobs: Notify,
    changes: broadcast::Sender<Change>,
}

impl Default for Hints {
    fn default() -> Self {
        Self { jobs: Notify::new(), changes: broadcast::Sender::new(CHANGES_KEPT) }
    }
}

impl Hints {
    /// A job may have become due, or will earlier than was known.
    pub(super) fn job_due(&self) {
        self.jobs.notify_waiters();
    }

    /// Resolves at the next [`Self::job_due`].
    pub(super) fn next_job(&self) -> Notified<'_> {
        self.jobs.notified()
    }

    pub(super) fn changed(&self, change: Change) {
        // Nobody listening is no failure.
        drop(self.changes.send(change));
    }

    /// The change that a record makes, if anybody may wait for it.
    pub(super) fn recorded(&self, record: &Record) {
        match record {
            Record::Event(event) => self.changed(Change::Event(event.deployment)),
            Record::CredentialStored(_)
            | Record::CredentialDeleted { .. }
            | Record::TokenCreated(_)
            | Record::TokenRevoked { .. }
            | Record::AutoscalerStored(_)
            | Record::AutoscalerDeleted { .. }
            | Record::ReplicasWished(_)
            | Record::JobBuried(_)
            | Record::JobUnburied { .. } => {}
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }
}
