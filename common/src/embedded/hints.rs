//! Hints to those who wait: a job may be due, something changed. Given after the commit, by the writer.

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, broadcast};

use crate::agenda::List;
use crate::projects;
use crate::record::Record;
use crate::store::Change;

/// Changes kept for slow readers of the hints; who falls behind misses some.
const CHANGES_KEPT: usize = 1_024;

#[derive(Debug)]
pub(super) struct Hints {
    jobs: Notify,
    sweeps: Notify,
    reports: Notify,
    changes: broadcast::Sender<Change>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            jobs: Notify::new(),
            sweeps: Notify::new(),
            reports: Notify::new(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
        }
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

    fn agenda(&self, list: List) -> &Notify {
        match list {
            List::Sweeps => &self.sweeps,
            List::Reports => &self.reports,
        }
    }

    /// An entry of the list may have become due, or will earlier than was known.
    pub(super) fn agenda_due(&self, list: List) {
        self.agenda(list).notify_waiters();
    }

    /// Resolves at the next [`Self::agenda_due`] of the list.
    pub(super) fn next_due(&self, list: List) -> Notified<'_> {
        self.agenda(list).notified()
    }

    pub(super) fn changed(&self, change: Change) {
        // Nobody listening is no failure.
        drop(self.changes.send(change));
    }

    /// The change that a record makes, if anybody may wait for it.
    pub(super) fn recorded(&self, record: &Record) {
        if projects::due_by(record).is_some() {
            self.agenda_due(List::Sweeps);
        }
        match record {
            Record::Event(event) => self.changed(Change::Event(event.deployment)),
            Record::CredentialStored(_)
            | Record::CredentialDeleted { .. }
            | Record::TokenCreated(_)
            | Record::TokenRevoked { .. }
            | Record::AutoscalerStored(_)
            | Record::AutoscalerDeleted { .. }
            | Record::ReplicasWished(_)
            | Record::ProjectStored(_)
            | Record::ProjectDeleted { .. }
            | Record::DeliveryReceived(_)
            | Record::HeadsSeen { .. }
            | Record::JobBuried(_)
            | Record::JobUnburied { .. } => {}
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }
}
