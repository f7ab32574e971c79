//! Rollouts: a Deployment, its ReplicaSets of two revisions, and the pods of each.

use super::*;

/// A Deployment of which one of three replicas is updated, at revision 2.
fn deploying() -> Value {
    named(deployment(3, [4, 1, 3, 3]), "web", "d", None, Some("2"))
}

fn replica_set(name: &str, revision: &str) -> Value {
    let status =
        json!({ "observedGeneration": 2, "replicas": 1, "readyReplicas": 0, "availableReplicas": 0 });
    let set = object("apps/v1", "ReplicaSet", json!({ "replicas": 1 }), status);
    let owner = json!({ "kind": "Deployment", "name": "web", "uid": "d", "controller": true });
    with(
        named(set, name, name, Some(owner), Some(revision)),
        json!({ "metadata": { "labels": { "pod-template-hash": name } } }),
    )
}

/// The ReplicaSet before and the one of the present template.
fn sets() -> Vec<Value> {
    vec![replica_set("web-new", "2"), replica_set("web-old", "1")]
}

fn pod_of(set: &str, name: &str, pod: Value) -> Value {
    let owner = json!({ "kind": "ReplicaSet", "name": set, "uid": set, "controller": true });
    named(pod, name, name, Some(owner), None)
}

fn named(object: Value, name: &str, uid: &str, owner: Option<Value>, revision: Option<&str>) -> Value {
    let revision =
        revision.map_or(json!({}), |revision| json!({ "deployment.kubernetes.io/revision": revision }));
    let owners = owner.map_or(json!([]), |owner| json!([owner]));
    with(
        object,
        json!({ "metadata": { "name": name, "uid": uid, "ownerReferences": owners, "annotations": revision } }),
    )
}

fn pulling_in_vain() -> Value {
    pod("Pending", false, waiting("ImagePullBackOff", "Back-off"))
}

fn looping() -> Value {
    pod("Running", false, crash_looping(ended(1, "Error")))
}

/// `complete`, `progressing`, or the code with pod, container and whether it is certain.
fn told(deployment: &Value, sets: &[Value], pods: &[Value]) -> String {
    match rollout(deployment, &each(sets), &each(pods), now()) {
        Rollout::Complete => "complete".to_owned(),
        Rollout::Progressing { .. } => "progressing".to_owned(),
        Rollout::Failing { code, pod, container, certain, .. } => {
            let place =
                [pod, container].into_iter().flatten().map(|name| format!(" {name}")).collect::<String>();
            format!("{code}{place}{}", if certain { " for good" } else { "" })
        }
    }
}

fn failing_set(message: &str) -> Vec<Value> {
    let failure = condition("ReplicaFailure", "True", "FailedCreate", message);
    vec![
        with(replica_set("web-new", "2"), json!({ "status": { "conditions": [failure] } })),
        replica_set("web-old", "1"),
    ]
}

fn saying(conditions: &[Value]) -> Value {
    with(deploying(), json!({ "status": { "conditions": conditions } }))
}

