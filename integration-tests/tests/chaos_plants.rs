//! The fault suites are trusted because they catch what they must: each of the five faults that can be planted is put
//! into the processes once, and the checker finds violations; without it, the same scenario has none.

mod plants;

use std::time::Duration;

use plants::{World, until};
use slipway_common::plant::Plant;
use slipway_integration_tests::distributed::DistributedOptions;
use slipway_integration_tests::effects::{STALL_MAX, Sample, Violation, ViolationKind, stalls, unaccounted};
use slipway_integration_tests::git_server::Fault;
use slipway_integration_tests::line::Line;
use slipway_integration_tests::rabbitmq::RabbitMq;
use tokio::time::{Instant, sleep};

/// A job of a killed worker goes on within 2 seconds; this long after it, it is lost. Long before the 30 seconds after
/// which jobs without any copy in the queue are looked for.
const RESUMED_WITHIN: Duration = Duration::from_secs(15);
/// Longest wait for anything else.
const SOON: Duration = Duration::from_secs(30);

/// Runs the scenario without and with the plant, and looks at what the checker says.
async fn caught<F>(plant: Plant, scenario: impl Fn(Option<Plant>) -> F) -> Vec<Violation>
where
    F: Future<Output = anyhow::Result<Vec<Violation>>>,
{
    let (clean, planted) = tokio::join!(scenario(None), scenario(Some(plant)));
    assert_eq!(clean.expect("the scenario without a plant"), [], "without {}", plant.as_str());
    let found = planted.expect("the scenario with the plant");
    assert!(!found.is_empty(), "{} is not caught", plant.as_str());
    eprintln!("{} is caught: {found:?}", plant.as_str());
    found
}

/// A worker is killed inside its commit stage, started again, and its job must go on.
async fn killed_in_commit(plant: Option<Plant>) -> anyhow::Result<Vec<Violation>> {
    let world = World::start(plant, |options| options).await?;
    let worker = world.slipway.worker_process(0)?;
    let marker = world.arm(worker, "commit.inside");
    worker.start_again().await?;
    let job = world.post(0).await?;
    until("the worker halts", SOON, async || marker.exists()).await?;
    worker.kill().await?;
    worker.start_again().await?;
    world.judge(&[job], RESUMED_WITHIN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ack_before_effect_is_caught() {
    let found = caught(Plant::AckBeforeEffect, killed_in_commit).await;
    assert_eq!(found[0].kind, ViolationKind::Lost, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dedupe_in_redis_only_is_caught() {
    let found = caught(Plant::DedupeInRedisOnly, killed_in_commit).await;
    assert_eq!(found[0].kind, ViolationKind::Lost, "{found:?}");
}

/// The Git host takes the push and is gone before it answers; when it is back, the job must find its own commit.
async fn answer_lost_after_push(plant: Option<Plant>) -> anyhow::Result<Vec<Violation>> {
    let world = World::start(plant, |options| options).await?;
    world.slipway.worker_process(0)?.start_again().await?;
    world.site.git().set_fault(Fault::GoneAfterPush);
    let job = world.post(0).await?;
    until("the push arrives", SOON, async || {
        world.site.effects().await.is_ok_and(|effects| !effects.is_empty())
    })
    .await?;
    // Long enough for one more look at a host that is gone.
    sleep(Duration::from_secs(3)).await;
    world.site.git().set_fault(Fault::None);
    world.judge(&[job], SOON).await
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_is_failure_is_caught() {
    let found = caught(Plant::TimeoutIsFailure, answer_lost_after_push).await;
    assert_eq!(found[0].kind, ViolationKind::Wrong, "{found:?}");
}

/// The job queue is deleted under a worker; it is made again, and the worker must consume from it again.
async fn queue_deleted(plant: Option<Plant>) -> anyhow::Result<Vec<Violation>> {
    let world = World::start(plant, |options| options).await?;
    world.slipway.worker_process(0)?.start_again().await?;
    let first = world.post(0).await?;
    let mut violations = world.judge(&[first], SOON).await?;
    let front = format!("{}.jobs.front", world.slipway.prefix());
    world.rabbit.delete_queue(&front).await?;
    until("the queue is there again", SOON, async || world.rabbit.messages(&front).await.is_ok()).await?;
    let second = world.post(1).await?;
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < STALL_MAX * 3 / 2 {
        let ended = world.has_ended(&second).await;
        let ready = world.rabbit.messages(&front).await.ok().map(u64::from);
        samples.push(Sample { at: begun.elapsed(), ready, consumed: u64::from(ended), able: true });
        if ended {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    violations.extend(stalls(&samples, STALL_MAX).iter().map(|stall| {
        Violation::new(ViolationKind::Stall, &front, format!("{:?} with {} ready", stall.lasted, stall.ready))
    }));
    Ok(violations)
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_end_is_idle_is_caught() {
    let found = caught(Plant::StreamEndIsIdle, queue_deleted).await;
    assert!(found.iter().any(|violation| violation.kind == ViolationKind::Stall), "{found:?}");
}

/// The line to the broker breaks while a worker is at a job; the broker gives the job to another worker, which must
/// leave it alone; and the first one must know that its acknowledgement went nowhere.
async fn line_cut_under_a_job(plant: Option<Plant>) -> anyhow::Result<Vec<Violation>> {
    let rabbit = RabbitMq::shared().await?;
    let line = Line::start(rabbit.address().to_string()).await?;
    let through = vec![rabbit.url_at(line.address())];
    let world =
        World::start(plant, |options: DistributedOptions| options.with(1, 2).broker_for("worker-0", through))
            .await?;
    let (first, second) = (world.slipway.worker_process(0)?, world.slipway.worker_process(1)?);
    first.start_again().await?;
    world.site.git().set_fault(Fault::Trickle { bytes_per_tick: 32 });
    let job = world.post(0).await?;
    until("the job runs", SOON, async || world.status(&job).await == "running").await?;
    second.start_again().await?;
    line.cut().await?;
    // The broker hands it to the other worker within milliseconds; that one leaves it to its holder.
    sleep(Duration::from_secs(1)).await;
    line.heal().await?;
    world.site.git().set_fault(Fault::None);
    let mut violations = world.judge(&[job], SOON).await?;
    let told = async || plants::metric(first, "lost_acks").await.unwrap_or(0);
    // The acknowledgement comes after the end of the job.
    drop(until("the loss is counted", Duration::from_secs(5), async || told().await > 0).await);
    violations.extend(unaccounted(first.name(), 1, told().await));
    Ok(violations)
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_ack_ignored_is_caught() {
    let found = caught(Plant::LostAckIgnored, line_cut_under_a_job).await;
    assert_eq!(found[0].kind, ViolationKind::Wrong, "{found:?}");
}
