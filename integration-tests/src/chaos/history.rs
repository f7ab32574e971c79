//! What the ledger tells about a run, read from the broker's stream by a reader of its own: how much was taken up, and
//! how long it took to resume what a killed or frozen worker held. The first half follows the stream, the second is
//! pure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Connection, ConnectionProperties};
use slipway_common::model::{Event, EventKind};
use slipway_common::record::Record;

use super::plan::{FaultKind, Part};
use crate::effects::{Violation, ViolationKind};

/// Pause before the stream is followed again after an error.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for a connection, and for an answer on it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of a stream that is followed; then another node is asked.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const PREFETCH: u16 = 500;

/// One step of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: Timestamp,
    pub(super) fence: u64,
    pub(super) kind: StepKind,
}

/// What a step means for who has the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    /// A stage began.
    Started,
    /// The holder wrote something else, and still has it.
    Held,
    /// The job was put down: parked or ended.
    PutDown,
}

/// The steps of every job.
#[derive(Debug, Default)]
pub(super) struct History {
    jobs: BTreeMap<String, Vec<Step>>,
    started: u64,
    next_offset: u64,
}

/// A history that grows.
pub(super) type Shared = Arc<Mutex<History>>;

impl History {
    fn add(&mut self, event: &Event) {
        let kind = match &event.kind {
            EventKind::StageStarted { .. } => StepKind::Started,
            EventKind::StageProgress { .. } | EventKind::StageFinished { .. } => StepKind::Held,
            EventKind::StageWaiting { .. }
            | EventKind::Succeeded
            | EventKind::Failed { .. }
            | EventKind::Cancelled
            | EventKind::Superseded { .. } => StepKind::PutDown,
            EventKind::Accepted { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::Replaced { .. }
            | EventKind::Degraded { .. }
            | EventKind::Recovered => return,
        };
        self.started += u64::from(kind == StepKind::Started);
        let steps = self.jobs.entry(event.job.to_string()).or_default();
        steps.push(Step { at: event.at, fence: event.fence, kind });
    }

    /// Stages begun so far, over all jobs.
    pub(super) fn started(&self) -> u64 {
        self.started
    }

    /// The steps of every job.
    pub(super) fn jobs(&self) -> &BTreeMap<String, Vec<Step>> {
        &self.jobs
    }
}

/// Follows the ledger for ever, at one node after another.
pub(super) async fn follow(urls: Vec<String>, stream: String, history: Shared) {
    for url in urls.iter().cycle() {
        // A node that is down is the usual thing here; the next one is asked.
        drop(follow_at(url, &stream, &history).await);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow_at(url: &str, stream: &str, history: &Shared) -> anyhow::Result<()> {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    let connection = tokio::time::timeout(ANSWER_TIMEOUT, connecting).await??;
    let channel = tokio::time::timeout(ANSWER_TIMEOUT, connection.create_channel()).await??;
    tokio::time::timeout(ANSWER_TIMEOUT, channel.basic_qos(PREFETCH, BasicQosOptions::default())).await??;
    let from = history.lock().unwrap_or_else(PoisonError::into_inner).next_offset;
    let mut arguments = FieldTable::default();
    arguments.insert(ShortString::from("x-stream-offset"), AMQPValue::LongLongInt(i64::try_from(from)?));
    let tag = ShortString::default();
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(stream.into(), tag, options, arguments);
    let mut deliveries = tokio::time::timeout(ANSWER_TIMEOUT, consuming).await??;
    while let Some(delivery) = tokio::time::timeout(SILENCE_MAX, deliveries.next()).await? {
        let delivery = delivery?;
        let headers = delivery.properties.headers().as_ref();
        let offset = headers.and_then(|headers| headers.inner().get("x-stream-offset")).and_then(offset_of);
        take(history, offset, &delivery.data);
        // A node that is frozen at this moment never takes it.
        tokio::time::timeout(ANSWER_TIMEOUT, delivery.ack(BasicAckOptions::default())).await??;
    }
    Ok(())
}

fn offset_of(value: &AMQPValue) -> Option<u64> {
    if let AMQPValue::LongLongInt(offset) = value { u64::try_from(*offset).ok() } else { None }
}

fn take(history: &Shared, offset: Option<u64>, body: &[u8]) {
    let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
    // A chunk of the stream is delivered from its beginning.
    let Some(offset) = offset.filter(|offset| *offset >= history.next_offset) else { return };
    history.next_offset = offset + 1;
    if let Ok(Record::Event(event)) = serde_json::from_slice(body) {
        history.add(&event);
    }
}

/// A fault as it happened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Happened {
    pub(super) kind: FaultKind,
    pub(super) part: Part,
    pub(super) from: Timestamp,
    /// When the part was whole again.
    pub(super) to: Timestamp,
}

/// Times from the kill of a worker, and from its freeze, to the next stage of a job it held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resumed {
    pub(super) after_kill: Vec<Duration>,
    pub(super) after_freeze: Vec<Duration>,
    /// Resumptions while something else than workers was out of order too; they tell nothing about the worker.
    pub(super) under_other_faults: usize,
}

/// Reads the resumptions off the steps: a job that was held goes on under another fence. Of several workers hit in
/// between, the first one counts, so the times are never too short.
pub(super) fn resumed(jobs: &BTreeMap<String, Vec<Step>>, faults: &[Happened]) -> Resumed {
    let mut resumed = Resumed::default();
    for steps in jobs.values() {
        for pair in steps.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let taken_over = before.kind != StepKind::PutDown && before.fence < after.fence;
            if !taken_over || after.kind == StepKind::PutDown {
                continue;
            }
            let meets = |fault: &&Happened| fault.from < after.at && fault.to > before.at;
            let on_worker = |fault: &Happened| matches!(fault.part, Part::Worker(_));
            let inside =
                |fault: &&Happened| on_worker(fault) && fault.from >= before.at && fault.from <= after.at;
            let Some(hit) = faults.iter().filter(inside).min_by_key(|fault| fault.from) else { continue };
            if faults.iter().filter(meets).any(|fault| !on_worker(fault)) {
                resumed.under_other_faults += 1;
                continue;
            }
            let lasted = Duration::try_from(after.at.duration_since(hit.from)).unwrap_or_default();
            match hit.kind {
                FaultKind::Kill => resumed.after_kill.push(lasted),
                FaultKind::Freeze => resumed.after_freeze.push(lasted),
                FaultKind::Restart | FaultKind::Flush => {}
            }
        }
    }
    resumed
}

