//! A GitLab that refuses results, is slow with them, or dies while its pipeline is waited for: nobody else waits, and it is
//! told what it should show once it takes it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::gitlab::{
    End, Fault, GitlabServer, LoggedRequest, MAINTAINER, MergeRequest, Place,
};
use slipway_integration_tests::pace;

use crate::world::{HOOKS_ONLY, Registered, World, files, page, text};

/// From a push to the end of its deployment, longer than while GitLab takes results.
const DELAY_GROWS_MAX: Duration = Duration::from_secs(1);
/// How often statuses are refused.
const REFUSALS: u32 = 2;
/// When GitLab wants to be asked again, in seconds.
const RETRY_AFTER_S: u32 = 1;
/// How slow GitLab is with notes.
const SLOW: Duration = Duration::from_secs(3);
/// From the registration of a project on one GitLab to the end of its deployment, while another GitLab is dead.
const OTHER_MAX: Duration = Duration::from_secs(5);
const REVIEW: &str = "review-1";

/// A project whose merge requests get environments, with its first commit deployed.
async fn reviewed(world: &World) -> anyhow::Result<Registered> {
    let (path, first) = world.project(&files("one")).await?;
    let project = world.register(&path, json!({ "review": {} })).await?;
    ends(world, &project, "production", &first).await?;
    Ok(project)
}

async fn ends(world: &World, project: &Registered, environment: &str, commit: &str) -> anyhow::Result<Value> {
    let deployment = world.wait_commit(project, environment, commit).await?;
    let ended = world.slipway.wait_resting(text(&deployment["id"])?).await?;
    ensure!(ended["status"] == "active", "{ended:#}\n{}", world.slipway.log());
    Ok(ended)
}

/// Pushes to the branch of the merge request; answers the commit, and how long its deployment took.
async fn push_timed(world: &World, project: &Registered, words: &str) -> anyhow::Result<(String, Duration)> {
    let commit = world.gitlab.push(&project.path, "feature", &page(words), words).await?;
    let pushed = Instant::now();
    ends(world, project, REVIEW, &commit).await?;
    Ok((commit, pushed.elapsed()))
}

fn request(gitlab: &GitlabServer, project: &Registered) -> Option<MergeRequest> {
    gitlab.project(&project.path).ok()?.merge_requests.into_iter().next()
}

