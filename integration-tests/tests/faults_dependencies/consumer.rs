//! The broker ends a consumer or its channel (F3), and an acknowledgement comes too late (F4).

use std::sync::Arc;
use std::time::Duration;

use slipway_integration_tests::ground::{Ground, Plan, turn};
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rabbitmq::{RabbitMq, RabbitOptions};
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};
use tokio::time::Instant;

/// How often the consumer is cancelled by the broker; 100 in the requirement.
const CANCELS: usize = 5;
/// How often its channel is closed with 406; 100 in the requirement.
const CLOSES: usize = 4;
/// How often and how long the queue is kept from existing.
const ABSENCES: usize = 2;
const ABSENCE: Duration = Duration::from_secs(3);
/// How long a new queue is left alone. RabbitMQ 3.10 can lose the name of one deleted while it elects its leader: every
/// declaration then closes the connection with an internal error, until the broker is started again.
const SETTLING: Duration = Duration::from_millis(1_500);
/// Until the queue is consumed again.
const CONSUMING_MAX: Duration = Duration::from_secs(5);
/// How long the broker leaves a delivery unacknowledged once a test says so, and how often it looks.
const CONSUMER_TIMEOUT_MS: u64 = 1_000;
const TICK_MS: u64 = 200;
/// As RabbitMQ has them.
const USUAL_TIMEOUT_MS: u64 = 1_800_000;
const USUAL_TICK_MS: u64 = 60_000;
const ENDS_MAX: Duration = Duration::from_secs(60);

/// Lets every channel opened from now on be closed with 406 when it holds a delivery for longer.
async fn set_consumer_timeout(ground: &Ground, timeout_ms: u64, tick_ms: u64) {
    let set = format!(
        "application:set_env(rabbit, consumer_timeout, {timeout_ms}), \
         application:set_env(rabbit, channel_tick_interval, {tick_ms})."
    );
    ground.broker.ctl(&["eval", &set]).await.unwrap();
}

/// Until the broker counts a consumer of the queue again.
async fn consuming_again(ground: &Ground) -> Duration {
    ground.wait("the consumer", ENDS_MAX, || async { ground.consumers().await == 1 }).await.unwrap()
}

/// Keeps the queue from being of use: whenever somebody has declared it again, it is deleted again.
async fn keep_away(ground: &Ground, lasting: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < lasting {
        delete(ground).await;
    }
}

/// Deletes the queue once it has settled.
async fn delete(ground: &Ground) {
    tokio::time::sleep(SETTLING).await;
    ground.broker.delete_queue(&ground.queue("jobs.front")).await.unwrap();
}

/// How often the worker has been made to subscribe again: the fault did happen.
async fn resubscribed(ground: &Ground) -> u64 {
    ground.worker_count(0, "slipway_broker_resubscribed_total").await.unwrap()
}

/// F3: the queue is deleted under its consumer, which the broker then cancels, and kept away for a while; the channel is
/// closed with 406. Each time the queue is consumed again soon, and no job is lost, not even those that were in it.
#[tokio::test(flavor = "multi_thread")]
async fn f3_consumer_cancelled_or_channel_closed() {
    let _turn = turn().await;
    // A broker of its own: deleting queues is hard on it.
    let broker = Arc::new(RabbitMq::start(RabbitOptions::default()).await.unwrap());
    let redis = RedisServer::start(RedisOptions::default()).await.unwrap();
    let plan = Plan::new(CANCELS + ABSENCES + CLOSES + 2);
    let ground = Ground::over(plan, broker, redis, Vec::new()).await.unwrap();
    let (mut jobs, mut slowest) = (Vec::new(), Duration::ZERO);
    let before = resubscribed(&ground).await;
    for index in 0..CANCELS {
        jobs.push(ground.accept_patiently(index, &ground.request(index), ENDS_MAX).await.unwrap());
        delete(&ground).await;
        slowest = slowest.max(consuming_again(&ground).await);
    }
    let mut after_absence = Duration::ZERO;
    for index in CANCELS..CANCELS + ABSENCES {
        keep_away(&ground, ABSENCE).await;
        after_absence = after_absence.max(consuming_again(&ground).await);
        jobs.push(ground.accept_patiently(index, &ground.request(index), ENDS_MAX).await.unwrap());
    }
    println!(
        "F3: {CANCELS} cancels, consuming again within {slowest:?}; after {ABSENCES} absences within {after_absence:?}"
    );
    assert!(slowest.max(after_absence) <= allowed(CONSUMING_MAX), "{slowest:?}, {after_absence:?}");
    ground.expect_all_good(&jobs, ENDS_MAX).await.unwrap();
    let cancelled = resubscribed(&ground).await - before;
    assert!(cancelled >= u64::try_from(CANCELS + ABSENCES).unwrap(), "subscribed again {cancelled} times");

    set_consumer_timeout(&ground, CONSUMER_TIMEOUT_MS, TICK_MS).await;
    let closed = closed_channels(&ground).await;
    set_consumer_timeout(&ground, USUAL_TIMEOUT_MS, USUAL_TICK_MS).await;
    println!("F3: {CLOSES} channels closed with 406, consuming again within {closed:?}");
    assert!(closed <= allowed(CONSUMING_MAX), "{closed:?}");
}