/// A resumption this late is a stall: somebody had to find the job by looking for it.
const LATE_AFTER: Duration = Duration::from_secs(30);

/// A violation for each job that a killed or frozen worker held and that stood still for too long.
pub(super) fn late(resumed: &Resumed) -> Vec<Violation> {
    let of = |what: &'static str, times: &[Duration]| {
        let late = times.iter().copied().filter(|lasted| *lasted > LATE_AFTER);
        late.map(|lasted| {
            Violation::new(ViolationKind::Stall, what, format!("a job it held went on after {lasted:?}"))
        })
        .collect::<Vec<Violation>>()
    };
    [of("kill of a worker", &resumed.after_kill), of("freeze of a worker", &resumed.after_freeze)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_was_found_only_by_looking_is_a_stall() {
        let resumed = Resumed {
            after_kill: vec![Duration::from_secs(1), Duration::from_secs(45)],
            after_freeze: vec![Duration::from_secs(14)],
            under_other_faults: 0,
        };
        let found = late(&resumed);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, ViolationKind::Stall);
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
    }

    fn step(ms: i64, fence: u64, kind: StepKind) -> Step {
        Step { at: at(ms), fence, kind }
    }

    fn hit(kind: FaultKind, part: Part, from_ms: i64, to_ms: i64) -> Happened {
        Happened { kind, part, from: at(from_ms), to: at(to_ms) }
    }

    fn of(steps: Vec<Step>, faults: &[Happened]) -> Resumed {
        resumed(&BTreeMap::from([("job".to_owned(), steps)]), faults)
    }

    #[test]
    fn a_job_that_goes_on_elsewhere_after_a_kill_is_timed_from_the_kill() {
        let steps = vec![step(0, 1, StepKind::Started), step(900, 2, StepKind::Started)];
        let found = of(steps, &[hit(FaultKind::Kill, Part::Worker(1), 400, 3_000)]);
        assert_eq!(found.after_kill, [Duration::from_millis(500)]);
    }

    #[test]
    fn parked_jobs_and_jobs_that_kept_their_worker_are_not_resumed() {
        let kill = [hit(FaultKind::Kill, Part::Worker(1), 400, 3_000)];
        let parked = vec![step(0, 1, StepKind::PutDown), step(900, 2, StepKind::Started)];
        assert_eq!(of(parked, &kill), Resumed::default());
        let kept = vec![step(0, 1, StepKind::Started), step(900, 1, StepKind::Held)];
        assert_eq!(of(kept, &kill), Resumed::default());
    }

    #[test]
    fn a_resumption_while_redis_was_away_says_nothing_about_the_worker() {
        let steps = vec![step(0, 1, StepKind::Started), step(9_000, 2, StepKind::Started)];
        let faults = [
            hit(FaultKind::Freeze, Part::Worker(0), 400, 3_000),
            hit(FaultKind::Kill, Part::Redis, 500, 4_000),
        ];
        assert_eq!(of(steps, &faults), Resumed { under_other_faults: 1, ..Resumed::default() });
    }
}
