//! S1 to S4: a deployment is the fold of its events, each applied once and numbered without gaps.

use std::time::Duration;

use jiff::Timestamp;

use super::{Fixture, accepted, deployment, fold, illegal, record};
use crate::contract::sample::{course, event};
use crate::model::{DeploymentId, Event, EventKind, LiveReplica, LiveState, Stage};
use crate::record::Record;
use crate::store::{Change, StoreError};

/// S1: the deployment is the fold of its events after each of them, and so is its job.
pub async fn s1_is_the_fold_of_its_events(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = accepted(fixture, &backend, "shop").await;
    let events = course(&message, 1, message.accepted_at);
    assert_eq!(deployment(&backend, message.deployment).await, fold(&message, &[]));
    for count in 1..=events.len() {
        record(&backend, &events[count - 1]).await;
        let expected = fold(&message, &events[..count]);
        assert_eq!(deployment(&backend, message.deployment).await, expected);
        let job = backend.store.job(message.id).await.expect("the store answers");
        assert_eq!(job.as_ref(), expected.job(message.id));
    }
    let unknown = DeploymentId::generate();
    assert!(backend.store.deployment(unknown).await.expect("the store answers").is_none());
}

/// S1: the fold survives a crash.
pub async fn s1_survives_restart(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = accepted(fixture, &backend, "shop").await;
    let events = course(&message, 1, message.accepted_at);
    for event in &events {
        record(&backend, event).await;
    }
    let reopened = fixture.restart().await;
    fixture.settled().await;
    assert_eq!(deployment(&reopened, message.deployment).await, fold(&message, &events));
}

/// S2: a second application changes nothing and answers the same number, also of the acceptance.
pub async fn s2_applying_twice_is_applying_once(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = accepted(fixture, &backend, "shop").await;
    let acceptance = Record::Event(Event::accepted(&message));
    assert_eq!(backend.store.apply(&acceptance).await.expect("a repetition is fine"), 1);
    let events = course(&message, 1, message.accepted_at);
    for (number, event) in (2..).zip(&events) {
        assert_eq!(record(&backend, event).await, number);
    }
    let before = deployment(&backend, message.deployment).await;
    for (number, event) in (2..).zip(&events) {
        let again = backend.store.apply(&Record::Event(event.clone())).await;
        assert_eq!(again.expect("a repetition is fine"), number);
        assert_eq!(record(&backend, event).await, number, "a repetition through the ledger");
    }
    assert_eq!(deployment(&backend, message.deployment).await, before);
    let history = backend.store.events(message.deployment, 0, 1_000).await.expect("the store answers");
    assert_eq!(history.len(), events.len() + 1, "no event is there twice");
}

/// S3: of records that are applied together, those before an illegal one are folded, and those after it are not.
pub async fn s3_what_comes_before_an_illegal_event_stays(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = accepted(fixture, &backend, "shop").await;
    let events = course(&message, 1, message.accepted_at);
    let (before, after) = events.split_at(2);
    let mut together = before.to_vec();
    together.push(illegal(&message));
    together.push(after[0].clone());
    let records: Vec<Record> = together.into_iter().map(Record::Event).collect();
    let refused = backend.store.apply_all(&records).await;
    assert!(matches!(refused, Err(StoreError::Illegal(_))), "gave {refused:?}");
    assert_eq!(deployment(&backend, message.deployment).await, fold(&message, before));
    backend.store.apply_all(&[]).await.expect("nothing is taken too");
    let rest: Vec<Record> = after.iter().cloned().map(Record::Event).collect();
    backend.store.apply_all(&rest).await.expect("they are legal now");
    backend.store.apply_all(&rest).await.expect("a repetition is fine");
    assert_eq!(deployment(&backend, message.deployment).await, fold(&message, &events));
}