#[test]
fn only_the_newest_pods_count() {
    let new = |pod| pod_of("web-new", "n1", pod);
    let old = |pod| pod_of("web-old", "o1", pod);
    let starting = || pod("Pending", false, waiting("ContainerCreating", ""));
    let doomed = json!({ "metadata": { "deletionTimestamp": JUST_NOW } });
    let orphan = |hash| {
        with(looping(), json!({ "metadata": { "name": "n1", "labels": { "pod-template-hash": hash } } }))
    };
    let by_name = with(
        new(looping()),
        json!({ "metadata": { "ownerReferences":
        [{ "kind": "ReplicaSet", "name": "web-new" }] } }),
    );
    let table = [
        ("nothing wrong", vec![new(starting())], "progressing"),
        ("image", vec![new(pulling_in_vain())], "image_pull_failed n1 app"),
        ("crash loop", vec![new(looping())], "crash_loop n1 app"),
        (
            "one end",
            vec![new(pod("Running", false, json!({ "state": { "terminated": ended(1, "Error") } })))],
            "progressing",
        ),
        (
            "image name",
            vec![new(pod("Pending", false, waiting("InvalidImageName", "")))],
            "invalid_image_name n1 app for good",
        ),
        ("old pod crashes", vec![new(starting()), old(looping())], "progressing"),
        ("old pod cannot get its image", vec![old(pulling_in_vain())], "progressing"),
        ("on its way out", vec![with(new(looping()), doomed)], "progressing"),
        ("nobody's pod of the new template", vec![orphan("web-new")], "crash_loop n1 app"),
        ("nobody's pod of the old template", vec![orphan("web-old")], "progressing"),
        ("owned by name", vec![by_name], "crash_loop n1 app"),
        (
            "owned by a namesake",
            vec![with(
                new(looping()),
                json!({ "metadata": { "ownerReferences":
            [{ "kind": "ReplicaSet", "name": "web-new", "uid": "another" }] } }),
            )],
            "progressing",
        ),
        (
            "what lasts comes first",
            vec![
                new(looping()),
                pod_of("web-new", "n2", pod("Pending", false, waiting("InvalidImageName", ""))),
            ],
            "invalid_image_name n2 app for good",
        ),
        (
            "what tells most comes next",
            vec![new(looping()), pod_of("web-new", "n2", pulling_in_vain())],
            "image_pull_failed n2 app",
        ),
        (
            "the first by name, in any order",
            vec![pod_of("web-new", "n2", looping()), new(looping())],
            "crash_loop n1 app",
        ),
        ("no pods", vec![], "progressing"),
        ("rubbish", vec![json!(null), json!({ "metadata": { "ownerReferences": "none" } })], "progressing"),
    ];
    for (name, pods, expected) in table {
        assert_eq!(told(&deploying(), &sets(), &pods), expected, "{name}");
    }
}

#[test]
fn dead_pods_are_a_trouble_when_there_are_many() {
    let dead = |name| {
        pod_of(
            "web-new",
            name,
            with(
                pod("Failed", false, json!({})),
                json!({ "status": { "reason": "Evicted", "containerStatuses": null } }),
            ),
        )
    };
    assert_eq!(told(&deploying(), &sets(), &[dead("n1"), dead("n2")]), "progressing");
    assert_eq!(told(&deploying(), &sets(), &[dead("n1"), dead("n2"), dead("n3")]), "evicted n3");
    assert_eq!(told(&done(), &sets(), &[dead("n1"), dead("n2"), dead("n3")]), "complete");
}

#[test]
fn the_newest_replica_set_is_the_one_of_the_present_template() {
    let crashing = [pod_of("web-old", "o1", looping()), pod_of("web-new", "n1", pulling_in_vain())];
    let present = |revision: &str| named(deployment(3, [4, 1, 3, 3]), "web", "d", None, Some(revision));
    assert_eq!(told(&present("2"), &sets(), &crashing), "image_pull_failed n1 app");
    // The list is older than the Deployment, whose newest ReplicaSet is not in it.
    assert_eq!(told(&present("3"), &sets(), &crashing), "progressing");
    // Set back to the template before: its ReplicaSet has its new revision before the Deployment has.
    let back = [replica_set("web-new", "2"), replica_set("web-old", "3")];
    assert_eq!(told(&present("2"), &back, &crashing), "crash_loop o1 app");
    // Revisions are numbers.
    let tenth = [replica_set("web-new", "10"), replica_set("web-old", "9")];
    assert_eq!(told(&present("10"), &tenth, &crashing), "image_pull_failed n1 app");
    let unnumbered = named(deployment(3, [4, 1, 3, 3]), "web", "d", None, None);
    assert_eq!(told(&unnumbered, &sets(), &crashing), "image_pull_failed n1 app");
    // Another Deployment's ReplicaSets are none of ours.
    let stranger = with(present("2"), json!({ "metadata": { "uid": "another" } }));
    assert_eq!(told(&stranger, &sets(), &crashing), "progressing");
}

/// A table of Deployments with their ReplicaSets and pods, each with its name and what `told` says of it.
macro_rules! check_rollouts {
    ($($name:literal: $deployment:expr, $sets:expr, $pods:expr => $expected:literal,)+) => {
        $(assert_eq!(told(&$deployment, &$sets, &$pods), $expected, "{}", $name);)+
    };
}

