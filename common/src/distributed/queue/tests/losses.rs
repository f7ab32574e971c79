//! The cases in which a job could be lost, each brought about: between two processes on a real RabbitMQ and Redis.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::contract::eventually;
use crate::contract::sample::deploy_job;
use crate::distributed::broker::{Exchange, MessageKind, Publication};
use crate::distributed::queue::index::{End, Ours};
use crate::distributed::queue::{Copy, encoded, message::next_generation};
use crate::distributed::testing::{TestRabbit, TestRedis, rabbit_shared, unique_prefix};
use crate::distributed::tests::fixture::{open, settings};
use crate::distributed::{Distributed, DistributedSettings};
use crate::model::{JobMessage, WorkerId};
use crate::queue::{Claim, JobQueue as _};

const LONG: Duration = Duration::from_secs(600);
/// Longer than a copy of a job that somebody works on stays out of sight.
const SECOND_COPIES: Duration = Duration::from_secs(4);

/// A broker shared with other tests and a Redis of its own.
struct Site {
    redis: TestRedis,
    rabbit: &'static TestRabbit,
    settings: DistributedSettings,
}

impl Site {
    async fn make() -> Self {
        let (redis, rabbit) = tokio::join!(TestRedis::start_durable(), rabbit_shared());
        let mut settings = settings(&rabbit.url(), &redis.url(), &unique_prefix(), 4);
        settings.broker.watch_interval = Duration::from_millis(500);
        Self { redis, rabbit, settings }
    }

    async fn process(&self) -> Distributed {
        open(&self.settings).await
    }

    /// One that fetches at most `slots` jobs.
    async fn process_of(&self, slots: u16) -> Distributed {
        open(&DistributedSettings { slots, ..self.settings.clone() }).await
    }
}

async fn enqueue(process: &Distributed) -> JobMessage {
    let message = deploy_job("shop", Timestamp::now());
    process.parts.queue.enqueue(&message).await.expect("a job is accepted");
    message
}

/// A claim, if there is one. A broker that is away for a moment gives none.
async fn try_claim(process: &Distributed) -> Option<Claim> {
    process.parts.queue.claim(WorkerId::generate(), LONG, Timestamp::now()).await.ok().flatten()
}

async fn claim(process: &Distributed) -> Claim {
    eventually("a delivery", || try_claim(process)).await
}

async fn complete(process: &Distributed, claim: &Claim) {
    process.parts.queue.complete(claim, Timestamp::now()).await.expect("the claim holds");
}