/// S3: an illegal event changes nothing, and every attempt is told why.
pub async fn s3_an_illegal_event_changes_nothing(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = accepted(fixture, &backend, "shop").await;
    let before = deployment(&backend, message.deployment).await;
    let refused = Record::Event(illegal(&message));
    backend.ledger.append(&refused).await.expect("the ledger takes every record");
    fixture.settled().await;
    let reason = crate::state::apply(&mut before.clone(), &illegal(&message)).expect_err("it is illegal");
    for _ in 0..2 {
        match backend.store.apply(&refused).await {
            Err(StoreError::Illegal(told)) => assert_eq!(told, reason),
            other => panic!("an illegal event gave {other:?}"),
        }
    }
    assert_eq!(deployment(&backend, message.deployment).await, before);
    let begun =
        event(&message, 1, Timestamp::now(), EventKind::StageStarted { stage: Stage::Clone, attempt: 1 });
    assert_eq!(record(&backend, &begun).await, 2, "the refused event took no number");
    // What came too early stays refused, although it would be legal later.
    let early = backend.store.apply(&refused).await;
    assert!(matches!(early, Err(StoreError::Illegal(_))), "a refused event gave {early:?} later");
    let mut foreign = begun;
    foreign.id = crate::model::EventId::generate();
    foreign.deployment = DeploymentId::generate();
    let unknown = backend.store.apply(&Record::Event(foreign)).await;
    assert!(matches!(unknown, Err(StoreError::UnknownDeployment { .. })), "gave {unknown:?}");
}

/// S4: the events of a deployment are numbered from 1 without gaps and read back as they were applied.
pub async fn s4_numbers_have_no_gaps(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = accepted(fixture, &backend, "shop").await;
    let other = accepted(fixture, &backend, "blog").await;
    let events = course(&message, 1, message.accepted_at);
    for (event, foreign) in events.iter().zip(course(&other, 1, other.accepted_at)) {
        record(&backend, event).await;
        record(&backend, &foreign).await;
    }
    let mut expected = vec![Event::accepted(&message)];
    expected.extend(events);
    let expected: Vec<(u64, Event)> = (1..).zip(expected).collect();
    let all = backend.store.events(message.deployment, 0, 1_000).await.expect("the store answers");
    assert_eq!(all, expected);
    let some = backend.store.events(message.deployment, 3, 2).await.expect("the store answers");
    assert_eq!(some, expected[3..5]);
    let past = backend.store.events(message.deployment, 1_000, 5).await.expect("the store answers");
    assert!(past.is_empty());
}

/// The latest observation of what runs is kept.
pub async fn live_states_are_the_latest(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = accepted(fixture, &backend, "shop").await;
    assert_eq!(backend.store.live(message.deployment).await.expect("the store answers"), None);
    for serving in [0, 1] {
        let replica = LiveReplica {
            name: "shop-1".to_owned(),
            state: "running".to_owned(),
            serving: serving > 0,
            started_at: None,
            restarts: 2,
            exit_code: Some(137),
            out_of_memory: true,
            reason: None,
        };
        let live = LiveState {
            replicas_wanted: 1,
            replicas_updated: None,
            replicas_serving: serving,
            replicas: vec![replica],
            supports: Vec::new(),
            events: Vec::new(),
            drift: Vec::new(),
            observed_at: Timestamp::now(),
        };
        backend.store.put_live(message.deployment, &live).await.expect("the store takes it");
        assert_eq!(backend.store.live(message.deployment).await.expect("the store answers"), Some(live));
    }
}

/// Whoever listens is told of events and log lines.
pub async fn changes_are_hinted(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let mut changes = backend.store.changes();
    let message = accepted(fixture, &backend, "shop").await;
    let line = crate::store::LogLine::new(Timestamp::now(), "cloning");
    let appended = backend.store.append_log(message.deployment, Stage::Clone, &[line], 1_000).await;
    appended.expect("the store takes a line");
    let (mut event, mut log) = (false, false);
    while !(event && log) {
        let change = tokio::time::timeout(Duration::from_secs(20), changes.recv()).await;
        let change = change.expect("both hints come").expect("nobody falls behind so few");
        event |= change == Change::Event(message.deployment);
        log |= change == Change::Log(message.deployment, Stage::Clone);
    }
}

/// A store that works says so.
pub async fn check_says_whether_it_works(fixture: &dyn Fixture) {
    fixture.backend().await.store.check().await.expect("it works");
    fixture.restart().await.store.check().await.expect("it works again");
}
