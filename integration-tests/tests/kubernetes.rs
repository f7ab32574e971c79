//! The Kubernetes target over a real control plane with simulated nodes: what a deployment makes there, what it leaves
//! alone, and what is said and left when it fails. The worker has the chart's rights and no others.

#[path = "kubernetes/by_request.rs"]
mod by_request;
#[path = "kubernetes/crashes.rs"]
mod crashes;
#[path = "kubernetes/drift.rs"]
mod drift;
#[path = "kubernetes/faults.rs"]
mod faults;
#[path = "kubernetes/hostile.rs"]
mod hostile;
#[path = "kubernetes/logs.rs"]
mod logs;
#[path = "kubernetes/moved.rs"]
mod moved;
#[path = "kubernetes/rights.rs"]
mod rights;
#[path = "kubernetes/scaler.rs"]
mod scaler;
#[path = "kubernetes/scaler_processes.rs"]
mod scaler_processes;
#[path = "kubernetes/world.rs"]
mod world;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_common::model::{Deployment, DeploymentState, JobState, LiveState, Stage};
use slipway_integration_tests::control_plane::{
    ControlPlane, IMAGE_CONFIG_FAILS, IMAGE_CRASHES, IMAGE_NEVER_READY, IMAGE_PULL_FAILS,
};
use world::{DOMAIN, World, image};

/// Runs `body` in a world of its own and cleans up whatever happened.
macro_rules! cluster_test {
    ($(#[$doc:meta])* $name:ident, $extra:expr, |$world:ident| $body:block) => {
        $(#[$doc])*
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            if !ControlPlane::available().await {
                return;
            }
            let plane = ControlPlane::shared().await.expect("the control plane starts");
            let $world = World::start(plane, $extra).await.expect("the world starts");
            let outcome: anyhow::Result<()> = async { $body; Ok(()) }.await;
            let cleaned = $world.clean_up().await;
            outcome.unwrap_or_else(|error| panic!("{error:?}"));
            cleaned.expect("the worker ends");
        }
    };
}

/// Generation of every object of the deployment, by plural and name.
async fn generations(world: &World, deployment: &Deployment) -> anyhow::Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for plural in ["deployments", "services", "serviceaccounts", "ingresses"] {
        for object in world.objects(deployment, plural).await? {
            let metadata = &object["metadata"];
            found.push((format!("{plural}/{}", metadata["name"]), metadata["generation"].clone()));
        }
    }
    Ok(found)
}

/// Identities of the application's pods that are not on their way out.
async fn pods(world: &World, deployment: &Deployment) -> anyhow::Result<Vec<String>> {
    let mut found: Vec<String> = world
        .objects(deployment, "pods")
        .await?
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .filter_map(|pod| Some(pod["metadata"]["uid"].as_str()?.to_owned()))
        .collect();
    found.sort();
    Ok(found)
}

/// What the observer keeps, once it has seen this many replicas serve.
async fn seen_to_serve(world: &World, deployment: &Deployment, replicas: u32) -> anyhow::Result<LiveState> {
    for _ in 0..600 {
        let live = world.backend.store.live(deployment.id).await?;
        if let Some(live) = live.filter(|live| live.replicas_serving == replicas) {
            return Ok(live);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("{replicas} replicas were never seen to serve")
}

/// Image that the policy of the cluster refuses.
const REFUSED: &str = "refused-by-policy";

/// Has the cluster refuse Deployments of [`REFUSED`], and waits until it does.
async fn refuse_by_policy(world: &World) -> anyhow::Result<()> {
    let group = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({
        "metadata": { "name": REFUSED },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["deployments"],
            }] },
            "validations": [{
                "expression": format!(
                    "!object.spec.template.spec.containers.exists(c, c.image.contains('{REFUSED}'))"
                ),
                "message": "not in this cluster",
            }],
        },
    });
    let binding = json!({
        "metadata": { "name": REFUSED },
        "spec": { "policyName": REFUSED, "validationActions": ["Deny"] },
    });
    world.plane.create(&format!("{group}/validatingadmissionpolicies"), &policy).await?;
    world.plane.create(&format!("{group}/validatingadmissionpolicybindings"), &binding).await?;
    let tried = json!({
        "metadata": { "name": "tried" },
        "spec": {
            "selector": { "matchLabels": { "a": "b" } },
            "template": {
                "metadata": { "labels": { "a": "b" } },
                "spec": { "containers": [{ "name": "c", "image": REFUSED }] },
            },
        },
    });
    let path = "/apis/apps/v1/namespaces/default/deployments?dryRun=All";
    for _ in 0..600 {
        if world.plane.create(path, &tried).await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("the policy has no effect")
}

