//! `kill -9` of a process that writes to the embedded adapter, at random moments, again and again: whatever
//! it had acknowledged is there afterwards, exactly once.
//!
//! The child is this test binary itself, started again with [`CHILD_FOLDER`] set. It prints one line for
//! everything the adapter has acknowledged.

#![expect(clippy::unwrap_used, reason = "the helpers of this test fail the test by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::contract::sample::{course, deploy_job};
use slipway_common::embedded::{Embedded, EmbeddedSettings, OpenError};
use slipway_common::ledger::Offset;
use slipway_common::model::{Deployment, Event, EventId, JobId, WorkerId};
use slipway_common::record::Record;
use slipway_common::{Backend, state};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

const CHILD_FOLDER: &str = "SLIPWAY_TEST_CHILD_FOLDER";
const KILLS: usize = 22;
/// Writers at the same time in the child, so that commits are made in groups.
const WRITERS: usize = 4;
const CLAIM_TTL: Duration = Duration::from_secs(3_600);
const LEDGER_PAGE: usize = 1_000;
/// Events a child records of a job before it completes it.
const EVENTS_OF_A_JOB: usize = 3;

/// What children have acknowledged so far.
#[derive(Debug, Default)]
struct Acknowledged {
    enqueued: BTreeSet<JobId>,
    recorded: BTreeSet<EventId>,
    completed: BTreeSet<JobId>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    if let Some(folder) = std::env::var_os(CHILD_FOLDER) {
        write_until_killed(Path::new(&folder)).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for round in 0..KILLS {
        // Spread over the child's start, its first commits, and full swing.
        let pause = Duration::from_millis((u64::try_from(round).unwrap() * 37) % 211);
        run_and_kill(folder.path(), pause, &mut acknowledged).await;
        let embedded = reopen(folder.path()).await;
        let voided = embedded.release_all_claims(Timestamp::now()).await.unwrap();
        check(&embedded.backend(), &acknowledged, voided).await;
    }
    assert!(acknowledged.enqueued.len() > KILLS, "the children got work done: {acknowledged:?}");
    assert!(!acknowledged.completed.is_empty() && !acknowledged.recorded.is_empty());
    let embedded = reopen(folder.path()).await;
    claim_the_rest(&embedded.backend(), &acknowledged).await;
}

/// Starts a child, waits for its first acknowledgement and `pause` longer, kills it, and takes down
/// everything it said.
async fn run_and_kill(folder: &Path, pause: Duration, acknowledged: &mut Acknowledged) {
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_acknowledged_is_lost_by_kill_9", "--nocapture", "--test-threads=1"])
        .env_clear()
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let first = async {
        let mut line = String::new();
        while !line.contains("enqueued ") {
            line.clear();
            assert_ne!(output.read_line(&mut line).await.unwrap(), 0, "the child ended by itself");
        }
        line
    };
    let mut said = tokio::time::timeout(Duration::from_secs(30), first).await.expect("the child gets going");
    let rest = tokio::spawn(async move {
        let mut rest = String::new();
        output.read_to_string(&mut rest).await.map(|_| rest)
    });
    tokio::time::sleep(pause).await;
    assert_eq!(child.try_wait().unwrap(), None, "the child ended by itself");
    child.kill().await.unwrap();
    said.push_str(&rest.await.unwrap().unwrap());
    for line in said.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("enqueued"), Some(id)) => drop(acknowledged.enqueued.insert(id.parse().unwrap())),
            (Some("recorded"), Some(id)) => drop(acknowledged.recorded.insert(id.parse().unwrap())),
            (Some("completed"), Some(id)) => drop(acknowledged.completed.insert(id.parse().unwrap())),
            _ => {}
        }
    }
}

