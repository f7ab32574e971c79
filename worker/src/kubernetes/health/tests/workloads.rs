//! Deployment, ReplicaSet, StatefulSet, DaemonSet, Job and CronJob.

use proptest::prelude::*;

use super::*;

fn quota() -> Value {
    let message = "pods \"web-5d-x\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2";
    condition("ReplicaFailure", "True", "FailedCreate", message)
}

fn refused(message: &str) -> Value {
    condition("ReplicaFailure", "True", "FailedCreate", message)
}

fn too_slow() -> Value {
    condition(
        "Progressing",
        "False",
        "ProgressDeadlineExceeded",
        "ReplicaSet \"web-5d\" has timed out progressing.",
    )
}

fn saying(base: Value, conditions: &[Value]) -> Value {
    with(base, json!({ "status": { "conditions": conditions } }))
}

#[test]
fn deployments() {
    let done = || deployment(3, [3, 3, 3, 3]);
    let half = || deployment(3, [3, 2, 2, 2]);
    let podsecurity =
        "pods \"web-5d-x\" is forbidden: violates PodSecurity \"restricted:latest\": privileged";
    let no_replica_set =
        condition("Progressing", "False", "ReplicaSetCreateError", "Failed to create new replica set");
    check! {
        "all there": done() => "ready",
        "one still old": deployment(3, [3, 2, 3, 3]) => "progressing",
        "one more than wanted, of the old template": deployment(3, [4, 3, 4, 4]) => "progressing",
        "updated, one not available": deployment(3, [3, 3, 3, 2]) => "progressing",
        "updated, fewer in all than updated": deployment(3, [2, 3, 3, 3]) => "progressing",
        "being scaled down": deployment(1, [3, 3, 3, 3]) => "progressing",
        "none wanted, none there": deployment(0, [0, 0, 0, 0]) => "ready",
        "none wanted, an old one left": deployment(0, [1, 0, 1, 1]) => "progressing",
        "status left out where zero": with(deployment(0, [0; 4]), json!({ "status": { "replicas": null,
            "updatedReplicas": null, "readyReplicas": null, "availableReplicas": null } })) => "ready",
        "one wanted if not said": with(deployment(3, [1; 4]), json!({ "spec": { "replicas": null } })) =>
            "ready",
        "spec not taken up": with(done(), json!({ "status": { "observedGeneration": 1 } })) =>
            "progressing",
        "spec never taken up": with(done(), json!({ "status": { "observedGeneration": null } })) =>
            "progressing",
        "status of a later spec": with(done(), json!({ "status": { "observedGeneration": 3 } })) => "ready",
        "no generations at all": with(done(), json!({ "status": { "observedGeneration": null }, "metadata":
            { "generation": null } })) => "ready",
        "no status": with(done(), json!({ "status": null })) => "progressing",
        "no status and no generation": with(done(), json!({ "status": null, "metadata": null })) =>
            "progressing",
        "paused": with(half(), json!({ "spec": { "paused": true } })) => "suspended",
        "paused, all there": with(done(), json!({ "spec": { "paused": true } })) => "suspended",
        "paused, not taken up": with(done(), json!({ "spec": { "paused": true }, "metadata": { "generation":
            3 } })) => "progressing",
        "paused by a word": with(done(), json!({ "spec": { "paused": "true" } })) => "ready",
        "deleted": with(done(), json!({ "metadata": { "deletionTimestamp": JUST_NOW } })) => "deleting",
        "too slow": saying(half(), &[too_slow()]) => "progress_deadline_exceeded for good",
        "was too slow, but got there": saying(done(), &[too_slow()]) => "ready",
        "was too slow with another spec": with(saying(half(), &[too_slow()]), json!({ "metadata": {
            "generation": 3 } })) => "progressing",
        "quota": saying(half(), &[quota()]) => "quota_exceeded",
        "quota and too slow": saying(half(), &[too_slow(), quota()]) => "quota_exceeded for good",
        // The old ReplicaSets of a template that was put right go on saying so.
        "pod security": saying(half(), &[refused(podsecurity)]) => "rejected",
        "refused before, all there now": saying(done(), &[refused(podsecurity)]) => "ready",
        "no longer refused": saying(half(), &[condition("ReplicaFailure", "False", "", podsecurity)]) =>
            "progressing",
        "its ReplicaSet cannot be made": with(saying(half(), std::slice::from_ref(&no_replica_set)), json!({
            "metadata": { "generation": 3 } })) => "replica_failure",
        "progressing": saying(half(), &[condition("Progressing", "True", "ReplicaSetUpdated", "")]) =>
            "progressing",
        "of the old group": with(half(), json!({ "apiVersion": "extensions/v1beta1" })) => "progressing",
        "of a foreign group": with(half(), json!({ "apiVersion": "example.com/v1" })) => "ready",
        "counts as text": with(done(), json!({ "status": { "updatedReplicas": "3" } })) => "progressing",
        "negative count": with(done(), json!({ "status": { "availableReplicas": -3 } })) => "progressing",
        "negative wish counts as none, which is one": with(deployment(1, [1; 4]), json!({ "spec": {
            "replicas": -1 } })) => "ready",
        "a fraction": with(done(), json!({ "status": { "replicas": 2.5 } })) => "progressing",
        "status is a list": with(done(), json!({ "status": [1, 2] })) => "progressing",
        "spec is text": with(deployment(1, [1; 4]), json!({ "spec": "three" })) => "ready",
        "conditions are text": with(half(), json!({ "status": { "conditions": "none" } })) => "progressing",
        "conditions hold rubbish": saying(half(), &[json!(null), json!(7), json!({ "type": 1 }), quota()])
            => "quota_exceeded",
    }
}

