//! D4: a job that kills its worker again and again costs nobody else anything, and does not vanish.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use slipway_integration_tests::distributed::{DistributedOptions, ended_as};
use slipway_integration_tests::effects::Ended;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::rig::{Accepted, Rig, job_in};
use tokio::time::Instant;

/// Jobs in the queue, as the requirement has it.
const JOBS: usize = 50;
/// Kills on the first job, as the requirement has it.
const KILLS: usize = 25;
/// Crashes on one job after which it is set aside, as the settings come.
const CRASHES_MAX: usize = 3;
/// Longest time to the end of all jobs.
const DEADLINE: Duration = Duration::from_secs(120);
/// Longest wait for the first job to be taken up after a kill. When it has to wait for another that was hurt beside it,
/// it comes again behind all the others.
const TAKEN_MAX: Duration = Duration::from_secs(120);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// 50 jobs in the queue, one worker, and 25 times `kill -9` while it is at the first job, with the patience for it:
/// nothing that the broker counts makes a job vanish. All 50 succeed.
#[tokio::test(flavor = "multi_thread")]
async fn d4_twenty_five_kills_on_the_first_job() -> anyhow::Result<()> {
    let patient = |options: DistributedOptions| options.variable("SLIPWAY__WORKER__CRASHES_MAX", "40");
    let rig = Rig::start(JOBS, RabbitMq::shared().await?, patient).await?;
    let result = d4_patient(&rig).await;
    rig.explained(result)
}

async fn d4_patient(rig: &Rig) -> anyhow::Result<()> {
    let accepted = queue_up(rig).await?;
    let mut calls = 0;
    for kill in 0..KILLS {
        let killed = kill_at(rig, &accepted[0], &mut calls).await.with_context(|| format!("kill {kill}"))?;
        ensure!(killed, "the first job ended after {kill} kills");
    }
    rig.git_line.heal().await?;
    let took = rig.all_succeed(&accepted, DEADLINE).await?;
    nothing_is_dead(rig).await?;
    eprintln!(
        "figure d4: {KILLS} kills on the first of {JOBS} jobs: all succeeded, {took:?} after the last kill"
    );
    Ok(())
}

/// The same with the settings as they come: the job under fire is set aside as `poison` after the third crash,
/// visible, and succeeds when it is run again; the other 49 succeed, though they were in the hands of the same worker.
#[tokio::test(flavor = "multi_thread")]
async fn d4_a_job_that_kills_its_worker_is_set_aside() -> anyhow::Result<()> {
    let rig = Rig::start(JOBS, RabbitMq::shared().await?, |options| options).await?;
    let result = d4_poison(&rig).await;
    rig.explained(result)
}

async fn d4_poison(rig: &Rig) -> anyhow::Result<()> {
    let accepted = queue_up(rig).await?;
    let (mut kills, mut calls) = (0, 0);
    while kill_at(rig, &accepted[0], &mut calls).await.with_context(|| format!("kill {kills}"))? {
        kills += 1;
        ensure!(kills < KILLS, "the first job survives {kills} kills");
    }
    ensure!(kills == CRASHES_MAX, "set aside after {kills} kills");
    rig.git_line.heal().await?;
    let histories = rig.ends(&accepted, DEADLINE).await?;
    let violations = rig.violations(&histories).await?;
    ensure!(violations.is_empty(), "{violations:#?}");
    let poison = Some(Ended::Failed { code: "poison".to_owned() });
    ensure!(histories[0].ended == poison, "the job under fire: {:?}", histories[0]);
    let hurt: Vec<_> =
        histories[1..].iter().filter(|history| history.ended != Some(Ended::Succeeded)).collect();
    ensure!(hurt.is_empty(), "{} others were hurt: {hurt:#?}", hurt.len());

    let dead = rig.api()?.get("/dead").await?.1;
    ensure!(dead.to_string().contains(&accepted[0].job), "the job is not among the dead: {dead}");
    let (status, again) = retry(rig, &accepted[0]).await?;
    ensure!(status == 202, "to run it again was answered {status}: {again}");
    let ended = rig.api()?.wait_terminal(&accepted[0].deployment, DEADLINE).await?;
    let last = ended["jobs"].as_array().and_then(|jobs| jobs.last()).and_then(ended_as);
    ensure!(last == Some(Ended::Succeeded), "run again: {ended:#}");
    eprintln!(
        "figure d4: set aside after {kills} kills, 49 of 49 others succeeded, succeeded when run again"
    );
    Ok(())
}

/// The first job hangs on its way to the Git host; the others wait behind it.
async fn queue_up(rig: &Rig) -> anyhow::Result<Vec<Accepted>> {
    rig.git_line.blackhole();
    rig.worker(0)?.terminate().await?;
    let mut accepted = vec![rig.accept_by_line(0).await?];
    accepted.extend(rig.accept_all(1..JOBS).await?);
    rig.worker(0)?.start_again().await?;
    Ok(accepted)
}

/// Kills the worker as soon as it is at the first job, and starts it again. It is when it calls the Git host for it: no
/// other job takes that line, and what the store says of the job may be from before the last kill. `false`, and no
/// kill, when the job ends instead: a kill more would be charged to another.
async fn kill_at(rig: &Rig, job: &Accepted, calls: &mut u64) -> anyhow::Result<bool> {
    let deadline = Instant::now() + TAKEN_MAX;
    while rig.git_line.accepted() == *calls {
        if has_ended(rig, job).await? {
            return Ok(false);
        }
        ensure!(Instant::now() < deadline, "the first job was not taken up within {TAKEN_MAX:?}");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    rig.worker(0)?.kill().await?;
    // A call made just before is counted a moment later.
    tokio::time::sleep(LOOK_PAUSE).await;
    *calls = rig.git_line.accepted();
    rig.worker(0)?.start().await?;
    Ok(true)
}

async fn has_ended(rig: &Rig, job: &Accepted) -> anyhow::Result<bool> {
    let (status, deployment) = rig.api()?.deployment(&job.deployment).await?;
    Ok(status == 200 && job_in(&deployment, &job.job).is_some_and(|job| ended_as(job).is_some()))
}

async fn nothing_is_dead(rig: &Rig) -> anyhow::Result<()> {
    let (status, dead) = rig.api()?.get("/dead").await?;
    ensure!(status == 200 && dead["total"] == 0, "{status}: {dead}");
    let messages = rig.broker.messages(&rig.queue("jobs.dead")).await?;
    ensure!(messages == 0, "{messages} messages were dead-lettered");
    Ok(())
}

async fn retry(rig: &Rig, job: &Accepted) -> anyhow::Result<(u16, serde_json::Value)> {
    let api = rig.api()?;
    let url = format!("{}/deployments/{}/retry", rig.slipway.api_process(0)?.base_url(), job.deployment);
    let client = reqwest::Client::builder().no_proxy().build()?;
    api.request(client.post(url)).await
}