/// Waits until the one note names the commit and says that it serves.
async fn is_noted(world: &World, project: &Registered, commit: &str) -> anyhow::Result<MergeRequest> {
    let says = |body: &str| body.contains(commit) && body.contains("in service");
    let noted = |gitlab: &GitlabServer| {
        request(gitlab, project).is_some_and(|it| it.notes.iter().any(|note| says(&note.body)))
    };
    let waited = world.eventually("the note", noted).await;
    let request = request(&world.gitlab, project).context("the merge request")?;
    waited.with_context(|| format!("{:#?}", request.notes))?;
    Ok(request)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitlab_that_refuses_results_is_told_once_afterwards_and_delays_no_deployment() {
    refuses().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn refuses() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let project = reviewed(&world).await?;
    let before = world.gitlab.push(&project.path, "feature", &page("a"), "A proposal").await?;
    ensure!(world.gitlab.open_merge_request(&project.path, "feature").await? == 1, "the first one");
    ends(&world, &project, REVIEW, &before).await?;
    let (calm, took) = push_timed(&world, &project, "b").await?;
    is_noted(&world, &project, &calm).await?;

    world.gitlab.spoil(Place::Api, "/statuses/", Fault::Status(500), Some(REFUSALS));
    let too_many = Fault::TooMany { retry_after_s: RETRY_AFTER_S };
    world.gitlab.spoil(Place::Api, "/notes", too_many, Some(1));
    let asked_before = world.gitlab.requests().len();
    let (commit, took_beside) = push_timed(&world, &project, "c").await?;
    println!("push -> end of the deployment {took:?}, {took_beside:?} beside a GitLab that refuses");
    let allowed = took + pace::allowed(DELAY_GROWS_MAX);
    ensure!(took_beside <= allowed, "{took_beside:?}, allowed {allowed:?}");

    let request = is_noted(&world, &project, &commit).await?;
    ensure!(request.notes.len() == 1, "one note: {:#?}", request.notes);
    let seen = world.gitlab.project(&project.path)?;
    let name = format!("slipway/{REVIEW}");
    let told: Vec<_> = seen.statuses.iter().filter(|it| it.sha == commit && it.name == name).collect();
    ensure!(told.len() == 1 && told[0].state == "success", "one status: {told:#?}");
    let listed = seen.deployments.iter().filter(|it| it.sha == commit).count();
    ensure!(listed == 1, "{listed} deployments listed: {:#?}", seen.deployments);
    let asked: Vec<LoggedRequest> = world.gitlab.requests().split_off(asked_before);
    were_refused_as_wanted(&asked)
}

/// What was refused was tried again, and nothing was asked for before GitLab wanted it.
fn were_refused_as_wanted(asked: &[LoggedRequest]) -> anyhow::Result<()> {
    let is_result =
        |it: &&LoggedRequest| ["/statuses/", "/notes"].iter().any(|part| it.target.contains(part));
    let results: Vec<&LoggedRequest> = asked.iter().filter(is_result).collect();
    let errors = results.iter().filter(|it| it.status == Some(500)).count();
    ensure!(u32::try_from(errors)? == REFUSALS, "{errors} refusals: {results:#?}");
    let limited = results.iter().position(|it| it.status == Some(429)).context("no 429")?;
    let next = results.get(limited + 1).context("it was not tried again")?;
    let pause = next.at.duration_since(results[limited].at);
    ensure!(pause >= Duration::from_secs(RETRY_AFTER_S.into()), "asked again after {pause:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_in_quick_succession_make_one_note_on_a_slow_gitlab() {
    succession().await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// The second deployment is there before the note of the first one is.
async fn succession() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let project = reviewed(&world).await?;
    let first = world.gitlab.push(&project.path, "feature", &page("a"), "A proposal").await?;
    world.gitlab.spoil(Place::Api, "/notes", Fault::Slow(SLOW), None);
    ensure!(world.gitlab.open_merge_request(&project.path, "feature").await? == 1, "the first one");
    world.wait_commit(&project, REVIEW, &first).await?;
    let (second, _) = push_timed(&world, &project, "b").await?;
    let request = is_noted(&world, &project, &second).await?;
    ensure!(request.notes.len() == 1, "one note: {:#?}", request.notes);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitlab_that_dies_holds_up_what_waits_for_it_and_nothing_else() {
    dies().await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// There is one slot, and the job that waits holds it no longer than to find that its GitLab is away.
async fn dies() -> anyhow::Result<()> {
    let settings = format!("{HOOKS_ONLY}[worker]\nslots = 1\n[pipelines]\npoll_interval_s = 1\n");
    let world = World::start(&settings, "build").await?;
    let (path, commit) = world.project(&files("one")).await?;
    let project = world.register(&path, built_by_pipeline(&path)).await?;
    let deployment = world.wait_commit(&project, "production", &commit).await?;
    let id = text(&deployment["id"])?.to_owned();
    world.slipway.wait_for(&id, |it| it["jobs"][0]["state"]["status"] == "waiting").await?;
    let other = GitlabServer::start().await?;
    let token = other.add_token("slipway", &["api"], MAINTAINER);
    world.store_credential("other", "oauth2", &token).await?;

    world.gitlab.go_away().await?;
    let is_alone = |it: &Value| {
        let state = &it["jobs"][0]["state"];
        let says = |reason: &str| reason.contains("is asked again later");
        state["status"] == "waiting" && state["reason"].as_str().is_some_and(says)
    };
    world.slipway.wait_for(&id, is_alone).await?;
    let took = beside(&world, &other).await?;
    println!("registered -> end of the deployment {took:?} beside a dead GitLab, with one slot");
    let allowed = pace::allowed(OTHER_MAX);
    ensure!(took <= allowed, "{took:?}, allowed {allowed:?}");
    let left = world.slipway.deployment(&id).await?;
    let state = &left["jobs"][0]["state"]["status"];
    ensure!(state == "waiting" || state == "running", "it waits on: {left:#}");

    world.gitlab.heal().await?;
    world.gitlab.end_job(&path, &commit, "build", &failed(), &["it broke"])?;
    let ended = world.slipway.wait_resting(&id).await?;
    ensure!(ended["failure"]["code"] == "pipeline_failed", "it goes on: {ended:#}");
    Ok(())
}

fn failed() -> End {
    End::Failed("script_failure".to_owned())
}

fn built_by_pipeline(path: &str) -> Value {
    json!({ "build": "gitlab", "pipeline": { "image": format!("127.0.0.1:1/{path}"), "job": "build" } })
}

/// A project on another GitLab, whose pipeline has ended already; answers how long its deployment took.
async fn beside(world: &World, other: &GitlabServer) -> anyhow::Result<Duration> {
    let path = "other/shop";
    other.create_project(path, &[]).await?;
    let commit = other.push(path, "main", &files("other"), "Initial commit").await?;
    other.end_job(path, &commit, "build", &failed(), &["it broke"])?;
    let mut body = json!({
        "repository_url": other.project(path)?.clone_url(), "forge": "gitlab", "credential": "other",
        "commit": "none",
    });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), built_by_pipeline(path)) {
        body.extend(more);
    }
    let begun = Instant::now();
    let project = world.post_project(path, &body, "").await?;
    let deployment = world.wait_commit(&project, "default", &commit).await?;
    let ended = world.slipway.wait_resting(text(&deployment["id"])?).await?;
    ensure!(ended["failure"]["code"] == "pipeline_failed", "{ended:#}\n{}", world.slipway.log());
    Ok(begun.elapsed())
}
