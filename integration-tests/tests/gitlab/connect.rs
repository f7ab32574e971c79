//! `slipway project add`, `set` and `remove` as a person uses them: everything is set up on GitLab, works, is
//! changed, and is undone.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;
use slipway_integration_tests::gitlab::{DEVELOPER, Fault, MAINTAINER, Place};
use slipway_integration_tests::programs::Program;
use tokio::process::Command;

use crate::world::{HOOKS_ONLY, Registered, World, files, page, text};

const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// What people read before they connect a project.
const README: &str = include_str!("../../../README.md");
/// Makes `slipway` in a shell the client of this server.
const AS_CLIENT: &str = r#"slipway() { "$SLIPWAY_PROGRAM" --server "$AT" --token-file "$WITH" "$@"; }"#;

/// The line of the README that begins so.
fn of_readme(begin: &str) -> anyhow::Result<&'static str> {
    README.lines().find(|line| line.starts_with(begin)).with_context(|| format!("no line `{begin}…`"))
}

/// A line as people type it into a shell, which must succeed.
async fn typed(world: &World, token: &str, line: &str) -> anyhow::Result<()> {
    let output = shell(world, token).await?.args(["-c", &format!("{AS_CLIENT}\n{line}")]).output();
    let output = tokio::time::timeout(COMMAND_TIMEOUT, output).await.context("it took too long")??;
    let said = format!("{output:?}");
    ensure!(!said.contains(token), "the token was printed: {said}");
    ensure!(output.status.success(), "{line}: {said}\n{}", world.slipway.log());
    Ok(())
}

