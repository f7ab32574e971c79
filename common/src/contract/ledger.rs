//! The laws of the ledger, L1 to L3.

use jiff::Timestamp;

use super::sample::{course, deploy_job};
use super::{Fixture, eventually};
use crate::ledger::{Ledger, Offset};
use crate::model::Event;
use crate::record::Record;

/// A history with more records than fit one small read.
fn records() -> Vec<Record> {
    let now = Timestamp::now();
    let message = deploy_job("shop", now);
    let mut records = vec![Record::Event(Event::accepted(&message))];
    records.extend(course(&message, 1, now).into_iter().map(Record::Event));
    records
}

async fn append_all(ledger: &dyn Ledger, records: &[Record]) {
    for record in records {
        ledger.append(record).await.expect("the ledger takes a record");
    }
}

/// Fails unless the offsets grow from 1.
fn assert_growing(read: &[(Offset, Record)]) {
    let numbers: Vec<u64> = read.iter().map(|(offset, _)| offset.0).collect();
    assert_eq!(numbers.first(), Some(&1), "the first offset is 1");
    assert!(numbers.is_sorted_by(|one, next| one < next), "offsets grow: {numbers:?}");
}

/// The whole ledger, once it has as many records as `count`: a reader may lag behind the writers a little.
pub(super) async fn read_all(ledger: &dyn Ledger, count: usize) -> Vec<(Offset, Record)> {
    eventually("reading what was appended", || async {
        let records = ledger.read(Offset(1), 10_000).await.expect("the ledger answers");
        (records.len() >= count).then_some(records)
    })
    .await
}

/// L1: what `append` acknowledged is there after a crash.
pub async fn l1_survives_restart(fixture: &dyn Fixture) {
    let records = records();
    let before = fixture.backend().await;
    append_all(&*before.ledger, &records).await;
    let after = fixture.restart().await;
    let read = read_all(&*after.ledger, records.len()).await;
    assert_eq!(read.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), records);
}

/// L2: records are read in the order of their offsets, which grow, exactly as appended.
pub async fn l2_ordered_and_exact(fixture: &dyn Fixture) {
    let records = records();
    let backend = fixture.backend().await;
    append_all(&*backend.ledger, &records).await;
    let read = read_all(&*backend.ledger, records.len()).await;
    assert_growing(&read);
    assert_eq!(read.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), records);
}

/// L2: records appended together are read as if they had been appended one after another.
pub async fn l2_together_is_one_after_another(fixture: &dyn Fixture) {
    let records = records();
    let backend = fixture.backend().await;
    let (first, second) = records.split_at(records.len() / 2);
    backend.ledger.append_all(first).await.expect("the ledger takes records");
    backend.ledger.append_all(&[]).await.expect("nothing is taken too");
    backend.ledger.append_all(second).await.expect("the ledger takes records");
    let read = read_all(&*backend.ledger, records.len()).await;
    assert_growing(&read);
    assert_eq!(read.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), records);
}

/// L2: appends at the same time leave no record out and none twice.
pub async fn l2_concurrent_appends_are_complete(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let records = records();
    let mut writers = tokio::task::JoinSet::new();
    for record in records.clone() {
        let ledger = backend.ledger.clone();
        writers.spawn(async move { ledger.append(&record).await.expect("the ledger takes a record") });
    }
    writers.join_all().await;
    let read = read_all(&*backend.ledger, records.len()).await;
    assert_growing(&read);
    assert_eq!(read.len(), records.len(), "none is there twice");
    assert!(records.iter().all(|record| read.iter().any(|(_, found)| found == record)), "none is missing");
}

/// L3: reading from an offset begins exactly there; past the head there is nothing.
pub async fn l3_resumes_exactly(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let records = records();
    append_all(&*backend.ledger, &records).await;
    read_all(&*backend.ledger, records.len()).await;
    let (mut next, mut read) = (Offset(1), Vec::new());
    loop {
        let page = backend.ledger.read(next, 3).await.expect("the ledger answers");
        assert!(page.len() <= 3, "no more than asked for");
        let Some((last, _)) = page.last() else { break };
        next = Offset(last.0 + 1);
        read.extend(page.into_iter().map(|(_, record)| record));
    }
    assert_eq!(read, records);
    let head = next.0 - 1;
    assert!(backend.ledger.read(Offset(head + 1), 10).await.expect("the ledger answers").is_empty());
    assert!(backend.ledger.read(Offset(head + 1_000), 10).await.expect("the ledger answers").is_empty());
    assert!(backend.ledger.read(Offset(1), 0).await.expect("the ledger answers").is_empty());
}
