//! The rights of worker and scaler: those of the chart's roles, and no others. The whole suite runs with them.

use reqwest::Method;
use serde_json::{Value, json};
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane};

/// The rules of the chart's role for workers, as the chart's own tests hold them against what is rendered.
pub(crate) fn worker_rules() -> Value {
    serde_json::from_str(include_str!("../../helm/rights/worker.json")).expect("the rights are JSON")
}

/// The rules of the chart's role for scalers.
pub(crate) fn scaler_rules() -> Value {
    serde_json::from_str(include_str!("../../helm/rights/scaler.json")).expect("the rights are JSON")
}

/// Gives workers and scalers their rights, once for all tests of a control plane.
pub(crate) async fn grant(plane: &ControlPlane) -> anyhow::Result<()> {
    grant_to(plane, ClusterUser::Worker, worker_rules()).await?;
    grant_to(plane, ClusterUser::Scaler, scaler_rules()).await
}

async fn grant_to(plane: &ControlPlane, user: ClusterUser, rules: Value) -> anyhow::Result<()> {
    let name = user.name();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({ "metadata": { "name": name }, "rules": rules });
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "User",
            "name": name,
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
