//! What people read: whole sentences, numbers, and how foreign text is tamed in them.

use super::*;

#[track_caller]
fn says(object: &Value, expected: &str) {
    let verdict = verdict(object, now());
    assert_eq!(verdict.message(), Some(expected));
}

#[test]
fn a_progress_has_its_numbers() {
    let half = deployment(3, [4, 2, 4, 1]);
    says(&half, "Deployment web: 2 of 3 replicas updated, 1 available, 2 replicas to be removed");
    let Verdict::Progressing(progress) = verdict(&half, now()) else { panic!("is on its way") };
    assert_eq!(progress.counts, Some(Counts { wanted: 3, updated: 2, ready: 4, available: 1 }));
    says(
        &deployment(1, [3, 3, 3, 3]),
        "Deployment web: 1 of 1 replica updated, 3 available, 2 replicas to be removed",
    );
    says(
        &with(half, json!({ "metadata": { "generation": 3 } })),
        "Deployment web: its controller has not taken it up yet",
    );
    let job = |spec| object("batch/v1", "Job", spec, json!({ "succeeded": 1, "active": 2, "failed": 1 }));
    says(&job(json!({ "completions": 3 })), "Job web: 1 of 3 completions done, 2 running, 1 failed");
    says(&job(json!({})), "Job web: 1 pod done, 2 running, 1 failed");
}

#[test]
fn a_trouble_names_pod_container_and_cause() {
    let pull = pod("Pending", false, waiting("ErrImagePull", "manifest unknown"));
    says(&pull, "Pod web: container app cannot get its image shop/app:1: manifest unknown");
    let looping = pod("Running", false, crash_looping(ended(127, "Error")));
    says(
        &looping,
        "Pod web: container app ended with exit code 127 (its command was not found) and was restarted 3 times",
    );
    let killed = pod("Running", false, crash_looping(ended(137, "OOMKilled")));
    says(
        &killed,
        "Pod web: container app was killed for using more memory than its limit and was restarted 3 times",
    );
    let unready = pod("Running", false, running(LONG_AGO));
    says(&unready, "Pod web: container app runs, but its readiness probe has not passed for more than 2 min");
    let starting =
        with(unready, json!({ "spec": { "containers": [{ "name": "app", "startupProbe": {} }] } }));
    let starting = with(
        starting,
        json!({ "status": { "containerStatuses":
        [{ "name": "app", "ready": false, "started": false, "state": { "running": { "startedAt": LONG_AGO } } }] } }),
    );
    says(&starting, "Pod web: container app runs, but its startup probe has not passed for more than 150 s");
    let started = with(
        starting,
        json!({ "status": { "containerStatuses":
        [{ "name": "app", "ready": false, "started": true, "state": { "running": { "startedAt": LONG_AGO } } }] } }),
    );
    says(&started, "Pod web: container app runs, but its readiness probe has not passed for more than 150 s");
    let gated = condition("PodScheduled", "False", "SchedulingGated", "Scheduling is blocked");
    says(
        &with(pod("Pending", false, json!({})), json!({ "status": { "conditions": [gated] } })),
        "Pod web: waits for its scheduling gates to be lifted",
    );
    let evicted = with(
        pod("Failed", false, json!({})),
        json!({ "status": { "reason": "Evicted", "message": "low on disk" } }),
    );
    says(&evicted, "Pod web: was put off its node: Evicted: low on disk");
}

#[test]
fn last_words_of_a_program_stay_in_its_log() {
    let end = with(ended(1, "Error"), json!({ "message": "password=hunter2" }));
    let pod = pod("Running", false, crash_looping(end));
    assert!(!format!("{:?}", verdict(&pod, now())).contains("hunter2"));
    assert!(!format!("{:?}", troubled_container(&pod)).contains("hunter2"));
}

#[test]
fn deletion_names_what_holds_it_up() {
    let deleted = json!({ "metadata": { "deletionTimestamp": LONG_AGO, "finalizers": ["a/b", 7, "c/d"] } });
    says(&with(deployment(1, [1; 4]), deleted), "Deployment web: is being deleted; it waits for a/b, c/d");
    let left = condition(
        "NamespaceContentRemaining",
        "True",
        "SomeResourcesRemain",
        "pods. has 1 resource instances",
    );
    let fine = condition("NamespaceDeletionContentFailure", "False", "ContentDeleted", "All content deleted");
    let status = json!({ "phase": "Terminating", "conditions": [fine, left] });
    let other = with(
        object("example.com/v1", "Database", json!({}), status.clone()),
        json!({ "metadata":
        { "deletionTimestamp": LONG_AGO } }),
    );
    says(&other, "Database web: is being deleted");
    says(
        &object("v1", "Namespace", json!({}), status),
        "Namespace web: is being deleted; pods. has 1 resource instances",
    );
}

#[test]
fn foreign_text_is_one_line_and_not_endless() {
    let page = format!("<html>\n\t\u{1b}[31m{}", "é".repeat(2_000));
    let pull = pod("Pending", false, waiting("ErrImagePull", &page));
    let verdict = verdict(&pull, now());
    let message = verdict.message().unwrap();
    assert!(message.contains("<html> [31mé"), "{message}");
    assert!(message.ends_with("é…"), "{message}");
    assert!(message.chars().count() < 500);
    assert!(!message.contains(char::is_control));
    assert_eq!(json::said(&"x".repeat(400)), "x".repeat(400));
}

#[test]
fn a_rollout_tells_numbers_of_the_newest_pods() {
    let meta = |name: &str, owner: &str| {
        json!({ "metadata": { "name": name, "uid": name,
        "annotations": { "deployment.kubernetes.io/revision": "2" },
        "ownerReferences": [{ "kind": "Deployment", "name": owner, "uid": owner }] } })
    };
    let deployment = with(deployment(3, [4, 2, 3, 3]), meta("web", "none"));
    let set = with(
        object("apps/v1", "ReplicaSet", json!({}), json!({ "readyReplicas": 1, "availableReplicas": 0 })),
        meta("web-1", "web"),
    );
    let pod = with(pod("Pending", false, waiting("ContainerCreating", "")), meta("web-1-a", "web-1"));
    let Rollout::Progressing { wanted, updated, ready, available, message } =
        rollout(&deployment, &[&set], &[&pod], now())
    else {
        panic!("is on its way")
    };
    assert_eq!([wanted, updated, ready, available], [3, 2, 1, 0]);
    assert_eq!(
        message,
        "Deployment web: 2 of 3 replicas updated, 1 ready, 0 available, 2 replicas to be removed; \
        Pod web-1-a: container app is being started"
    );
    let Rollout::Progressing { ready, available, message, .. } = rollout(&deployment, &[], &[], now()) else {
        panic!("is on its way")
    };
    assert_eq!([ready, available], [3, 3]);
    assert!(message.ends_with("; its new ReplicaSet is not there yet"), "{message}");
}