/// A shell with the token of GitLab in the environment.
async fn shell(world: &World, token: &str) -> anyhow::Result<Command> {
    let mut command = Command::new("sh");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("SLIPWAY__DATA__DIR", "/nonexistent")
        .env("SLIPWAY_PROGRAM", Program::Slipway.path().await?)
        .env("AT", world.slipway.address())
        .env("WITH", world.slipway.data_folder().join("admin.token"))
        .env("GITLAB_TOKEN", token)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

/// A command with the token of GitLab in the environment.
async fn run(world: &World, token: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = shell(world, token)
        .await?
        .args(["-c", &format!("{AS_CLIENT}\nslipway \"$@\""), "sh"])
        .args(arguments)
        .output();
    let output = tokio::time::timeout(COMMAND_TIMEOUT, output).await.context("it took too long")??;
    let said = format!("{output:?}");
    ensure!(!said.contains(token), "the token was printed: {said}");
    Ok(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_connected_in_one_command_and_disconnected_in_another() {
    connected().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn connected() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let token = world.gitlab.add_token("person", &["api"], MAINTAINER);
    let (path, first) = world.project(&files("one")).await?;
    world.gitlab.change_project(&path, |project| {
        project.image_prefix = Some(format!("registry.example.org/{}", project.path));
    })?;
    let url = world.gitlab.project(&path)?.clone_url();
    let add = of_readme("slipway project add ")?;
    ensure!(add.contains("https://gitlab.com/group/shop") && add.contains("--review"), "{add}");
    typed(&world, &token, &add.replace("https://gitlab.com/group/shop", &url)).await?;
    let seen = world.gitlab.project(&path)?;
    let hook = seen.hooks.first().context("no hook was made")?;
    let events = hook.events;
    ensure!(events.push && events.tag_push && events.merge_requests && events.pipelines, "{hook:#?}");
    ensure!(hook.signing_token.is_some(), "deliveries are signed: {hook:#?}");
    ensure!(seen.deploy_tokens.len() == 1 && seen.variables.len() == 2, "{seen:#?}");

    let (_, projects) = world.slipway.request("GET", "/projects", None).await?;
    let project = Registered {
        path: path.clone(),
        slug: text(&projects["data"][0]["slug"])?.to_owned(),
        hook_url: hook.url.clone(),
        signing_secret: String::new(),
    };
    world.wait_commit(&project, "production", &first).await?;
    let second = world.gitlab.push(&path, "main", &page("two"), "A change").await?;
    world.wait_commit(&project, "production", &second).await?;
    changed(&world, &token, &project).await?;

    for command in ["slipway project show <project>", "slipway project sweep <project>"] {
        ensure!(README.contains(&format!("`{command}`")), "the README does not name `{command}`");
        typed(&world, &token, &command.replace("<project>", &project.slug)).await?;
    }
    let remove = "slipway project remove <project>";
    ensure!(README.contains(&format!("`{remove}`")), "the README does not name `{remove}`");
    typed(&world, &token, &remove.replace("<project>", &project.slug)).await?;
    let seen = world.gitlab.project(&path)?;
    ensure!(seen.hooks.is_empty() && seen.deploy_tokens.is_empty() && seen.variables.is_empty(), "{seen:#?}");
    let (_, credentials) = world.slipway.request("GET", "/credentials", None).await?;
    ensure!(credentials["total"] == 1, "only what was there before: {credentials:#}");
    let (status, _) = world.slipway.request("GET", &format!("/projects/{}", project.slug), None).await?;
    ensure!(status == 404, "the project is no longer registered");
    Ok(())
}

/// What is given is changed, and nothing else.
async fn changed(world: &World, token: &str, project: &Registered) -> anyhow::Result<()> {
    let before = world.show(project).await?;
    let flags = "-e production=main -e staging=release/* --paths staging=app/** --review-ttl-h 24 \
                 --webhook http://127.0.0.1:1/nobody";
    let command = ["project", "set", project.slug.as_str()];
    let arguments: Vec<&str> = command.into_iter().chain(flags.split_whitespace()).collect();
    let output = run(world, token, &arguments).await?;
    ensure!(output.status.success(), "{output:?}\n{}", world.slipway.log());
    ensure!(String::from_utf8_lossy(&output.stdout).contains("whsec_"), "the secret is shown: {output:?}");
    let after = world.show(project).await?;
    let rules = json!([
        { "name": "production", "branch": "main" },
        { "name": "staging", "branch": "release/*", "paths": ["app/**"] },
    ]);
    ensure!(after["environments"] == rules && after["review"]["ttl_h"] == 24, "{after:#}");
    ensure!(after["notify"]["webhooks"] == json!(["http://127.0.0.1:1/nobody"]), "{after:#}");
    for field in ["credential", "pull_credential", "target", "build", "port", "health", "hook", "made"] {
        ensure!(after[field] == before[field], "{field}: {before:#}\n{after:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_that_fails_says_why_and_leaves_nothing_behind() {
    fails().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn fails() -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, _) = world.project(&files("one")).await?;
    let url = world.gitlab.project(&path)?.clone_url();
    let weak = world.gitlab.add_token("weak", &["api"], DEVELOPER);
    let narrow = world.gitlab.add_token("narrow", &["read_api"], MAINTAINER);
    let good = world.gitlab.add_token("good", &["api"], MAINTAINER);
    let attempts = [(weak, None), (narrow, None), (good, Some("/variables"))];
    for (token, broken) in attempts {
        if let Some(path) = broken {
            world.gitlab.spoil(Place::Api, path, Fault::Status(502), None);
        }
        let output = run(&world, &token, &["project", "add", &url]).await?;
        ensure!(!output.status.success(), "{output:?}");
        ensure!(!output.stderr.is_empty(), "it says why: {output:?}");
        let seen = world.gitlab.project(&path)?;
        ensure!(seen.hooks.is_empty() && seen.deploy_tokens.is_empty(), "{seen:#?}");
        let (_, projects) = world.slipway.request("GET", "/projects", None).await?;
        ensure!(projects["total"] == 0, "{projects:#}");
        let (_, credentials) = world.slipway.request("GET", "/credentials", None).await?;
        ensure!(credentials["total"] == 1, "only what was there before: {credentials:#}");
    }
    Ok(())
}
