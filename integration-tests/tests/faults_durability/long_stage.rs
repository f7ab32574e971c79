//! D5: a stage that lasts longer than the broker waits for an acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use slipway_integration_tests::rabbitmq::{RabbitMq, RabbitOptions};
use slipway_integration_tests::rig::{Rig, begins_stage, events_of};

/// The broker's patience; 30 minutes by default, 60 s in the requirement's own run for CI.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the broker looks.
const TICK: Duration = Duration::from_secs(1);
/// The stage: 1.5 times as long, and the broker's own delay.
const STAGE: Duration = Duration::from_secs(31);
/// Other jobs of the same worker meanwhile, one after another.
const OTHERS: usize = 6;
const DEADLINE: Duration = Duration::from_secs(60);

/// A clone that lasts 31 s where the broker takes a delivery back after 20 s: it runs once and succeeds, and no other
/// job of that worker is disturbed. A bare consumer on the same broker shows that it does take deliveries back.
#[tokio::test(flavor = "multi_thread")]
async fn d5_a_stage_longer_than_the_consumer_timeout() -> anyhow::Result<()> {
    let timeout = format!("consumer_timeout = {}", CONSUMER_TIMEOUT.as_millis());
    let broker = Arc::new(RabbitMq::start(RabbitOptions::with_config(&[&timeout])).await?);
    let tick = format!("application:set_env(rabbit, channel_tick_interval, {}).", TICK.as_millis());
    broker.ctl(&["eval", &tick]).await?;
    let rig = Rig::start(OTHERS + 1, Arc::clone(&broker), |options| {
        options
            // The largest that is less than half of the broker's patience, and more than a claim lasts.
            .variable("SLIPWAY__BROKER__DELIVERY_HOLD_MAX_S", "8")
            .variable("SLIPWAY__WORKER__CLAIM_TTL_MS", "6000")
            .variable("SLIPWAY__WORKER__CLAIM_RENEW_MS", "2000")
            .variable("SLIPWAY__GIT__LOW_SPEED_TIME_S", "300")
    })
    .await?;
    let control = tokio::spawn(taken_back(broker.url()));
    let result = d5(&rig).await;
    rig.explained(result)?;
    let after = control.await??;
    eprintln!("figure d5: a stage of {STAGE:?} ran once; a bare consumer lost its delivery after {after:?}");
    Ok(())
}

async fn d5(rig: &Rig) -> anyhow::Result<()> {
    rig.git_line.blackhole();
    let long = rig.accept_by_line(0).await?;
    rig.wait_status(&long, "running", DEADLINE).await?;
    let mut others = Vec::new();
    for index in 1..=OTHERS {
        others.push(rig.accept(index).await?);
        tokio::time::sleep(STAGE / u32::try_from(OTHERS)?).await;
    }
    rig.git_line.heal().await?;
    let mut all = others.clone();
    all.push(long.clone());
    rig.all_succeed(&all, DEADLINE).await?;
    let events = rig.events().await?;
    for one in &all {
        let own = events_of(&events, &one.job);
        let started = own.iter().filter(|event| begins_stage(event)).count();
        let stages: std::collections::BTreeSet<String> =
            own.iter().filter(|event| begins_stage(event)).map(|event| format!("{:?}", event.kind)).collect();
        ensure!(started == stages.len(), "a stage of job {} ran more than once: {own:#?}", one.job);
        let fences: std::collections::BTreeSet<u64> =
            own.iter().map(|event| event.fence).filter(|fence| *fence > 0).collect();
        ensure!(fences.len() == 1, "job {} was in {} hands: {own:#?}", one.job, fences.len());
    }
    let own = events_of(&events, &long.job);
    let begun = own.iter().find(|event| begins_stage(event)).context("the stage never began")?.at;
    let ended = own.last().context("no events")?.at;
    let lasted = Duration::try_from(ended.duration_since(begun))?;
    ensure!(lasted > CONSUMER_TIMEOUT.mul_f64(1.5), "the stage lasted only {lasted:?}");
    Ok(())
}

/// Holds a delivery on a queue of its own until the broker takes it back; answers how long that took.
async fn taken_back(url: String) -> anyhow::Result<Duration> {
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let queue = ShortString::from("control");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.clone(), durable, arguments).await?;
    let properties = BasicProperties::default();
    let publishing =
        channel.basic_publish("".into(), queue.clone(), BasicPublishOptions::default(), b"held", properties);
    publishing.await?.await?;
    let consuming =
        channel.basic_consume(queue, "control".into(), BasicConsumeOptions::default(), FieldTable::default());
    let mut deliveries = consuming.await?;
    deliveries.next().await.context("nothing was delivered")??;
    let begun = std::time::Instant::now();
    let next = tokio::time::timeout(CONSUMER_TIMEOUT * 3, deliveries.next()).await;
    let next = next.context("the broker does not enforce its consumer_timeout; this test shows nothing")?;
    ensure!(!matches!(next, Some(Ok(_))), "a second delivery");
    Ok(begun.elapsed())
}
