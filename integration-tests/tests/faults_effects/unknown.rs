//! Unknown outcomes: the other side did what it was asked to, and the line breaks before its answer arrives. Answers
//! are delayed, so that the effect is there for a while before anybody was told.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bollard::query_parameters::ListContainersOptions;
use serde_json::{Value, json};
use slipway_common::model::label;
use slipway_common::plant::LAST_STAGE_VARIABLE;
use slipway_integration_tests::distributed::{DistributedSlipway, ended_as};
use slipway_integration_tests::effects::{
    EffectKind, Ended, JobHistory, check, commits, record_reference_updates,
};
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use slipway_integration_tests::line::Line;
use slipway_integration_tests::registry::Registry;
use tokio::time::Instant;

use crate::engine::{Accepted, EngineLane};
use crate::relay::Relay;
use crate::services;

/// How long every answer is under way. Looking for an effect takes a fraction of it.
const LATENCY: Duration = Duration::from_millis(250);
/// The same for the engine, which is asked more often.
const ENGINE_LATENCY: Duration = Duration::from_millis(120);
const BYTES_PER_S: u64 = 50_000_000;
/// How long the line stays cut.
const OUTAGE: Duration = Duration::from_millis(700);
/// Attempts after which a job whose host is away fails, and how often it must have waited in a long outage: more often
/// than the attempts allow.
const ATTEMPTS_MAX: &str = "2";
const WAITS_OUTLASTED: usize = 4;
/// Longest wait for the effect.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(60);
const END_TIMEOUT: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long the Git host stays away after it took the push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// For a moment.
    Short,
    /// Until the job has waited more often than it has attempts.
    OutlastsAttempts,
}

pub(crate) async fn push(outage: Outage) -> anyhow::Result<()> {
    let git = GitServer::start().await?;
    let repository = "group/unknown";
    let url = git.create_repo(repository, &[TreeFile::new("index.html", "<p>unknown\n")]).await?;
    record_reference_updates(&git, repository).await?;
    let before = git.tip(repository, "main").await?;
    let direct = git.base_url();
    let address = direct.strip_prefix("http://").context("not http")?.trim_end_matches('/');
    let line = Line::start(address).await?;
    let url = url.replace(address, &line.address().to_string());
    let options = services::options().await?.variable(LAST_STAGE_VARIABLE, "commit");
    let options = options.variable("SLIPWAY__WORKER__ATTEMPTS_MAX", ATTEMPTS_MAX);
    let slipway = DistributedSlipway::start(options).await?;
    line.slow(BYTES_PER_S, LATENCY);
    let (deployment, job) = slipway.api(0)?.accept(&json!({ "repository_url": url }), None).await?;
    let accepted = Accepted { job: job.clone(), deployment: deployment.clone() };
    wait_until("the push", async || Ok(git.tip(repository, "main").await? != before)).await?;
    cut_before_the_answer(&line, &slipway, &accepted, "commit").await?;
    match outage {
        Outage::Short => tokio::time::sleep(OUTAGE).await,
        Outage::OutlastsAttempts => outlast_attempts(&slipway, &accepted).await?,
    }
    line.heal().await?;
    let told = slipway.api(0)?.wait_terminal(&deployment, END_TIMEOUT).await?;
    never_failed(&slipway, &accepted, &told).await?;
    let wanted = vec![(EffectKind::Commit, format!("{repository} refs/heads/main"))];
    let history = JobHistory { job, deployment, ended: Some(Ended::Succeeded), wanted };
    let violations = check(&[history], &commits(&git, repository).await?);
    ensure!(violations.is_empty(), "{violations:#?}\n{}", slipway.logs());
    Ok(())
}

/// Until the job has waited so often, or has ended.
async fn outlast_attempts(slipway: &DistributedSlipway, accepted: &Accepted) -> anyhow::Result<()> {
    let waits = std::sync::Mutex::new(std::collections::BTreeSet::new());
    wait_until("waiting for the host", async || {
        let (_, told) = slipway.api(0)?.deployment(&accepted.deployment).await?;
        let jobs = told["jobs"].as_array().into_iter().flatten();
        let job = jobs.into_iter().find(|it| it["id"] == accepted.job.as_str()).context("no job")?;
        let mut waits = waits.lock().map_err(|_| anyhow::anyhow!("a look panicked"))?;
        if job["state"]["status"] == "waiting" {
            waits.insert(told["updated_at"].to_string());
        }
        Ok(waits.len() >= WAITS_OUTLASTED || ended_as(job).is_some())
    })
    .await
}

