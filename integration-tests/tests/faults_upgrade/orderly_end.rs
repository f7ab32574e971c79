//! U2: what SIGTERM does to a worker and to the jobs in its hands.

use std::time::Duration;

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use slipway_integration_tests::distributed::DistributedOptions;
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::rig::{Accepted, Rig, begins_stage, metric};
use tokio::time::Instant;

use super::machine;

/// Restarts and jobs, as the requirement has it.
const RESTARTS: usize = 50;
const JOBS: usize = 100;
/// Restarts that must find the worker at a job for the test to show something.
const RESTARTS_AT_WORK_MIN: usize = 25;
/// Longest time in which a started worker is at a job again, if there is one.
const AT_WORK_MAX: Duration = Duration::from_secs(2);
/// Jobs behind the one that hangs.
const WAITING: usize = 20;
/// After SIGTERM no job is taken up any more.
const TAKES_UP_MAX: Duration = Duration::from_secs(1);
/// After SIGTERM the worker is gone.
const GONE_MAX: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

/// A budget of no crash at all: a delivery that was handed back and charged sets its job aside.
fn strict(options: DistributedOptions) -> DistributedOptions {
    options.variable("SLIPWAY__WORKER__CRASHES_MAX", "1")
}

/// 50 restarts of the worker over 100 queued jobs, each as soon as it is at work, with a budget of no crash at all. All
/// jobs succeed, nothing is dead-lettered.
#[tokio::test(flavor = "multi_thread")]
async fn u2_fifty_restarts_spend_no_delivery() -> anyhow::Result<()> {
    let _machine = machine().await;
    let rig = Rig::start(JOBS, RabbitMq::shared().await?, strict).await?;
    let result = fifty_restarts(&rig).await;
    rig.explained(result)
}

async fn fifty_restarts(rig: &Rig) -> anyhow::Result<()> {
    let worker = rig.worker(0)?;
    worker.terminate().await?;
    let accepted = rig.accept_all(0..JOBS).await?;
    let (mut at_work, mut slowest) = (0, Duration::ZERO);
    for _ in 0..RESTARTS {
        worker.start_again().await?;
        let begun = Instant::now();
        while begun.elapsed() < AT_WORK_MAX {
            if metric(worker, "slipway_worker_jobs_at_work").await.is_some_and(|jobs| jobs > 0.0) {
                at_work += 1;
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let told = Instant::now();
        worker.terminate().await?;
        slowest = slowest.max(told.elapsed());
    }
    let left = JOBS - ended(rig, &accepted).await?;
    worker.start_again().await?;
    rig.all_succeed(&accepted, DEADLINE).await?;
    let (status, dead) = rig.api()?.get("/dead").await?;
    ensure!(status == 200 && dead["total"] == 0, "{status}: {dead}");
    let messages = rig.broker.messages(&rig.queue("jobs.dead")).await?;
    ensure!(messages == 0, "{messages} messages were dead-lettered");
    eprintln!(
        "figure u2: {RESTARTS} restarts, {at_work} of them at work, over {JOBS} jobs ({left} left after them): 0 dead-lettered, 0 charged, slowest end {slowest:?}"
    );
    ensure!(at_work >= RESTARTS_AT_WORK_MIN, "only {at_work} restarts found the worker at work");
    Ok(())
}

/// How many of the jobs have ended.
async fn ended(rig: &Rig, accepted: &[Accepted]) -> anyhow::Result<usize> {
    let ends = rig.ends(accepted, Duration::ZERO).await?;
    Ok(ends.iter().filter(|end| end.ended.is_some()).count())
}

/// A worker with a job that hangs and more jobs waiting is told to end: it begins no other job a second later, is gone
/// within 30 s, and the job that hung is handed back at no cost: it goes on at the
/// next worker, whose patience allows no crash.
#[tokio::test(flavor = "multi_thread")]
async fn u2_sigterm_takes_no_more_and_hands_back() -> anyhow::Result<()> {
    let rig = Rig::start(WAITING + 1, RabbitMq::shared().await?, strict).await?;
    let result = one_end(&rig).await;
    rig.explained(result)
}

async fn one_end(rig: &Rig) -> anyhow::Result<()> {
    let worker = rig.worker(0)?;
    rig.git_line.blackhole();
    let mut accepted = vec![rig.accept_by_line(0).await?];
    rig.wait_status(&accepted[0], "running", DEADLINE).await?;
    accepted.extend(rig.accept_all(1..WAITING + 1).await?);
    let (told, begun) = (Timestamp::now(), Instant::now());
    worker.terminate().await?;
    let gone = begun.elapsed();
    let left = accepted.len() - ended(rig, &accepted).await?;
    let events = rig.events().await?;
    let limit = told.checked_add(SignedDuration::try_from(allowed(TAKES_UP_MAX))?)?;
    for one in &accepted[1..] {
        let first = events.iter().find(|event| begins_stage(event) && event.job.to_string() == one.job);
        if let Some(first) = first {
            ensure!(first.at <= limit, "told to end at {told}, and a job was begun at {}", first.at);
        }
    }
    ensure!(left > 1, "all jobs had ended before the worker did: nothing is shown");
    rig.git_line.heal().await?;
    worker.start_again().await?;
    rig.all_succeed(&accepted, DEADLINE).await?;
    eprintln!(
        "figure u2: gone {gone:?} after SIGTERM with a job that hangs (bound 30 s), which went on elsewhere, {left} left"
    );
    ensure!(gone <= allowed(GONE_MAX), "gone after {gone:?}");
    Ok(())
}
