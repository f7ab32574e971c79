//! A repair on a Docker engine: a container that somebody has removed is there again, and the rest is left alone.

use anyhow::{Context as _, ensure};
use bollard::query_parameters::RemoveContainerOptions;
use jiff::Timestamp;
use slipway_common::model::{Deployment, DeploymentState, JobId, JobMessage, JobState};
use slipway_common::submit::submit;
use slipway_integration_tests::docker_engine;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_container_comes_back() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let world = World::start(&host, &[]).await.expect("the world starts");
    let outcome = remove_and_repair(&world).await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the engine is cleaned up");
}

/// The ids of the deployment's containers, in order.
async fn containers(world: &World, deployment: &Deployment) -> anyhow::Result<Vec<String>> {
    let found = world.containers(deployment.project.slug.as_str()).await?;
    let mut ids: Vec<String> = found.into_iter().filter_map(|container| container.id).collect();
    ids.sort();
    Ok(ids)
}

async fn remove_and_repair(world: &World) -> anyhow::Result<()> {
    let (_, url) = world.static_site("repaired").await?;
    let mut request = world.request(&url);
    request.replicas = Some(2);
    let deployment = world.deploy(&request).await?;
    let before = containers(world, &deployment).await?;
    ensure!(before.len() == 2, "{before:?}");
    let options = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
    world.docker.remove_container(&before[0], Some(options)).await?;
    let degraded = world.wait_for(deployment.id, |it| it.state == DeploymentState::Degraded).await?;
    let message = JobMessage::repair(&degraded, JobId::generate(), "test".to_owned(), Timestamp::now());
    submit(&world.backend, &message).await?;
    let repaired = world.ended(deployment.id).await?;
    let job = repaired.job(message.id).context("the repair is not known")?;
    ensure!(job.state == JobState::Succeeded, "{job:#?}");
    let after = containers(world, &deployment).await?;
    ensure!(after.len() == 2 && after.contains(&before[1]), "{before:?} {after:?}");
    world.wait_for(deployment.id, |it| it.state == DeploymentState::Active).await?;
    Ok(())
}