cluster_test!(
    /// The whole way: namespace, account, secret, service, replicas, host names; everything up, and told so.
    a_deployment_comes_up_with_all_its_objects, &[], |world| {
        let mut request = world.request("web");
        request.replicas = Some(2);
        request.env = [("GREETING".to_owned(), "hello".to_owned().into())].into();
        let namespace = world.namespace_of(&request)?;
        let deployment = world.deploy(&request).await?;
        let inventory = deployment.facts.inventory.clone().context("no inventory")?;
        ensure!(inventory.namespace.as_deref() == Some(namespace.as_str()), "{inventory:?}");
        ensure!(inventory.url == Some(format!("http://shop-{namespace}.{DOMAIN}")), "{inventory:?}");
        let shop = world.object(&deployment, "deployments", "shop").await?;
        ensure!(shop["status"]["availableReplicas"] == 2, "{shop:#}");
        let container = &shop["spec"]["template"]["spec"]["containers"][0];
        ensure!(container["image"] == image("web").as_str(), "by digest: {container:#}");
        for plural in ["services", "serviceaccounts", "ingresses"] {
            ensure!(world.names(&deployment, plural).await?.contains(&"shop".to_owned()), "{plural}");
        }
        let secret = container["envFrom"][0]["secretRef"]["name"].as_str().context("no variables")?;
        let secret = world.object(&deployment, "secrets", secret).await?;
        ensure!(secret["data"]["GREETING"] == "aGVsbG8=", "{secret:#}");
        let live = seen_to_serve(&world, &deployment, 2).await?;
        ensure!((live.replicas_wanted, live.replicas_updated) == (2, Some(2)), "{live:#?}");
        ensure!(live.replicas.iter().all(|pod| pod.name.starts_with("shop-")), "{live:#?}");
        let labels = world.plane.get(&format!("/api/v1/namespaces/{namespace}")).await?;
        ensure!(
            labels["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted",
            "{labels:#}"
        );
    }
);

cluster_test!(
    /// I15: deploying the same again moves nothing and restarts nothing; a change moves only what it concerns.
    i15_ten_updates_of_the_same_move_nothing, &[], |world| {
        let mut request = world.request("web");
        request.replicas = Some(2);
        let mut deployment = world.deploy(&request).await?;
        let (before, pods_before) =
            (generations(&world, &deployment).await?, pods(&world, &deployment).await?);
        for _ in 0..10 {
            deployment = world.deploy(&request).await?;
        }
        ensure!(generations(&world, &deployment).await? == before, "a generation has moved");
        ensure!(pods(&world, &deployment).await? == pods_before, "a pod was replaced");
        for plural in ["deployments", "services", "serviceaccounts", "ingresses"] {
            for object in world.objects(&deployment, plural).await? {
                let managers = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
                let ours = managers.iter().filter(|entry| entry["manager"] == "slipway").count();
                ensure!(ours == 1 || object["metadata"]["name"] == "default", "{plural}: {managers:#?}");
            }
        }
        request.env = [("COLOUR".to_owned(), "red".to_owned().into())].into();
        deployment = world.deploy(&request).await?;
        let after = generations(&world, &deployment).await?;
        let moved: Vec<&String> =
            before.iter().zip(&after).filter(|(one, two)| one != two).map(|(one, _)| &one.0).collect();
        ensure!(moved == ["deployments/\"shop\""], "moved: {moved:?}");
        ensure!(pods(&world, &deployment).await? != pods_before, "no pod was replaced");
    }
);

cluster_test!(
    /// I16: a number of replicas that somebody else has set is left alone.
    i16_replicas_of_another_manager_survive, &[], |world| {
        let mut request = world.request("web");
        let deployment = world.deploy(&request).await?;
        let scale = format!("{}/shop/scale", world.collection(&deployment, "deployments"));
        world.merge(&scale, "keda", &json!({ "spec": { "replicas": 7 } })).await?;
        request.image = Some(image("web-2"));
        let deployment = world.deploy(&request).await?;
        let shop = world.object(&deployment, "deployments", "shop").await?;
        ensure!(shop["spec"]["replicas"] == 7, "{shop:#}");
        ensure!(shop["status"]["availableReplicas"] == 7, "{shop:#}");
    }
);

cluster_test!(
    /// A rollout that cannot come up fails with its reason and the pod's events; what was in service stays, and is put
    /// back.
    what_does_not_come_up_says_why_and_gives_way, &[], |world| {
        let cases = [
            (IMAGE_PULL_FAILS, "image_pull_failed"),
            (IMAGE_CONFIG_FAILS, "container_config_error"),
            (IMAGE_CRASHES, "crash_loop"),
        ];
        let mut request = world.request("web");
        let good = world.deploy(&request).await?;
        for (name, code) in cases {
            request.image = Some(image(name));
            let failed = world.fails(&request, Stage::Apply, code).await?;
            let failure = failed.failure.clone().context("no failure")?;
            ensure!(failure.reason.contains("shop"), "{failure:#?}");
            ensure!(world.deployment(good.id).await?.state == DeploymentState::Active, "{code}");
            let shop = world.object(&good, "deployments", "shop").await?;
            let runs = &shop["spec"]["template"]["spec"]["containers"][0]["image"];
            ensure!(*runs == image("web").as_str(), "{code}: {runs}");
        }
        request.image = Some(image("web-2"));
        world.deploy(&request).await?;
    }
);

cluster_test!(
    /// A first deployment that does not come up leaves nothing but its namespace.
    a_first_deployment_that_fails_leaves_no_objects, &[], |world| {
        let request = world.request(IMAGE_PULL_FAILS);
        let failed = world.fails(&request, Stage::Apply, "image_pull_failed").await?;
        for plural in ["deployments", "services", "ingresses"] {
            ensure!(world.names(&failed, plural).await?.is_empty(), "{plural}");
        }
        ensure!(!world.names(&failed, "configmaps").await?.contains(&"slipway-inventory".to_owned()));
    }
);

cluster_test!(
    /// A probe that never passes ends with the deployment's own deadline.
    a_probe_that_never_passes_ends_with_its_deadline, &[], |world| {
        let mut request = world.request(IMAGE_NEVER_READY);
        request.health = serde_json::from_value(json!({ "path": "/", "deadline_ms": 5000 })).ok();
        let id = world.submit(&request).await?;
        let failed = world.ended(id).await?;
        let failure = failed.failure.clone().with_context(|| format!("did not fail: {failed:#?}"))?;
        ensure!(["probe_failed", "progress_deadline_exceeded"].contains(&failure.code.as_str()), "{failure:#?}");
    }
);

cluster_test!(
    /// A quota that leaves no room is named, and asked for nothing twice.
    an_exceeded_quota_is_named, &[], |world| {
        let mut request = world.request("web");
        let deployment = world.deploy(&request).await?;
        let quota = json!({ "metadata": { "name": "tight" }, "spec": { "hard": { "pods": "1" } } });
        world.plane.create(&world.collection(&deployment, "resourcequotas"), &quota).await?;
        request.image = Some(image("web-2"));
        request.health = serde_json::from_value(json!({ "deadline_ms": 6000 })).ok();
        let id = world.submit(&request).await?;
        let failed = world.ended(id).await?;
        let failure = failed.failure.context("did not fail")?;
        ensure!(failure.code == "quota_exceeded", "{failure:#?}");
        ensure!(world.deployment(deployment.id).await?.state == DeploymentState::Active);
    }
);

cluster_test!(
    /// A pod that no node has room for is told of, and fails once it was given its time.
    a_pod_without_a_node_is_told_of, &[("SLIPWAY__LIMITS__CPU_MAX_MILLIS", "100000000")], |world| {
        let mut request = world.request("web");
        request.resources = serde_json::from_value(json!({ "cpu_millis": 100_000_000 })).ok();
        world.fails(&request, Stage::Apply, "unschedulable").await?;
    }
);

cluster_test!(
    /// B11: an object that is rejected changes nothing: all are tried before any is applied.
    b11_a_rejected_object_changes_nothing, &[], |world| {
        let mut request = world.request("web");
        request.supports = vec![serde_json::from_value(
            json!({ "name": "db", "image": image("db"), "port": 5432 }),
        )?];
        let good = world.deploy(&request).await?;
        let before = generations(&world, &good).await?;
        // A Service's kind of address can never change.
        request.image = Some(image("web-2"));
        request.supports[0].port = None;
        let failed = world.submit(&request).await?;
        let failed = world.ended(failed).await?;
        let failure = failed.failure.context("did not fail")?;
        ensure!(["field_immutable", "object_rejected"].contains(&failure.code.as_str()), "{failure:#?}");
        ensure!(failure.reason.contains("Service db"), "{failure:#?}");
        ensure!(generations(&world, &good).await? == before, "something was changed");
    }
);

cluster_test!(
    /// A namespace that was made for objects that a policy refuses goes again.
    a_refused_first_deployment_leaves_no_namespace, &[], |world| {
        refuse_by_policy(&world).await?;
        let request = world.request(REFUSED);
        let name = world.namespace_of(&request)?;
        let failed = world.fails(&request, Stage::Apply, "object_rejected").await?;
        ensure!(failed.failure.context("no failure")?.reason.contains("not in this cluster"));
        let left = world.plane.get(&format!("/api/v1/namespaces/{name}")).await;
        ensure!(left.is_err() || !left?["metadata"]["deletionTimestamp"].is_null(), "the namespace is left");
    }
);

cluster_test!(
    /// A namespace of somebody else is not taken, whatever its name.
    a_foreign_namespace_is_left_alone, &[], |world| {
        let request = world.request("web");
        let name = world.namespace_by_hand(&request, json!({ "team": "other" })).await?;
        let failed = world.fails(&request, Stage::Apply, "name_conflict").await?;
        ensure!(failed.failure.context("no failure")?.reason.contains(&name));
        let left = world.plane.get(&format!("/api/v1/namespaces/{name}")).await?;
        ensure!(left["metadata"]["deletionTimestamp"].is_null(), "a foreign namespace was deleted");
        ensure!(left["metadata"]["labels"]["team"] == "other", "{left:#}");
    }
);

cluster_test!(
    /// What others made in the namespace is neither taken over nor removed.
    foreign_objects_are_left_alone, &[], |world| {
        let mut request = world.request("web");
        request.supports = vec![serde_json::from_value(json!({ "name": "db", "image": image("db") }))?];
        let deployment = world.deploy(&request).await?;
        let foreign = json!({ "metadata": { "name": "theirs" }, "data": { "k": "v" } });
        world.plane.create(&world.collection(&deployment, "configmaps"), &foreign).await?;
        ensure!(world.names(&deployment, "deployments").await?.contains(&"db".to_owned()));
        // A support that is no longer wanted is pruned; another that somebody else has made is a conflict.
        request.supports.clear();
        let deployment = world.deploy(&request).await?;
        ensure!(world.names(&deployment, "deployments").await? == ["shop"]);
        let service = json!({ "metadata": { "name": "cache" }, "spec": { "ports": [{ "port": 1 }] } });
        world.plane.create(&world.collection(&deployment, "services"), &service).await?;
        request.supports = vec![serde_json::from_value(json!({ "name": "cache", "image": image("c") }))?];
        world.fails(&request, Stage::Apply, "name_conflict").await?;
        let stopped = world.stop(deployment.id).await?;
        ensure!(stopped.state == DeploymentState::Stopped, "{stopped:#?}");
        ensure!(world.names(&deployment, "deployments").await?.is_empty());
        ensure!(world.names(&deployment, "services").await? == ["cache"]);
        ensure!(world.names(&deployment, "configmaps").await?.contains(&"theirs".to_owned()));
    }
);

cluster_test!(
    /// The credential of the registry and a credential's new password reach the namespace; the old one is gone.
    secrets_are_replaced_with_their_values, &[], |world| {
        let mut request = world.request("web");
        request.env = [("PASSWORD".to_owned(), "first".to_owned().into())].into();
        let deployment = world.deploy(&request).await?;
        let first = world.names(&deployment, "secrets").await?;
        request.env = [("PASSWORD".to_owned(), "second".to_owned().into())].into();
        let deployment = world.deploy(&request).await?;
        let second = world.names(&deployment, "secrets").await?;
        ensure!(first.len() == 1 && second.len() == 1 && first != second, "{first:?} {second:?}");
    }
);

cluster_test!(
    /// A host name that another namespace serves is refused before anything is changed.
    a_host_name_has_one_owner, &[], |world| {
        let hostname = format!("{}.example.com", world.plane.namespace());
        let mut one = world.request("web");
        one.hostnames = vec![hostname.clone()];
        world.deploy(&one).await?;
        let mut two = world.request("web");
        two.hostnames = vec![hostname.clone()];
        let failed = world.fails(&two, Stage::Apply, "hostname_taken").await?;
        ensure!(failed.failure.context("no failure")?.reason.contains(&hostname));
        let gone = world.plane.get(&format!("/api/v1/namespaces/{}", world.namespace_of(&two)?)).await;
        ensure!(gone.is_err() || !gone?["metadata"]["deletionTimestamp"].is_null(), "its namespace is left");
    }
);

cluster_test!(
    /// A deployment that waits for its rollout holds no slot, is overtaken by a newer one, and ends as superseded.
    newest_wins_while_a_rollout_is_waited_for, &[("SLIPWAY__WORKER__SLOTS", "1")], |world| {
        let mut request = world.request(IMAGE_NEVER_READY);
        request.health = serde_json::from_value(json!({ "deadline_ms": 300_000 })).ok();
        let slow = world.submit(&request).await?;
        world
            .wait_for(slow, |deployment| {
                deployment.latest_job().is_some_and(|job| matches!(job.state, JobState::Waiting { .. }))
            })
            .await?;
        request.image = Some(image("web"));
        world.deploy(&request).await?;
        let slow = world.ended(slow).await?;
        ensure!(slow.state == DeploymentState::Superseded, "{slow:#?}");
    }
);

cluster_test!(
    /// A rollout that is cancelled gives way to what was in service.
    a_cancelled_rollout_is_put_back, &[], |world| {
        let mut request = world.request("web");
        let good = world.deploy(&request).await?;
        request.image = Some(image(IMAGE_NEVER_READY));
        request.health = serde_json::from_value(json!({ "deadline_ms": 300_000 })).ok();
        let slow = world.submit(&request).await?;
        world
            .wait_for(slow, |deployment| {
                deployment.latest_job().is_some_and(|job| matches!(job.state, JobState::Waiting { .. }))
            })
            .await?;
        world.cancel(slow).await?;
        let slow = world.ended(slow).await?;
        ensure!(slow.state == DeploymentState::Stopped, "{slow:#?}");
        let shop = world.object(&good, "deployments", "shop").await?;
        let runs = &shop["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(*runs == image("web").as_str(), "{runs}");
        ensure!(world.deployment(good.id).await?.state == DeploymentState::Active);
    }
);
