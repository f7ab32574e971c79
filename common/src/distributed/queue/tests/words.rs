//! The scripts of the index, on a real Redis.

use std::time::Duration;

use jiff::Timestamp;

use crate::contract::sample::deploy_job;
use crate::distributed::queue::index::{End, Index, Lane, Look, Ours, Wish, Word};
use crate::distributed::redis::Redis;
use crate::distributed::testing::TestRedis;
use crate::distributed::tests::fixture::settings;
use crate::model::{JobMessage, WorkerId};

const LONG: Duration = Duration::from_secs(60);

fn index(redis: &TestRedis, process: &str) -> Index {
    let settings = settings("amqp://127.0.0.1", &redis.url(), "words", 1);
    Index::new(Redis::new(settings.redis), process.to_owned(), LONG)
}

fn wish(message: &JobMessage, generation: u64, now: Timestamp) -> Wish<'_> {
    let expires = now.saturating_add(LONG).expect("a minute later");
    Wish {
        message,
        generation,
        worker: WorkerId::generate(),
        now,
        expires,
        expired: (0, 0),
        deliveries_max: None,
    }
}

fn taken(word: Word) -> (u64, u32) {
    let Word::Taken { token, deliveries } = word else { panic!("{word:?}") };
    (token, deliveries)
}

#[tokio::test]
async fn a_claim_of_a_living_process_is_deferred_and_of_a_dead_one_taken() {
    let redis = TestRedis::start().await;
    let (one, two) = (index(&redis, "one"), index(&redis, "two"));
    let message = deploy_job("shop", Timestamp::now());
    let now = Timestamp::now();
    one.live(Duration::from_secs(60)).await.unwrap();
    let (token, deliveries) = taken(one.claim(&wish(&message, 0, now)).await.unwrap());
    assert_eq!(deliveries, 1);
    assert_eq!(two.claim(&wish(&message, 0, now)).await.unwrap(), Word::Alive);
    one.leave().await.unwrap();
    let (newer, deliveries) = taken(two.claim(&wish(&message, 0, now)).await.unwrap());
    assert!(newer > token, "{newer} after {token}");
    assert_eq!(deliveries, 2, "a process died on it");
    let ours = Ours { message: &message, generation: 0, token };
    assert!(!one.renew(&ours, 1, WorkerId::generate(), now).await.unwrap(), "it was taken over");
    assert!(!one.settle(&ours, End::Done).await.unwrap(), "and can end nothing");
}

#[tokio::test]
async fn older_copies_are_dropped_and_newer_ones_taken() {
    let redis = TestRedis::start().await;
    let one = index(&redis, "one");
    let message = deploy_job("shop", Timestamp::now());
    let now = Timestamp::now();
    let (token, _) = taken(one.claim(&wish(&message, 0, now)).await.unwrap());
    let next = Ours { message: &message, generation: token + 1, token };
    let parked = End::Parked { until_us: i64::MAX / 4_096, body: b"body" };
    assert!(one.settle(&next, parked).await.unwrap());
    assert_eq!(one.claim(&wish(&message, 0, now)).await.unwrap(), Word::Drop, "the acceptance");
    assert_eq!(one.counts(now).await.unwrap(), (1, 0));
    let entry = one.entry(message.id).await.unwrap().expect("it is known");
    assert_eq!(
        (entry.generation, entry.token, entry.body.as_deref()),
        (token + 1, token, Some(&b"body"[..]))
    );
    // Woken, and forgotten what it was parked as: the newest copy counts.
    let (newer, deliveries) = taken(one.claim(&wish(&message, token + 5, now)).await.unwrap());
    assert!(newer > token + 5, "the token is above the generation: {newer}");
    assert_eq!(deliveries, 1, "parking began the count again");
    assert_eq!(one.claim(&wish(&message, token + 1, now)).await.unwrap(), Word::Drop, "the parked copy");
    assert_eq!(one.counts(now).await.unwrap(), (0, 1));
}

