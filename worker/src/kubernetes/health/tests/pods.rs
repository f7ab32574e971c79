//! Pods, and which of their containers is in trouble.

use super::*;

/// The pod with these container statuses in place of its own.
fn of(base: Value, key: &str, statuses: Value) -> Value {
    with(base, json!({ "status": { key: statuses } }))
}

fn policy(base: Value, policy: &str) -> Value {
    with(base, json!({ "spec": { "restartPolicy": policy } }))
}

fn saying(base: Value, conditions: &[Value]) -> Value {
    with(base, json!({ "status": { "conditions": conditions } }))
}

/// A pod whose init container `setup` is in a state, before `app` starts.
fn initialising(setup: Value) -> Value {
    let setup = with(json!({ "name": "setup", "ready": false, "restartCount": 0, "lastState": {} }), setup);
    let base = pod("Pending", false, waiting("PodInitializing", ""));
    let base =
        with(base, json!({ "spec": { "initContainers": [{ "name": "setup", "image": "shop/setup:1" }] } }));
    of(base, "initContainerStatuses", json!([setup]))
}

fn with_sidecar(sidecar: Value) -> Value {
    let app = pod("Running", true, running(LONG_AGO));
    let sidecar = with(json!({ "name": "proxy", "ready": true, "restartCount": 0 }), sidecar);
    let base =
        with(app, json!({ "spec": { "initContainers": [{ "name": "proxy", "restartPolicy": "Always" }] } }));
    of(base, "initContainerStatuses", json!([sidecar]))
}

#[test]
fn phases() {
    let unscheduled = |reason, message, since| {
        let refused =
            with(condition("PodScheduled", "False", reason, message), json!({ "lastTransitionTime": since }));
        with(
            saying(pod("Pending", false, json!({})), &[refused]),
            json!({ "status": { "containerStatuses": null } }),
        )
    };
    let failed = |status| {
        with(
            pod("Failed", false, json!({ "state": { "terminated": ended(137, "Error") } })),
            json!({ "status": status }),
        )
    };
    let no_node = "0/3 nodes are available: 3 Insufficient memory.";
    let gates = condition("Ready", "False", "ReadinessGatesNotReady", "gate");
    check! {
        "serves": pod("Running", true, running(LONG_AGO)) => "ready",
        "no restart policy said": with(pod("Running", true, running(LONG_AGO)), json!({ "spec": null })) =>
            "ready",
        "has done its work": policy(pod("Succeeded", false, json!({ "state": { "terminated": ended(0,
            "Completed") } })), "Never") => "ready",
        "works, never to be restarted": policy(pod("Running", true, running(LONG_AGO)), "Never") =>
            "may stay",
        "works, restarted on failure": policy(pod("Running", true, running(LONG_AGO)), "OnFailure") =>
            "may stay",
        "no phase": pod("", false, json!({})) => "progressing",
        "no status": with(pod("", false, json!({})), json!({ "status": null })) => "progressing",
        "node is out of reach": pod("Unknown", false, running(JUST_NOW)) => "progressing",
        "pulls its image": pod("Pending", false, waiting("ContainerCreating", "")) => "progressing",
        "waits for no reason": pod("Pending", false, json!({ "state": { "waiting": {} } })) =>
            "progressing",
        "in no state": pod("Pending", false, json!({ "state": {} })) => "progressing",
        "in a state that is null": pod("Pending", false, json!({ "state": { "running": null, "waiting": [] }
            })) => "progressing",
        "no node": unscheduled("Unschedulable", no_node, LONG_AGO) => "unschedulable",
        "no node in the first seconds": unscheduled("Unschedulable", no_node, JUST_NOW) => "progressing",
        "no node since nobody knows": unscheduled("Unschedulable", no_node, "") => "unschedulable",
        "no volume": unscheduled("Unschedulable", "pod has unbound immediate PersistentVolumeClaims",
            LONG_AGO) => "volume_unbound",
        "no claim": unscheduled("Unschedulable", "persistentvolumeclaim \"data\" not found", LONG_AGO) =>
            "volume_unbound",
        "no volume to bind": unscheduled("Unschedulable",
            "1 node(s) didn't find available persistent volumes to bind", LONG_AGO) => "volume_unbound",
        "gated": unscheduled("SchedulingGated", "", LONG_AGO) => "progressing",
        "scheduler stumbled": unscheduled("SchedulerError", "binding rejected", LONG_AGO) => "progressing",
        "evicted": failed(json!({ "reason": "Evicted", "message": "low on memory" })) => "evicted for good",
        "refused by its node": failed(json!({ "reason": "OutOfcpu", "containerStatuses": null })) =>
            "pod_failed for good",
        "too long": failed(json!({ "reason": "DeadlineExceeded" })) => "pod_failed for good",
        "its container failed": policy(failed(json!({})), "Never") => "container_failed in app for good",
        "out of memory, never to be restarted": policy(pod("Failed", false, json!({ "state": { "terminated":
            ended(137, "OOMKilled") } })), "Never") => "out_of_memory in app for good",
        "failed for no reason": failed(json!({ "containerStatuses": null })) => "pod_failed for good",
        "waits for its gates": saying(pod("Running", true, running(LONG_AGO)), &[gates]) => "progressing",
        "deleted": with(pod("Running", true, running(LONG_AGO)), json!({ "metadata": { "deletionTimestamp":
            JUST_NOW } })) => "deleting",
    }
}

