//! A deployment that waits for its pipeline is cancelled, or overtaken by a newer push.

use anyhow::{Context as _, ensure};
use serde_json::json;
use slipway_integration_tests::gitlab::End;

use crate::world::{HOOKS_ONLY, Registered, World, files, page, text};

async fn waiting() -> anyhow::Result<(World, Registered, String, String)> {
    let world = World::start(HOOKS_ONLY, "build").await?;
    let (path, commit) = world.project(&files("one")).await?;
    let pipeline = json!({ "image": format!("127.0.0.1:1/{path}"), "job": "build" });
    let project = world.register(&path, json!({ "build": "gitlab", "pipeline": pipeline })).await?;
    let deployment = world.wait_commit(&project, "production", &commit).await?;
    let id = text(&deployment["id"])?.to_owned();
    world.slipway.wait_for(&id, |it| it["jobs"][0]["state"]["status"] == "waiting").await?;
    Ok((world, project, commit, id))
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_deployment_cancels_its_pipeline_and_is_told() {
    cancelled().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn cancelled() -> anyhow::Result<()> {
    let (world, project, commit, id) = waiting().await?;
    let (status, answer) = world.slipway.request("POST", &format!("/deployments/{id}/cancel"), None).await?;
    ensure!(status < 300, "cancel answered {status}: {answer}");
    let ended = world.slipway.wait_for(&id, |it| it["jobs"][0]["state"]["status"] == "cancelled").await?;
    ensure!(ended["jobs"][0]["state"]["status"] == "cancelled", "{ended:#}");
    let state = |gitlab: &slipway_integration_tests::gitlab::GitlabServer| {
        let seen = gitlab.project(&project.path).ok();
        let pipeline = seen.as_ref().and_then(|it| it.pipeline_of(&commit).map(|it| it.jobs[0].status));
        let status = seen.as_ref().and_then(|it| it.status_of(&commit, "slipway/production"));
        (pipeline, status.map(|it| it.state))
    };
    let both = (Some("canceled"), Some("canceled"));
    world.eventually("pipeline and status to be cancelled", |gitlab| state(gitlab) == both).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_push_overtakes_a_deployment_that_waits() {
    overtaken().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn overtaken() -> anyhow::Result<()> {
    let (world, project, first, id) = waiting().await?;
    let second = world.gitlab.push(&project.path, "main", &page("two"), "A change").await?;
    let newer = world.wait_commit(&project, "production", &second).await?;
    let old = world.slipway.wait_for(&id, |it| it["status"] == "superseded").await?;
    ensure!(old["succeeded_by"] == newer["id"], "{old:#}");
    // What the older pipeline comes to concerns nobody any more.
    world.gitlab.end_job(&project.path, &first, "build", &End::Success, &[])?;
    let end = End::Failed("script_failure".to_owned());
    world.gitlab.end_job(&project.path, &second, "build", &end, &["it broke"])?;
    let ended = world.slipway.wait_resting(text(&newer["id"])?).await?;
    ensure!(ended["failure"]["code"] == "pipeline_failed", "{ended:#}");
    let hooks = world.gitlab.project(&project.path)?.hooks;
    let hook = hooks.first().context("the hook")?;
    let good = hook.answers.iter().all(|answer| answer.status.is_some_and(|status| status < 300));
    ensure!(hook.failures == 0 && good, "{hook:#?}");
    Ok(())
}
