//! What is kept while ledger or store are away, and in which order it gets there.

use slipway_common::contract::sample;
use slipway_common::model::EventKind;

use super::*;
use crate::testing::{Installation, Mood};

fn recorder(installation: &Installation) -> Recorder {
    Recorder::new(installation.backend.clone(), Arc::default())
}

#[tokio::test]
async fn f6_events_kept_while_the_store_is_away_reach_it_in_order() {
    let installation = Installation::open();
    let message = installation.accept().await;
    let recorder = recorder(&installation);
    let course = sample::course(&message, 1, message.accepted_at);
    let (away, later) = course.split_at(course.len() - 1);

    installation.store.set(Mood::Away);
    for event in away {
        recorder.record(Record::Event(event.clone())).await.expect("the ledger is the record");
    }
    assert!(!recorder.store_is_there().await);
    installation.store.set(Mood::Well);
    assert_eq!(installation.history(&message).await, ["accepted"]);

    // The next event comes last, although nobody asked for the others to be caught up.
    tokio::time::sleep(RETRY_PAUSE).await;
    for event in later {
        recorder.record(Record::Event(event.clone())).await.unwrap();
    }
    let wanted: Vec<&str> =
        ["accepted"].into_iter().chain(course.iter().map(|event| event.kind.name())).collect();
    assert_eq!(installation.history(&message).await, wanted);
    assert!(recorder.store_is_there().await);
}

#[tokio::test]
async fn f6_the_store_catches_up_by_itself() {
    let installation = Installation::open();
    let message = installation.accept().await;
    let recorder = recorder(&installation);
    let begun = sample::event(
        &message,
        1,
        message.accepted_at,
        EventKind::StageStarted { stage: message.kind.stages()[0], attempt: 1 },
    );
    installation.store.set(Mood::Away);
    recorder.record(Record::Event(begun.clone())).await.unwrap();
    installation.store.set(Mood::Well);
    let stop = CancellationToken::new();
    let caught_up = async {
        while installation.history(&message).await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = recorder.keep_catching_up(&stop) => unreachable!("nobody stopped it"),
        ended = tokio::time::timeout(Duration::from_secs(20), caught_up) => ended.expect("it catches up"),
    }
    // Once more changes nothing: the store knows the event.
    recorder.record(Record::Event(begun)).await.unwrap();
    assert_eq!(installation.history(&message).await.len(), 2);
}

#[tokio::test]
async fn a_refusal_is_told_and_not_kept() {
    let installation = Installation::open();
    let message = installation.accept().await;
    let figures = Arc::new(Figures::default());
    let recorder = Recorder::new(installation.backend.clone(), Arc::clone(&figures));
    let course = sample::course(&message, 5, message.accepted_at);
    recorder.record(Record::Event(course[0].clone())).await.unwrap();
    let late = sample::event(&message, 4, message.accepted_at, EventKind::Succeeded);
    let refused = recorder.record(Record::Event(late)).await;
    assert!(matches!(refused, Err(RecordError::Store(StoreError::Illegal(Illegal::Fenced { .. })))));
    assert_eq!(figures.counted(Count::Fenced), 1);
    assert!(recorder.catch_up().await, "nothing is left to apply");
}

#[tokio::test]
async fn a_ledger_that_comes_back_has_the_event_once() {
    let installation = Installation::open();
    let message = installation.accept().await;
    let recorder = recorder(&installation);
    let event = sample::course(&message, 1, message.accepted_at).remove(0);
    installation.ledger.set(Mood::Away);
    let back = async {
        tokio::time::sleep(RETRY_PAUSE * 2).await;
        installation.ledger.set(Mood::Well);
    };
    let (recorded, ()) = tokio::join!(recorder.record(Record::Event(event)), back);
    recorded.expect("a short absence is waited for");
    assert_eq!(installation.history(&message).await.len(), 2);
}