/// Holds a delivery until its channel is closed, several times; answers the longest time without a consumer.
async fn closed_channels(ground: &Ground) -> Duration {
    // A channel is judged by the settings it was opened under.
    delete(ground).await;
    consuming_again(ground).await;
    let mut longest = Duration::ZERO;
    for close in 0..CLOSES {
        let index = CANCELS + ABSENCES + close;
        let before = resubscribed(ground).await;
        ground.git_line.blackhole();
        let held = ground.accept_patiently(index, &ground.slow_request(index), ENDS_MAX).await.unwrap();
        ground.wait_running(&held.job, ENDS_MAX).await.unwrap();
        let closed = || async { resubscribed(ground).await > before || ground.consumers().await == 0 };
        ground.wait("the broker to close the channel", ENDS_MAX, closed).await.unwrap();
        longest = longest.max(consuming_again(ground).await);
        ground.git_line.heal().await.unwrap();
        ground.expect_good_among(&[held], ENDS_MAX).await.unwrap();
    }
    longest
}

/// F4: the broker takes a delivery back while its job is worked on, and gives it to another worker, so the
/// acknowledgement comes too late. It is counted, the job that came again is recognised, and its effect is made once.
#[tokio::test(flavor = "multi_thread")]
async fn f4_late_acknowledgement() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(4).with(1, 2).idle()).await.unwrap();
    set_consumer_timeout(&ground, CONSUMER_TIMEOUT_MS, TICK_MS).await;
    for worker in 0..2 {
        ground.slipway.worker_process(worker).unwrap().start_again().await.unwrap();
    }
    let of_both = async |name: &str| {
        ground.worker_count(0, name).await.unwrap() + ground.worker_count(1, name).await.unwrap()
    };
    let lost = || of_both("slipway_broker_lost_acks_total");
    let resubscribed = || of_both("slipway_broker_resubscribed_total");
    let before = (lost().await, resubscribed().await);

    ground.git_line.blackhole();
    let held = ground.accept_patiently(0, &ground.slow_request(0), ENDS_MAX).await.unwrap();
    ground.wait_running(&held.job, ENDS_MAX).await.unwrap();
    let taken_back = || async { resubscribed().await > before.1 };
    ground.wait("the delivery to be taken back", ENDS_MAX, taken_back).await.unwrap();
    ground.git_line.heal().await.unwrap();
    ground.expect_all_good(std::slice::from_ref(&held), ENDS_MAX).await.unwrap();
    set_consumer_timeout(&ground, USUAL_TIMEOUT_MS, USUAL_TICK_MS).await;
    ground.wait("the loss to be counted", ENDS_MAX, || async { lost().await > before.0 }).await.unwrap();
    // The copy that came again is recognised, wherever it was put meanwhile.
    let empty = || async {
        let mut left = 0;
        for queue in ["jobs.front", "jobs.backlog", "jobs.delay.250", "jobs.delay.1000", "jobs.delay.4000"] {
            left += ground.ready(queue).await;
        }
        left == 0
    };
    ground.wait("the queues to be empty", ENDS_MAX, empty).await.unwrap();
    let next = ground.accept(1, &ground.request(1)).await.unwrap();
    ground.expect_all_good(&[held, next], ENDS_MAX).await.unwrap();
    println!("F4: {} acknowledgements counted as lost, one effect", lost().await - before.0);
}
