//! The ledger's order decides, whatever was applied ahead of it.

use std::time::Duration;

use jiff::Timestamp;

use super::fixture::Installation;
use crate::contract::sample::{course, deploy_job, event, stop_job};
use crate::contract::{Fixture as _, later};
use crate::model::{Deployment, Event, EventKind, JobMessage};
use crate::queue::Buried;
use crate::record::{Record, StoredToken};
use crate::store::{DeploymentFilter, Page, Store};

async fn everything(store: &dyn Store) -> Vec<Deployment> {
    let page = Page { limit: 100, ..Page::default() };
    store.deployments(&DeploymentFilter::default(), &page).await.expect("the store answers").deployments
}

/// A job accepted and run, all of it in the ledger and none of it applied directly.
fn add_course(installation: &Installation, message: &JobMessage) -> Vec<Event> {
    let mut events = vec![Event::accepted(message)];
    events.extend(course(message, 1, message.accepted_at));
    for event in &events {
        installation.ledger.add(Record::Event(event.clone()));
    }
    events
}

/// What the pure state machine makes of the events in this order, the illegal ones left out.
fn fold(events: &[Event]) -> Deployment {
    let mut folded = crate::state::begin(&events[0]).expect("it begins");
    for event in &events[1..] {
        drop(crate::state::apply(&mut folded, event));
    }
    folded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_applied_ahead_is_put_in_the_ledgers_order() {
    let installation = Installation::make().await;
    let message = deploy_job("shop", Timestamp::now());
    let store = installation.store();
    let mut events = vec![Event::accepted(&message)];
    events.extend(course(&message, 1, message.accepted_at));
    store.apply(&Record::Event(events[0].clone())).await.expect("accepted");
    installation.ledger.add(Record::Event(events[0].clone()));
    installation.settled().await;
    // The end of the first stage, with its facts, reaches the ledger only; what follows overtakes it.
    for event in &events[1..3] {
        store.apply(&Record::Event(event.clone())).await.expect("legal");
    }
    for event in &events[4..7] {
        store.apply(&Record::Event(event.clone())).await.expect("legal without what came before");
    }
    let ahead = store.deployment(message.deployment).await.expect("answers").expect("known");
    assert_ne!(ahead, fold(&events[..7]), "the facts are missing so far");
    for event in &events[1..] {
        installation.ledger.add(Record::Event(event.clone()));
    }
    installation.settled().await;
    let settled = store.deployment(message.deployment).await.expect("answers").expect("known");
    assert_eq!(settled, fold(&events));
    let expected: Vec<(u64, Event)> = (1..).zip(events).collect();
    assert_eq!(store.events(message.deployment, 0, 100).await.expect("answers"), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ledger_refuses_leaves_the_history() {
    let installation = Installation::make().await;
    let message = deploy_job("shop", Timestamp::now());
    let store = installation.store();
    let mut events = add_course(&installation, &message);
    installation.settled().await;
    // A stop is asked for twice at once: the store sees one first, the ledger the other.
    let (one, two) = (stop_job(&message, Timestamp::now()), stop_job(&message, Timestamp::now()));
    let (one, two) = (Event::accepted(&one), Event::accepted(&two));
    store.apply(&Record::Event(two.clone())).await.expect("legal when it came");
    for event in [&one, &two] {
        installation.ledger.add(Record::Event(event.clone()));
    }
    installation.settled().await;
    events.extend([one, two.clone()]);
    let expected = fold(&events);
    assert_eq!(store.deployment(message.deployment).await.expect("answers"), Some(expected.clone()));
    let again = store.apply(&Record::Event(two)).await;
    assert_eq!(again.is_ok(), expected.jobs.len() == 3, "the store says what the ledger's order says");
    let before = everything(&store).await;
    installation.process().projector.rebuild(Duration::from_secs(20)).await.expect("it is rebuilt");
    assert_eq!(everything(&store).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_gives_an_equal_store_and_leaves_the_rest() {
    let installation = Installation::make().await;
    let store = installation.store();
    let now = Timestamp::now();
    for number in 0..12 {
        let message = deploy_job(&format!("shop-{}", number % 3), now);
        let events = add_course(&installation, &message);
        installation.ledger.add(Record::Event(events[3].clone()));
        let refused = event(&message, 0, now, EventKind::Recovered);
        installation.ledger.add(Record::Event(Event { fence: 0, ..refused }));
    }
    let buried = Buried {
        id: crate::model::JobId::generate(),
        message: None,
        unreadable: Some("?".to_owned()),
        reason: "unreadable".to_owned(),
        at: now,
    };
    installation.ledger.add(Record::JobBuried(buried.clone()));
    installation.settled().await;
    let lease = store.acquire_lease("shop", "one", Duration::from_secs(60), now).await.expect("answers");
    let lease = lease.expect("it is free");
    let before = everything(&store).await;
    let counts = store.count_by_state().await.expect("answers");
    assert_eq!((before.len(), store.dead(10).await.expect("answers")), (12, vec![buried.clone()]));
    assert_eq!(store.dead_job(buried.id).await.expect("answers"), Some(buried.clone()));
    installation.process().projector.rebuild(Duration::from_secs(20)).await.expect("it is rebuilt");
    assert_eq!(everything(&store).await, before);
    assert_eq!(store.count_by_state().await.expect("answers"), counts);
    assert_eq!(store.dead_count().await.expect("answers"), 1);
    assert!(store.renew_lease(&lease, Duration::from_secs(60), now).await.expect("answers"), "leases stay");
    assert!(installation.process().projector.figures().rebuilt >= 2);
    installation.ledger.add(Record::JobUnburied { id: buried.id });
    installation.settled().await;
    assert_eq!(store.dead_count().await.expect("answers"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_stays_revoked_while_the_ledger_is_behind() {
    let installation = Installation::make().await;
    let store = installation.store();
    installation.ledger.slow(Duration::from_millis(600));
    let hash = "ab".repeat(32);
    let token = StoredToken { name: "ci".to_owned(), sha256: hash.clone(), created_at: Timestamp::now() };
    let records = [Record::TokenCreated(token), Record::TokenRevoked { name: "ci".to_owned() }];
    for record in &records {
        installation.ledger.add(record.clone());
        store.apply(record).await.expect("taken");
    }
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(store.token(&hash).await.expect("answers"), None);
    }
    installation.settled().await;
    assert_eq!(store.token(&hash).await.expect("answers"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_deployment_lose_nothing() {
    const WRITERS: usize = 20;
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let message = deploy_job("shop", Timestamp::now());
    crate::submit::submit(&backend, &message).await.expect("accepted");
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        let (backend, message) = (backend.clone(), message.clone());
        writers.spawn(async move {
            let kind = EventKind::CancelRequested { by: format!("user {number}") };
            let asked = event(&message, 0, later(message.accepted_at, 1), kind);
            backend.record(&Record::Event(asked)).await.expect("it is taken")
        });
    }
    let mut numbers = writers.join_all().await;
    numbers.sort_unstable();
    // Two processes' order may be settled anew by the ledger: every event is there once, whatever its number was.
    installation.settled().await;
    let history = backend.store.events(message.deployment, 0, 100).await.expect("answers");
    assert_eq!(history.len(), WRITERS + 1);
    let found: Vec<u64> = history.iter().map(|(number, _)| *number).collect();
    assert!(found.iter().copied().eq(1..=21), "{found:?}");
    let mut ids: Vec<_> = history.iter().map(|(_, event)| event.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), WRITERS + 1);
    assert_eq!(numbers.len(), WRITERS);
}
