//! Tests of what is particular to this adapter; the laws of the seams are in `contract`.

mod agenda;
mod autoscaler;
mod damage;
mod load;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::contract::later;
use crate::contract::sample::{course, deploy_job, event};
use crate::ledger::Offset;
use crate::model::{Event, EventKind, Stage, WorkerId};
use crate::queue::{Claim, QueueError};
use crate::record::Record;
use crate::store::{DeploymentFilter, DeploymentPage, Page, Reservation};

const LONG: Duration = Duration::from_secs(600);

fn open(folder: &Path, change: impl FnOnce(&mut EmbeddedSettings)) -> Embedded {
    let mut settings = EmbeddedSettings::default();
    change(&mut settings);
    Embedded::open(folder, &settings).unwrap()
}

fn fresh() -> (TempDir, Embedded) {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path(), |_| {});
    (folder, embedded)
}

/// Opens the folder again once the writer of the last opening is gone.
async fn reopen(folder: &TempDir, change: impl Fn(&mut EmbeddedSettings)) -> Embedded {
    let mut settings = EmbeddedSettings::default();
    change(&mut settings);
    crate::contract::eventually("giving the folder up", || async {
        match Embedded::open(folder.path(), &settings) {
            Ok(embedded) => Some(embedded),
            Err(OpenError::Locked { .. }) => None,
            Err(error) => panic!("{error:?}"),
        }
    })
    .await
}

/// Does to the database what no caller of the seams can.
async fn meddle(embedded: &Embedded, sql: &'static str) {
    embedded.shared.write(move |connection| Ok(connection.execute_batch(sql)?)).await.unwrap();
}

async fn claim(backend: &Backend) -> Option<Claim> {
    backend.queue.claim(WorkerId::generate(), LONG, Timestamp::now()).await.unwrap()
}

async fn everything(backend: &Backend) -> DeploymentPage {
    let page = Page { limit: 100, ..Page::default() };
    backend.store.deployments(&DeploymentFilter::default(), &page).await.unwrap()
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let (folder, embedded) = fresh();
    let backend = embedded.backend();
    let second = Embedded::open(folder.path(), &EmbeddedSettings::default());
    assert!(matches!(second, Err(OpenError::Locked { .. })), "{second:?}");
    drop(embedded);
    let third = Embedded::open(folder.path(), &EmbeddedSettings::default());
    assert!(matches!(third, Err(OpenError::Locked { .. })), "a backend still uses it");
    drop(backend);
    reopen(&folder, |_| {}).await;
}

#[tokio::test]
async fn the_folder_and_its_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    open(&folder, |_| {});
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_newer_schema_and_a_foreign_file_are_refused() {
    let (folder, embedded) = fresh();
    meddle(&embedded, "PRAGMA user_version = 99").await;
    drop(embedded);
    let refused = crate::contract::eventually("giving the folder up", || async {
        match Embedded::open(folder.path(), &EmbeddedSettings::default()) {
            Err(OpenError::Locked { .. }) => None,
            other => Some(other),
        }
    });
    assert!(matches!(refused.await, Err(OpenError::NewerSchema { found: 99, .. })));
    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join(DATABASE_FILE), "no database\n".repeat(100)).unwrap();
    let refused = Embedded::open(foreign.path(), &EmbeddedSettings::default());
    assert!(matches!(refused, Err(OpenError::Database { .. })), "{refused:?}");
}

