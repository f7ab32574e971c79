//! An environment that is moved from one target to another: what served before goes once the new one serves, and not
//! before.

use std::sync::Arc;

use anyhow::ensure;
use slipway_common::model::{Deployment, DeploymentState, JobState, Stage};
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane, IMAGE_PULL_FAILS};

use super::rights;
use super::world::{TARGET, World, image, namespace_of};

/// Name of the other target.
const OTHER: &str = "staging";

/// A world with a second target, on this control plane.
async fn world_with(other: &ControlPlane, folder: &tempfile::TempDir) -> anyhow::Result<World> {
    rights::grant(other).await?;
    let (ca_file, token_file) = (folder.path().join("ca.crt"), folder.path().join("token"));
    std::fs::write(&ca_file, other.ca_pem())?;
    std::fs::write(&token_file, other.token_for(ClusterUser::Worker))?;
    let (ca_file, token_file) = (ca_file.display().to_string(), token_file.display().to_string());
    let plane = ControlPlane::shared().await?;
    World::start(
        plane,
        &[
            ("SLIPWAY__KUBERNETES__STAGING__SERVER", other.server_url()),
            ("SLIPWAY__KUBERNETES__STAGING__CA_FILE", &ca_file),
            ("SLIPWAY__KUBERNETES__STAGING__TOKEN_FILE", &token_file),
        ],
    )
    .await
}

/// Names of the Deployments that are left of a deployment on a control plane.
async fn left_on(plane: &ControlPlane, deployment: &Deployment) -> anyhow::Result<Vec<String>> {
    let namespace = namespace_of(&deployment.project, "default");
    let list = plane.get(&format!("/apis/apps/v1/namespaces/{namespace}/deployments")).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().filter_map(|item| Some(item["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// Runs `body` with two control planes and cleans up whatever happened.
async fn on_two(body: impl AsyncFnOnce(&World, &ControlPlane) -> anyhow::Result<()>) {
    if !ControlPlane::available().await {
        return;
    }
    let other = ControlPlane::start().await.expect("a second control plane starts");
    let folder = tempfile::tempdir().expect("there is room");
    let world = world_with(&other, &folder).await.expect("the world starts");
    let outcome = body(&world, &other).await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the worker ends");
}

/// A move takes away what served before; a move that fails leaves it as it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_served_on_another_target_goes() {
    on_two(async |world, other| {
        let mut request = world.request("web");
        request.target = Some(TARGET.to_owned());
        let first = world.deploy(&request).await?;
        request.target = Some(OTHER.to_owned());
        request.image = Some(image(IMAGE_PULL_FAILS));
        let failed = world.fails(&request, Stage::Apply, "image_pull_failed").await?;
        ensure!(left_on(&world.plane, &first).await? == ["shop"], "the failed move took it away");
        ensure!(left_on(other, &failed).await?.is_empty(), "the failed move left something");
        ensure!(world.deployment(first.id).await?.state == DeploymentState::Active);
        request.image = Some(image("web"));
        let second = world.deploy(&request).await?;
        ensure!(left_on(other, &second).await? == ["shop"]);
        ensure!(left_on(&world.plane, &first).await?.is_empty(), "it still runs where it was");
        ensure!(world.deployment(first.id).await?.state == DeploymentState::Stopped);
        Ok(())
    })
    .await;
}

/// A target that cannot be reached is left as soon as it can be; meanwhile it is said what hinders, and the new one
/// serves.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_is_left_later() {
    on_two(async |world, other| {
        let mut request = world.request("web");
        request.target = Some(OTHER.to_owned());
        let first = world.deploy(&request).await?;
        other.kill_api().await?;
        request.target = Some(TARGET.to_owned());
        let second = world.submit(&request).await?;
        let waiting = world
            .wait_for(second, |deployment| {
                deployment.latest_job().is_some_and(|job| match &job.state {
                    JobState::Waiting { reason, .. } => {
                        reason.contains("what served on staging cannot be removed yet")
                    }
                    JobState::Queued
                    | JobState::Running { .. }
                    | JobState::Succeeded
                    | JobState::Failed { .. }
                    | JobState::Cancelled
                    | JobState::Superseded { .. } => false,
                })
            })
            .await?;
        ensure!(left_on(&world.plane, &waiting).await? == ["shop"], "the new one does not serve");
        other.start_api_again().await?;
        let second = world.ended(second).await?;
        ensure!(second.state == DeploymentState::Active, "{second:#?}");
        ensure!(left_on(other, &first).await?.is_empty(), "it still runs where it was");
        Ok(())
    })
    .await;
}

/// Two names of one cluster: what was just deployed is not taken for what is left.
#[tokio::test(flavor = "multi_thread")]
async fn two_names_of_one_cluster_are_one_place() {
    if !ControlPlane::available().await {
        return;
    }
    let same: Arc<ControlPlane> = ControlPlane::shared().await.expect("the control plane starts");
    let folder = tempfile::tempdir().expect("there is room");
    let world = world_with(&same, &folder).await.expect("the world starts");
    let outcome: anyhow::Result<()> = async {
        let mut request = world.request("web");
        request.target = Some(TARGET.to_owned());
        world.deploy(&request).await?;
        request.target = Some(OTHER.to_owned());
        let second = world.deploy(&request).await?;
        ensure!(left_on(&same, &second).await? == ["shop"], "the new one was removed");
        Ok(())
    }
    .await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the worker ends");
}
