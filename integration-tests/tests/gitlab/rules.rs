//! Which push deploys what: branches, tags, paths, `slipway.yml`, and what Slipway has committed itself.

use anyhow::ensure;
use serde_json::{Value, json};
use slipway_integration_tests::git_server::TreeFile;

use crate::world::{HOOKS_ONLY, Registered, World, files, page, text};

/// The environments that have a deployment, with how many.
async fn deployed(world: &World, project: &Registered) -> anyhow::Result<Vec<(String, usize)>> {
    let mut found: Vec<(String, usize)> = Vec::new();
    for deployment in world.deployments(project).await? {
        let name = text(&deployment["environment"])?.to_owned();
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => found.push((name, 1)),
        }
    }
    found.sort();
    Ok(found)
}

fn counts(of: &[(&str, usize)]) -> Vec<(String, usize)> {
    of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_decide_which_part_of_a_repository_is_deployed() {
    paths().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn paths() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, _) = world.project(&files("one")).await?;
    let rules = json!([
        { "name": "api", "default_branch": true, "paths": ["services/api/**", "shared/*.txt"] },
        { "name": "web", "default_branch": true, "paths": ["services/web/**"] },
    ]);
    let project = world.register(&path, json!({ "environments": rules })).await?;
    world.sweep(&project).await?;
    let before = deployed(&world, &project).await?;
    let change = |name: &str| vec![TreeFile::new(name, "changed\n")];
    let commit = world.gitlab.push(&path, "main", &change("services/web/page.txt"), "The site").await?;
    world.wait_commit(&project, "web", &commit).await?;
    world.gitlab.push(&path, "main", &change("docs/notes.txt"), "Words").await?;
    world.gitlab.push(&path, "main", &change("shared/deep/list.txt"), "Too deep").await?;
    world.sweep(&project).await?;
    let commit = world.gitlab.push(&path, "main", &change("shared/list.txt"), "Shared").await?;
    world.wait_commit(&project, "api", &commit).await?;
    world.sweep(&project).await?;
    let count = |of: &[(String, usize)], name: &str| {
        of.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
    };
    let after = deployed(&world, &project).await?;
    for name in ["api", "web"] {
        ensure!(count(&after, name) == count(&before, name) + 1, "{name}: {before:?} -> {after:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_and_tags_go_where_their_rules_say() {
    branches_and_tags().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn branches_and_tags() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, _) = world.project(&files("one")).await?;
    let git = &world.gitlab;
    git.push(&path, "release/1", &page("release 1"), "Old release").await?;
    git.push_tag(&path, "v1.9.0", "main", false).await?;
    let rules = json!([
        { "name": "staging", "branch": "release/*" },
        { "name": "production", "tag": "v*" },
    ]);
    let project = world.register(&path, json!({ "environments": rules })).await?;
    world.sweep(&project).await?;
    ensure!(deployed(&world, &project).await?.is_empty(), "what was there before is where it began");

    git.push(&path, "main", &page("two"), "On no rule's branch").await?;
    git.push(&path, "release/deep/fix", &page("deep"), "Deeper than one star").await?;
    let release = git.push(&path, "release/2", &page("release 2"), "New release").await?;
    world.wait_commit(&project, "staging", &release).await?;
    let tagged = git.push_tag(&path, "v1.10.0", "release/2", true).await?;
    let deployment = world.wait_commit(&project, "production", &tagged).await?;
    ensure!(deployment["trigger"]["reference"] == "refs/tags/v1.10.0", "{deployment:#}");
    git.push_tag(&path, "nightly", "main", false).await?;
    git.delete_branch(&path, "release/2").await?;
    world.sweep(&project).await?;
    ensure!(
        deployed(&world, &project).await? == counts(&[("production", 1), ("staging", 1)]),
        "{:?}",
        deployed(&world, &project).await?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_new_tags_the_highest_version_is_deployed() {
    several_tags().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn several_tags() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, _) = world.project(&files("one")).await?;
    let rules = json!([{ "name": "production", "tag": "v*" }]);
    let project = world.register(&path, json!({ "environments": rules })).await?;
    world.sweep(&project).await?;
    world.gitlab.lose_hooks(true);
    for (tag, words) in [("v2.9.0", "nine"), ("v2.10.0", "ten"), ("v2.2.0", "two")] {
        world.gitlab.push(&path, "main", &page(words), words).await?;
        world.gitlab.push_tag(&path, tag, "main", false).await?;
    }
    world.sweep(&project).await?;
    let made = world.wait_deployments(&project, 1).await?;
    let deployment = world.slipway.deployment(text(&made[0]["id"])?).await?;
    ensure!(deployment["trigger"]["reference"] == "refs/tags/v2.10.0", "{deployment:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_slipway_yml_is_told_with_its_line_and_nothing_is_guessed() {
    file_with_error().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn file_with_error() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, first) = world.project(&files("one")).await?;
    let project = world.register(&path, json!({})).await?;
    world.wait_commit(&project, "production", &first).await?;
    let file = |text: &str| vec![TreeFile::new("slipway.yml", text)];
    let bad = "environments:\n  - name: staging\n    brnach: main\n";
    let refused = world.gitlab.push(&path, "main", &file(bad), "A file with a slip").await?;
    let shown = world.sweep(&project).await?;
    let state = shown["state"].to_string();
    ensure!(state.contains("line 3") && state.contains("brnach"), "{state}");
    let made = deployed(&world, &project).await?;
    ensure!(made.iter().all(|(name, count)| name == "production" && *count <= 2), "{made:?}");
    fails_by_its_file(&world, &project, &refused).await?;

    let good = "environments:\n  - name: staging\n    branch: main\n";
    let fixed = world.gitlab.push(&path, "main", &file(good), "Without it").await?;
    world.wait_commit(&project, "staging", &fixed).await?;
    let shown = world.sweep(&project).await?;
    ensure!(shown["state"].get("error").is_none_or(Value::is_null), "{shown:#}");
    Ok(())
}

/// The deployment of the commit fails by the commit's own file, and does so again when somebody tries it again: it never
/// runs by what is registered alone.
async fn fails_by_its_file(world: &World, project: &Registered, commit: &str) -> anyhow::Result<()> {
    let deployment = world.wait_commit(project, "production", commit).await?;
    let id = text(&deployment["id"])?.to_owned();
    for tries in 1..=2 {
        let has_failed = |it: &Value| {
            let jobs = it["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
            jobs.len() == tries && jobs.iter().all(|job| job["state"]["status"] == "failed")
        };
        let ended = world.slipway.wait_for(&id, has_failed).await?;
        let failure = &ended["failure"];
        ensure!(failure["code"] == "project_file_invalid" && failure["stage"] == "clone", "{ended:#}");
        ensure!(text(&failure["reason"])?.contains("line 3"), "{failure:#}");
        if tries == 1 {
            let (status, answer) =
                world.slipway.request("POST", &format!("/deployments/{id}/retry"), None).await?;
            ensure!(status == 202, "retry answered {status}: {answer}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_slipway_commits_itself_is_not_deployed_again() {
    own_commit().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn own_commit() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, _) = world.project(&page("bare")).await?;
    let project = world.register(&path, json!({ "commit": "push" })).await?;
    let made = world.wait_deployments(&project, 1).await?;
    let id = text(&made[0]["id"])?.to_owned();
    world.slipway.wait_for(&id, |it| it["jobs"][0]["state"]["status"] == "succeeded").await?;
    let effects = world.gitlab.git().effects(&path).await?;
    let own = effects.last().map(|update| update.new.clone()).unwrap_or_default();
    let is_own = |(name, value): &(String, String)| name == "Slipway-Deployment" && *value == id;
    ensure!(effects.last().is_some_and(|update| update.trailers.iter().any(is_own)), "{effects:#?}");
    world
        .eventually("the hook of the commit", |gitlab| {
            gitlab.deliveries().iter().any(|sent| {
                let payload = sent.delivery.payload().unwrap_or_default();
                payload["object_kind"] == "push" && payload["after"] == own.as_str()
            })
        })
        .await?;
    world.sweep(&project).await?;
    world.wait_deployments(&project, 1).await?;
    // The next push of a person is deployed as ever.
    let next = world.gitlab.push(&path, "main", &page("changed"), "A change").await?;
    world.wait_commit(&project, "production", &next).await?;
    world.wait_deployments(&project, 2).await?;
    Ok(())
}
