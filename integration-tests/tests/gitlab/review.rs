//! Review environments: they come, move and go with their merge request, forks get none, there are only so many, and
//! one note tells of each.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::TreeFile;
use slipway_integration_tests::gitlab::{GitlabServer, MergeRequest};

use crate::world::{HOOKS_ONLY, Registered, World, files, page, text};

const BASE_IMAGE: &str = "slipway-test/static:gitlab-review";
const SECRET_VALUE: &str = "review-variable-canary-77ab";

/// What an engine can build and run without a registry.
fn site(words: &str) -> Vec<TreeFile> {
    let mut all = files(words);
    all[1] = TreeFile::new(
        "Dockerfile",
        format!("FROM {BASE_IMAGE}\nCOPY index.html /usr/share/nginx/html/index.html\n"),
    );
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_environment_lives_with_its_merge_request() {
    on_engine(26_200, async |world, slug| life(world, slug).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forks_get_nothing_and_there_are_only_so_many_reviews() {
    on_engine(26_300, async |world, slug| limits(world, slug).await).await;
}

async fn on_engine(first_port: u16, body: impl AsyncFnOnce(&World, &mut String) -> anyhow::Result<()>) {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let docker = docker_engine::connect(&host).expect("the engine answers");
    docker_engine::base_image(&docker, BASE_IMAGE).await.expect("the image is made");
    let world = World::on_engine(HOOKS_ONLY, &host, first_port).await.expect("the world starts");
    let mut slug = String::new();
    let outcome = body(&world, &mut slug).await;
    drop(world);
    docker_engine::remove_all(&docker, &format!("io.slipway.project={slug}")).await.expect("cleaned up");
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn begin(world: &World, slug: &mut String, review: Value) -> anyhow::Result<Registered> {
    let (path, first) = world.project(&site("one")).await?;
    let more = json!({ "review": review, "env": { "GREETING": SECRET_VALUE } });
    let project = world.register(&path, more).await?;
    slug.clone_from(&project.slug);
    let deployment = world.wait_commit(&project, "production", &first).await?;
    let ended = world.slipway.wait_resting(text(&deployment["id"])?).await?;
    ensure!(ended["status"] == "active", "{ended:#}\n{}", world.slipway.log());
    Ok(project)
}

/// Waits until the commit is in service in the environment of the merge request.
async fn serves(world: &World, project: &Registered, iid: u64, commit: &str) -> anyhow::Result<Value> {
    let deployment = world.wait_commit(project, &format!("review-{iid}"), commit).await?;
    let ended = world.slipway.wait_resting(text(&deployment["id"])?).await?;
    ensure!(ended["status"] == "active", "{ended:#}\n{}", world.slipway.log());
    ensure!(ended["trigger"]["merge_request"] == iid, "{ended:#}");
    Ok(ended)
}

fn request(gitlab: &GitlabServer, project: &Registered, iid: u64) -> Option<MergeRequest> {
    gitlab.project(&project.path).ok()?.merge_requests.into_iter().find(|it| it.iid == iid)
}

async fn life(world: &World, slug: &mut String) -> anyhow::Result<()> {
    let project = begin(world, slug, json!({})).await?;
    let gitlab = &world.gitlab;
    let first = gitlab.push(&project.path, "feature", &page("proposed"), "A proposal").await?;
    let iid = gitlab.open_merge_request(&project.path, "feature").await?;
    let shown = serves(world, &project, iid, &first).await?;
    let url = text(&shown["url"])?.to_owned();
    let client = reqwest::Client::builder().no_proxy().build()?;
    ensure!(client.get(&url).send().await?.text().await?.contains("proposed"), "{shown:#}");
    is_noted(world, &project, iid, &url).await?;

    let second = gitlab.push(&project.path, "feature", &page("better"), "Better").await?;
    let again = serves(world, &project, iid, &second).await?;
    ensure!(again["url"] == url.as_str(), "the address is stable: {again:#}");
    is_noted(world, &project, iid, &second[..7]).await?;
    let notes = request(gitlab, &project, iid).context("the merge request")?.notes;
    ensure!(notes.len() == 1 && notes[0].changes > 0, "one note, changed: {notes:#?}");
    ensure!(!notes[0].body.contains(SECRET_VALUE), "{notes:#?}");

    gitlab.end_merge_request(&project.path, iid, "close").await?;
    let id = text(&again["id"])?.to_owned();
    world.slipway.wait_for(&id, |it| it["status"] == "stopped").await?;
    let name = format!("review-{iid}");
    let is_stopped = |gitlab: &GitlabServer| {
        gitlab
            .project(&project.path)
            .is_ok_and(|seen| seen.environments.iter().any(|it| it.name == name && it.state == "stopped"))
    };
    world.eventually("the environment to be shown as stopped", is_stopped).await?;
    let docker = docker_engine::connect(&docker_engine::docker_host().await.map_err(anyhow::Error::msg)?)?;
    let label = format!("io.slipway.environment={name}");
    let left = docker_engine::objects_with(&docker, &label).await?;
    let own: Vec<_> = left.iter().filter(|it| it.contains(&project.slug)).collect();
    ensure!(own.is_empty(), "nothing of it runs: {own:?}");
    Ok(())
}

/// Waits until the one note of the merge request names `what`.
async fn is_noted(world: &World, project: &Registered, iid: u64, what: &str) -> anyhow::Result<()> {
    let noted = |gitlab: &GitlabServer| {
        request(gitlab, project, iid).is_some_and(|it| it.notes.iter().any(|note| note.body.contains(what)))
    };
    let waited = world.eventually("the note", noted).await;
    waited.with_context(|| format!("{:#?}", request(&world.gitlab, project, iid)))
}

async fn limits(world: &World, slug: &mut String) -> anyhow::Result<()> {
    let project = begin(world, slug, json!({ "environments_max": 1 })).await?;
    let gitlab = &world.gitlab;
    let fork = format!("{}-fork", project.path);
    gitlab.fork(&project.path, &fork).await?;
    gitlab.push(&fork, "theirs", &page("from a fork"), "From a fork").await?;
    let foreign = gitlab.open_from_fork(&project.path, &fork, "theirs").await?;
    let shown = world.sweep(&project).await?;
    ensure!(shown["state"].to_string().contains(&format!("!{foreign}")), "it is said: {shown:#}");

    let commit = gitlab.push(&project.path, "ours", &page("ours"), "Ours").await?;
    let own = gitlab.open_merge_request(&project.path, "ours").await?;
    serves(world, &project, own, &commit).await?;
    gitlab.push(&project.path, "more", &page("more"), "More").await?;
    let more = gitlab.open_merge_request(&project.path, "more").await?;
    world.sweep(&project).await?;
    let reviews = environments(world, &project).await?;
    ensure!(reviews == [format!("review-{own}")], "{reviews:?}, not !{foreign} nor !{more}");

    // One goes, and there is room for the next.
    gitlab.end_merge_request(&project.path, own, "merge").await?;
    let tip = gitlab.project(&project.path)?;
    let next = tip.merge_requests.iter().find(|it| it.iid == more).context("the merge request")?;
    let next = next.sha.clone();
    let deadline = tokio::time::Instant::now() + crate::world::TIMEOUT;
    while !environments(world, &project).await?.contains(&format!("review-{more}")) {
        ensure!(tokio::time::Instant::now() < deadline, "no room was made");
        world.sweep(&project).await?;
    }
    serves(world, &project, more, &next).await?;
    Ok(())
}

/// The review environments that ever had a deployment.
async fn environments(world: &World, project: &Registered) -> anyhow::Result<Vec<String>> {
    let all = world.deployments(project).await?;
    let names = all.iter().filter_map(|it| it["environment"].as_str());
    let mut names: Vec<String> = names.filter(|it| it.starts_with("review-")).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}
