//! The journal of one run: events under the run's fencing token, those that follow each other at once written together,
//! and log lines written in batches.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::backend::RecordError;
use slipway_common::model::{DeploymentId, Event, EventId, EventKind, JobId, Stage};
use slipway_common::record::Record;
use slipway_common::store::{LogLine, StoreError};

use crate::docker::LogSink;
use crate::figures::{Count, Figures};
use crate::recorder::Recorder;
use crate::stage::Tools;

/// Lines kept in memory until the next flush; more are counted and left out.
const PENDING_LINES_MAX: usize = 20_000;
/// Pause between two flushes.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// Why an event could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// Somebody else has the job now, or the event does not fit its history: this run must end.
    #[error("the run is out of date")]
    OutOfDate(#[source] StoreError),
    /// Ledger or store cannot be written now.
    #[error("the history cannot be written")]
    Unavailable(#[source] RecordError),
}

/// Writes what happens during one run.
#[derive(Debug)]
pub(crate) struct Journal {
    backend: Backend,
    recorder: Arc<Recorder>,
    figures: Arc<Figures>,
    deployment: DeploymentId,
    job: JobId,
    fence: u64,
    log_max_bytes: u64,
    pending: Mutex<Pending>,
    /// Events to be written with the next one.
    noted: Mutex<Vec<Record>>,
}

#[derive(Debug, Default)]
struct Pending {
    stage: Option<Stage>,
    lines: Vec<LogLine>,
    left_out: usize,
}

impl Journal {
    /// A journal for one run of `job` under `fence`.
    #[must_use]
    pub(crate) fn new(tools: &Tools, deployment: DeploymentId, job: JobId, fence: u64) -> Self {
        Self {
            backend: tools.backend.clone(),
            recorder: Arc::clone(&tools.recorder),
            figures: Arc::clone(&tools.figures),
            deployment,
            job,
            fence,
            log_max_bytes: tools.settings.stage_log_max_bytes,
            pending: Mutex::default(),
            noted: Mutex::default(),
        }
    }

    /// Writes what was noted, and this event after it.
    ///
    /// # Errors
    /// When the run is out of date, or the history cannot be written.
    pub(crate) async fn event(&self, kind: EventKind) -> Result<(), JournalError> {
        let outcome = outcome(&kind);
        self.note(kind);
        self.write_noted().await?;
        if let Some(outcome) = outcome {
            self.figures.count(outcome);
        }
        Ok(())
    }

    /// Notes an event that is followed by another before anything is done, to be written with that one. Nothing else
    /// may be noted: what happens to the outside is in the history before it happens.
    pub(crate) fn note(&self, kind: EventKind) {
        self.note_of(self.deployment, kind);
    }

    /// The same, in the history of another deployment of the same project and environment.
    pub(crate) fn note_of(&self, deployment: DeploymentId, kind: EventKind) {
        let event = Event {
            id: EventId::generate(),
            deployment,
            job: self.job,
            fence: self.fence,
            at: Timestamp::now(),
            kind,
        };
        self.noted().push(Record::Event(event));
    }

    /// Writes what was noted.
    ///
    /// # Errors
    /// As [`Self::event`]. What was not written stays noted: to write an event twice is to write it once.
    pub(crate) async fn write_noted(&self) -> Result<(), JournalError> {
        let records = self.noted().clone();
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len();
        match self.recorder.record_all(records).await {
            Ok(()) => {
                self.noted().drain(..count);
                Ok(())
            }
            Err(RecordError::Store(error @ StoreError::Illegal(_))) => Err(JournalError::OutOfDate(error)),
            Err(error) => Err(JournalError::Unavailable(error)),
        }
    }

    /// From now on log lines belong to `stage`.
    pub(crate) fn begin(&self, stage: Stage) {
        self.pending().stage = Some(stage);
    }

    /// Writes the pending log lines to the store.
    pub(crate) async fn flush(&self) {
        let (stage, lines) = {
            let mut pending = self.pending();
            let Some(stage) = pending.stage else { return };
            let mut lines = std::mem::take(&mut pending.lines);
            let left_out = std::mem::take(&mut pending.left_out);
            if left_out > 0 {
                lines.push(LogLine::new(
                    Timestamp::now(),
                    &format!("[{left_out} lines came too fast and were left out]"),
                ));
            }
            (stage, lines)
        };
        if lines.is_empty() {
            return;
        }
        let written = self.backend.store.append_log(self.deployment, stage, &lines, self.log_max_bytes).await;
        if let Err(error) = written {
            self.recorder.store_failed(&error);
            tracing::debug!(deployment = %self.deployment, %stage, %error, "log lines could not be stored");
        }
    }

    /// Flushes for as long as the run lasts; to be dropped with it.
    pub(crate) async fn keep_flushing(&self) {
        loop {
            tokio::time::sleep(FLUSH_INTERVAL).await;
            self.flush().await;
        }
    }

    /// The last `count` lines of the stage's log.
    pub(crate) async fn tail(&self, stage: Stage, count: usize) -> Vec<String> {
        self.flush().await;
        match self.backend.store.log_tail(self.deployment, stage, count).await {
            Ok(lines) => lines.into_iter().map(|line| line.text).collect(),
            Err(error) => {
                tracing::warn!(deployment = %self.deployment, %stage, %error, "the log could not be read");
                Vec::new()
            }
        }
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// How the run ends with this event, if it does.
fn outcome(kind: &EventKind) -> Option<Count> {
    match kind {
        EventKind::Succeeded => Some(Count::Succeeded),
        EventKind::Failed { .. } => Some(Count::Failed),
        EventKind::Cancelled => Some(Count::Cancelled),
        EventKind::Superseded { .. } => Some(Count::Superseded),
        EventKind::StageWaiting { .. } => Some(Count::Parked),
        EventKind::Accepted { .. }
        | EventKind::StageStarted { .. }
        | EventKind::StageProgress { .. }
        | EventKind::StageFinished { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::Replaced { .. }
        | EventKind::Degraded { .. }
        | EventKind::Recovered => None,
    }
}

impl LogSink for Journal {
    fn line(&self, line: &str) {
        let mut pending = self.pending();
        if pending.lines.len() < PENDING_LINES_MAX {
            pending.lines.push(LogLine::new(Timestamp::now(), line));
        } else {
            pending.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Installation;

    fn started(stage: Stage) -> EventKind {
        EventKind::StageStarted { stage, attempt: 1 }
    }

    fn finished(stage: Stage) -> EventKind {
        EventKind::StageFinished { stage, facts: Box::default(), skipped: None }
    }

    #[tokio::test]
    async fn what_is_noted_is_written_once_with_the_next_event_and_before_it() {
        let installation = Installation::open();
        let message = installation.accept().await;
        let journal = Journal::new(&installation.tools(), message.deployment, message.id, 1);
        journal.note(started(Stage::Clone));
        journal.note(finished(Stage::Clone));
        assert_eq!(installation.history(&message).await, ["accepted"]);
        journal.event(started(Stage::Template)).await.unwrap();
        let written = ["accepted", "stage_started", "stage_finished", "stage_started"];
        assert_eq!(installation.history(&message).await, written);
        journal.note(finished(Stage::Template));
        journal.write_noted().await.unwrap();
        journal.write_noted().await.unwrap();
        assert_eq!(installation.history(&message).await.len(), written.len() + 1);
        let records = installation.backend.ledger.read(slipway_common::ledger::Offset(1), 100).await.unwrap();
        assert_eq!(records.len(), written.len(), "each is in the ledger once; the queue has the acceptance");
    }

    #[tokio::test]
    async fn a_run_that_was_overtaken_learns_so_from_what_it_noted() {
        let installation = Installation::open();
        let message = installation.accept().await;
        let journal = |fence| Journal::new(&installation.tools(), message.deployment, message.id, fence);
        let (older, newer) = (journal(1), journal(2));
        older.event(started(Stage::Clone)).await.unwrap();
        older.note(finished(Stage::Clone));
        newer.event(started(Stage::Clone)).await.unwrap();
        let refused = older.event(started(Stage::Template)).await;
        assert!(matches!(refused, Err(JournalError::OutOfDate(_))), "{refused:?}");
        assert_eq!(installation.history(&message).await, ["accepted", "stage_started", "stage_started"]);
    }
}