#[test]
fn finished_jobs_are_kept_for_a_week_at_least() {
    let folder = tempfile::tempdir().unwrap();
    let finished_jobs_keep = FINISHED_JOBS_KEEP_MIN - Duration::from_secs(1);
    let settings = EmbeddedSettings { finished_jobs_keep, ..EmbeddedSettings::default() };
    let refused = Embedded::open(folder.path(), &settings);
    assert!(matches!(refused, Err(OpenError::KeepTooShort { least_s: 604_800, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_full_queue_refuses_new_jobs_and_knows_the_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path(), |settings| settings.queue_limit_jobs = 2).backend();
    let jobs = [(); 3].map(|()| deploy_job("shop", Timestamp::now()));
    backend.queue.enqueue(&jobs[0]).await.unwrap();
    backend.queue.enqueue(&jobs[1]).await.unwrap();
    let refused = backend.queue.enqueue(&jobs[2]).await;
    assert!(matches!(refused, Err(QueueError::Full { limit_jobs: 2 })), "{refused:?}");
    assert_eq!(backend.ledger.read(Offset(1), 10).await.unwrap().len(), 2, "what is refused leaves no trace");
    backend.queue.enqueue(&jobs[0]).await.expect("a repetition needs no room");
    let first = claim(&backend).await.unwrap();
    backend.queue.complete(&first, Timestamp::now()).await.unwrap();
    backend.queue.enqueue(&jobs[2]).await.expect("there is room again");
}

#[tokio::test]
async fn a_new_owner_voids_all_claims_and_leases_of_the_old_one() {
    let (folder, embedded) = fresh();
    let backend = embedded.backend();
    let now = Timestamp::now();
    backend.queue.enqueue(&deploy_job("shop", now)).await.unwrap();
    let old = claim(&backend).await.unwrap();
    let lease = backend.store.acquire_lease("shop/default", "one", LONG, now).await.unwrap().unwrap();
    drop((embedded, backend));
    let embedded = reopen(&folder, |_| {}).await;
    let backend = embedded.backend();
    assert!(claim(&backend).await.is_none(), "the claim would hold for minutes");
    assert_eq!(embedded.release_all_claims(now).await.unwrap(), 1);
    let again = claim(&backend).await.expect("the job is due at once");
    assert!(again.token > old.token && again.deliveries == 2);
    let taken = backend.store.acquire_lease("shop/default", "two", LONG, now).await.unwrap();
    assert!(taken.expect("the lease is free").fence > lease.fence);
    assert!(matches!(backend.queue.complete(&old, now).await, Err(QueueError::ClaimLost { .. })));
}

#[tokio::test]
async fn pruning_removes_only_what_is_over() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let now = Timestamp::now();
    let jobs = [(); 3].map(|()| deploy_job("shop", now));
    for job in &jobs {
        backend.queue.enqueue(job).await.unwrap();
    }
    let done = claim(&backend).await.unwrap();
    backend.queue.complete(&done, now).await.unwrap();
    let buried = claim(&backend).await.unwrap();
    backend.queue.bury(&buried, "no", now).await.unwrap();
    let reservation = Reservation {
        scope: "ada/key".to_owned(),
        fingerprint: "a".to_owned(),
        deployment: jobs[0].deployment,
        job: jobs[0].id,
        at: now,
    };
    backend.store.reserve(&reservation, LONG, now).await.unwrap();
    assert_eq!(embedded.prune(later(now, 599)).await.unwrap(), Pruned::default());
    let pruned = embedded.prune(later(now, 8 * 24 * 3_600)).await.unwrap();
    assert_eq!(pruned, Pruned { jobs: 1, reservations: 1, memos: 0, more: false });
    let depth = backend.queue.depth(now).await.unwrap();
    assert_eq!((depth.ready, depth.buried), (1, 1), "what waits and what was set aside stays");
    assert_eq!(backend.ledger.read(Offset(1), 10).await.unwrap().len(), 3, "the record stays");
}

#[tokio::test]
async fn a_refused_event_stays_refused_and_a_rebuild_refuses_it_equally() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let now = Timestamp::now();
    let message = deploy_job("shop", now);
    backend.queue.enqueue(&message).await.unwrap();
    let early = event(&message, 1, now, EventKind::Succeeded);
    assert!(backend.record(&Record::Event(early.clone())).await.is_err());
    let events = course(&message, 1, now);
    for event in &events[..events.len() - 1] {
        backend.record(&Record::Event(event.clone())).await.unwrap();
    }
    let late = backend.store.apply(&Record::Event(early)).await;
    assert!(
        matches!(late, Err(StoreError::Illegal(_))),
        "it would be legal now, but the ledger has it early"
    );
    let before = everything(&backend).await;
    let history = backend.store.events(message.deployment, 0, 100).await.unwrap();
    meddle(&embedded, "UPDATE deployments SET body = 'damaged', state = 'failed'").await;
    assert_eq!(embedded.rebuild().await.unwrap(), u64::try_from(events.len() + 1).unwrap());
    assert_eq!(everything(&backend).await, before);
    assert_eq!(backend.store.events(message.deployment, 0, 100).await.unwrap(), history);
}

#[tokio::test]
async fn projecting_what_the_ledger_took_writes_nothing() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let message = deploy_job("shop", Timestamp::now());
    backend.queue.enqueue(&message).await.unwrap();
    let changes = "SELECT total_changes()";
    let count =
        move |connection: &Connection| Ok(connection.query_row(changes, [], |row| row.get::<_, i64>(0))?);
    let before = embedded.shared.write(count).await.unwrap();
    backend.store.apply(&Record::Event(Event::accepted(&message))).await.unwrap();
    assert_eq!(embedded.shared.write(count).await.unwrap(), before);
}

#[tokio::test]
async fn a_wait_ends_when_a_parked_job_wakes() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    backend.queue.enqueue(&deploy_job("shop", Timestamp::now())).await.unwrap();
    let claimed = claim(&backend).await.unwrap();
    let until = Timestamp::now().saturating_add(Duration::from_millis(300)).unwrap();
    backend.queue.park(&claimed, until, Timestamp::now()).await.unwrap();
    backend.queue.wait(LONG).await;
    let late = Timestamp::now().duration_since(until);
    assert!(late >= jiff::SignedDuration::from_millis(-1), "woke {late:?} before the time");
    assert!(late < jiff::SignedDuration::from_secs(2), "woke {late:?} after the time");
    assert!(claim(&backend).await.is_some());
}

#[tokio::test]
async fn a_log_line_and_a_change_reach_readers_at_once() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let message = deploy_job("shop", Timestamp::now());
    for number in 0..50 {
        let line = crate::store::LogLine::new(Timestamp::now(), &number.to_string());
        backend
            .store
            .append_log(message.deployment, Stage::Build, std::slice::from_ref(&line), 1_000)
            .await
            .unwrap();
        let tail = backend.store.log_tail(message.deployment, Stage::Build, 1).await.unwrap();
        assert_eq!(tail, [line], "a write that was answered is read");
    }
}
