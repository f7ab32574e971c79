//! Publishing, subscribing and settling on a healthy broker.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::{PATIENCE, ready, settings};
use crate::distributed::broker::{
    Broker, BrokerState, Counts, Exchange, MessageKind, Publication, PublishError, QueueName,
};
use crate::distributed::testing::{rabbit_shared, unique_prefix};
use crate::model::JobId;

async fn broker() -> Broker {
    ready(settings(&rabbit_shared().await.url(), &unique_prefix())).await
}

pub(super) fn job(key: &str, body: &str) -> Publication {
    Publication {
        exchange: Exchange::Jobs,
        key: key.to_owned(),
        kind: MessageKind::Job,
        body: Bytes::from(body.to_owned()),
        job: Some(JobId::generate()),
        generation: 3,
        until: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_message_is_delivered_with_its_properties() {
    let broker = broker().await;
    let mut sent = job("front", "hello");
    sent.until = Some(jiff::Timestamp::from_microsecond(1_234_567_890_123_456).unwrap());
    let id = broker.publish(sent.clone()).await.unwrap();
    let mut front = broker.subscribe(QueueName::Front, 1);
    let delivery = timeout(PATIENCE, front.next()).await.unwrap();
    assert_eq!(delivery.body, sent.body);
    assert_eq!(delivery.publication, Some(id));
    assert_eq!((delivery.job, delivery.generation, delivery.until), (sent.job, 3, sent.until));
    assert!(!delivery.redelivered && delivery.delivery_count == 0);
    delivery.release().await;
    let again = timeout(PATIENCE, front.next()).await.unwrap();
    assert!(again.redelivered && again.delivery_count == 1, "{again:?}");
    assert!(again.is_live());
    again.ack().await.unwrap();
    assert_eq!(broker.figures().confirmed, 1);
    broker.close().await;
    assert!(matches!(broker.state(), BrokerState::Away { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_goes_to_the_dead() {
    let broker = broker().await;
    broker.publish(job("front", "bad")).await.unwrap();
    let mut front = broker.subscribe(QueueName::Front, 1);
    timeout(PATIENCE, front.next()).await.unwrap().reject().await;
    let mut dead = broker.subscribe(QueueName::Dead, 1);
    let delivery = timeout(PATIENCE, dead.next()).await.unwrap();
    assert_eq!(delivery.body, "bad");
    delivery.ack().await.unwrap();
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_comes_to_front() {
    let broker = broker().await;
    let begun = Instant::now();
    broker.publish(job("delay.250", "later")).await.unwrap();
    let mut front = broker.subscribe(QueueName::Front, 1);
    let delivery = timeout(PATIENCE, front.next()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(240));
    delivery.ack().await.unwrap();
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unroutable_is_never_confirmed_however_many_are_in_flight() {
    let broker = broker().await;
    let mut flights = tokio::task::JoinSet::new();
    for number in 0..600 {
        let (broker, lost) = (broker.clone(), number % 3 == 0);
        let publication = job(if lost { "nowhere" } else { "front" }, "x");
        flights.spawn(async move { (lost, broker.publish(publication).await) });
    }
    for (lost, outcome) in flights.join_all().await {
        match outcome {
            Ok(_) => assert!(!lost, "an unroutable message counted as confirmed"),
            Err(PublishError::Unroutable { .. }) => assert!(lost, "a routed message counted as unroutable"),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(broker.figures().returned, 200);
    assert_eq!(broker.counts(QueueName::Front).await.unwrap().ready, 400);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses() {
    let mut settings = settings(&rabbit_shared().await.url(), &unique_prefix());
    settings.queue_max_jobs = 3;
    let broker = ready(settings).await;
    let begun = Instant::now();
    // The queue tells its publishers a little after it is full.
    let refused = loop {
        assert!(begun.elapsed() < PATIENCE, "a full queue took everything");
        if let Err(error) = broker.publish(job("front", "x")).await {
            break error;
        }
    };
    assert!(matches!(refused, PublishError::Refused { .. }), "{refused}");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_at_once_are_all_confirmed() {
    let broker = broker().await;
    let mut flights = tokio::task::JoinSet::new();
    for _ in 0..5_000 {
        let broker = broker.clone();
        flights.spawn(async move {
            loop {
                match broker.publish(job("front", &"x".repeat(1_000))).await {
                    // On a busy machine the last in the row wait for a channel in vain, and have published nothing.
                    Err(PublishError::Unavailable { .. }) => {}
                    ended => break ended.unwrap(),
                }
            }
        });
    }
    let begun = Instant::now();
    let ids: HashSet<_> = flights.join_all().await.into_iter().collect();
    println!("5,000 at once: {:?}", begun.elapsed());
    assert_eq!(ids.len(), 5_000);
    assert_eq!(broker.counts(QueueName::Front).await.unwrap().ready, 5_000);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_publish_hundreds_a_second() {
    let broker = broker().await;
    let mut callers = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for _ in 0..100 {
        let broker = broker.clone();
        callers.spawn(async move {
            for _ in 0..50 {
                broker.publish(job("front", &"x".repeat(1_000))).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    let per_second = 5_000.0 / begun.elapsed().as_secs_f64();
    println!("100 callers: {per_second:.0} publishes/s");
    assert!(per_second > 300.0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_subscription_frees_what_nobody_took() {
    let broker = broker().await;
    for body in ["a", "b", "c"] {
        broker.publish(job("front", body)).await.unwrap();
    }
    let mut first = broker.subscribe(QueueName::Front, 10);
    let taken = timeout(PATIENCE, first.next()).await.unwrap();
    drop(first);
    let mut second = broker.subscribe(QueueName::Front, 10);
    for _ in 0..2 {
        timeout(PATIENCE, second.next()).await.unwrap().ack().await.unwrap();
    }
    assert!(taken.is_live());
    taken.ack().await.unwrap();
    let begun = Instant::now();
    // The broker knows a cancelled consumer until its last message is settled.
    while broker.counts(QueueName::Front).await.unwrap() != (Counts { ready: 0, consumers: 1 }) {
        assert!(begun.elapsed() < PATIENCE, "the cancelled consumer is still there");
    }
    broker.close().await;
}
