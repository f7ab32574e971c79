//! Access that a request brings: the cluster by its address, and a token that is used there in place of the worker's
//! own credentials, kept sealed, and shown nowhere.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipway_common::model::request::{ClusterRequest, cluster_token_context};
use slipway_common::model::{DeploymentState, Stage};
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane};

use super::world::{TARGET, World, image, in_world};

/// The cluster of the world in another spelling of its address, and a token.
fn cluster(world: &World, token: &str) -> Option<ClusterRequest> {
    let server = format!("{}/", world.plane.server_url());
    Some(ClusterRequest { server: Some(server), token: Some(token.to_owned().into()) })
}

/// Runs `body` in a world whose worker may do nothing on the cluster.
async fn in_world_without_rights(body: impl AsyncFnOnce(&World) -> anyhow::Result<()>) {
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("the control plane starts");
    let folder = tempfile::tempdir().expect("there is room");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, plane.token_for(ClusterUser::Scaler)).expect("there is room");
    let token_file = token_file.display().to_string();
    in_world(&[("SLIPWAY__KUBERNETES__PRODUCTION__TOKEN_FILE", token_file.as_str())], body).await;
}

/// What the worker itself may not do, it does with the token of a request that may.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_made_with_the_token_of_its_request() {
    in_world_without_rights(async |world| {
        world.fails(&world.request("web"), Stage::Apply, "cluster_forbidden").await?;
        let mut request = world.request("web");
        request.cluster = cluster(world, world.plane.admin_token());
        let deployment = world.deploy(&request).await?;
        ensure!(deployment.target.as_str() == TARGET, "{deployment:#?}");
        let shop = world.object(&deployment, "deployments", "shop").await?;
        ensure!(shop["status"]["availableReplicas"] == 1, "{shop:#}");
        Ok(())
    })
    .await;
}

/// What the token of a request may not do is not done, though the worker itself could; the right is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_can_do_no_more_than_its_token() {
    in_world(&[], async |world| {
        let mut request = world.request("web");
        request.cluster = cluster(world, world.plane.token_for(ClusterUser::Scaler));
        let failed = world.fails(&request, Stage::Apply, "cluster_forbidden").await?;
        let reason = failed.failure.context("no failure")?.reason;
        ensure!(reason.contains("slipway-scaler") && reason.contains("configmaps"), "{reason}");
        let made = world.plane.get(&format!("/api/v1/namespaces/{}", world.namespace_of(&request)?)).await;
        ensure!(made.is_err(), "a namespace was made");
        Ok(())
    })
    .await;
}

/// A token that the cluster does not know fails the deployment at its first attempt; what serves goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_told_at_once() {
    in_world(&[], async |world| {
        let mut request = world.request("web");
        let good = world.deploy(&request).await?;
        request.image = Some(image("web-2"));
        request.cluster = cluster(world, "no-token-of-theirs");
        let failed = world.fails(&request, Stage::Apply, "cluster_token_refused").await?;
        let apply = failed.stage(Stage::Apply).context("no stage")?;
        ensure!(apply.attempts == 1, "{apply:#?}");
        ensure!(world.deployment(good.id).await?.state == DeploymentState::Active);
        let shop = world.object(&good, "deployments", "shop").await?;
        let runs = &shop["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(*runs == image("web").as_str(), "{runs}");
        Ok(())
    })
    .await;
}

/// The token is kept sealed: neither the objects on the cluster nor the history, the queue and the store hold it in
/// clear. A stop needs none.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_request_is_shown_nowhere() {
    in_world(&[], async |world| {
        let token = world.plane.admin_token();
        let mut request = world.request("web");
        request.env = [("GREETING".to_owned(), "hello".to_owned().into())].into();
        request.cluster = cluster(world, token);
        let deployment = world.deploy(&request).await?;
        let sealed = deployment.spec.cluster_token.as_ref().context("no token is kept")?;
        let place = cluster_token_context(&deployment.project, &deployment.target);
        ensure!(world.sealer.open(&place, sealed).is_ok(), "it cannot be opened");
        let events = world.backend.store.events(deployment.id, 0, 1_000).await?;
        ensure!(!events.is_empty(), "no history");
        let mut shown = format!("{deployment:?} {events:?} {}", serde_json::to_string(&events)?);
        for plural in ["configmaps", "secrets", "deployments", "services", "ingresses", "pods", "events"] {
            let objects = world.objects(&deployment, plural).await?;
            shown += &serde_json::to_string(&objects)?;
        }
        ensure!(shown.contains("slipway-inventory") && shown.contains("aGVsbG8="), "nothing was looked at");
        ensure!(!shown.contains(token) && !shown.contains(&STANDARD.encode(token)), "it is shown");
        let token_file = world.token_file();
        let mut files = 0;
        for entry in std::fs::read_dir(token_file.parent().context("no folder")?)? {
            let path = entry?.path();
            if path.is_file() {
                let bytes = std::fs::read(&path)?;
                let is_there = bytes.windows(token.len()).any(|window| window == token.as_bytes());
                ensure!(!is_there, "{} holds it", path.display());
                files += 1;
            }
        }
        ensure!(files >= 3, "the database was not looked at");
        let stopped = world.stop(deployment.id).await?;
        ensure!(stopped.state == DeploymentState::Stopped, "{stopped:#?}");
        Ok(())
    })
    .await;
}
