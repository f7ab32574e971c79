//! The rights of the worker: those of the chart's role, and no others. The whole suite runs with them.

use reqwest::Method;
use serde_json::{Value, json};
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane};

/// The rules of the chart's role for workers, as the chart's own tests hold them against what is rendered.
pub(crate) fn worker_rules() -> Value {
    serde_json::from_str(include_str!("../../helm/rights/worker.json")).expect("the rights are JSON")
}

/// Gives the user `slipway-worker` these rights, once for all tests of a control plane.
pub(crate) async fn grant(plane: &ControlPlane) -> anyhow::Result<()> {
    let name = "slipway-worker";
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({ "metadata": { "name": name }, "rules": worker_rules() });
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "User",
            "name": ClusterUser::Worker.name(),
        }],
    });
    for (plural, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("{rbac}/{plural}");
        let (status, answer) = plane.request(ClusterUser::Admin, Method::POST, &path, Some(&object)).await?;
        anyhow::ensure!(
            status.is_success() || status == reqwest::StatusCode::CONFLICT,
            "granting: {}",
            answer["message"]
        );
    }
    Ok(())
}
