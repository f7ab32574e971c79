//! The control plane of the harness: its controllers, its scheduler and its simulated nodes work together, what goes
//! wrong with a pod is what its image asks for, and the API can be killed and frozen.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_integration_tests::control_plane::{
    ClusterUser, ControlPlane, IMAGE_CONFIG_FAILS, IMAGE_CRASHES, IMAGE_EXITS, IMAGE_NEVER_READY,
    IMAGE_OUT_OF_MEMORY, IMAGE_PULL_FAILS, IMAGE_SLOWLY_READY,
};

/// How long a frozen API server is watched.
const SILENCE: Duration = Duration::from_secs(2);
/// Longest wait for a role to hold.
const BINDING_TIMEOUT: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_becomes_available_and_is_deleted() {
    let Some((plane, space)) = shared().await else { return };
    plane.create(&deployments(&space), &deployment("good", "registry.test/good:1", 2)).await.unwrap();
    let path = format!("{}/good", deployments(&space));
    plane
        .wait_for(&path, "2 replicas are available", |seen| seen["status"]["availableReplicas"] == 2)
        .await
        .unwrap();

    let pods = plane.get(&pods(&space, "good")).await.unwrap();
    for pod in pods["items"].as_array().unwrap() {
        assert_eq!(pod["status"]["phase"], "Running");
        assert_eq!(condition(pod, "Ready")["status"], "True");
        assert_eq!(pod["status"]["containerStatuses"][0]["image"], "registry.test/good:1");
        assert!(pod["spec"]["nodeName"].as_str().unwrap().starts_with("node-"));
        assert!(pod["status"]["podIP"].as_str().unwrap().starts_with("10.64."));
    }
    let logs = plane.kubectl(&["--namespace", &space, "logs", "deployment/good"]).await.unwrap();
    assert!(logs.contains("listening on port 8080"), "{logs}");

    let (status, _) = plane.request(ClusterUser::Admin, Method::DELETE, &path, None).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    plane
        .wait_for(&self::pods(&space, "good"), "no pod is left", |seen| seen["items"] == json!([]))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_release_replaces_the_old_one() {
    let Some((plane, space)) = shared().await else { return };
    plane.create(&deployments(&space), &deployment("app", "registry.test/app:1", 2)).await.unwrap();
    let path = format!("{}/app", deployments(&space));
    plane.wait_for(&path, "it is available", |seen| seen["status"]["availableReplicas"] == 2).await.unwrap();
    let image = "registry.test/app-slow-ready:2";
    plane
        .kubectl(&["--namespace", &space, "set", "image", "deployment/app", &format!("app={image}")])
        .await
        .unwrap();
    let all_new = |seen: &Value| {
        let pods = seen["items"].as_array().unwrap();
        pods.len() == 2
            && pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == image && is_ready(pod))
    };
    plane.wait_for(&pods(&space, "app"), "both pods are of the new image and ready", all_new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_wait_for_the_reason_their_image_asks_for() {
    let Some((plane, space)) = shared().await else { return };
    for (image, reason, phase) in [
        (IMAGE_PULL_FAILS, "ImagePullBackOff", "Pending"),
        (IMAGE_CONFIG_FAILS, "CreateContainerConfigError", "Pending"),
        (IMAGE_CRASHES, "CrashLoopBackOff", "Running"),
        (IMAGE_OUT_OF_MEMORY, "CrashLoopBackOff", "Running"),
    ] {
        let reference = format!("registry.test/team/app-{image}:3f2a");
        plane.create(&deployments(&space), &deployment(image, &reference, 1)).await.unwrap();
        let waits = |seen: &Value| {
            seen["items"][0]["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
        };
        let seen = plane.wait_for(&pods(&space, image), reason, waits).await.unwrap();
        assert_eq!(seen["items"][0]["status"]["phase"], phase, "{image}");
        assert_eq!(condition(&seen["items"][0], "PodScheduled")["status"], "True", "{image}");
        assert_eq!(condition(&seen["items"][0], "Ready")["status"], "False", "{image}");
    }
    let is_killed = |seen: &Value| {
        let container = &seen["items"][0]["status"]["containerStatuses"][0];
        container["lastState"]["terminated"]["reason"] == "OOMKilled"
            && container["restartCount"].as_i64() >= Some(2)
    };
    plane.wait_for(&pods(&space, IMAGE_OUT_OF_MEMORY), "it was killed twice", is_killed).await.unwrap();
    let last = "{.items[0].status.containerStatuses[0].lastState.terminated.exitCode}";
    let output = format!("jsonpath={last}");
    let code = plane
        .kubectl(&["--namespace", &space, "get", "pods", "--selector", "app=fail-crash", "--output", &output])
        .await
        .unwrap();
    assert_eq!(code, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_slow_or_never_there() {
    let Some((plane, space)) = shared().await else { return };
    for image in [IMAGE_NEVER_READY, IMAGE_SLOWLY_READY] {
        plane
            .create(&deployments(&space), &deployment(image, &format!("registry.test/{image}:1"), 1))
            .await
            .unwrap();
    }
    let slow = pods(&space, IMAGE_SLOWLY_READY);
    plane.wait_for(&slow, "it gets ready", |seen| is_ready(&seen["items"][0])).await.unwrap();
    let runs =
        |seen: &Value| !seen["items"][0]["status"]["containerStatuses"][0]["state"]["running"].is_null();
    let seen = plane.wait_for(&pods(&space, IMAGE_NEVER_READY), "it runs", runs).await.unwrap();
    assert!(!is_ready(&seen["items"][0]), "{seen:#}");
    let available = plane.get(&format!("{}/{IMAGE_NEVER_READY}", deployments(&space))).await.unwrap();
    assert_eq!(available["status"]["availableReplicas"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_too_much_is_not_scheduled() {
    let Some((plane, space)) = shared().await else { return };
    let mut wanted = deployment("huge", "registry.test/huge:1", 1);
    wanted["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1000"}});
    plane.create(&deployments(&space), &wanted).await.unwrap();
    let waits = |seen: &Value| condition(&seen["items"][0], "PodScheduled")["reason"] == "Unschedulable";
    plane.wait_for(&pods(&space, "huge"), "it cannot be scheduled", waits).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_kept() {
    let Some((plane, space)) = shared().await else { return };
    let quotas = format!("/api/v1/namespaces/{space}/resourcequotas");
    let quota = json!({"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}});
    plane.create(&quotas, &quota).await.unwrap();
    let counts = |seen: &Value| seen["status"]["hard"]["pods"] == "1";
    plane.wait_for(&format!("{quotas}/one"), "the quota is in force", counts).await.unwrap();
    plane.create(&deployments(&space), &deployment("two", "registry.test/two:1", 2)).await.unwrap();
    let refused = |seen: &Value| {
        let message = &condition(seen, "ReplicaFailure")["message"];
        message.as_str().is_some_and(|text| text.contains("exceeded quota"))
    };
    let path = format!("{}/two", deployments(&space));
    plane.wait_for(&path, "the second pod is refused", refused).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_are_not_restarted_end() {
    let Some((plane, space)) = shared().await else { return };
    let jobs = format!("/apis/batch/v1/namespaces/{space}/jobs");
    for (name, image, outcome) in [("good", "good", "Complete"), ("bad", IMAGE_EXITS, "Failed")] {
        let job = json!({
            "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "job", "image": format!("registry.test/{image}:1")}],
            }}},
        });
        plane.create(&jobs, &job).await.unwrap();
        let ends = |seen: &Value| condition(seen, outcome)["status"] == "True";
        plane.wait_for(&format!("{jobs}/{name}"), outcome, ends).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_a_role_allows_and_nothing_else() {
    let Some((plane, space)) = shared().await else { return };
    let path = format!("/api/v1/namespaces/{space}/pods");
    for user in [ClusterUser::Api, ClusterUser::Scaler, ClusterUser::Worker] {
        let (status, answer) = plane.request(user, Method::GET, &path, None).await.unwrap();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(answer["message"].as_str().unwrap().contains(user.name()), "{answer}");
    }
    let role = json!({
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
    });
    let binding = json!({
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ClusterUser::Api.name()}],
    });
    let roles = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{space}");
    plane.create(&format!("{roles}/roles"), &role).await.unwrap();
    plane.create(&format!("{roles}/rolebindings"), &binding).await.unwrap();
    // The server learns of a new binding a moment later.
    let allowed = async {
        while plane.request(ClusterUser::Api, Method::GET, &path, None).await.unwrap().0 != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(BINDING_TIMEOUT, allowed).await.expect("the role holds at last");
    let (status, _) = plane.request(ClusterUser::Api, Method::GET, "/api/v1/pods", None).await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN, "a role of one namespace holds in all");
    let (status, _) = plane.request(ClusterUser::Scaler, Method::GET, &path, None).await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN, "somebody else's role holds for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_control_plane_is_not_stopped_by_a_test() {
    if std::env::var_os(slipway_integration_tests::control_plane::FOLDER_VARIABLE).is_none() {
        return;
    }
    let Some((plane, _)) = shared().await else { return };
    assert!(plane.kill_api().await.is_err());
    assert!(plane.freeze_api().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_killed_and_frozen_and_keeps_what_it_was_told() {
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::start().await.expect("it starts");
    let space = plane.new_namespace().await.unwrap();
    let maps = format!("/api/v1/namespaces/{space}/configmaps");
    plane.create(&maps, &json!({"metadata": {"name": "kept"}, "data": {"key": "value"}})).await.unwrap();
    plane.create(&deployments(&space), &deployment("before", "registry.test/before:1", 1)).await.unwrap();

    plane.kill_api().await.unwrap();
    plane.get(&maps).await.expect_err("a killed server answers");
    plane.start_api_again().await.expect("it starts again");
    assert_eq!(plane.get(&format!("{maps}/kept")).await.unwrap()["data"]["key"], "value");
    plane.create(&deployments(&space), &deployment("after", "registry.test/after:1", 1)).await.unwrap();
    for name in ["before", "after"] {
        let path = format!("{}/{name}", deployments(&space));
        let available = |seen: &Value| seen["status"]["availableReplicas"] == 1;
        plane.wait_for(&path, "it is available", available).await.unwrap();
    }

    plane.freeze_api().await.unwrap();
    let asked = tokio::time::timeout(SILENCE, plane.get(&maps)).await;
    assert!(asked.is_err(), "a frozen server answers: {asked:?}");
    plane.thaw_api().unwrap();
    plane.wait_for(&maps, "it answers", |_| true).await.unwrap();
}

/// The shared control plane and a namespace of the test's own, or nothing where there can be none.
async fn shared() -> Option<(Arc<ControlPlane>, String)> {
    if !ControlPlane::available().await {
        return None;
    }
    let plane = ControlPlane::shared().await.expect("it starts");
    let space = plane.new_namespace().await.unwrap();
    Some((plane, space))
}

fn deployments(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments")
}

/// The pods of a deployment.
fn pods(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{name}")
}

fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    let container = json!({
        "name": "app",
        "image": image,
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
    });
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|one| one["type"] == kind)).unwrap_or(&Value::Null)
}

fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready")["status"] == "True"
}
