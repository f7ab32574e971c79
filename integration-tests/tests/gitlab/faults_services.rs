//! Redis is emptied, RabbitMQ is away, and secrets of a hook are replaced in one process while deliveries reach another.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipway_integration_tests::distributed::READY_TIMEOUT;
use slipway_integration_tests::gitlab::delivery::{self, Delivery};
use slipway_integration_tests::pace;

use crate::installation::{Connected, Installation, is_of};
use crate::world::{files, page, text};

/// Longest refusal of a delivery while RabbitMQ is away; a forge gives up after ten seconds.
const REFUSED_MAX: Duration = Duration::from_secs(2);
/// Longest pause a forge is asked for.
const RETRY_AFTER_MAX_S: u64 = 60;
/// For how long a secret that was replaced is good, about.
const OVERLAP_H: i64 = 24;

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_costs_no_project_and_deploys_nothing_again() {
    emptied().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn emptied() -> anyhow::Result<()> {
    let ground = Installation::start().await?;
    let path = "group/emptied";
    ground.gitlab.create_project(path, &files("one")).await?;
    ground.gitlab.push_tag(path, "v1", "main", false).await?;
    let environments =
        json!([{ "name": "production", "default_branch": true }, { "name": "live", "tag": "v*" }]);
    let project = ground.register(path, json!({ "environments": environments })).await?;
    let first = ground.gitlab.git().tip(path, "main").await?.context("a first commit")?;
    ground.ended(&project, "production", &first).await?;
    let second = ground.push(&project, "main", "two").await?;
    ground.ended(&project, "production", &second).await?;
    is_shown(&ground, &project, &second).await?;
    let before = ground.show(&project).await?.context("the store is there")?;

    ground.redis.flush_all().await?;
    // The hook is known to whoever knew it, and from the ledger to who begins now.
    ground.tell(&project, 0, &ground.hook(&project, "main", &second)?).await?;
    let other = ground.slipway.api_process(1)?;
    other.kill().await?;
    other.start_again().await?;
    let after = ground.until("the project to be known", async || ground.show(&project).await).await?;
    for part in ["heads", "hook", "environments", "created_at"] {
        ensure!(after[part] == before[part], "{part}: {after:#}\nbefore: {before:#}");
    }
    ground.tell(&project, 1, &ground.hook(&project, "main", &second)?).await?;
    let told = ground.gitlab.count("POST", "/statuses/");
    ground.sweep(&project).await?;
    let all = ground.deployments(&project).await?;
    ensure!(all.len() == 2, "deployed again: {all:#?}");
    ensure!(ground.gitlab.count("POST", "/statuses/") == told, "told again");

    let third = ground.push(&project, "main", "three").await?;
    ground.ended(&project, "production", &third).await?;
    ground.gitlab.push_tag(path, "v2", "main", false).await?;
    ground.sweep(&project).await?;
    ground.ended(&project, "live", &third).await?;
    let all = ground.deployments(&project).await?;
    ensure!(all.len() == 4, "three pushes and a tag, not that of before: {all:#?}");
    is_shown(&ground, &project, &third).await?;
    is_listed_once(&ground, &project).await
}

/// Waits for what GitLab shows of a commit in production, and lists of it.
async fn is_shown(ground: &Installation, project: &Connected, commit: &str) -> anyhow::Result<()> {
    let shown = ground.until("GitLab to be told", async || {
        let seen = ground.gitlab.project(&project.path)?;
        let status = seen.status_of(commit, "slipway/production");
        let is_told = status.is_some_and(|it| it.state == "success");
        let is_listed = seen.deployments.iter().any(|it| it.sha == commit && it.status == "success");
        Ok((is_told && is_listed).then_some(()))
    });
    shown.await
}

/// That a deployment was replaced is no reason to list it once more: GitLab takes the last one listed for the one that
/// serves.
async fn is_listed_once(ground: &Installation, project: &Connected) -> anyhow::Result<()> {
    ground.let_minutes_pass().await?;
    ground.sweep(project).await?;
    let seen = ground.gitlab.project(&project.path)?;
    let mut listed: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for deployment in &seen.deployments {
        *listed.entry((&deployment.environment, &deployment.sha)).or_default() += 1;
    }
    let is_once = listed.values().all(|count| *count == 1);
    ensure!(is_once, "listed more than once: {:#?}", seen.deployments);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_finds_no_rabbitmq_is_refused_and_its_repetition_is_deployed_once() {
    refused().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn refused() -> anyhow::Result<()> {
    let ground = Installation::start().await?;
    let (project, _) = ground.connect("group/refused", json!({})).await?;
    ground.broker_line.cut().await?;
    let commit = ground.gitlab.push(&project.path, "main", &page("two"), "Two").await?;
    let hook = ground.hook(&project, "main", &commit)?;
    for api in [0, 1, 0, 1] {
        is_refused(&ground.inbox(&project, api)?, &hook).await.with_context(|| ground.slipway.logs())?;
    }
    ensure!(ground.deployments(&project).await?.len() == 1, "nothing follows from what was refused");

    ground.broker_line.heal().await?;
    ground.slipway.wait_ready(READY_TIMEOUT).await?;
    for api in [0, 0, 1] {
        ground.tell(&project, api, &hook).await?;
    }
    ground.ended(&project, "production", &commit).await?;
    ground.sweep(&project).await?;
    let all = ground.deployments(&project).await?;
    ensure!(all.len() == 2 && is_of(&all[0], "production", &commit), "{all:#?}");
    Ok(())
}

/// The delivery is to be sent again after a while, and that is said in time.
async fn is_refused(inbox: &str, hook: &Delivery) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let plain = client.post(inbox).body(hook.body.clone());
    let request = hook.headers.iter().fold(plain, |request, (name, value)| request.header(name, value));
    let begun = Instant::now();
    let answer = request.send().await?;
    let took = begun.elapsed();
    ensure!(answer.status() == 503, "{answer:?}");
    let pause_s: u64 = answer.headers().get("retry-after").context("no Retry-After")?.to_str()?.parse()?;
    ensure!((1..=RETRY_AFTER_MAX_S).contains(&pause_s), "Retry-After: {pause_s}");
    let allowed = pace::allowed(REFUSED_MAX);
    ensure!(took <= allowed, "refused after {took:?}, allowed {allowed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_of_a_hook_are_good_in_every_process_and_never_a_third() {
    rotated().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn rotated() -> anyhow::Result<()> {
    let ground = Installation::start().await?;
    let (first, _) = ground.connect("group/rotated", json!({})).await?;
    let second = rotate(&ground, &first).await?;
    // The other process has not heard of it yet.
    for (number, secret) in [&second, &first, &second].into_iter().enumerate() {
        let words = format!("with {number}");
        let commit = ground.gitlab.push(&first.path, "main", &page(&words), &words).await?;
        ground.tell(secret, 1, &ground.hook(secret, "main", &commit)?).await?;
        ground.ended(secret, "production", &commit).await?;
    }
    let foreign = Connected { signing_secret: delivery::signing_secret(), ..first.clone() };
    for api in [0, 1] {
        ensure!(status(&ground, &foreign, api).await? == 401, "signed by nobody");
    }
    let shown = ground.show(&first).await?.context("the store is there")?;
    let ends = shown["hook"]["secrets"].as_array().context("the secrets")?;
    let ends: Vec<&str> = ends.iter().filter_map(|secret| secret["until"].as_str()).collect();
    let end: Timestamp = ends.first().context("the old one ends")?.parse()?;
    let left = end.duration_since(Timestamp::now());
    let (most, least) = (SignedDuration::from_hours(OVERLAP_H), SignedDuration::from_hours(OVERLAP_H - 1));
    ensure!(left <= most && left > least, "{left:?}: {shown:#}");

    let third = rotate(&ground, &second).await?;
    ensure!(status(&ground, &first, 0).await? == 401, "two are good, not three");
    let forgotten = ground.until("the other process to know", async || {
        Ok((status(&ground, &first, 1).await? == 401).then_some(()))
    });
    forgotten.await?;
    for secret in [&second, &third] {
        for api in [0, 1] {
            ensure!(status(&ground, secret, api).await? < 300, "both that are left are good");
        }
    }
    Ok(())
}

/// The project with new secrets, made by the first process.
async fn rotate(ground: &Installation, project: &Connected) -> anyhow::Result<Connected> {
    let path = format!("/projects/{}", project.slug);
    let wish = json!({ "rotate_hook": true });
    let (status, answer) = ground.slipway.api(0)?.send("PATCH", &path, &wish).await?;
    ensure!(status == 200, "PATCH {path} answered {status}: {answer}");
    let signing_secret = text(&answer["secrets"]["signing_secret"])?.to_owned();
    ensure!(signing_secret != project.signing_secret, "a new one");
    Ok(Connected { signing_secret, ..project.clone() })
}

/// How a delivery about nothing new is answered.
async fn status(ground: &Installation, project: &Connected, api: usize) -> anyhow::Result<u16> {
    let tip = ground.gitlab.git().tip(&project.path, "main").await?.context("a commit")?;
    Ok(ground.send(project, api, &ground.hook(project, "main", &tip)?).await?.status)
}