/// The lock of a killed process is gone with it; a moment may pass until the system has noticed.
async fn reopen(folder: &Path) -> Embedded {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        match Embedded::open(folder, &EmbeddedSettings::default()) {
            Ok(embedded) => return embedded,
            Err(OpenError::Locked { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("the folder does not open again: {error:?}"),
        }
    }
}

async fn check(backend: &Backend, acknowledged: &Acknowledged, voided: u64) {
    let depth = backend.queue.depth(Timestamp::now()).await.unwrap();
    assert_eq!((depth.claimed, depth.buried), (0, 0), "no claim outlives its worker");
    assert!(voided <= u64::try_from(WRITERS).unwrap(), "{voided} claims of {WRITERS} writers");
    let records = whole_ledger(backend).await;
    let mut accepted: BTreeMap<JobId, usize> = BTreeMap::new();
    let mut events = BTreeSet::new();
    let mut folds: BTreeMap<_, Deployment> = BTreeMap::new();
    for event in &records {
        assert!(events.insert(event.id), "event {} is in the ledger twice", event.id);
        if event.kind.name() == "accepted" {
            *accepted.entry(event.job).or_default() += 1;
            folds.insert(event.deployment, state::begin(event).unwrap());
        } else {
            state::apply(folds.get_mut(&event.deployment).unwrap(), event).unwrap();
        }
    }
    for job in &acknowledged.enqueued {
        assert_eq!(accepted.get(job), Some(&1), "acknowledged job {job} was accepted once");
    }
    for event in &acknowledged.recorded {
        assert!(events.contains(event), "acknowledged event {event} is in the ledger");
    }
    for (id, expected) in folds {
        let stored = backend.store.deployment(id).await.unwrap();
        assert_eq!(stored.as_ref(), Some(&expected), "the store has the fold of the ledger");
    }
}

async fn whole_ledger(backend: &Backend) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let next = u64::try_from(events.len()).unwrap() + 1;
        let page = backend.ledger.read(Offset(next), LEDGER_PAGE).await.unwrap();
        if page.is_empty() {
            return events;
        }
        for (number, (offset, record)) in (next..).zip(page) {
            assert_eq!(offset.0, number, "the ledger has no gaps");
            let Record::Event(event) = record else { panic!("only events were recorded") };
            events.push(event);
        }
    }
}

/// Every job that was not completed can be claimed, once, and no completed one comes back.
async fn claim_the_rest(backend: &Backend, acknowledged: &Acknowledged) {
    let mut claimed = BTreeSet::new();
    let worker = WorkerId::generate();
    while let Some(claim) = backend.queue.claim(worker, CLAIM_TTL, Timestamp::now()).await.unwrap() {
        assert!(claimed.insert(claim.message.id), "job {} was delivered twice", claim.message.id);
    }
    for job in &acknowledged.completed {
        assert!(!claimed.contains(job), "completed job {job} came back");
    }
    // A job may have been completed without its child having lived to say so; then its events are there.
    for job in acknowledged.enqueued.difference(&acknowledged.completed) {
        if !claimed.contains(job) {
            let deployment = backend.store.job(*job).await.unwrap().unwrap().deployment;
            let events = backend.store.events(deployment, 0, 100).await.unwrap();
            assert!(events.len() > EVENTS_OF_A_JOB, "job {job} was lost before its work was done");
        }
    }
}

/// The child: enqueues, claims, records and completes until it is killed.
async fn write_until_killed(folder: &Path) {
    let embedded = reopen(folder).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(write(embedded.backend(), format!("shop-{number}")));
    }
    writers.join_all().await;
}

async fn write(backend: Backend, project: String) {
    let worker = WorkerId::generate();
    loop {
        for _ in 0..2 {
            let message = deploy_job(&project, Timestamp::now());
            backend.queue.enqueue(&message).await.unwrap();
            say("enqueued", message.id);
        }
        let Some(claim) = backend.queue.claim(worker, CLAIM_TTL, Timestamp::now()).await.unwrap() else {
            continue;
        };
        let known = backend.store.deployment(claim.message.deployment).await.unwrap().unwrap();
        if !known.latest_job().unwrap().state.is_terminal() {
            for event in
                course(&claim.message, claim.token, Timestamp::now()).into_iter().take(EVENTS_OF_A_JOB)
            {
                // The work of a killed claimer is taken up where it was; the fold refuses nothing of that.
                backend.record(&Record::Event(event.clone())).await.unwrap();
                say("recorded", event.id);
            }
        }
        backend.queue.complete(&claim, Timestamp::now()).await.unwrap();
        say("completed", claim.message.id);
    }
}

/// One line in one write, so that lines of several writers do not mix.
fn say(what: &str, id: impl std::fmt::Display) {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(
            format!(
                "
{what} {id}
"
            )
            .as_bytes(),
        )
        .unwrap();
    stdout.flush().unwrap();
}