pub(crate) async fn manifest(host: &str) -> anyhow::Result<()> {
    let registry = Registry::start().await?;
    let line = Line::start(registry.host()).await?;
    let at = line.address().to_string();
    let mut lane = EngineLane::start(host, host, Some((registry, at))).await?;
    let ended = manifest_in(&mut lane, &line).await;
    lane.clean_up().await?;
    ended
}

async fn manifest_in(lane: &mut EngineLane, line: &Line) -> anyhow::Result<()> {
    lane.slipway.disarm_workers().await?;
    let mut project = lane.project().await?;
    line.slow(BYTES_PER_S, LATENCY);
    let accepted = lane.deploy(&mut project, json!({})).await?;
    wait_until("the commit", async || {
        let (_, told) = lane.slipway.api(0)?.deployment(&accepted.deployment).await?;
        Ok(told["facts"]["commit"]["revision"].is_string())
    })
    .await?;
    let (_, told) = lane.slipway.api(0)?.deployment(&accepted.deployment).await?;
    let commit = told["facts"]["commit"]["revision"].as_str().context("no commit")?.to_owned();
    let name = format!("team/{}", project.slug);
    wait_until("the manifest", async || Ok(lane.registry.digest(&name, &commit).await.is_ok())).await?;
    lose_the_answer(line, &lane.slipway, &accepted, "build").await?;
    lane.ends_well(&mut project, &accepted).await?;
    let (_, told) = lane.slipway.api(0)?.deployment(&accepted.deployment).await?;
    never_failed(&lane.slipway, &accepted, &told).await
}

pub(crate) async fn container(host: &str) -> anyhow::Result<()> {
    let relay = Relay::start(host).await?;
    let line = Line::start(relay.address().to_string()).await?;
    let mut lane = EngineLane::start(&format!("tcp://{}", line.address()), host, None).await?;
    let ended = container_in(&mut lane, &line).await;
    lane.clean_up().await?;
    ended
}

async fn container_in(lane: &mut EngineLane, line: &Line) -> anyhow::Result<()> {
    lane.slipway.disarm_workers().await?;
    let mut project = lane.project().await?;
    let accepted = lane.deploy(&mut project, json!({})).await?;
    line.slow(BYTES_PER_S, ENGINE_LATENCY);
    let wanted =
        vec![format!("{}={}", label::PROJECT, project.slug), format!("{}={}", label::ROLE, label::ROLE_APP)];
    wait_until("the container", async || {
        let filters = Some([("label".to_owned(), wanted.clone())].into());
        let options = ListContainersOptions { all: true, filters, ..ListContainersOptions::default() };
        Ok(!lane.docker.list_containers(Some(options)).await?.is_empty())
    })
    .await?;
    lose_the_answer(line, &lane.slipway, &accepted, "apply").await?;
    lane.ends_well(&mut project, &accepted).await?;
    let (_, told) = lane.slipway.api(0)?.deployment(&accepted.deployment).await?;
    never_failed(&lane.slipway, &accepted, &told).await
}

/// Breaks the line for a while; nobody may have been told of the effect by then.
async fn lose_the_answer(
    line: &Line,
    slipway: &DistributedSlipway,
    accepted: &Accepted,
    stage: &str,
) -> anyhow::Result<()> {
    cut_before_the_answer(line, slipway, accepted, stage).await?;
    tokio::time::sleep(OUTAGE).await;
    line.heal().await
}

async fn cut_before_the_answer(
    line: &Line,
    slipway: &DistributedSlipway,
    accepted: &Accepted,
    stage: &str,
) -> anyhow::Result<()> {
    line.cut().await?;
    let (_, told) = slipway.api(0)?.deployment(&accepted.deployment).await?;
    let stages = told["stages"].as_array().cloned().unwrap_or_default();
    let reached = stages.iter().find(|it| it["stage"] == stage);
    let heard = reached.is_none_or(|it| it["status"] == "succeeded");
    ensure!(!heard, "the answer to {stage} arrived before the line was cut: {told:#}");
    Ok(())
}

/// The job succeeded, and at no time said anything else.
async fn never_failed(slipway: &DistributedSlipway, accepted: &Accepted, told: &Value) -> anyhow::Result<()> {
    let job = told["jobs"].as_array().into_iter().flatten().find(|it| it["id"] == accepted.job.as_str());
    let ended = job.and_then(ended_as);
    ensure!(ended == Some(Ended::Succeeded), "ended as {told:#}\n{}", slipway.logs());
    let failed =
        services::count_events(slipway, &accepted.deployment, |event| event["event"] == "failed").await?;
    ensure!(failed == 0, "the job had failed in between");
    Ok(())
}

async fn wait_until(what: &str, condition: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + EFFECT_TIMEOUT;
    while !condition().await? {
        ensure!(Instant::now() < deadline, "{what} did not happen within {EFFECT_TIMEOUT:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
