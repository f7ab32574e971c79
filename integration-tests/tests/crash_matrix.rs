//! The crash matrix: `kill -9` of `slipway up` before, inside and after the effect of every stage. After a restart
//! the job succeeds with exactly one commit, one image in use, the right containers, and no leftovers.

mod crash;

use std::time::Duration;

use crash::World;
use slipway_integration_tests::docker_engine;

/// Runs the matrix row of one stage: all three points, one after another.
async fn row(stage: &str) {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    for point in ["before", "inside", "after"] {
        let mut world = World::start(&host).await.expect("the world starts");
        let ended = world.crash_at(&format!("{stage}.{point}")).await;
        let cleaned = world.clean_up().await;
        ended.unwrap_or_else(|error| panic!("{stage}.{point}: {error:#}"));
        cleaned.expect("the engine is cleaned up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_clone() {
    row("clone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_template() {
    row("template").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_commit() {
    row("commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_build() {
    row("build").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_apply() {
    row("apply").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_stop() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    for point in ["before", "inside", "after"] {
        let mut world = World::start(&host).await.expect("the world starts");
        let ended = world.crash_while_stopping(&format!("stop.{point}")).await;
        let cleaned = world.clean_up().await;
        ended.unwrap_or_else(|error| panic!("stop.{point}: {error:#}"));
        cleaned.expect("the engine is cleaned up");
    }
}

/// Kills at instants spread over a whole deployment, wherever they fall: inside a fetch, a push, a build step, between
/// two calls to the engine.
#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_at_any_instant() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    for after_ms in [40, 110, 190, 280, 380, 500, 640, 800, 1_000, 1_300] {
        let mut world = World::start(&host).await.expect("the world starts");
        let ended = world.crash_after(Duration::from_millis(after_ms)).await;
        let cleaned = world.clean_up().await;
        ended.unwrap_or_else(|error| panic!("after {after_ms} ms: {error:#}"));
        cleaned.expect("the engine is cleaned up");
    }
}

/// While the new version's job is killed inside its apply, the old version answers every request.
#[tokio::test(flavor = "multi_thread")]
async fn the_previous_deployment_serves_through_a_crash() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let mut world = World::start(&host).await.expect("the world starts");
    let ended = world.crash_during_redeploy().await;
    let cleaned = world.clean_up().await;
    ended.unwrap_or_else(|error| panic!("{error:#}"));
    cleaned.expect("the engine is cleaned up");
}