/// Nothing comes for as long as a second copy could take.
async fn nothing_comes(process: &Distributed) {
    let began = tokio::time::Instant::now();
    while began.elapsed() < SECOND_COPIES {
        let claimed = try_claim(process).await;
        assert!(claimed.is_none(), "nothing is due, and yet {claimed:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes the next copy of a claimed job, as parking does first; answers its generation.
async fn publish_next(process: &Distributed, claim: &Claim, until: Timestamp) -> u64 {
    let generation = next_generation(0, claim.token, Timestamp::now());
    let copy = Copy {
        key: "delay.1000".to_owned(),
        body: encoded(&claim.message).expect("it is JSON"),
        job: claim.message.id,
        generation,
        until_us: Some(until.as_microsecond()),
    };
    process.parts.queue.move_copy(copy).await.expect("the broker takes it");
    generation
}

fn in_ms(ms: u64) -> Timestamp {
    Timestamp::now().saturating_add(Duration::from_millis(ms)).expect("a moment later")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_taken_over_at_once_and_charges_only_what_was_claimed() {
    let site = Site::make().await;
    let one = site.process_of(2).await;
    let (_, _) = (enqueue(&one).await, enqueue(&one).await);
    let claimed = claim(&one).await;
    eventually("the other job is fetched", || async { (one.parts.queue.buffered() == 1).then_some(()) })
        .await;
    let two = site.process().await;
    one.abandon();
    let crashed = tokio::time::Instant::now();
    let taken = [claim(&two).await, claim(&two).await];
    assert!(crashed.elapsed() < Duration::from_secs(4), "it took {:?}", crashed.elapsed());
    for again in taken {
        let expected = if again.message.id == claimed.message.id { 2 } else { 1 };
        assert_eq!(again.deliveries, expected, "claimed before: {}", expected == 2);
        complete(&two, &again).await;
    }
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_end_gives_back_what_was_only_fetched() {
    let site = Site::make().await;
    let one = site.process().await;
    let message = enqueue(&one).await;
    eventually("it is fetched", || async { (one.parts.queue.buffered() == 1).then_some(()) }).await;
    one.close().await;
    let two = site.process().await;
    let again = claim(&two).await;
    assert_eq!((again.message.id, again.deliveries), (message.id, 1));
    complete(&two, &again).await;
    // And without the end of the process: one that drains.
    let next = enqueue(&two).await;
    eventually("it is fetched", || async { (two.parts.queue.buffered() == 1).then_some(()) }).await;
    two.stop_taking().await;
    let three = site.process().await;
    let again = claim(&three).await;
    assert_eq!((again.message.id, again.deliveries), (next.id, 1));
    three.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_flushed_loses_nothing_and_repeats_nothing() {
    let site = Site::make().await;
    let one = site.process().await;
    let queue = &one.parts.queue;
    for _ in 0..4 {
        enqueue(&one).await;
    }
    let (done, held, parked) = (claim(&one).await, claim(&one).await, claim(&one).await);
    complete(&one, &done).await;
    queue.park(&parked, in_ms(1_500), Timestamp::now()).await.expect("the claim holds");
    site.redis.control("FLUSHALL").await;
    let ready = claim(&one).await;
    let woken = claim(&one).await;
    assert_eq!(woken.message.id, parked.message.id);
    assert!(woken.token > parked.token, "{} after {}", woken.token, parked.token);
    for claim in [&held, &ready, &woken] {
        complete(&one, claim).await;
    }
    nothing_comes(&one).await;
    one.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_rolled_back_delays_a_parked_job_and_does_not_lose_it() {
    let site = Site::make().await;
    let one = site.process().await;
    enqueue(&one).await;
    let claimed = claim(&one).await;
    one.parts.queue.park(&claimed, in_ms(1_200), Timestamp::now()).await.expect("the claim holds");
    // A replica that lags: it has the claim, by another process that is believed alive, and not the parking.
    let (prefix, job) = (&site.settings.redis.prefix, claimed.message.id);
    let expires = in_ms(60_000).as_microsecond();
    let back = format!("HSET {prefix}:q:job:{job} s claimed g 0 t {} d 1 i other e {expires}", claimed.token);
    site.redis.control(&back).await;
    site.redis.control(&format!("SET {prefix}:q:process:other 1 PX 3000")).await;
    let again = claim(&one).await;
    assert_eq!((again.message.id, again.deliveries), (job, 1));
    complete(&one, &again).await;
    nothing_comes(&one).await;
    one.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_parked_copy_and_the_index_runs_once_more() {
    let site = Site::make().await;
    let one = site.process().await;
    enqueue(&one).await;
    let claimed = claim(&one).await;
    publish_next(&one, &claimed, in_ms(1_500)).await;
    let two = site.process().await;
    one.abandon();
    let again = claim(&two).await;
    assert_eq!(again.deliveries, 2, "nobody knows that it was parked");
    complete(&two, &again).await;
    nothing_comes(&two).await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_index_and_the_acknowledgement_leaves_it_parked() {
    let site = Site::make().await;
    let one = site.process().await;
    enqueue(&one).await;
    let claimed = claim(&one).await;
    let until = in_ms(2_500);
    let generation = publish_next(&one, &claimed, until).await;
    let ours = Ours { message: &claimed.message, generation, token: claimed.token };
    let end = End::Parked { until_us: until.as_microsecond(), body: b"" };
    assert!(one.parts.queue.index.settle(&ours, end).await.expect("Redis answers"));
    let two = site.process().await;
    one.abandon();
    let again = claim(&two).await;
    assert!(Timestamp::now() >= until, "the old copy was dropped for its generation");
    assert_eq!(again.deliveries, 1);
    complete(&two, &again).await;
    nothing_comes(&two).await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waking_at_the_moment_of_waking_up_gives_one_claim() {
    let site = Site::make().await;
    let one = site.process().await;
    for late_ms in [0, 5, 20] {
        let message = enqueue(&one).await;
        let claimed = claim(&one).await;
        let until = in_ms(1_100);
        one.parts.queue.park(&claimed, until, Timestamp::now()).await.expect("the claim holds");
        tokio::time::sleep(Duration::from_millis(1_080 + late_ms)).await;
        one.parts.queue.wake(message.id, Timestamp::now()).await.expect("the queue answers");
        let again = claim(&one).await;
        assert_eq!((again.message.id, again.deliveries), (message.id, 1));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(try_claim(&one).await.is_none(), "it is claimed");
        complete(&one, &again).await;
    }
    nothing_comes(&one).await;
    one.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_copy_waits_for_the_first_and_then_goes() {
    let site = Site::make().await;
    let (one, two) = (site.process().await, site.process().await);
    let message = enqueue(&one).await;
    let (holder, other, claimed) = match try_claim(&one).await {
        Some(claimed) => (&one, &two, claimed),
        None => {
            eventually("a delivery", || async {
                match try_claim(&two).await {
                    Some(claimed) => Some((&two, &one, claimed)),
                    None => try_claim(&one).await.map(|claimed| (&one, &two, claimed)),
                }
            })
            .await
        }
    };
    let newer = next_generation(claimed.token, 0, Timestamp::now());
    other.parts.queue.offer(&message, newer, false).await.expect("the broker takes it");
    for process in [other, holder] {
        nothing_comes(process).await;
    }
    let renewed = holder.parts.queue.renew(&claimed, LONG, Timestamp::now()).await;
    renewed.expect("the second copy does not disturb the claim");
    complete(holder, &claimed).await;
    nothing_comes(other).await;
    assert!(try_claim(holder).await.is_none());
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_job_is_guarded_and_outlives_its_worker() {
    let mut site = Site::make().await;
    site.settings.broker.delivery_hold_max = Duration::from_secs(1);
    let one = site.process_of(1).await;
    enqueue(&one).await;
    let (long, two) = (claim(&one).await, site.process().await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    nothing_comes(&two).await;
    complete(&one, &long).await;
    let next = enqueue(&one).await;
    let long = eventually("a delivery", || async {
        if let Some(claimed) = try_claim(&two).await {
            two.parts.queue.park(&claimed, Timestamp::now(), Timestamp::now()).await.expect("it holds");
        }
        try_claim(&one).await
    })
    .await;
    assert_eq!(long.message.id, next.id);
    tokio::time::sleep(Duration::from_secs(2)).await;
    one.abandon();
    let again = claim(&two).await;
    assert_eq!((again.message.id, again.deliveries), (next.id, 2));
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_made_again_and_its_jobs_offered_again() {
    let site = Site::make().await;
    let one = site.process_of(1).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(enqueue(&one).await.id);
    }
    let held = claim(&one).await;
    let store = one.backend().store;
    eventually("the projection of what was accepted", || async {
        store.job(*waiting.last().expect("there are four")).await.ok().flatten()
    })
    .await;
    // What was just made could be declared again before it is gone.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let front = format!("{}.jobs.front", site.settings.broker.prefix);
    site.rabbit.control(&["delete_queue", &front]).await;
    complete(&one, &held).await;
    waiting.retain(|job| *job != held.message.id);
    while !waiting.is_empty() {
        let again = claim(&one).await;
        waiting.retain(|job| *job != again.message.id);
        complete(&one, &again).await;
    }
    one.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_job_is_listed_and_stands_in_nobodys_way() {
    let site = Site::make().await;
    let one = site.process().await;
    let garbage = Publication {
        exchange: Exchange::Jobs,
        key: "front".to_owned(),
        kind: MessageKind::Job,
        body: Bytes::from_static(b"not a job"),
        job: None,
        generation: 0,
        until: None,
    };
    one.parts.broker.publish(garbage).await.expect("the broker takes it");
    let message = enqueue(&one).await;
    assert_eq!(claim(&one).await.message.id, message.id);
    let listed = eventually("an entry", || async {
        one.parts.queue.buried(10).await.ok().filter(|buried| !buried.is_empty())
    })
    .await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].unreadable.as_deref(), Some("not a job"));
    assert!(!one.parts.queue.requeue(listed[0].id, Timestamp::now()).await.expect("it answers"));
    assert!(one.parts.queue.discard(listed[0].id, Timestamp::now()).await.expect("it answers"));
    one.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_may_be_what_crashes_the_worker_are_handed_out_one_at_a_time() {
    let site = Site::make().await;
    let first = site.process().await;
    enqueue(&first).await;
    enqueue(&first).await;
    for (process, count) in [(first, 1), (site.process().await, 2)] {
        let both = [claim(&process).await, claim(&process).await];
        assert!(both.iter().all(|claim| claim.deliveries == count), "{both:?}");
        process.abandon();
    }
    let third = site.process().await;
    let suspect = claim(&third).await;
    assert_eq!(suspect.deliveries, 3);
    nothing_comes(&third).await;
    let fresh = enqueue(&third).await;
    let other = claim(&third).await;
    assert_eq!((other.message.id, other.deliveries), (fresh.id, 1), "fresh jobs do not wait");
    complete(&third, &suspect).await;
    let unlucky = claim(&third).await;
    assert_eq!(unlucky.deliveries, 3, "what waited was not charged");
    complete(&third, &unlucky).await;
    complete(&third, &other).await;
    third.close().await;
}
