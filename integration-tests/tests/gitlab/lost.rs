//! Hooks that never arrive, and a GitLab that never answers: every head is deployed all the same (F16), and nobody
//! waits for somebody else's host (F17).

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use slipway_integration_tests::gitlab::{BranchPush, GitlabServer, MAINTAINER};
use slipway_integration_tests::pace;

use crate::world::{HOOKS_ONLY, Registered, SWEEPS_OFTEN, TIMEOUT, World, files, page};

/// From a push to its deployment, longer than without a frozen host.
const DELAY_GROWS_MAX: Duration = Duration::from_secs(1);
const PUSHES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn f16_pushes_without_hooks_are_deployed_by_the_sweep() {
    without_hooks().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn without_hooks() -> anyhow::Result<()> {
    let world = World::start(SWEEPS_OFTEN, "commit").await?;
    let (path, first) = world.project(&files("one")).await?;
    let names = ["one", "two", "three", "four", "five"];
    let mut rules = vec![json!({ "name": "production", "default_branch": true })];
    rules.extend(names.map(|name| json!({ "name": name, "branch": name })));
    let project = world.register(&path, json!({ "environments": rules })).await?;
    world.wait_commit(&project, "production", &first).await?;

    world.gitlab.lose_hooks(true);
    let second = world.gitlab.push(&path, "main", &page("two"), "A change").await?;
    world.wait_commit(&project, "production", &second).await?;

    // More than three refs in one push: GitLab sends no hook, though it would otherwise.
    world.gitlab.lose_hooks(false);
    let about_refs = |gitlab: &GitlabServer| {
        let is_push = |event: Option<&str>| event == Some("Push Hook");
        gitlab.deliveries().iter().filter(|it| is_push(it.delivery.header("X-Gitlab-Event"))).count()
    };
    let told_before = about_refs(&world.gitlab);
    let files: Vec<_> = names.iter().map(|name| page(name)).collect();
    let branches: Vec<BranchPush<'_>> =
        names.iter().zip(&files).map(|(branch, files)| BranchPush { branch, files }).collect();
    let commits = world.gitlab.push_many(&path, &branches, "Five branches", &[]).await?;
    for (name, commit) in names.iter().zip(&commits) {
        world.wait_commit(&project, name, commit).await?;
    }
    ensure!(about_refs(&world.gitlab) == told_before, "no hook told of it");
    ensure!(world.deployments(&project).await?.len() == 2 + names.len(), "one deployment for each head");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_what_was_pushed_while_slipway_was_down_is_deployed_when_it_is_back() {
    while_down().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn while_down() -> anyhow::Result<()> {
    let mut world = World::start(&format!("{SWEEPS_OFTEN}timeout_s = 20\n"), "commit").await?;
    let mut projects = Vec::new();
    for number in 0..3 {
        let (path, first) = world.project(&files(&format!("{number}"))).await?;
        let project = world.register(&path, json!({})).await?;
        world.wait_commit(&project, "production", &first).await?;
        projects.push(project);
    }
    world.go_down().await?;
    let mut heads = Vec::new();
    for project in &projects {
        world.gitlab.push(&project.path, "main", &page("missed"), "Missed").await?;
        heads.push(world.gitlab.push(&project.path, "main", &page("newest"), "Newest").await?);
    }
    world.come_back().await?;
    let back = Instant::now();
    for (project, head) in projects.iter().zip(&heads) {
        world.wait_commit(project, "production", head).await?;
        ensure!(world.deployments(project).await?.len() == 2, "the newest head, and no other");
    }
    println!("F16: {} missed heads deployed {:?} after the return", heads.len(), back.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_frozen_gitlab_delays_nobody_else() {
    frozen().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn frozen() -> anyhow::Result<()> {
    let world = World::start(&format!("{HOOKS_ONLY}timeout_s = 20\n"), "commit").await?;
    let (path, first) = world.project(&files("one")).await?;
    let project = world.register(&path, json!({})).await?;
    world.wait_commit(&project, "production", &first).await?;

    let other = GitlabServer::start().await?;
    let token = other.add_token("slipway", &["api"], MAINTAINER);
    world.store_credential("other", "oauth2", &token).await?;
    let stuck = register_at(&world, &other).await?;
    let before = slowest(&world, &project, "before").await?;
    other.freeze().await?;
    for project in &stuck {
        let path = format!("/projects/{}/sweep", project.slug);
        let (status, answer) = world.slipway.request("POST", &path, None).await?;
        ensure!(status == 202, "{status}: {answer}");
    }
    let during = slowest(&world, &project, "during").await?;
    println!("F17: push -> deployment at most {before:?} before, {during:?} beside a frozen GitLab");
    let allowed = before + pace::allowed(DELAY_GROWS_MAX);
    ensure!(during <= allowed, "{during:?}, allowed {allowed:?}");

    other.heal().await?;
    for project in &stuck {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let shown = world.sweep(project).await?;
            if shown["state"]["failures"] == 0 {
                break;
            }
            ensure!(Instant::now() < deadline, "it is not looked at again: {shown:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    Ok(())
}

/// As many projects on the other GitLab as could keep every look busy.
async fn register_at(world: &World, other: &GitlabServer) -> anyhow::Result<Vec<Registered>> {
    let mut registered = Vec::new();
    for number in 0..10 {
        let path = format!("other/shop-{number}");
        let url = other.create_project(&path, &files("other")).await?.clone_url();
        let body =
            json!({ "repository_url": url, "forge": "gitlab", "credential": "other", "commit": "none" });
        let project = world.post_project(&path, &body, "").await?;
        world.wait_deployments(&project, 1).await?;
        registered.push(project);
    }
    Ok(registered)
}

/// The longest time from a push to its deployment, of several pushes.
async fn slowest(world: &World, project: &Registered, what: &str) -> anyhow::Result<Duration> {
    let mut slowest = Duration::ZERO;
    for number in 0..PUSHES {
        let files = page(&format!("{what} {number}"));
        let commit = world.gitlab.push(&project.path, "main", &files, "A change").await?;
        let pushed = Instant::now();
        world.wait_commit(project, "production", &commit).await.with_context(|| what.to_owned())?;
        slowest = slowest.max(pushed.elapsed());
    }
    Ok(slowest)
}
