//! The whole way: push, hook, pipeline, image in a real registry, running on a real engine, and said everywhere.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::gitlab::runner;
use slipway_integration_tests::registry::{PASSWORD, Registry, USER};
use slipway_integration_tests::{docker_engine, pace};

use crate::world::{HOOKS_ONLY, Registered, TIMEOUT, World, files, page, text};

/// From the hook that was sent to the deployment that begins.
const BEGINS_MAX: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_built_by_its_pipeline_runs_and_is_told() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let mut slug = String::new();
    let outcome = push_and_look(&host, &mut slug).await;
    let docker = docker_engine::connect(&host).expect("the engine answers");
    docker_engine::remove_all(&docker, &format!("io.slipway.project={slug}")).await.expect("cleaned up");
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn push_and_look(host: &str, slug: &mut String) -> anyhow::Result<()> {
    let registry = Registry::start().await?;
    let settings = format!("{HOOKS_ONLY}[pipelines]\npoll_interval_s = 5\n");
    let world = World::on_engine(&settings, host, 26_100).await?;
    world.store_credential("registry", USER, PASSWORD).await?;
    let (path, first) = world.project(&files("one")).await?;
    let more = json!({
        "build": "gitlab", "pull_credential": "registry",
        "pipeline": { "image": format!("{}/{path}", registry.host()), "job": "build" },
    });
    let project = world.register(&path, more).await?;
    slug.clone_from(&project.slug);

    // The default branch is deployed at first sight; its pipeline has not run yet.
    let deployment = world.wait_commit(&project, "production", &first).await?;
    let id = text(&deployment["id"])?.to_owned();
    world.slipway.wait_for(&id, |it| it["jobs"][0]["state"]["status"] == "waiting").await?;
    world.gitlab.build(&path, &first, "build", &registry, "<p>one\n").await?;
    let running = is_active(&world, &id).await?;
    let address = text(&running["url"])?.to_owned();
    ensure!(fetch(&address).await?.contains("one"), "{running:#}");

    let second = world.gitlab.push(&path, "main", &page("two"), "A change").await?;
    begins_in_time(&world, &project, &second).await?;
    let deployment = world.wait_commit(&project, "production", &second).await?;
    let id = text(&deployment["id"])?.to_owned();
    let digest = world.gitlab.build(&path, &second, "build", &registry, "<p>two\n").await?;
    let running = is_active(&world, &id).await?;
    ensure!(running["url"] == address.as_str() && running["revision"] == second.as_str(), "{running:#}");
    ensure!(text(&running["facts"]["image"]["pushed"])?.ends_with(&digest), "by digest: {running:#}");
    ensure!(fetch(&address).await?.contains("two"), "{running:#}");
    is_told(&world, &project, &second, &address).await?;
    ensure!(world.deployments(&project).await?.len() == 2, "two pushes, two deployments");
    Ok(())
}

/// Waits until it serves; what keeps it from that is in the error.
async fn is_active(world: &World, id: &str) -> anyhow::Result<Value> {
    let deployment = world.slipway.wait_resting(id).await?;
    ensure!(deployment["status"] == "active", "{deployment:#}\n{}", world.slipway.log());
    Ok(deployment)
}

/// From the hook that was sent to the deployment that was made of it, and to its first stage.
async fn begins_in_time(world: &World, project: &Registered, commit: &str) -> anyhow::Result<()> {
    let deployment = world.wait_commit(project, "production", commit).await?;
    let found = Instant::now();
    let hooks = world.gitlab.project(&project.path)?.hooks;
    let pushes = hooks.iter().flat_map(|hook| &hook.answers).filter(|it| it.event == "Push Hook");
    let sent = pushes.map(|it| it.sent_at).max().context("no push hook was sent")?;
    let took = found.duration_since(sent);
    let id = text(&deployment["id"])?;
    world.slipway.wait_for(id, |it| it["jobs"][0]["state"]["status"] != "queued").await?;
    println!("hook sent -> deployment {took:?}, -> under way {:?}", sent.elapsed());
    let allowed = pace::allowed(BEGINS_MAX);
    ensure!(sent.elapsed() <= allowed, "under way after {:?}, allowed {allowed:?}", sent.elapsed());
    Ok(())
}

/// Statuses, environment and deployment as GitLab shows them.
async fn is_told(world: &World, project: &Registered, commit: &str, url: &str) -> anyhow::Result<()> {
    let path = project.path.clone();
    let done = |it: &slipway_integration_tests::gitlab::GitlabServer| {
        it.project(&path).is_ok_and(|seen| {
            let status = seen.status_of(commit, "slipway/production").map(|status| status.state);
            let deployment = seen.deployments.iter().find(|it| it.sha == commit).map(|it| it.status);
            let environment = seen.environments.iter().find(|it| it.name == "production");
            status == Some("success")
                && deployment == Some("success")
                && environment.is_some_and(|it| it.external_url.as_deref() == Some(url))
        })
    };
    let waited = world.eventually("status, deployment and environment", done).await;
    let seen = world.gitlab.project(&project.path)?;
    waited.with_context(|| format!("{:#?}\n{:#?}", seen.statuses, seen.deployments))?;
    let status = seen.status_of(commit, "slipway/production").context("the status")?;
    ensure!(status.history.last() == Some(&"success") && status.history.len() <= 3, "{status:#?}");
    ensure!(status.target_url.as_deref() == Some(url), "{status:#?}");
    let told: Vec<_> = seen.deployments.iter().filter(|it| it.sha == commit).collect();
    ensure!(told.len() == 1, "one deployment for one deployment: {told:#?}");
    Ok(())
}

async fn fetch(url: &str) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match client.get(url).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(answer.text().await?),
            Ok(answer) if Instant::now() > deadline => anyhow::bail!("{url} answers {}", answer.status()),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test]
async fn an_image_without_an_engine_is_one_a_registry_takes() {
    let registry = Registry::start().await.expect("the registry starts");
    let pushed = runner::push_image(&registry, "group/shop", "v1", "<p>one\n").await.expect("pushed");
    assert_eq!(registry.digest("group/shop", "v1").await.expect("known"), pushed);
}