#[test]
fn containers_that_do_not_start() {
    let waits = |reason, message| pod("Pending", false, waiting(reason, message));
    check! {
        "image not found": waits("ErrImagePull", "not found") => "image_pull_failed in app",
        "image not found, again": waits("ImagePullBackOff", "Back-off") => "image_pull_failed in app",
        "registry away": waits("RegistryUnavailable", "") => "image_pull_failed in app",
        "image cannot be read": waits("ImageInspectError", "") => "image_pull_failed in app",
        "image not on the node": waits("ErrImageNeverPull", "") => "image_pull_failed in app for good",
        "signature is wrong": waits("SignatureValidationFailed", "") => "image_pull_failed in app for good",
        "image name is none": waits("InvalidImageName", "couldn't parse") =>
            "invalid_image_name in app for good",
        "no such ConfigMap": waits("CreateContainerConfigError", "configmap \"a\" not found") =>
            "container_config_error in app",
        "root where none may be": waits("CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root") =>
            "container_config_error in app for good",
        "cannot be created": waits("CreateContainerError", "context deadline exceeded") =>
            "container_create_failed in app",
        "image has no command": waits("CreateContainerError", "no command specified") =>
            "container_create_failed in app for good",
        "cannot be started": waits("RunContainerError", "device busy") => "container_start_failed in app",
        "command is not there": waits("RunContainerError",
            "exec: \"serve\": executable file not found in $PATH") =>
            "container_start_failed in app for good",
        "hook failed": waits("PostStartHookError", "") => "container_start_failed in app",
        "an error nobody knows": waits("NetworkPluginError", "") => "container_start_failed in app",
        "a reason that is a number": pod("Pending", false, json!({ "state": { "waiting": { "reason": 1 } }
            })) => "progressing",
        "cannot be started for a task": policy(waits("ErrImagePull", ""), "Never") =>
            "image_pull_failed in app",
        "second container": of(waits("", ""), "containerStatuses", json!([with(json!({ "name": "app" }),
            running(JUST_NOW)), with(json!({ "name": "log" }), waiting("ErrImagePull", ""))])) =>
            "image_pull_failed in log",
        "what lasts comes first": of(waits("", ""), "containerStatuses", json!([with(json!({ "name": "app"
            }), waiting("ErrImagePull", "")), with(json!({ "name": "log" }), waiting("InvalidImageName",
            ""))])) => "invalid_image_name in log for good",
        "a container without a name": of(waits("", ""), "containerStatuses", json!([waiting("ErrImagePull",
            ""), 7])) => "image_pull_failed in without a name",
    }
}

