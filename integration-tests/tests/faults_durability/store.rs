//! D6 and D12: Redis is emptied in the middle of the work, and Redis is set up so that it would drop keys.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::rig::{Accepted, Rig, job_in, wait_unready};
use tokio::time::Instant;

use super::machine;

/// Jobs of D6; 1,000 in the requirement.
const D6_JOBS: usize = 120;
/// Jobs that are done when Redis is emptied.
const D6_DONE_BEFORE: usize = 20;
/// Longest time until every status is right again.
const RIGHT_AGAIN_MAX: Duration = Duration::from_secs(30);
/// Longest wait for it when it is late.
const RIGHT_AT_ALL_MAX: Duration = Duration::from_secs(150);
const DEADLINE: Duration = Duration::from_secs(150);
/// Longest wait for a process to say what is wrong, and to be well again.
const TOLD_MAX: Duration = Duration::from_secs(20);
const WELL_MAX: Duration = Duration::from_secs(60);
/// How long a process that is not ready is watched: it neither ends nor becomes ready.
const WATCHED: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// `FLUSHALL` in the middle of the work: nothing is lost, nothing done twice, and within 30 s every status is right
/// again. Until then the answer is 503 or right, never wrong. 120 jobs of the 1,000 of the requirement.
#[tokio::test(flavor = "multi_thread")]
async fn d6_redis_emptied_in_the_middle() -> anyhow::Result<()> {
    let _machine = machine().await;
    let rig = Rig::start(D6_JOBS, RabbitMq::shared().await?, |options| options.with(1, 2)).await?;
    let result = d6(&rig).await;
    rig.explained(result)
}

async fn d6(rig: &Rig) -> anyhow::Result<()> {
    let accepted = rig.accept_all(0..D6_JOBS).await?;
    let done = rig.ends(&accepted[..D6_DONE_BEFORE], DEADLINE).await?;
    ensure!(done.iter().all(|history| history.ended.is_some()), "the first jobs have not ended");
    let at_work = rig.ends(&accepted, Duration::ZERO).await?;
    let open = at_work.iter().filter(|history| history.ended.is_none()).count();
    ensure!(open > 0, "all jobs had ended before Redis was emptied");

    rig.redis.flush_all().await?;
    let flushed = Instant::now();
    let right_after = until_right(rig, &accepted[..D6_DONE_BEFORE]).await?;
    let keys_after = right_after.max(flushed.elapsed());
    ensure!(keys_after <= allowed(RIGHT_AGAIN_MAX), "right again after {keys_after:?}");
    rig.all_succeed(&accepted, DEADLINE).await?;
    eprintln!(
        "figure d6: {D6_JOBS} jobs, {open} open when Redis was emptied: 0 lost, 0 duplicated, right again after {right_after:?} (bound 30 s)"
    );
    Ok(())
}

/// Asks for jobs that had succeeded until every answer is right; none may be wrong meanwhile.
async fn until_right(rig: &Rig, done: &[Accepted]) -> anyhow::Result<Duration> {
    let (api, begun) = (rig.api()?, Instant::now());
    loop {
        let mut all_right = true;
        for one in done {
            match api.deployment(&one.deployment).await? {
                (200, deployment) => {
                    let status = job_in(&deployment, &one.job).map(|job| job["state"]["status"].clone());
                    ensure!(
                        status.as_ref().is_some_and(|status| status == "succeeded"),
                        "after {:?} a job that had succeeded is {status:?}",
                        begun.elapsed()
                    );
                }
                (503, _) => all_right = false,
                (status, body) => anyhow::bail!("{status} after {:?}: {body}", begun.elapsed()),
            }
        }
        if all_right {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < RIGHT_AT_ALL_MAX, "not right again after {RIGHT_AT_ALL_MAX:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A Redis that would drop keys when its memory is full: no process becomes ready, each names the setting and its
/// value, none ends; once it is put right they are ready without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn d12_an_evicting_redis_is_refused() -> anyhow::Result<()> {
    let rig = Rig::start(1, RabbitMq::shared().await?, |options| options).await?;
    let result = d12(&rig).await;
    rig.explained(result)
}

async fn d12(rig: &Rig) -> anyhow::Result<()> {
    rig.end_processes().await?;
    for policy in ["allkeys-lru", "volatile-ttl"] {
        rig.redis.config_set("maxmemory-policy", policy).await?;
        rig.start_processes().await?;
        for part in rig.slipway.parts() {
            let told = wait_unready(part, &["maxmemory-policy", policy], TOLD_MAX).await?;
            eprintln!("{} says: {told}", part.name());
        }
        let deadline = Instant::now() + WATCHED;
        while Instant::now() < deadline {
            for part in rig.slipway.parts() {
                ensure!(part.is_running(), "{} ended", part.name());
                ensure!(!part.is_ready().await, "{} is ready with {policy}", part.name());
            }
            tokio::time::sleep(PAUSE).await;
        }
        rig.redis.config_set("maxmemory-policy", "noeviction").await?;
        rig.slipway.wait_ready(WELL_MAX).await.context("after the setting was put right")?;
        rig.end_processes().await?;
    }
    rig.start_processes().await?;
    rig.slipway.wait_ready(WELL_MAX).await?;
    let accepted = rig.accept(0).await?;
    rig.all_succeed(&[accepted], WELL_MAX).await.map(drop)
}
