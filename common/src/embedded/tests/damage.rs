//! Full disks and damaged rows: told clearly, nothing lost, and everything works again afterwards.

use super::*;
use crate::ledger::LedgerError;
use crate::store::LogLine;

/// Room for the schema and little more.
const SMALL_BYTES: u64 = 400 * 1024;
const AMPLE_BYTES: u64 = 1024 * 1024 * 1024;

/// Appends log lines until the disk is full.
async fn fill(backend: &Backend) {
    let message = deploy_job("filler", Timestamp::now());
    let lines: Vec<LogLine> = (0..64).map(|_| LogLine::new(Timestamp::now(), &"x".repeat(500))).collect();
    for _ in 0..100 {
        match backend.store.append_log(message.deployment, Stage::Build, &lines, u64::MAX).await {
            Ok(()) => {}
            Err(StoreError::DiskFull) => return,
            Err(other) => panic!("a full disk was reported as {other:?}"),
        }
    }
    panic!("the disk never got full");
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path(), |settings| settings.database_max_bytes = SMALL_BYTES);
    let backend = embedded.backend();
    let mut taken = vec![deploy_job("shop", Timestamp::now())];
    backend.queue.enqueue(&taken[0]).await.unwrap();
    fill(&backend).await;
    // Small jobs may still fit; sooner or later none does, and each is taken whole or not at all.
    let refused = loop {
        let message = deploy_job("shop", Timestamp::now());
        match backend.queue.enqueue(&message).await {
            Ok(()) => taken.push(message),
            Err(QueueError::Unavailable { reason }) => {
                assert!(reason.contains("full"), "{reason}");
                break message;
            }
            Err(other) => panic!("a full disk was reported as {other:?}"),
        }
    };
    let ledger = backend.ledger.read(Offset(1), 1_000).await.unwrap();
    assert_eq!(ledger.len(), taken.len(), "the refused job left nothing behind");
    assert_eq!(everything(&backend).await.total, u64::try_from(taken.len()).unwrap());
    embedded
        .shared
        .write(|connection| Ok(schema::limit_size(connection, AMPLE_BYTES)?))
        .await
        .expect("changing the limit needs no room");
    backend.queue.enqueue(&refused).await.expect("it works again");
    taken.push(refused);
    backend.store.check().await.unwrap();
    for message in &taken {
        assert_eq!(claim(&backend).await.expect("no job was lost").message.id, message.id);
    }
}

#[tokio::test]
async fn one_call_that_finds_no_room_does_not_take_its_group_along() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path(), |settings| settings.database_max_bytes = SMALL_BYTES);
    let backend = embedded.backend();
    let message = deploy_job("shop", Timestamp::now());
    let lines: Vec<LogLine> = (0..200).map(|_| LogLine::new(Timestamp::now(), &"x".repeat(8_000))).collect();
    // A slow call first, so that the two others wait together and become one group.
    let slow = embedded.shared.write(|connection| {
        let count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) \
                     SELECT COUNT(*) FROM n";
        Ok(connection.query_row(count, [], |row| row.get::<_, i64>(0))?)
    });
    let (slow, huge, small) = tokio::join!(
        slow,
        backend.store.append_log(message.deployment, Stage::Build, &lines, u64::MAX),
        backend.queue.enqueue(&message),
    );
    slow.unwrap();
    assert!(matches!(huge, Err(StoreError::DiskFull)), "{huge:?}");
    small.expect("the small one fits");
    assert!(claim(&backend).await.is_some());
}

#[tokio::test]
async fn an_unreadable_job_is_set_aside_and_the_next_one_served() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    backend.queue.enqueue(&deploy_job("shop", Timestamp::now())).await.unwrap();
    meddle(&embedded, "UPDATE queue SET message = '{\"version\":'").await;
    let healthy = deploy_job("shop", Timestamp::now());
    backend.queue.enqueue(&healthy).await.unwrap();
    assert_eq!(claim(&backend).await.unwrap().message.id, healthy.id);
    assert!(claim(&backend).await.is_none());
    assert_eq!(backend.queue.depth(Timestamp::now()).await.unwrap().buried, 1);
    let [buried] = &backend.queue.buried(10).await.unwrap()[..] else { panic!("one is set aside") };
    assert_eq!((buried.message.as_ref(), buried.unreadable.as_deref()), (None, Some("{\"version\":")));
    assert!(!backend.queue.requeue(buried.id, Timestamp::now()).await.unwrap(), "nobody could read it");
    assert!(backend.queue.discard(buried.id, Timestamp::now()).await.unwrap());
}

#[tokio::test]
async fn damaged_rows_are_reported_and_a_rebuild_repairs_the_projection() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let message = deploy_job("shop", Timestamp::now());
    backend.queue.enqueue(&message).await.unwrap();
    meddle(&embedded, "UPDATE deployments SET body = '{\"id\": 1}'").await;
    let one = backend.store.deployment(message.deployment).await;
    assert!(matches!(one, Err(StoreError::Corrupt { what: "deployment", .. })), "{one:?}");
    let events = course(&message, 1, Timestamp::now());
    let recorded = backend.record(&Record::Event(events[0].clone())).await;
    assert!(recorded.is_err(), "the ledger has it, the store cannot fold it");
    embedded.rebuild().await.unwrap();
    let folded = backend.store.deployment(message.deployment).await.unwrap().unwrap();
    assert!(folded.latest_job().unwrap().started_at.is_some(), "the event that was missing is folded in");
    meddle(&embedded, "UPDATE ledger SET body = 'x' WHERE position = 2").await;
    let read = backend.ledger.read(Offset(1), 10).await;
    assert!(matches!(read, Err(LedgerError::Corrupt { offset: 2, .. })), "{read:?}");
    let rebuilt = embedded.rebuild().await;
    assert!(matches!(rebuilt, Err(StoreError::Corrupt { what: "record", .. })), "{rebuilt:?}");
    assert_eq!(
        backend.store.deployment(message.deployment).await.unwrap(),
        Some(folded),
        "the old one is kept"
    );
}

#[tokio::test]
async fn a_report_of_damage_shows_nothing_of_the_row() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let message = deploy_job("shop", Timestamp::now());
    backend.queue.enqueue(&message).await.unwrap();
    meddle(&embedded, "UPDATE deployments SET body = '\"hunter2\"'").await;
    let error = backend.store.deployment(message.deployment).await.expect_err("it is damaged");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}
