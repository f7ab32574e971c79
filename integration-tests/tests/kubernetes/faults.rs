//! F10: what an API server can do to a job. It is asked through a proxy that answers in its place, through a line that is
//! cut, or not at all; the job completes, or fails with a clear reason, and no call takes over 30 seconds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use slipway_common::model::{DeploymentState, EventKind, JobState, Stage};
use slipway_integration_tests::api_faults::{ApiFaults, Fault, Rule};
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane, IMAGE_SLOWLY_READY};
use slipway_integration_tests::line::Line;
use slipway_integration_tests::pace;

use super::world::{World, image};

/// Longest time one call may take.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Runs `body` in a world of its own whose worker asks through a proxy, and cleans up whatever happened.
macro_rules! spoilt_test {
    ($(#[$doc:meta])* $name:ident, |$world:ident, $faults:ident| $body:block) => {
        $(#[$doc])*
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            if !ControlPlane::available().await {
                return;
            }
            let plane = ControlPlane::shared().await.expect("the control plane starts");
            let $faults = proxy(&plane).await.expect("the proxy starts");
            let $world = World::start_at(plane, &$faults.url(), None, &[]).await.expect("the world starts");
            let outcome: anyhow::Result<()> = async { $body; Ok(()) }.await;
            let cleaned = $world.clean_up().await;
            outcome.unwrap_or_else(|error| panic!("{error:?}"));
            cleaned.expect("the worker ends");
        }
    };
}

async fn proxy(plane: &Arc<ControlPlane>) -> anyhow::Result<ApiFaults> {
    let kubeconfig = plane.kubeconfig();
    ApiFaults::start(plane.server_url(), kubeconfig.parent().unwrap_or(Path::new("/"))).await
}

fn rule(method: Method, path: &str, fault: Fault) -> Rule {
    Rule { method: Some(method), path: path.to_owned(), fault, times: 1 }
}

spoilt_test!(
    /// Every kind of call of an apply is refused once, or done and its answer lost: the job completes with each object once.
    f10_an_error_of_every_call_is_waited_out, |world, faults| {
        let calls = [
            (Method::GET, "/configmaps/slipway-inventory"),
            (Method::POST, "/api/v1/namespaces"),
            (Method::PATCH, "dryRun=All"),
            (Method::POST, "/configmaps"),
            (Method::PATCH, "/deployments/shop?"),
            (Method::PUT, "/configmaps/slipway-inventory"),
        ];
        for (method, path) in calls {
            for fault in [
                Fault::Status { code: 429, retry_after_s: Some(1) },
                Fault::Status { code: 409, retry_after_s: None },
                Fault::Status { code: 500, retry_after_s: None },
                Fault::AnswerLost { code: 500 },
            ] {
                let request = world.request("web");
                let met = faults.met();
                faults.spoil(rule(method.clone(), path, fault));
                let deployment = world.deploy(&request).await.with_context(|| format!("{method} {path} {fault:?}"))?;
                ensure!(faults.met() == met + 1, "{method} {path} was never asked");
                ensure!(world.names(&deployment, "deployments").await? == ["shop"]);
                let shop = world.object(&deployment, "deployments", "shop").await?;
                ensure!(shop["metadata"]["generation"] == 1, "{method} {path} {fault:?}: {shop:#}");
            }
        }
    }
);

spoilt_test!(
    /// Objects that are as they shall be are not sent again with the next version; those that somebody has changed are.
    what_is_unchanged_is_not_sent_again, |world, faults| {
        let mut request = world.request("web");
        let first = world.deploy(&request).await?;
        world.seen(&first, |live| live.replicas_serving == 1).await?;
        let fault = Fault::Status { code: 400, retry_after_s: None };
        faults.spoil(Rule { method: Some(Method::PATCH), path: "/services/shop".to_owned(), fault, times: 10_000 });
        request.image = Some(image("web-2"));
        let second = world.deploy(&request).await?;
        let shop = world.object(&second, "deployments", "shop").await?;
        let runs = &shop["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(*runs == image("web-2").as_str(), "{runs}");
        ensure!(faults.met() == 0, "the Service was sent again");
        let service = format!("{}/shop", world.collection(&second, "services"));
        let selector = serde_json::json!({ "spec": { "selector": { "app.kubernetes.io/name": "other" } } });
        world.merge(&service, "kubectl-edit", &selector).await?;
        world.seen(&second, |live| !live.drift.is_empty()).await?;
        request.image = Some(image("web-3"));
        world.fails_anyhow(&request, "object_rejected").await?;
        ensure!(faults.met() > 0, "the Service was not sent again");
    }
);

spoilt_test!(
    /// The API server's wish to be left alone is granted.
    f10_retry_after_is_respected, |world, faults| {
        let fault = Fault::Status { code: 429, retry_after_s: Some(7) };
        faults.spoil(rule(Method::PATCH, "/deployments/shop?", fault));
        let deployment = world.deploy(&world.request("web")).await?;
        let events = world.backend.store.events(deployment.id, 0, 1_000).await?;
        let pause = events.iter().find_map(|(_, event)| {
            let EventKind::StageWaiting { stage: Stage::Apply, until, reason, .. } = &event.kind else {
                return None;
            };
            reason.contains("asked too much").then(|| until.duration_since(event.at))
        });
        ensure!(pause.context("never waited")?.as_secs() >= 6, "{events:#?}");
    }
);

spoilt_test!(
    /// A call that hangs is given up in time, and the next one does its work.
    f10_a_call_that_hangs_is_given_up, |world, faults| {
        faults.spoil(rule(Method::PATCH, "/deployments/shop?", Fault::Hang));
        let id = world.submit(&world.request("web")).await?;
        let begun = tokio::time::Instant::now();
        world.wait_for(id, |deployment| {
            deployment.stage(Stage::Apply).and_then(|stage| stage.message.as_deref())
                .is_some_and(|message| message.contains("no answer from the API server"))
        }).await?;
        ensure!(begun.elapsed() < pace::allowed(CALL_MAX), "{:?}", begun.elapsed());
        ensure!(world.ended(id).await?.state == DeploymentState::Active);
    }
);

spoilt_test!(
    /// An API server that goes on failing fails the job with its words, and the attempts are counted.
    f10_an_api_server_that_goes_on_failing_fails_the_job, |world, faults| {
        let fault = Fault::Status { code: 500, retry_after_s: None };
        faults.spoil(Rule { method: None, path: "dryRun=All".to_owned(), fault, times: 10_000 });
        let failed = world.fails_anyhow(&world.request("web"), "cluster_error").await?;
        ensure!(failed.failure.context("no failure")?.reason.contains("spoilt by the test"));
    }
);

/// Runs `body` on the shared control plane.
async fn on_the_plane<F, T>(body: F)
where
    F: AsyncFnOnce(Arc<ControlPlane>) -> anyhow::Result<T>,
{
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("the control plane starts");
    if let Err(error) = body(plane).await {
        panic!("{error:?}");
    }
}

/// A watch that is cut while a rollout is waited for is begun anew, and so are the calls.
#[tokio::test(flavor = "multi_thread")]
async fn f10_a_dropped_watch_is_begun_anew() {
    on_the_plane(async |plane| {
        let line = Line::start(plane.server_url().trim_start_matches("https://")).await?;
        let world = World::start_at(plane, &format!("https://{}", line.address()), None, &[]).await?;
        let id = world.submit(&world.request(IMAGE_SLOWLY_READY)).await?;
        world
            .wait_for(id, |deployment| {
                deployment.latest_job().is_some_and(|job| matches!(job.state, JobState::Waiting { .. }))
            })
            .await?;
        line.cut().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        line.heal().await?;
        let deployment = world.ended(id).await?;
        ensure!(deployment.state == DeploymentState::Active, "{deployment:#?}");
        world.clean_up().await
    })
    .await;
}

/// The API server is killed while a rollout is waited for, and comes back with what it had.
#[tokio::test(flavor = "multi_thread")]
async fn f10_an_api_server_that_restarts_loses_no_job() {
    if !ControlPlane::available().await {
        return;
    }
    let outcome: anyhow::Result<()> = async {
        let plane = Arc::new(ControlPlane::start().await?);
        let world = World::start(Arc::clone(&plane), &[("SLIPWAY__WORKER__ATTEMPTS_MAX", "20")]).await?;
        let id = world.submit(&world.request(IMAGE_SLOWLY_READY)).await?;
        world
            .wait_for(id, |deployment| {
                deployment.latest_job().is_some_and(|job| matches!(job.state, JobState::Waiting { .. }))
            })
            .await?;
        plane.kill_api().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        plane.start_api_again().await?;
        let ended = world.ended(id).await?;
        ensure!(ended.failure.is_none(), "{ended:#?}");
        // What the watches saw last is of before the restart; the observer may say so for a moment.
        world.wait_for(id, |deployment| deployment.state == DeploymentState::Active).await?;
        world.clean_up().await
    }
    .await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

/// A token that is refused is read anew: it may have been renewed.
#[tokio::test(flavor = "multi_thread")]
async fn f10_a_token_that_was_rotated_is_read_anew() {
    on_the_plane(async |plane| {
        let good = plane.token_for(ClusterUser::Worker).to_owned();
        let extra = [("SLIPWAY__WORKER__ATTEMPTS_MAX", "50"), ("SLIPWAY__WORKER__BACKOFF_MAX_MS", "500")];
        let mut world = World::start(plane, &extra).await?;
        let request = world.request("web");
        world.deploy(&request).await?;
        std::fs::write(world.token_file(), "no token of theirs")?;
        world.forget_connections().await?;
        let mut next = request.clone();
        next.image = Some(image("web-2"));
        let id = world.submit(&next).await?;
        world
            .wait_for(id, |deployment| {
                deployment
                    .stage(Stage::Apply)
                    .and_then(|stage| stage.message.as_deref())
                    .is_some_and(|message| message.contains("does not accept the credentials"))
            })
            .await?;
        std::fs::write(world.token_file(), good)?;
        ensure!(world.ended(id).await?.state == DeploymentState::Active);
        world.clean_up().await
    })
    .await;
}

/// A cluster whose certificates were replaced is trusted anew once the file says so, in the middle of a rollout.
#[tokio::test(flavor = "multi_thread")]
async fn f10_certificates_that_were_rotated_are_read_anew() {
    on_the_plane(async |plane| {
        let faults = proxy(&plane).await?;
        let other = ControlPlane::start().await?;
        let extra = [("SLIPWAY__WORKER__ATTEMPTS_MAX", "50"), ("SLIPWAY__WORKER__BACKOFF_MAX_MS", "500")];
        let world = World::start_at(plane, &faults.url(), None, &extra).await?;
        let mut request = world.request("web");
        let first = world.deploy(&request).await?;
        faults.show(other.kubeconfig().parent().unwrap_or(Path::new("/")))?;
        request.image = Some(image("web-2"));
        let id = world.submit(&request).await?;
        world
            .wait_for(id, |deployment| {
                let stage = deployment.stage(Stage::Apply);
                let message = stage.and_then(|stage| stage.message.as_deref());
                message.is_some_and(|message| message.contains("cannot be reached"))
            })
            .await?;
        std::fs::write(world.ca_file(), other.ca_pem())?;
        ensure!(world.ended(id).await?.state == DeploymentState::Active);
        // The watches trust it again too: they see a change that a call has not brought about.
        let scale = format!("{}/shop/scale", world.collection(&first, "deployments"));
        world.merge(&scale, "somebody", &serde_json::json!({ "spec": { "replicas": 2 } })).await?;
        let second = world.deployment(id).await?;
        world.seen(&second, |live| live.replicas_serving == 2).await?;
        world.clean_up().await
    })
    .await;
}

/// A right that is missing is named, with who lacks it.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named() {
    on_the_plane(async |plane| {
        let without_rights = plane.token_for(ClusterUser::Scaler).to_owned();
        let mut world = World::start(plane, &[]).await?;
        std::fs::write(world.token_file(), without_rights)?;
        world.forget_connections().await?;
        let failed = world.fails(&world.request("web"), Stage::Apply, "cluster_forbidden").await?;
        let reason = failed.failure.context("no failure")?.reason;
        ensure!(reason.contains("slipway-scaler") && reason.contains("configmaps"), "{reason}");
        world.clean_up().await
    })
    .await;
}
