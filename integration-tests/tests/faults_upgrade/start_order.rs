//! U11: processes may start before what they need, in any order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rabbitmq::{RabbitMq, RabbitOptions};
use slipway_integration_tests::rig::{Rig, health, is_worker};
use tokio::time::Instant;

use super::machine;

/// How long what is needed is absent; 10 minutes in the requirement.
const ABSENT: Duration = Duration::from_secs(10);
/// From the moment everything is there to being ready.
const READY_MAX: Duration = Duration::from_secs(5);
/// Longest wait for a readiness that is late.
const READY_AT_ALL_MAX: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

/// What is absent when the processes start, in the order in which it appears.
#[derive(Debug, Clone, Copy)]
enum Needed {
    Broker,
    Redis,
}

/// Processes start without RabbitMQ, without Redis, without both: they stay up, alive and not ready, and are ready
/// within 5 s after what was absent appears, in either order. Absent for 10 s instead of
/// the 10 minutes of the requirement.
#[tokio::test(flavor = "multi_thread")]
async fn u11_any_order_of_starting() -> anyhow::Result<()> {
    let _machine = machine().await;
    let broker = Arc::new(RabbitMq::start(RabbitOptions::default()).await?);
    let rig = Rig::start(4, broker, |options| options).await?;
    let result = u11(&rig).await;
    rig.explained(result)
}

async fn u11(rig: &Rig) -> anyhow::Result<()> {
    let absences: [&[Needed]; 4] = [
        &[Needed::Broker, Needed::Redis],
        &[Needed::Redis, Needed::Broker],
        &[Needed::Redis],
        &[Needed::Broker],
    ];
    let (mut slowest, mut accepted) = (Duration::ZERO, Vec::new());
    for (index, absent) in absences.into_iter().enumerate() {
        let took = start_without(rig, absent).await.with_context(|| format!("without {absent:?}"))?;
        slowest = slowest.max(took);
        accepted.push(rig.accept(index).await?);
        rig.all_succeed(&accepted, DEADLINE).await.with_context(|| format!("without {absent:?}"))?;
    }
    eprintln!(
        "figure u11: 4 orders, ready {slowest:?} at most after the last thing needed appeared (bound 5 s)"
    );
    ensure!(slowest <= allowed(READY_MAX), "{slowest:?}");
    Ok(())
}

async fn start_without(rig: &Rig, absent: &[Needed]) -> anyhow::Result<Duration> {
    rig.end_processes().await?;
    for needed in absent {
        match needed {
            Needed::Broker => rig.broker.stop().await?,
            Needed::Redis => rig.redis.stop().await?,
        }
    }
    rig.start_processes().await?;
    let began = Instant::now();
    while began.elapsed() < ABSENT {
        tokio::time::sleep(PAUSE).await;
        for part in rig.slipway.parts() {
            ensure!(part.is_running(), "{} ended:\n{}", part.name(), part.log());
            ensure!(!part.is_ready().await, "{} is ready without {absent:?}", part.name());
        }
    }
    for part in rig.slipway.parts() {
        let path = if is_worker(part) { "/livez" } else { "/healthz" };
        let told = health(part, path).await?;
        ensure!(told.0 == 200, "{} is not alive: {told:?}", part.name());
    }
    for needed in absent {
        match needed {
            Needed::Broker => rig.broker.start_again().await?,
            Needed::Redis => rig.redis.start_again().await?,
        }
    }
    let appeared = Instant::now();
    rig.slipway.wait_ready(READY_AT_ALL_MAX).await?;
    Ok(appeared.elapsed())
}
