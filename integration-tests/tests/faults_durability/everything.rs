//! D1 and D9: everything is killed at once, and everything starts in any order.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rig::{Accepted, Rig};
use tokio::time::Instant;

use super::{machine, own_broker};

/// Repetitions of D1; 1,000 in the requirement.
const D1_REPETITIONS: usize = 100;
/// Slipways that do so side by side, as most of the time is spent waiting for something to start.
const D1_LANES: usize = 2;
/// RabbitMQ, which takes seconds to come back, dies in every so many-th repetition; everything else in each.
const D1_BROKER_EVERY: usize = 5;
/// Every so many-th repetition is told of.
const D1_TOLD_EVERY: usize = 5;
/// Repetitions of D9; 50 in the requirement.
const D9_REPETITIONS: usize = 10;
/// Jobs under way when everything dies.
const D9_JOBS: usize = 4;
/// Longest time to convergence.
const CONVERGED_MAX: Duration = Duration::from_secs(60);
/// A job that was accepted has ended this long after everything is back: four leases and its own time.
const DEADLINE: Duration = Duration::from_secs(75);
/// Quorum queues of a fresh broker have a leader by then.
const BROKER_SETTLE: Duration = Duration::from_secs(2);

/// On reading 202 every process is killed, `kill -9`: API, worker, Redis, and in every fifth repetition RabbitMQ. After
/// a restart the job ends. 100 repetitions of the 1,000 of the requirement.
#[tokio::test(flavor = "multi_thread")]
async fn d1_kill_everything_on_reading_202() -> anyhow::Result<()> {
    let _machine = machine().await;
    let begun = Instant::now();
    let slowest = try_join_all((0..D1_LANES).map(|_| d1_lane())).await?.into_iter().max().unwrap_or_default();
    eprintln!(
        "figure d1: {D1_REPETITIONS} repetitions, 0 lost, slowest end {slowest:?} after the restart, {:?} in all",
        begun.elapsed()
    );
    Ok(())
}

/// One Slipway's share of the repetitions; answers the longest time from the restart to the end of the job.
async fn d1_lane() -> anyhow::Result<Duration> {
    let repetitions = D1_REPETITIONS / D1_LANES;
    let rig = Rig::start(repetitions, own_broker().await?, |options| options).await?;
    tokio::time::sleep(BROKER_SETTLE).await;
    let result = d1(&rig, repetitions).await;
    rig.explained(result)
}

async fn d1(rig: &Rig, repetitions: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut accepted = Vec::new();
    let mut slowest = Duration::ZERO;
    for repetition in 0..repetitions {
        accepted.push(rig.accept(repetition).await.with_context(|| format!("repetition {repetition}"))?);
        let with_broker = repetition % D1_BROKER_EVERY == D1_BROKER_EVERY - 1;
        let killed = Instant::now();
        rig.kill_everything(with_broker).await?;
        let (broker, redis) = tokio::join!(
            async { if with_broker { rig.broker.start_again().await } else { Ok(()) } },
            rig.redis.start_again()
        );
        broker?;
        redis?;
        rig.start_processes().await?;
        rig.slipway.wait_ready(DEADLINE).await.with_context(|| format!("repetition {repetition}"))?;
        let back = Instant::now();
        let ends = rig.ends(&accepted[repetition..], DEADLINE).await?;
        ensure!(ends.iter().all(|end| end.ended.is_some()), "lost in repetition {repetition}: {ends:#?}");
        slowest = slowest.max(back.elapsed());
        if (repetition + 1) % D1_TOLD_EVERY == 0 {
            let (back, ended) = (back - killed, back.elapsed());
            eprintln!(
                "d1: repetition {repetition} at {:?}: back after {back:?}, ended {ended:?} later",
                begun.elapsed()
            );
        }
    }
    rig.all_succeed(&accepted, DEADLINE).await?;
    Ok(slowest)
}

/// What is started, in the order of a repetition.
#[derive(Debug, Clone, Copy)]
enum Part {
    Broker,
    Redis,
    Api,
    Worker(usize),
}

/// Everything is killed with jobs under way and started in an order that differs each time: all is ready and every job
/// has ended within 60 s, none is lost. 10 repetitions of the 50 of the requirement.
#[tokio::test(flavor = "multi_thread")]
async fn d9_kill_everything_start_in_any_order() -> anyhow::Result<()> {
    let _machine = machine().await;
    let rig = Rig::start(D9_REPETITIONS * D9_JOBS, own_broker().await?, |options| options.with(1, 2)).await?;
    tokio::time::sleep(BROKER_SETTLE).await;
    let result = d9(&rig).await;
    rig.explained(result)
}

async fn d9(rig: &Rig) -> anyhow::Result<()> {
    let mut accepted: Vec<Accepted> = Vec::new();
    let mut converged = Vec::new();
    for repetition in 0..D9_REPETITIONS {
        let first = accepted.len();
        accepted.extend(rig.accept_all(first..first + D9_JOBS).await?);
        rig.kill_everything(true).await?;
        let order = order_of(repetition);
        for part in order {
            start(rig, part).await.with_context(|| format!("{part:?} in {order:?}"))?;
        }
        let begun = Instant::now();
        rig.slipway.wait_ready(CONVERGED_MAX).await.with_context(|| format!("after {order:?}"))?;
        let ends = rig.ends(&accepted[first..], CONVERGED_MAX.saturating_sub(begun.elapsed())).await?;
        ensure!(ends.iter().all(|end| end.ended.is_some()), "not converged after {order:?}: {ends:#?}");
        converged.push(begun.elapsed());
    }
    rig.all_succeed(&accepted, DEADLINE).await?;
    let slowest = converged.iter().max().copied().unwrap_or_default();
    ensure!(slowest <= allowed(CONVERGED_MAX), "{converged:?}");
    eprintln!("figure d9: {D9_REPETITIONS} orders, 0 lost, slowest convergence {slowest:?} (bound 60 s)");
    Ok(())
}

async fn start(rig: &Rig, part: Part) -> anyhow::Result<()> {
    match part {
        Part::Broker => rig.broker.start_again().await,
        Part::Redis => rig.redis.start_again().await,
        Part::Api => rig.slipway.api_process(0)?.start().await,
        Part::Worker(index) => rig.worker(index)?.start().await,
    }
}

/// One of the 120 orders, a different one for each repetition: the digits of the number in the factorial system.
fn order_of(repetition: usize) -> [Part; 5] {
    let mut left = vec![Part::Broker, Part::Redis, Part::Api, Part::Worker(0), Part::Worker(1)];
    // 37 and 120 share no divisor, so no order comes twice.
    let mut number = (repetition * 37 + 23) % 120;
    let mut order = [Part::Broker; 5];
    for place in &mut order {
        let digit = number % left.len();
        number /= left.len();
        *place = left.remove(digit);
    }
    order
}
