//! GitHub and Gitea: their signed pushes deploy a repository that is only Git to Slipway.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::GitServer;
use slipway_integration_tests::gitlab::delivery::Delivery;
use slipway_integration_tests::gitlab::samples;

use crate::world::{HOOKS_ONLY, World, files, page};

const SECRET: &str = "a secret that both sides know";

#[tokio::test(flavor = "multi_thread")]
async fn a_push_told_by_github_is_deployed() {
    let push = |url: &str, commit: &str| {
        Delivery::github("push", &samples::github_push(url, "main", commit), SECRET)
    };
    let others = samples::github().into_iter().skip(1);
    let others = others.map(|(event, payload)| Delivery::github(event, &payload, SECRET)).collect();
    let forged = Delivery::github("push", &json!({}), "another secret altogether");
    deployed("github", push, others, forged).await.unwrap_or_else(|error| panic!("{error:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_told_by_gitea_is_deployed() {
    let push =
        |url: &str, commit: &str| Delivery::gitea("push", &samples::gitea_push(url, "main", commit), SECRET);
    let others = samples::gitea().into_iter().skip(1);
    let others = others.map(|(event, payload)| Delivery::gitea(event, &payload, SECRET)).collect();
    let forged = Delivery::gitea("push", &json!({}), "another secret altogether");
    deployed("gitea", push, others, forged).await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn deployed(
    forge: &str,
    push: impl Fn(&str, &str) -> Delivery,
    others: Vec<Delivery>,
    forged: Delivery,
) -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let git = GitServer::start().await?;
    let path = format!("ada/{}", docker_engine::unique_name("shop"));
    let url = git.create_repo(&path, &files("one")).await?;
    let body = json!({
        "repository_url": url, "forge": forge, "commit": "none",
        "environments": [{ "name": "production", "default_branch": true }],
        "hook": { "signing_secret": SECRET },
    });
    let project = world.post_project(&path, &body, SECRET).await?;
    world.wait_deployments(&project, 1).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let commit = git.commit(&path, "main", &page("two"), "A change").await?;
    let told = forged.send(&client, &project.hook_url).await?;
    ensure!(told.status == 401, "{told:?}");
    for other in others {
        let told = other.send(&client, &project.hook_url).await?;
        ensure!((200..300).contains(&told.status), "{told:?} to {other:?}");
    }
    let delivery = push(&url, &commit);
    let told = delivery.send(&client, &project.hook_url).await?;
    ensure!((200..300).contains(&told.status) && told.body.is_empty(), "{told:?}");
    let deployment = world.wait_commit(&project, "production", &commit).await?;
    ensure!(deployment["spec"]["repository_url"] == url.as_str(), "{deployment:#}");
    delivery.send(&client, &project.hook_url).await?;
    world.sweep(&project).await?;
    world.wait_deployments(&project, 2).await?;
    is_form_taken(&world, &project.hook_url, &delivery).await.context("as a form")
}

/// Content of another kind is answered, and never with an error of the server's.
async fn is_form_taken(world: &World, url: &str, delivery: &Delivery) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let payload: Value = delivery.payload()?;
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &payload.to_string())
        .finish();
    let mut as_form = delivery.clone().with("Content-Type", "application/x-www-form-urlencoded");
    as_form.body = form.into();
    let told = as_form.send(&client, url).await?;
    ensure!(told.status == 401, "the signature is of another body: {told:?}");
    ensure!(world.slipway.pid().is_some(), "it lives");
    Ok(())
}
