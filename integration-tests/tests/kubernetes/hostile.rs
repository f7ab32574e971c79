//! Requests that ask for more than a deployment may have: none of them reaches the cluster. What is no part of a request is
//! refused by its name; what is, is checked before anything is made; and nothing that passes can become more than the
//! rendered objects allow.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_common::model::{DeploymentRequest, DeploymentState};
use slipway_integration_tests::control_plane::ControlPlane;

use super::world::{World, image};

/// What is added to a good request, one hostile wish each.
fn wishes() -> Vec<Value> {
    let mut wishes = of_pods();
    wishes.extend(of_names());
    wishes.extend(of_values());
    wishes
}

/// Fields of pods that a request does not have, under every name they go by.
fn of_pods() -> Vec<Value> {
    vec![
        json!({ "privileged": true }),
        json!({ "securityContext": { "privileged": true } }),
        json!({ "security_context": { "runAsUser": 0 } }),
        json!({ "hostNetwork": true }),
        json!({ "host_network": true }),
        json!({ "hostPID": true }),
        json!({ "hostIPC": true }),
        json!({ "hostPort": 80 }),
        json!({ "host_port": 80 }),
        json!({ "ports": [{ "hostPort": 80 }] }),
        json!({ "volumes": [{ "hostPath": { "path": "/" } }] }),
        json!({ "volumeMounts": [{ "mountPath": "/host" }] }),
        json!({ "serviceAccountName": "cluster-admin" }),
        json!({ "service_account": "default" }),
        json!({ "automountServiceAccountToken": true }),
        json!({ "nodeName": "control-plane" }),
        json!({ "nodeSelector": { "a": "b" } }),
        json!({ "tolerations": [{ "operator": "Exists" }] }),
        json!({ "imagePullSecrets": [{ "name": "theirs" }] }),
        json!({ "envFrom": [{ "secretRef": { "name": "theirs" } }] }),
        json!({ "capabilities": { "add": ["SYS_ADMIN"] } }),
        json!({ "runtimeClassName": "none" }),
        json!({ "priorityClassName": "system-cluster-critical" }),
        json!({ "initContainers": [{ "name": "i" }] }),
        json!({ "lifecycle": { "preStop": { "exec": { "command": ["sh"] } } } }),
        json!({ "command": ["sh", "-c", "id"] }),
        json!({ "args": ["--privileged"] }),
        json!({ "annotations": { "a": "b" } }),
        json!({ "labels": { "pod-security.kubernetes.io/enforce": "privileged" } }),
        json!({ "namespace": "kube-system" }),
        json!({ "kind": "ClusterRoleBinding" }),
        json!({ "manifests": [{ "kind": "ClusterRole" }] }),
        json!({ "externalIPs": ["192.0.2.1"] }),
        json!({ "loadBalancerIP": "192.0.2.1" }),
    ]
}

/// Names that would reach elsewhere. The last two pass every check of a request, and the rules of the target stop them.
fn of_names() -> Vec<Value> {
    let digest = "a".repeat(64);
    vec![
        json!({ "environment": "../kube-system" }),
        json!({ "environment": "kube-system/../x" }),
        json!({ "environment": "A" }),
        json!({ "environment": "" }),
        json!({ "environment": "x".repeat(64) }),
        json!({ "target": "elsewhere" }),
        json!({ "target": "../production" }),
        json!({ "cluster": { "server": "https://169.254.169.254" } }),
        json!({ "cluster": { "server": "https://kubernetes.default.svc", "token": "t" } }),
        json!({ "cluster": { "server": "http://127.0.0.1:8080" } }),
        json!({ "cluster": { "token": "a\r\nImpersonate-User: admin" } }),
        json!({ "hostnames": ["*.example.com"] }),
        json!({ "hostnames": ["example.com/path"] }),
        json!({ "hostnames": ["192.0.2.1"] }),
        json!({ "hostnames": ["localhost"] }),
        json!({ "hostnames": ["a.example.com\nb.example.com"] }),
        json!({ "hostnames": ["UPPER.example.com"] }),
        json!({ "image": format!("registry.example.com/../etc@sha256:{digest}") }),
        json!({ "image": "registry.example.com/web@sha256:short" }),
        json!({ "image": "registry.example.com/web; rm -rf /" }),
        json!({ "supports": [{ "name": "kube-dns.kube-system", "image": image("db") }] }),
        json!({ "supports": [{ "name": "../db", "image": image("db") }] }),
        json!({ "supports": [{ "name": "shop", "image": image("db") }] }),
        json!({ "supports": [{ "name": "1db", "image": image("db") }] }),
    ]
}

/// Values beyond every limit, and fields that values do not have.
fn of_values() -> Vec<Value> {
    vec![
        json!({ "supports": [{ "name": "db", "image": image("db"), "privileged": true }] }),
        json!({ "supports": [{ "name": "db", "image": image("db"), "hostPort": 80 }] }),
        json!({ "env": { "A=B": "x" } }),
        json!({ "env": { "LD PRELOAD": "x" } }),
        json!({ "health": { "path": "http://169.254.169.254/" } }),
        json!({ "health": { "path": "/", "host": "169.254.169.254" } }),
        json!({ "health": { "exec": ["sh"] } }),
        json!({ "port": 0 }),
        json!({ "port": 70_000 }),
        json!({ "replicas": -1 }),
        json!({ "replicas": 1_000_000 }),
        json!({ "resources": { "cpu_millis": 0 } }),
        json!({ "resources": { "memory_bytes": 1 } }),
        json!({ "resources": { "nvidia.com/gpu": 1 } }),
    ]
}

/// Whether the request was refused by the API's rules.
async fn refused_at_once(world: &World, body: &Value) -> anyhow::Result<bool> {
    let Ok(request) = serde_json::from_value::<DeploymentRequest>(body.clone()) else { return Ok(true) };
    let Ok(id) = world.submit(&request).await else { return Ok(true) };
    let ended = world.ended(id).await?;
    ensure!(ended.state == DeploymentState::Failed, "{body} was carried out: {ended:#?}");
    Ok(false)
}

/// S8: of more than 60 hostile requests none is applied, and none leaves a namespace.
#[tokio::test(flavor = "multi_thread")]
async fn s8_hostile_requests_make_nothing() {
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("the control plane starts");
    let world = World::start(plane, &[]).await.expect("the world starts");
    let outcome: anyhow::Result<()> = async {
        let wishes = wishes();
        ensure!(wishes.len() >= 60, "only {} wishes", wishes.len());
        // The request that every wish is added to is a good one, in this very form.
        let good: DeploymentRequest = serde_json::from_value(serde_json::to_value(world.request("web"))?)?;
        world.deploy(&good).await?;
        for wish in wishes {
            let good = world.request("web");
            let mut body = serde_json::to_value(&good)?;
            // Secrets are not shown when a request is written; this one has none.
            let fields = body.as_object_mut().context("no object")?;
            fields.extend(wish.as_object().cloned().unwrap_or_default());
            refused_at_once(&world, &body).await.with_context(|| wish.to_string())?;
            let namespace =
                world.plane.get(&format!("/api/v1/namespaces/{}", world.namespace_of(&good)?)).await;
            ensure!(
                namespace.is_err() || !namespace?["metadata"]["deletionTimestamp"].is_null(),
                "{wish} made a namespace"
            );
        }
        Ok(())
    }
    .await;
    world.clean_up().await.expect("the worker ends");
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}