#[test]
fn containers_that_end() {
    let state = |state, restarts: Value, last: Value| {
        pod(
            "Running",
            false,
            json!({ "state": state, "restartCount": restarts, "lastState": { "terminated": last } }),
        )
    };
    let stopped =
        |restarts: u64, last: Value| state(json!({ "terminated": ended(1, "Error") }), json!(restarts), last);
    let again = |restarts: u64, last: Value| {
        state(json!({ "running": { "startedAt": JUST_NOW } }), json!(restarts), last)
    };
    let long_ago = || with(ended(1, "Error"), json!({ "finishedAt": LONG_AGO }));
    let start = |message: &str| with(ended(128, "StartError"), json!({ "message": message }));
    check! {
        "loops": pod("Running", false, crash_looping(ended(1, "Error"))) => "crash_loop in app",
        "loops without an error": pod("Running", false, crash_looping(ended(0, "Completed"))) =>
            "crash_loop in app",
        "loops, last end unknown": pod("Running", false, crash_looping(json!(null))) => "crash_loop in app",
        "loops out of memory": pod("Running", false, crash_looping(ended(137, "OOMKilled"))) =>
            "out_of_memory in app",
        "loops unable to start": pod("Running", false, crash_looping(start("device busy"))) =>
            "container_start_failed in app",
        "loops without its command": pod("Running", false,
            crash_looping(start("executable file not found in $PATH"))) =>
            "container_start_failed in app for good",
        "loops after its first restart": pod("Running", false, with(crash_looping(ended(1, "Error")),
            json!({ "restartCount": 1 }))) => "crash_loop in app",
        "backs off before any restart": pod("Running", false, with(crash_looping(ended(1, "Error")), json!({
            "restartCount": 0 }))) => "progressing",
        "restarts as text": pod("Running", false, with(crash_looping(ended(1, "Error")), json!({
            "restartCount": "3" }))) => "progressing",
        "ended once": stopped(0, json!(null)) => "progressing",
        "ended twice": stopped(1, ended(1, "Error")) => "crash_loop in app",
        "ended, and long before": stopped(1, long_ago()) => "progressing",
        "ended with success though it should run on": state(json!({ "terminated": ended(0, "Completed") }),
            json!(2), ended(0, "Completed")) => "crash_loop in app",
        "runs after one end": again(1, ended(1, "Error")) => "progressing",
        "runs after two ends": again(2, ended(1, "Error")) => "crash_loop in app",
        "runs after two ends, nobody knows when": again(2, json!({ "exitCode": 1 })) => "crash_loop in app",
        "runs after two ends long ago": again(2, long_ago()) => "progressing",
        "runs after it ran out of memory": again(1, ended(137, "OOMKilled")) => "out_of_memory in app",
        "serves after it ran out of memory": pod("Running", true, with(running(LONG_AGO), json!({
            "restartCount": 4, "lastState": { "terminated": ended(137, "OOMKilled") } }))) => "ready",
        "a task that failed, beside one that runs": policy(stopped(0, json!(null)), "Never") =>
            "container_failed in app for good",
        "a task that failed once, to be tried again": policy(stopped(0, json!(null)), "OnFailure") =>
            "progressing",
        "a task that failed twice": policy(stopped(1, ended(1, "Error")), "OnFailure") =>
            "crash_loop in app",
        "a task that is done, beside one that runs": policy(state(json!({ "terminated": ended(0,
            "Completed") }), json!(0), json!(null)), "OnFailure") => "progressing",
        "a container with a policy of its own": with(stopped(0, json!(null)), json!({ "spec": {
            "containers": [{ "name": "app", "restartPolicy": "Never" }] } })) =>
            "container_failed in app for good",
        "an exit code that is text": state(json!({ "terminated": { "exitCode": "1" } }), json!(0),
            json!(null)) => "progressing",
    }
}

#[test]
fn containers_that_are_not_ready() {
    let unready = |since| pod("Running", false, running(since));
    let probing = |spec| {
        with(
            unready("2026-03-01T11:57:00Z"),
            json!({ "spec": { "containers": [with(json!({ "name": "app" }), spec)] } }),
        )
    };
    let since_ready = with(
        pod("Running", false, running(LONG_AGO)),
        json!({ "status": { "conditions": [
        { "type": "Ready", "status": "False", "lastTransitionTime": JUST_NOW } ] } }),
    );
    check! {
        "started just now": unready(JUST_NOW) => "progressing",
        "started an hour ago": unready(LONG_AGO) => "probe_failed in app",
        "was ready until just now": since_ready => "progressing",
        "started three minutes ago": probing(json!({})) => "probe_failed in app",
        "may take its time at first": probing(json!({ "readinessProbe": { "initialDelaySeconds": 90 } })) =>
            "progressing",
        "has a startup probe of five minutes": probing(json!({ "startupProbe": { "periodSeconds": 10,
            "failureThreshold": 30 } })) => "progressing",
        "has a startup probe of the usual half minute": probing(json!({ "startupProbe": {} })) =>
            "probe_failed in app",
        "has a startup probe of for ever": probing(json!({ "startupProbe": { "periodSeconds": u64::MAX,
            "failureThreshold": u64::MAX } })) => "progressing",
        "started in the future": unready("2026-03-01T13:00:00Z") => "progressing",
        "started at a time that is none, not ready for an hour": unready("soon") => "probe_failed in app",
        "readiness is text": with(unready(JUST_NOW), json!({ "status": { "containerStatuses": [{ "name":
            "app", "ready": "true", "state": { "running": { "startedAt": JUST_NOW } } }] } })) =>
            "progressing",
    }
}

