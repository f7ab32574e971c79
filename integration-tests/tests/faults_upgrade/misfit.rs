//! U8: a queue of our name exists in another form.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::rig::{Rig, wait_unready};
use tokio::time::Instant;

const TOLD_MAX: Duration = Duration::from_secs(20);
/// Longest time to being well again once the queue is gone.
const WELL_MAX: Duration = Duration::from_secs(60);
/// How long a process that is not ready is watched.
const WATCHED: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(200);
/// The one argument that differs.
const OTHER_LENGTH: u32 = 7;

/// The queue for jobs exists with another length: no process becomes ready, each names the queue and the argument, none
/// ends, nobody declares it anew; once it is gone all are ready without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn u8_a_queue_of_another_form_is_named_and_left_alone() -> anyhow::Result<()> {
    let rig = Rig::start(1, RabbitMq::shared().await?, |options| options).await?;
    let result = u8(&rig).await;
    rig.explained(result)
}

async fn u8(rig: &Rig) -> anyhow::Result<()> {
    let front = rig.queue("jobs.front");
    rig.end_processes().await?;
    rig.broker.delete_queue(&front).await?;
    rig.broker.declare_queue(&front, other_form(rig)).await?;
    rig.start_processes().await?;
    let mut pids = Vec::new();
    for part in rig.slipway.parts() {
        let told = wait_unready(part, &[&front, "x-max-length"], TOLD_MAX).await?;
        eprintln!("{} says: {told}", part.name());
        pids.push(part.pid()?);
    }
    let deadline = Instant::now() + WATCHED;
    while Instant::now() < deadline {
        for (part, pid) in rig.slipway.parts().zip(&pids) {
            ensure!(part.is_running() && part.pid()? == *pid, "{} ended", part.name());
            ensure!(!part.is_ready().await, "{} is ready", part.name());
        }
        tokio::time::sleep(PAUSE).await;
    }
    let (status, answer) = rig.api()?.post_deployment(&rig.site.request(0), None).await?;
    ensure!(status == 503, "a job was answered {status}: {answer}");
    rig.broker.declare_queue(&front, other_form(rig)).await.context("somebody has changed the queue")?;

    rig.broker.delete_queue(&front).await?;
    let gone = Instant::now();
    rig.slipway.wait_ready(WELL_MAX).await?;
    eprintln!("figure u8: ready {:?} after the queue was gone", gone.elapsed());
    let accepted = rig.accept(0).await?;
    rig.all_succeed(&[accepted], WELL_MAX).await.map(drop)
}

/// The arguments Slipway declares it with, but for its length.
fn other_form(rig: &Rig) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.as_bytes().to_vec().into());
    let mut table = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
        ("x-max-length", AMQPValue::LongUInt(OTHER_LENGTH)),
        ("x-delivery-limit", AMQPValue::LongUInt(50)),
        ("x-dead-letter-exchange", text(&rig.queue("jobs"))),
        ("x-dead-letter-routing-key", text("dead")),
        ("x-dead-letter-strategy", text("at-least-once")),
    ] {
        table.insert(ShortString::from(name), value);
    }
    table
}