#[test]
fn replica_sets() {
    let set = |wanted: u64, [all, ready, available]: [u64; 3]| {
        let status = json!({ "observedGeneration": 2, "replicas": all, "readyReplicas": ready,
            "availableReplicas": available });
        object("apps/v1", "ReplicaSet", json!({ "replicas": wanted }), status)
    };
    let half = || set(2, [1, 1, 1]);
    check! {
        "all there": set(2, [2, 2, 2]) => "ready",
        "an old one": set(0, [0, 0, 0]) => "ready",
        "being emptied": set(0, [1, 1, 1]) => "progressing",
        "ready, not yet available": set(2, [2, 2, 1]) => "progressing",
        "not taken up": with(set(2, [2, 2, 2]), json!({ "metadata": { "generation": 3 } })) =>
            "progressing",
        "quota": saying(half(), &[quota()]) => "quota_exceeded",
        "refused before, all there": saying(set(2, [2, 2, 2]), &[quota()]) => "ready",
        "pod security": saying(half(),
            &[refused("pods \"a\" is forbidden: violates PodSecurity \"baseline\"")]) =>
            "rejected for good",
        "limit range": saying(half(),
            &[refused("pods \"a\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi")])
            => "rejected for good",
        "quota wants a limit": saying(half(),
            &[refused("pods \"a\" is forbidden: failed quota: small: must specify limits.cpu for: app")]) =>
            "rejected for good",
        "namespace goes": saying(half(),
            &[refused("pods \"a\" is forbidden: unable to create new content in namespace shop because it is being terminated")])
            => "rejected for good",
        "webhook refuses": saying(half(),
            &[refused("admission webhook \"p.example.com\" denied the request: no")]) => "rejected",
        "account is missing": saying(half(),
            &[refused("pods \"a\" is forbidden: error looking up service account shop/web: serviceaccount \"web\" not found")])
            => "rejected",
        "webhook is away": saying(half(),
            &[refused("failed calling webhook \"p.example.com\": connection refused")]) =>
            "replica_failure",
        "cannot delete": saying(half(), &[condition("ReplicaFailure", "True", "FailedDelete", "timeout")])
            => "replica_failure",
        "no longer refused": saying(half(), &[condition("ReplicaFailure", "False", "FailedCreate", "denied")])
            => "progressing",
        "a quota beside pod security": saying(half(), &[refused(
            "exceeded quota: small; pods \"a\" is forbidden: violates PodSecurity")]) => "quota_exceeded",
        "no words at all": saying(half(), &[json!({ "type": "ReplicaFailure", "status": "True" })]) =>
            "replica_failure",
        "a ReplicationController": with(half(), json!({ "apiVersion": "v1", "kind": "ReplicationController"
            })) => "progressing",
    }
}

