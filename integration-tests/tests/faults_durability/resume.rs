//! How soon a job goes on after its worker was killed or frozen, and that a worker that thaws changes nothing.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use slipway_common::model::Event;
use slipway_integration_tests::distributed::SlipwayPart;
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::rig::{Accepted, Rig, begins_stage, events_of, metric, p99};
use tokio::time::Instant;

use super::machine;

/// Kills; their 99th percentile is their greatest.
const KILLS: usize = 21;
/// The target.
const RESUME_AFTER_KILL_MAX: Duration = Duration::from_secs(2);
/// Freezes. Each lasts as long as it takes the broker to notice, 10 to 15 s.
const FREEZES: usize = 2;
/// The target.
const RESUME_AFTER_FREEZE_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a resumption that is late.
const RESUMED_AT_ALL_MAX: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// Time for a thawed worker to do what it was about to do.
const ZOMBIE_TIME: Duration = Duration::from_secs(8);

/// Two workers and a job whose clone hangs; the worker that has it is killed, `kill -9`, 21 times. From the kill to the
/// beginning of the stage at the other worker: at most 2 s, the 99th percentile.
#[tokio::test(flavor = "multi_thread")]
async fn resume_after_kill_9_of_a_worker() -> anyhow::Result<()> {
    let _machine = machine().await;
    let rig = Rig::start(1, RabbitMq::shared().await?, |options| {
        options.with(1, 2).variable("SLIPWAY__WORKER__CRASHES_MAX", "40")
    })
    .await?;
    let result = after_kills(&rig).await;
    rig.explained(result)
}

async fn after_kills(rig: &Rig) -> anyhow::Result<()> {
    rig.git_line.blackhole();
    let job = rig.accept_by_line(0).await?;
    rig.wait_status(&job, "running", DEADLINE).await?;
    let mut resumed = Vec::new();
    for kill in 0..KILLS {
        let worker = rig.worker_at_work(DEADLINE).await?;
        rig.slipway.wait_ready(DEADLINE).await?;
        let killed = Timestamp::now();
        worker.kill().await?;
        let begun = begun_after(rig, &job, killed).await.with_context(|| format!("kill {kill}"))?;
        resumed.push(Duration::try_from(begun.at.duration_since(killed))?);
        worker.start_again().await?;
    }
    rig.git_line.heal().await?;
    rig.all_succeed(&[job], DEADLINE).await?;
    let mut sorted = resumed.clone();
    sorted.sort();
    let (median, most) = (sorted[sorted.len() / 2], p99(&resumed));
    eprintln!(
        "figure resume_after_kill_9: {KILLS} kills, median {median:?}, p99 {most:?} (bound {RESUME_AFTER_KILL_MAX:?})"
    );
    ensure!(most <= allowed(RESUME_AFTER_KILL_MAX), "p99 {most:?}: {resumed:?}");
    Ok(())
}

/// The first beginning of a stage of the job after this moment.
async fn begun_after(rig: &Rig, job: &Accepted, moment: Timestamp) -> anyhow::Result<Event> {
    let deadline = Instant::now() + RESUMED_AT_ALL_MAX;
    loop {
        let events = rig.events().await?;
        let own = events_of(&events, &job.job);
        if let Some(begun) = own.into_iter().find(|event| begins_stage(event) && event.at > moment) {
            return Ok(begun);
        }
        ensure!(Instant::now() < deadline, "the job was not resumed within {RESUMED_AT_ALL_MAX:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Two workers and a job whose clone hangs; the worker that has it is frozen. Another one begins the stage within 20 s;
/// then the clone goes through and the frozen worker thaws, in the first round while the other one is at work, in the
/// second after it has ended the job. Whatever the thawed one was about to do, there is one commit and one end.
#[tokio::test(flavor = "multi_thread")]
async fn resume_after_a_freeze() -> anyhow::Result<()> {
    let rig = Rig::start(FREEZES, RabbitMq::shared().await?, |options| options.with(1, 2)).await?;
    let result = after_freezes(&rig).await;
    rig.explained(result)
}

async fn after_freezes(rig: &Rig) -> anyhow::Result<()> {
    let (mut resumed, mut jobs) = (Vec::new(), Vec::new());
    for round in 0..FREEZES {
        rig.git_line.blackhole();
        let job = rig.accept_by_line(round).await?;
        jobs.push(job.clone());
        rig.wait_status(&job, "running", DEADLINE).await?;
        let worker = rig.worker_at_work(DEADLINE).await?;
        let frozen = Timestamp::now();
        worker.freeze().await?;
        let begun = begun_after(rig, &job, frozen).await.with_context(|| format!("freeze {round}"))?;
        resumed.push(Duration::try_from(begun.at.duration_since(frozen))?);
        let thaw_first = round % 2 == 0;
        if thaw_first {
            worker.thaw()?;
        }
        rig.git_line.heal().await?;
        rig.all_succeed(&jobs, DEADLINE).await?;
        if !thaw_first {
            worker.thaw()?;
        }
        changes_nothing(rig, worker, &job).await.with_context(|| format!("freeze {round}"))?;
        rig.all_succeed(&jobs, DEADLINE).await.with_context(|| format!("after freeze {round}"))?;
    }
    let most = p99(&resumed);
    eprintln!(
        "figure resume_after_a_freeze: {FREEZES} freezes, slowest {most:?} (bound {RESUME_AFTER_FREEZE_MAX:?}), 0 changes by thawed workers"
    );
    ensure!(most <= allowed(RESUME_AFTER_FREEZE_MAX), "{resumed:?}");
    Ok(())
}

/// The job stays as it ended, with its one commit, after a thawed worker has had its time; and the worker is well.
async fn changes_nothing(rig: &Rig, worker: &SlipwayPart, job: &Accepted) -> anyhow::Result<()> {
    let before = rig.api()?.deployment(&job.deployment).await?;
    tokio::time::sleep(ZOMBIE_TIME).await;
    let after = rig.api()?.deployment(&job.deployment).await?;
    ensure!(before == after, "the thawed worker has changed {before:?} into {after:?}");
    worker.wait_ready(DEADLINE).await?;
    let at_work = metric(worker, "slipway_worker_jobs_at_work").await;
    ensure!(at_work == Some(0.0), "the thawed worker still has {at_work:?} jobs");
    let events = rig.events().await?;
    let own = events_of(&events, &job.job);
    let ends = own.iter().filter(|event| event.kind == slipway_common::model::EventKind::Succeeded).count();
    ensure!(ends == 1, "{ends} ends: {own:#?}");
    Ok(())
}