fn done() -> Value {
    named(deployment(3, [3; 4]), "web", "d", None, Some("2"))
}

/// The same with a spec that was changed a moment ago.
fn changed(deployment: Value) -> Value {
    with(deployment, json!({ "metadata": { "generation": 3 } }))
}

fn paused(deployment: Value) -> Value {
    with(deployment, json!({ "spec": { "paused": true } }))
}

fn without_node() -> [Value; 1] {
    let refused = condition("PodScheduled", "False", "Unschedulable", "0/1 nodes");
    let status = json!({ "status": { "conditions": [refused], "containerStatuses": null } });
    [pod_of("web-new", "n1", with(pod("Pending", false, json!({})), status))]
}

#[test]
fn pods_that_are_not_created_are_a_trouble() {
    let quota = |pod: &str| format!("pods \"{pod}\" is forbidden: exceeded quota: small");
    let told = |message: &str| saying(&[condition("ReplicaFailure", "True", "FailedCreate", message)]);
    let security = "pods \"web-new-x\" is forbidden: violates PodSecurity \"restricted\"";
    let no_set = "replicasets \"web-x\" is forbidden: exceeded quota: small";
    let no_set = saying(&[condition("Progressing", "False", "ReplicaSetCreateError", no_set)]);
    check_rollouts! {
        "quota": deploying(), failing_set(&quota("web-new-x")), [] => "quota_exceeded",
        "quota, told by the Deployment": told(&quota("web-new-x")), sets(), [] => "quota_exceeded",
        "quota, met by old pods": told(&quota("web-old-x")), sets(), [] => "progressing",
        "quota, of a ReplicaSet not seen": told(&quota("web-new-x")), [], [] => "quota_exceeded",
        "webhook away, told by the Deployment": told("failed calling webhook"), sets(), [] => "replica_failure",
        "pod security": deploying(), failing_set(security), [] => "rejected for good",
        "pod security, told by the Deployment": told(security), [], [] => "rejected",
        "what lasts comes first": deploying(), failing_set(security), without_node() => "rejected for good",
        "what lasts comes before what tells more": deploying(), failing_set(security),
            [pod_of("web-new", "n1", looping())] => "rejected for good",
        "what a pod says comes first": deploying(), failing_set(&quota("web-new-x")),
            [pod_of("web-new", "n1", looping())] => "crash_loop n1 app",
        "no ReplicaSet can be made": changed(no_set), sets(), [] => "quota_exceeded",
    }
}

#[test]
fn what_the_deployment_says_counts_too() {
    let late = |set: &str| {
        let message = format!("ReplicaSet \"{set}\" has timed out progressing.");
        saying(&[condition("Progressing", "False", "ProgressDeadlineExceeded", &message)])
    };
    let late_without_name =
        saying(&[condition("Progressing", "False", "ProgressDeadlineExceeded", "has timed out progressing")]);
    let looping = || [pod_of("web-new", "n1", looping())];
    check_rollouts! {
        "complete": done(), sets(), [] => "complete",
        "complete, whatever pods say": done(), sets(), looping() => "complete",
        "no node": deploying(), sets(), without_node() => "unschedulable n1",
        "no node in time": late("web-new"), sets(), without_node() => "unschedulable n1 for good",
        "not in time": late("web-new"), sets(), [] => "progress_deadline_exceeded for good",
        "not in time, without a ReplicaSet's name": late_without_name, sets(), [] =>
            "progress_deadline_exceeded for good",
        "the one before was not in time": late("web-old"), sets(), [] => "progressing",
        "the one before was not in time, this one loops": late("web-old"), sets(), looping() =>
            "crash_loop n1 app",
        "not in time, before it was changed": changed(late("web-new")), sets(), [] => "progressing",
        "changed while the pods crash": changed(deploying()), sets(), looping() => "progressing",
        "changed after it was complete": changed(done()), sets(), [] => "progressing",
        "paused": paused(deploying()), sets(), looping() => "paused for good",
        "paused when complete": paused(done()), sets(), [] => "complete",
        "deleted": with(done(), json!({ "metadata": { "deletionTimestamp": JUST_NOW } })), sets(), [] =>
            "being_deleted for good",
        "null": json!(null), [], [] => "progressing",
    }
}