#[test]
fn stateful_sets() {
    let set = |wanted: u64, [all, updated, ready, available]: [u64; 4], revisions: [&str; 2]| {
        let status = json!({ "observedGeneration": 2, "replicas": all, "updatedReplicas": updated,
            "readyReplicas": ready, "availableReplicas": available, "currentRevision": revisions[0],
            "updateRevision": revisions[1] });
        object(
            "apps/v1",
            "StatefulSet",
            json!({ "replicas": wanted, "updateStrategy": { "type": "RollingUpdate",
            "rollingUpdate": { "partition": 0 } } }),
            status,
        )
    };
    let done = || set(3, [3; 4], ["b", "b"]);
    let part = |updated| {
        with(
            set(3, [3, updated, 3, 3], ["a", "b"]),
            json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 2 } } } }),
        )
    };
    let by_hand = |ready| {
        with(
            set(3, [3, 0, ready, ready], ["a", "b"]),
            json!({ "spec": { "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } } }),
        )
    };
    check! {
        "all there": done() => "ready",
        "two of three updated": set(3, [3, 2, 3, 3], ["a", "b"]) => "progressing",
        "all updated, revision about to be taken over": set(3, [3; 4], ["a", "b"]) => "ready",
        "one not ready": set(3, [3, 3, 2, 2], ["b", "b"]) => "progressing",
        "ready, not yet available": set(3, [3, 3, 3, 1], ["b", "b"]) => "progressing",
        "one missing": set(3, [2, 2, 2, 2], ["b", "b"]) => "progressing",
        "being scaled down": set(1, [3; 4], ["b", "b"]) => "progressing",
        "none wanted": set(0, [0; 4], ["b", "b"]) => "ready",
        "partition reached": part(1) => "ready",
        "partition not reached": part(0) => "progressing",
        "partition beyond all": with(part(0), json!({ "spec": { "updateStrategy": { "rollingUpdate": {
            "partition": 7 } } } })) => "ready",
        "updated by hand": by_hand(3) => "ready",
        "updated by hand, one not ready": by_hand(2) => "progressing",
        "not taken up": with(done(), json!({ "metadata": { "generation": 3 } })) => "progressing",
        "no status": with(done(), json!({ "status": null })) => "progressing",
        "of a cluster that counts no available ones": with(done(), json!({ "status": { "availableReplicas":
            null } })) => "ready",
        "strategy is text": with(done(), json!({ "spec": { "updateStrategy": "OnDelete" } })) => "ready",
    }
}

#[test]
fn daemon_sets() {
    let set = |[desired, updated, ready, available]: [u64; 4]| {
        let status = json!({ "observedGeneration": 2, "desiredNumberScheduled": desired, "currentNumberScheduled": desired,
            "updatedNumberScheduled": updated, "numberReady": ready, "numberAvailable": available });
        object("apps/v1", "DaemonSet", json!({ "updateStrategy": { "type": "RollingUpdate" } }), status)
    };
    let on_delete = json!({ "spec": { "updateStrategy": { "type": "OnDelete" } } });
    check! {
        "on all nodes": set([4; 4]) => "ready",
        "no node fits": set([0; 4]) => "ready",
        "one still old": set([4, 3, 4, 4]) => "progressing",
        "one not available": set([4, 4, 4, 3]) => "progressing",
        "updated by hand": with(set([4, 0, 4, 4]), on_delete.clone()) => "ready",
        "updated by hand, one not available": with(set([4, 0, 4, 3]), on_delete) => "progressing",
        "not taken up": with(set([4; 4]), json!({ "metadata": { "generation": 3 } })) => "progressing",
        "nodes not counted yet": with(set([0; 4]), json!({ "status": { "desiredNumberScheduled": null } }))
            => "progressing",
        "no status": with(set([4; 4]), json!({ "status": null })) => "progressing",
    }
}

#[test]
fn jobs() {
    let job =
        |status: Value| object("batch/v1", "Job", json!({ "completions": 3, "suspend": false }), status);
    let saying = |kind, reason| job(json!({ "conditions": [condition(kind, "True", reason, "it says so")] }));
    let cron = |spec| object("batch/v1", "CronJob", spec, json!({}));
    check! {
        "runs": job(json!({ "active": 2, "succeeded": 1 })) => "progressing",
        "runs after failures": job(json!({ "active": 1, "failed": 2 })) => "progressing",
        "just made": job(json!({})) => "progressing",
        "no status": with(job(json!({})), json!({ "status": null })) => "progressing",
        "complete": saying("Complete", "CompletionsReached") => "ready",
        "about to be complete": saying("SuccessCriteriaMet", "SuccessPolicy") => "progressing",
        "failed": saying("Failed", "BackoffLimitExceeded") => "job_failed for good",
        "too long": saying("Failed", "DeadlineExceeded") => "job_failed for good",
        "about to have failed": saying("FailureTarget", "PodFailurePolicy") => "job_failed for good",
        "a condition that does not hold": job(json!({ "conditions": [condition("Failed", "False", "", "")]
            })) => "progressing",
        "suspended": with(saying("Suspended", "JobSuspended"), json!({ "spec": { "suspend": true } })) =>
            "suspended",
        "told to rest just now": with(job(json!({})), json!({ "spec": { "suspend": true } })) =>
            "suspended",
        "resumed just now": saying("Suspended", "JobSuspended") => "progressing",
        "resumed": job(json!({ "conditions": [condition("Suspended", "False", "JobResumed", "")], "active":
            1 })) => "progressing",
        "complete, then suspended": with(saying("Complete", ""), json!({ "spec": { "suspend": true } })) =>
            "ready",
        "deleted": with(job(json!({})), json!({ "metadata": { "deletionTimestamp": JUST_NOW } })) =>
            "deleting",
        "counts as text": job(json!({ "active": "2", "failed": null })) => "progressing",
        "a CronJob": cron(json!({ "schedule": "0 * * * *" })) => "ready",
        "a CronJob at rest": cron(json!({ "suspend": true })) => "suspended",
        "a CronJob without a spec": with(cron(json!({})), json!({ "spec": null, "status": null })) =>
            "ready",
    }
}

proptest! {
    /// Ready, if and only if the status is of the spec and every number is the one wanted.
    #[test]
    fn a_deployment_is_ready_exactly_when_its_numbers_say_so(
        (wanted, all, updated, available) in (0..4_u64, 0..4_u64, 0..4_u64, 0..4_u64),
        (generation, observed) in (1..4_u64, 0..4_u64),
        says in prop::sample::subsequence(vec![too_slow(), quota()], 0..=2),
    ) {
        let numbers = deployment(wanted, [all, updated, available, available]);
        let object = with(saying(numbers, &says), json!({
            "metadata": { "generation": generation }, "status": { "observedGeneration": observed },
        }));
        let is_there = observed >= generation && [all, updated] == [wanted; 2] && available >= wanted;
        prop_assert_eq!(verdict(&object, now()).is_ready(), is_there);
        prop_assert_eq!(rollout(&object, &[], &[], now()) == Rollout::Complete, is_there);
    }
}
