//! The journal of one run: events under the run's fencing token, and log lines written in batches.

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
        }
    }

    /// Writes one event.
    ///
    /// # Errors
    /// When the run is out of date, or the history cannot be written.
    pub(crate) async fn event(&self, kind: EventKind) -> Result<(), JournalError> {
        self.event_of(self.deployment, kind).await
    }

    /// Writes one event into the history of another deployment of the same project and environment.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub(crate) async fn event_of(
        &self,
        deployment: DeploymentId,
        kind: EventKind,
    ) -> Result<(), JournalError> {
        let event = Event {
            id: EventId::generate(),
            deployment,
            job: self.job,
            fence: self.fence,
            at: Timestamp::now(),
            kind,
        };
        let outcome = outcome(&event.kind);
        match self.recorder.record(Record::Event(event)).await {
            Ok(()) => {
                if let Some(outcome) = outcome {
                    self.figures.count(outcome);
                }
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
