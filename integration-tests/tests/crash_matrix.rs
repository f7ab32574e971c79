//! The crash matrix: `kill -9` before, inside and after the effect of every stage, of `slipway up` and of one of two
//! workers over RabbitMQ and Redis. The job succeeds with exactly one commit, one image in use, the right containers,
//! and no leftovers.

mod crash;

use std::time::Duration;

use crash::{Form, Running, World};
use slipway_integration_tests::docker_engine;

const POINTS: [&str; 3] = ["before", "inside", "after"];
/// When everything is killed, counted from the request.
const INSTANTS_MS: [u64; 10] = [40, 110, 190, 280, 380, 500, 640, 800, 1_000, 1_300];
/// The distributed form, which takes longer to start again, is killed at every so many of them.
const DISTRIBUTED_STEP: usize = 2;

/// The engine and Slipway in this form; `None` where there is no engine.
async fn prepared(form: Form) -> Option<(String, Running)> {
    match docker_engine::docker_host().await {
        Ok(host) => {
            let slipway = crash::prepare(form, &host).await.expect("Slipway is prepared");
            Some((host, slipway))
        }
        Err(reason) => {
            docker_engine::skip(&reason);
            None
        }
    }
}

/// Runs one crash in a world of its own and cleans up after it.
macro_rules! in_a_world {
    ($host:expr, $slipway:expr, $what:expr, $crash:expr) => {{
        let mut world = World::start(&$host, &mut $slipway).await.expect("the world starts");
        let ended = $crash(&mut world).await;
        let cleaned = world.clean_up().await;
        ended.unwrap_or_else(|error: anyhow::Error| panic!("{}: {error:#}", $what));
        cleaned.expect("the engine is cleaned up");
    }};
}

/// Runs the matrix row of one stage: all three points, one after another.
async fn row(form: Form, stage: &str) {
    let Some((host, mut slipway)) = prepared(form).await else { return };
    for point in POINTS {
        let point = format!("{stage}.{point}");
        in_a_world!(host, slipway, point, async |world: &mut World<'_>| world.crash_at(&point).await);
    }
}

async fn stop_row(form: Form) {
    let Some((host, mut slipway)) = prepared(form).await else { return };
    for point in POINTS {
        let point = format!("stop.{point}");
        in_a_world!(host, slipway, point, async |world: &mut World<'_>| {
            world.crash_while_stopping(&point).await
        });
    }
}

async fn at_any_instant(form: Form) {
    let Some((host, mut slipway)) = prepared(form).await else { return };
    let step = match form {
        Form::Embedded => 1,
        Form::Distributed => DISTRIBUTED_STEP,
    };
    for after_ms in INSTANTS_MS.into_iter().step_by(step) {
        in_a_world!(host, slipway, format!("after {after_ms} ms"), async |world: &mut World<'_>| {
            world.crash_after(Duration::from_millis(after_ms)).await
        });
    }
}

async fn through_a_crash(form: Form) {
    let Some((host, mut slipway)) = prepared(form).await else { return };
    in_a_world!(host, slipway, "redeploy", async |world: &mut World<'_>| world.crash_during_redeploy().await);
}

macro_rules! matrix {
    ($form:expr) => {
        use super::*;

        #[tokio::test(flavor = "multi_thread")]
        async fn i6_kill_around_clone() {
            row($form, "clone").await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn i6_kill_around_template() {
            row($form, "template").await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn i6_kill_around_commit() {
            row($form, "commit").await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn i6_kill_around_build() {
            row($form, "build").await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn i6_kill_around_apply() {
            row($form, "apply").await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn i6_kill_around_stop() {
            stop_row($form).await;
        }

        /// Kills everything at instants spread over a whole deployment, wherever they fall: inside a fetch, a push, a
        /// build step, between two calls to the engine.
        #[tokio::test(flavor = "multi_thread")]
        async fn i6_kill_at_any_instant() {
            at_any_instant($form).await;
        }

        /// While the new version's job is killed inside its apply, the old version answers every request.
        #[tokio::test(flavor = "multi_thread")]
        async fn the_previous_deployment_serves_through_a_crash() {
            through_a_crash($form).await;
        }
    };
}

mod embedded {
    matrix!(Form::Embedded);
}

mod distributed {
    matrix!(Form::Distributed);
}
