//! Tests of the projector: unreadable records, several processes, flushes, shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{CHUNK_RECORDS, PAGE_RECORDS};
use crate::contract::sample::{course, deploy_job};
use crate::contract::{Fixture as _, eventually};
use crate::distributed::store::tests::fixture::{Installation, Process};
use crate::model::{DeploymentId, Event};
use crate::record::Record;
use crate::store::{DeploymentFilter, Page, Store, StoreError};

async fn total(store: &dyn Store) -> Result<u64, StoreError> {
    let page = store.deployments(&DeploymentFilter::default(), &Page::default()).await?;
    Ok(page.total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_records_are_counted_and_left_out() {
    let installation = Installation::make().await;
    installation.stop().await;
    for number in 0..20 {
        let message = deploy_job(&format!("shop-{number}"), Timestamp::now());
        installation.ledger.add(Record::Event(Event::accepted(&message)));
    }
    installation.ledger.unreadable.lock().unwrap().extend([1, 7, 8, 20]);
    installation.start().await;
    let process = installation.process();
    eventually("all but the unreadable ones", || async {
        (total(&process.store).await.ok()? == 16).then_some(())
    })
    .await;
    let message = deploy_job("late", Timestamp::now());
    installation.ledger.add(Record::Event(Event::accepted(&message)));
    eventually("what comes after them", || async {
        process.store.deployment(message.deployment).await.ok().flatten()
    })
    .await;
    // The last one was at the end of the ledger and was met again each time until something followed it.
    assert!(process.projector.figures().corrupt >= 4);
}

/// Adds so many deployments with all their events; answers the last one.
fn add_deployments(installation: &Installation, count: usize) -> DeploymentId {
    let mut last = DeploymentId::generate();
    for number in 0..count {
        let message = deploy_job(&format!("shop-{number}"), Timestamp::now());
        installation.ledger.add(Record::Event(Event::accepted(&message)));
        for event in course(&message, 1, message.accepted_at) {
            installation.ledger.add(Record::Event(event));
        }
        last = message.deployment;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_ledger_is_read_in_few_pages() {
    let installation = Installation::make().await;
    let count = 400;
    let last = add_deployments(&installation, count);
    installation.settled().await;
    let process = installation.process();
    let (before, rebuilt) = (installation.ledger.reads(), process.projector.figures().rebuilt);
    installation.redis.control("FLUSHALL").await;
    eventually("the rebuild", || async { (process.projector.figures().rebuilt > rebuilt).then_some(()) })
        .await;
    let reads = installation.ledger.reads() - before;
    let pages = installation.ledger.len().div_ceil(u64::try_from(PAGE_RECORDS).unwrap());
    assert!(pages >= 2, "{pages} pages");
    // Some more: until the flush is seen, and at the end.
    assert!(reads <= pages + 8, "{reads} readings of {pages} pages");
    assert_eq!(total(&process.store).await.unwrap(), u64::try_from(count).unwrap());
    assert_eq!(process.store.events(last, 0, 100).await.unwrap().len(), 17);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_too_slow_for_pages_is_read_in_chunks() {
    let installation = Installation::make().await;
    *installation.ledger.answered_max.lock().unwrap() = Some(CHUNK_RECORDS);
    let count = 60;
    let last = add_deployments(&installation, count);
    let process = installation.process();
    eventually("all of it", || async {
        (process.projector.figures().projected == installation.ledger.len()).then_some(())
    })
    .await;
    assert_eq!(process.store.events(last, 0, 100).await.unwrap().len(), 17);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_projects_and_another_takes_over() {
    let installation = Installation::make().await;
    let first = installation.process();
    let second = Process::start(installation.settings(), Arc::clone(&installation.ledger));
    let message = deploy_job("shop", Timestamp::now());
    let mut events = vec![Event::accepted(&message)];
    events.extend(course(&message, 1, message.accepted_at));
    installation.ledger.add(Record::Event(events[0].clone()));
    installation.settled().await;
    assert!(first.projector.figures().active && !second.projector.figures().active);
    installation.stop().await;
    assert_eq!(second.projector.figures().begun, 0);
    for event in &events[1..] {
        installation.ledger.add(Record::Event(event.clone()));
    }
    eventually("the second taking over", || async {
        (second.projector.figures().projected == installation.ledger.len()).then_some(())
    })
    .await;
    let history = second.store.events(message.deployment, 0, 100).await.expect("answers");
    assert_eq!(history, (1..).zip(events).collect::<Vec<_>>());
    second.stop().await;
}

/// Two that both believe it is their turn still write everything once: the scripts compare.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_do_no_harm() {
    let installation = Installation::make().await;
    let second = Process::start(installation.settings(), Arc::clone(&installation.ledger));
    let mut made = Vec::new();
    for round in 0..40 {
        let message = deploy_job(&format!("shop-{round}"), Timestamp::now());
        installation.ledger.add(Record::Event(Event::accepted(&message)));
        for event in course(&message, 1, message.accepted_at) {
            installation.ledger.add(Record::Event(event));
        }
        made.push(message.deployment);
        // Nobody has the turn any more: both take it.
        installation.redis.control("DEL test:projector").await;
        if round % 10 == 5 {
            installation.redis.control("FLUSHALL").await;
        }
        installation.process().projector.nudge();
        second.projector.nudge();
    }
    let count = u64::try_from(made.len()).unwrap();
    eventually("everything being there", || async {
        (total(&second.store).await.ok()? == count).then_some(())
    })
    .await;
    eventually("the end", || async {
        let figures = [installation.process().projector.figures(), second.projector.figures()];
        figures.iter().any(|figures| figures.projected == installation.ledger.len()).then_some(())
    })
    .await;
    for id in made {
        let history = second.store.events(id, 0, 100).await.expect("answers");
        assert_eq!(history.len(), 17, "each event once");
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_flush_is_noticed_within_a_second() {
    let installation = Installation::make().await;
    for _ in 0..3 {
        let begun = installation.process().projector.figures().begun;
        installation.redis.control("FLUSHALL").await;
        let flushed = Instant::now();
        eventually("the flush being noticed", || async {
            (installation.process().projector.figures().begun > begun).then_some(())
        })
        .await;
        assert!(flushed.elapsed() < Duration::from_secs(1), "it took {:?}", flushed.elapsed());
        installation.works().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_redis_is_waited_for() {
    let installation = Installation::make().await;
    let message = deploy_job("shop", Timestamp::now());
    installation.ledger.add(Record::Event(Event::accepted(&message)));
    installation.settled().await;
    installation.redis.kill().await;
    let store = installation.store();
    let away = store.deployment(message.deployment).await;
    assert!(matches!(away, Err(StoreError::Unavailable { .. })), "a dead Redis gave {away:?}");
    installation.redis.start_again().await;
    let back =
        eventually("the store coming back", || async { store.deployment(message.deployment).await.ok() });
    assert!(back.await.is_some(), "an empty Redis is not taken for an empty store");
}