#[tokio::test]
async fn the_end_is_final_but_for_a_requeued_job() {
    let redis = TestRedis::start().await;
    let one = index(&redis, "one");
    let now = Timestamp::now();
    let done = deploy_job("shop", now);
    let (token, _) = taken(one.claim(&wish(&done, 0, now)).await.unwrap());
    assert!(one.settle(&Ours { message: &done, generation: 0, token }, End::Done).await.unwrap());
    one.offered(&done, token + 9, Lane::Front, true).await.unwrap();
    assert_eq!(one.claim(&wish(&done, token + 9, now)).await.unwrap(), Word::Drop);
    let buried = deploy_job("shop", now);
    let (token, _) = taken(one.claim(&wish(&buried, 0, now)).await.unwrap());
    assert!(one.settle(&Ours { message: &buried, generation: 0, token }, End::Buried).await.unwrap());
    assert_eq!(one.claim(&wish(&buried, 0, now)).await.unwrap(), Word::Drop, "it was buried");
    one.offered(&buried, token + 1, Lane::Front, true).await.unwrap();
    let (_, deliveries) = taken(one.claim(&wish(&buried, token + 1, now)).await.unwrap());
    assert_eq!(deliveries, 1, "queued again with a fresh count");
}

#[tokio::test]
async fn a_forgotten_claim_is_written_again_by_its_renewal() {
    let redis = TestRedis::start().await;
    let (one, two) = (index(&redis, "one"), index(&redis, "two"));
    let message = deploy_job("shop", Timestamp::now());
    let now = Timestamp::now();
    let expires = now.saturating_add(LONG).unwrap();
    let (token, deliveries) = taken(one.claim(&wish(&message, 7, now)).await.unwrap());
    redis.control("FLUSHALL").await;
    one.live(LONG).await.unwrap();
    let ours = Ours { message: &message, generation: 7, token };
    assert!(one.renew(&ours, deliveries, WorkerId::generate(), expires).await.unwrap());
    assert_eq!(two.claim(&wish(&message, 7, now)).await.unwrap(), Word::Alive);
    assert_eq!(two.claim(&wish(&message, 0, now)).await.unwrap(), Word::Drop, "and the generation with it");
}

#[tokio::test]
async fn a_claim_that_was_never_handed_out_charges_nobody() {
    let redis = TestRedis::start().await;
    let one = index(&redis, "one");
    let message = deploy_job("shop", Timestamp::now());
    let now = Timestamp::now();
    let (first, _) = taken(one.claim(&wish(&message, 0, now)).await.unwrap());
    // The caller gave up before it had the answer.
    let (second, deliveries) = taken(one.claim(&wish(&message, 0, now)).await.unwrap());
    assert!(second > first);
    assert_eq!(deliveries, 1);
    // This one was handed out, and expired.
    let expired = Wish { expired: (second, 1), ..wish(&message, 0, now) };
    let (_, deliveries) = taken(one.claim(&expired).await.unwrap());
    assert_eq!(deliveries, 2);
}

#[tokio::test]
async fn lanes_are_counted_by_project() {
    let redis = TestRedis::start().await;
    let one = index(&redis, "one");
    let now = Timestamp::now();
    let jobs: Vec<_> = (0..3).map(|_| deploy_job("shop", now)).collect();
    for job in &jobs {
        one.offered(job, 0, Lane::Front, false).await.unwrap();
    }
    one.offered(&jobs[2], 0, Lane::Backlog, false).await.unwrap();
    one.offered(&deploy_job("other", now), 0, Lane::Front, false).await.unwrap();
    let next = deploy_job("shop", now);
    assert_eq!(one.look(&next).await.unwrap(), Look { is_known: false, front: 2, backlog: 1 });
    taken(one.claim(&wish(&jobs[0], 0, now)).await.unwrap());
    taken(one.claim(&wish(&jobs[2], 0, now)).await.unwrap());
    assert_eq!(one.look(&jobs[1]).await.unwrap(), Look { is_known: true, front: 1, backlog: 0 });
}
