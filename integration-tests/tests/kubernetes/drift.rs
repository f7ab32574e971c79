//! Drift: what others change or delete is shown, and undone when somebody asks for it or the target wants it.

use anyhow::ensure;
use serde_json::json;
use slipway_common::model::{Deployment, DeploymentState, Drift, DriftKind, JobState};

use super::world::{World, image, in_world};

fn changed(object: &str, by: &str) -> Drift {
    Drift { object: object.to_owned(), kind: DriftKind::Changed, by: Some(by.to_owned()) }
}

fn missing(object: &str) -> Drift {
    Drift { object: object.to_owned(), kind: DriftKind::Missing, by: None }
}

/// Changes the application's Service so that it serves nobody.
async fn spoil_service(world: &World, deployment: &Deployment) -> anyhow::Result<()> {
    let service = format!("{}/shop", world.collection(deployment, "services"));
    let selector = json!({ "spec": { "selector": { "app.kubernetes.io/name": "other" } } });
    world.merge(&service, "kubectl-edit", &selector).await?;
    Ok(())
}

/// What others have changed or deleted is named with whoever did it, and a repair undoes it; an autoscaler's number of
/// replicas is none of it. The deployment is in service all the time.
#[tokio::test(flavor = "multi_thread")]
async fn drift_is_shown_and_undone_on_request() {
    in_world(&[], async |world| {
        let deployment = world.deploy(&world.request("web")).await?;
        world.seen(&deployment, |live| live.replicas_serving == 1).await?;
        let scale = format!("{}/shop/scale", world.collection(&deployment, "deployments"));
        world.merge(&scale, "keda", &json!({ "spec": { "replicas": 3 } })).await?;
        let scaled = world.seen(&deployment, |live| live.replicas_serving == 3).await?;
        ensure!(scaled.drift.is_empty(), "{scaled:#?}");
        spoil_service(world, &deployment).await?;
        world.delete_by_hand(&format!("{}/shop", world.collection(&deployment, "ingresses"))).await?;
        let drifted = world.seen(&deployment, |live| live.drift.len() == 2).await?;
        ensure!(
            drifted.drift == [changed("Service shop", "kubectl-edit"), missing("Ingress shop")],
            "{drifted:#?}"
        );
        ensure!(world.deployment(deployment.id).await?.state == DeploymentState::Active);
        let repaired = world.repair(deployment.id).await?;
        ensure!(repaired.state == DeploymentState::Active, "{repaired:#?}");
        let job = repaired.latest_job().map(|job| (job.kind.as_str(), job.state.clone()));
        ensure!(job == Some(("repair", JobState::Succeeded)), "{job:?}");
        world.seen(&deployment, |live| live.drift.is_empty()).await?;
        let service = world.object(&deployment, "services", "shop").await?;
        ensure!(service["spec"]["selector"]["app.kubernetes.io/name"] == "shop", "{service:#}");
        world.object(&deployment, "ingresses", "shop").await?;
        let shop = world.object(&deployment, "deployments", "shop").await?;
        ensure!(shop["spec"]["replicas"] == 3, "the autoscaler's number was changed: {shop:#}");
        Ok(())
    })
    .await;
}

/// A target that wants it has drift undone without being asked; a deployment that is gone is degraded meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn drift_is_undone_by_policy() {
    in_world(&[("SLIPWAY__KUBERNETES__PRODUCTION__DRIFT", "repair")], async |world| {
        let deployment = world.deploy(&world.request("web")).await?;
        world.seen(&deployment, |live| live.replicas_serving == 1).await?;
        world.delete_by_hand(&format!("{}/shop", world.collection(&deployment, "services"))).await?;
        let repaired = world
            .wait_for(deployment.id, |deployment| {
                let last = deployment.latest_job();
                last.is_some_and(|job| job.kind == "repair" && job.state == JobState::Succeeded)
            })
            .await?;
        ensure!(repaired.jobs.last().is_some_and(|job| job.id != deployment.jobs[0].id));
        world.object(&deployment, "services", "shop").await?;
        Ok(())
    })
    .await;
}

/// A whole namespace that somebody has deleted is made again by a repair.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_is_made_again() {
    in_world(&[], async |world| {
        let request = world.request("web");
        let deployment = world.deploy(&request).await?;
        world.seen(&deployment, |live| live.replicas_serving == 1).await?;
        world.delete_by_hand(&format!("/api/v1/namespaces/{}", world.namespace_of(&request)?)).await?;
        let degraded =
            world.wait_for(deployment.id, |deployment| deployment.state == DeploymentState::Degraded).await?;
        ensure!(degraded.degraded.as_deref() == Some("0 of 1 replicas serve"), "{degraded:#?}");
        let live = world.seen(&deployment, |live| !live.drift.is_empty()).await?;
        ensure!(live.drift == [missing("ConfigMap slipway-inventory")], "{live:#?}");
        let repaired = world.repair(deployment.id).await?;
        ensure!(repaired.latest_job().is_some_and(|job| job.state == JobState::Succeeded), "{repaired:#?}");
        world.wait_for(deployment.id, |deployment| deployment.state == DeploymentState::Active).await?;
        world.seen(&deployment, |live| live.drift.is_empty() && live.replicas_serving == 1).await?;
        Ok(())
    })
    .await;
}

/// A deployment that is replaced by a newer one and one whose pods changed have no drift: what Slipway does is none.
#[tokio::test(flavor = "multi_thread")]
async fn what_slipway_does_itself_is_no_drift() {
    in_world(&[("SLIPWAY__KUBERNETES__PRODUCTION__DRIFT", "repair")], async |world| {
        let mut request = world.request("web");
        let mut deployment = world.deploy(&request).await?;
        for version in 2..6 {
            request.image = Some(image(&format!("web-{version}")));
            request.replicas = Some(version);
            deployment = world.deploy(&request).await?;
            let live = world.seen(&deployment, |live| live.replicas_serving == version).await?;
            ensure!(live.drift.is_empty(), "{live:#?}");
        }
        // Several looks later there is none either, and nobody has asked for a repair.
        let first = world.seen(&deployment, |_| true).await?.observed_at;
        world.seen(&deployment, |live| live.observed_at > first).await?;
        let now = world.deployment(deployment.id).await?;
        ensure!(now.jobs.len() == 1, "{now:#?}");
        Ok(())
    })
    .await;
}