#[test]
fn init_containers_and_sidecars() {
    let failed = |code| json!({ "state": { "terminated": ended(code, "Error") } });
    check! {
        "sets up": initialising(running(LONG_AGO)) => "progressing",
        "has set up": initialising(failed(0)) => "progressing",
        "has set up at the second attempt": initialising(with(failed(0), json!({ "restartCount": 1,
            "lastState": { "terminated": ended(1, "Error") } }))) => "progressing",
        "failed once": initialising(failed(1)) => "progressing",
        "failed, never to be restarted": policy(initialising(failed(1)), "Never") =>
            "container_failed in setup for good",
        "fails again and again": initialising(crash_looping(ended(1, "Error"))) => "crash_loop in setup",
        "cannot get its image": initialising(waiting("ImagePullBackOff", "")) =>
            "image_pull_failed in setup",
        "sidecar runs": with_sidecar(running(LONG_AGO)) => "ready",
        "sidecar loops": with_sidecar(with(crash_looping(ended(1, "Error")), json!({ "ready": false }))) =>
            "crash_loop in proxy",
        "sidecar ended once": with(with_sidecar(with(failed(0), json!({ "ready": false }))), json!({
            "status": { "conditions": [] } })) => "progressing",
        "sidecar not ready for an hour": with_sidecar(with(running(LONG_AGO), json!({ "ready": false }))) =>
            "probe_failed in proxy",
    }
}

#[test]
fn whose_log_to_read() {
    let shown = |pod: &Value| {
        troubled_container(pod).map(|found| {
            let previous = if found.previous_logs { " before" } else { "" };
            format!("{} {}{previous}", found.code, found.name)
        })
    };
    let two = of(
        pod("Running", false, json!({})),
        "containerStatuses",
        json!([
            with(json!({ "name": "app", "ready": true }), running(LONG_AGO)),
            with(json!({ "name": "log", "restartCount": 2 }), crash_looping(ended(1, "Error"))),
        ]),
    );
    let served_after_an_end =
        with(running(JUST_NOW), json!({ "lastState": { "terminated": ended(1, "Error") } }));
    let ended_now = json!({ "restartCount": 1, "state": { "terminated": ended(1, "Error") },
        "lastState": { "terminated": ended(1, "Error") } });
    let runs_again = with(
        running(JUST_NOW),
        json!({ "restartCount": 1, "lastState": { "terminated": ended(1, "Error") } }),
    );
    let table = [
        (pod("Running", true, running(LONG_AGO)), None),
        (pod("Pending", false, waiting("ContainerCreating", "")), None),
        (json!(null), None),
        (initialising(running(LONG_AGO)), None),
        (pod("Running", true, served_after_an_end), None),
        (two, Some("crash_loop log before")),
        (pod("Running", false, ended_now), Some("crash_loop app")),
        (pod("Running", false, runs_again), Some("container_failed app before")),
        (pod("Running", false, running(JUST_NOW)), Some("probe_failed app")),
        (pod("Pending", false, waiting("ErrImagePull", "")), Some("image_pull_failed app")),
        (
            pod("Failed", false, json!({ "state": { "terminated": ended(1, "Error") } })),
            Some("container_failed app"),
        ),
        (initialising(crash_looping(ended(137, "OOMKilled"))), Some("out_of_memory setup before")),
        (initialising(json!({ "state": { "terminated": ended(0, "Completed") } })), None),
    ];
    for (pod, expected) in table {
        assert_eq!(shown(&pod).as_deref(), expected, "{pod}");
    }
}
