//! Tables of objects with the verdict on each, properties over arbitrary JSON, and what a rollout comes to. This file
//! holds what the tables are written with.

use serde_json::{Value, json};

use super::*;

/// A table of objects, each with its name and the verdict on it, as `shown` has it.
macro_rules! check {
    ($($name:literal: $object:expr => $expected:literal,)+) => {
        check(&[$(($name, $object, $expected)),+])
    };
}

mod hostile;
mod objects;
mod pods;
mod rollouts;
mod sentences;
mod workloads;

/// The present of all tests.
const NOW: &str = "2026-03-01T12:00:00Z";

/// A moment ago, and long ago.
const JUST_NOW: &str = "2026-03-01T11:59:55Z";
const LONG_AGO: &str = "2026-03-01T11:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A verdict in a word or two: `may stay` for a progress that may last, `in <container>` and `for good` for troubles.
fn shown(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Ready => "ready".to_owned(),
        Verdict::Progressing(progress) if progress.may_stay => "may stay".to_owned(),
        Verdict::Progressing(_) => "progressing".to_owned(),
        Verdict::Suspended { .. } => "suspended".to_owned(),
        Verdict::Deleting { .. } => "deleting".to_owned(),
        Verdict::Degraded(trouble) => {
            let container =
                trouble.container.as_deref().map(|name| format!(" in {name}")).unwrap_or_default();
            let lasting = if trouble.lasting { " for good" } else { "" };
            format!("{}{container}{lasting}", trouble.code)
        }
    }
}

/// Compares a whole table before it fails, so that one run tells all that is wrong.
#[track_caller]
fn check(table: &[(&str, Value, &str)]) {
    let wrong: Vec<_> = table
        .iter()
        .map(|(name, object, expected)| (name, verdict(object, now()), expected))
        .filter(|(_, verdict, expected)| shown(verdict) != **expected)
        .map(|(name, verdict, expected)| format!("{name}: expected {expected}, got {verdict:?}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// As a list of what is kept elsewhere.
fn each(values: &[Value]) -> Vec<&Value> {
    values.iter().collect()
}

/// An object of generation 2.
fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": { "name": "web", "namespace": "shop", "generation": 2 },
        "spec": spec,
        "status": status,
    })
}

/// `base` with the members of `changes` put in, at any depth; a null takes a member away.
fn with(mut base: Value, changes: Value) -> Value {
    merge(&mut base, changes);
    base
}

fn merge(base: &mut Value, changes: Value) {
    let Value::Object(changes) = changes else {
        *base = changes;
        return;
    };
    if !base.is_object() {
        *base = json!({});
    }
    for (key, change) in changes {
        let members = base.as_object_mut().unwrap();
        if change.is_null() {
            members.remove(&key);
        } else {
            merge(members.entry(key).or_insert(Value::Null), change);
        }
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": LONG_AGO })
}

/// A Deployment whose status is of its spec: wanted, all, updated, ready and available replicas.
fn deployment(wanted: u64, [all, updated, ready, available]: [u64; 4]) -> Value {
    let status = json!({
        "observedGeneration": 2, "replicas": all, "updatedReplicas": updated, "readyReplicas": ready,
        "availableReplicas": available,
    });
    object("apps/v1", "Deployment", json!({ "replicas": wanted }), status)
}

/// A pod of one container, `app`, in a phase; its `Ready` condition has held or failed since long ago.
fn pod(phase: &str, is_ready: bool, state: Value) -> Value {
    let ready = if is_ready { "True" } else { "False" };
    let app = with(json!({ "name": "app", "ready": is_ready, "restartCount": 0, "lastState": {} }), state);
    let spec = json!({ "restartPolicy": "Always", "containers": [{ "name": "app", "image": "shop/app:1" }] });
    let conditions = [
        condition("PodScheduled", "True", "", ""),
        json!({ "type": "Ready", "status": ready, "lastTransitionTime": LONG_AGO }),
    ];
    object("v1", "Pod", spec, json!({ "phase": phase, "conditions": conditions, "containerStatuses": [app] }))
}

fn running(since: &str) -> Value {
    json!({ "started": true, "state": { "running": { "startedAt": since } } })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "state": { "waiting": { "reason": reason, "message": message } } })
}

fn ended(exit_code: i64, reason: &str) -> Value {
    json!({ "exitCode": exit_code, "reason": reason, "finishedAt": JUST_NOW, "startedAt": LONG_AGO })
}

/// Waits to be started for the fourth time.
fn crash_looping(end: Value) -> Value {
    with(
        waiting("CrashLoopBackOff", "back-off 40s restarting failed container=app"),
        json!({ "restartCount": 3, "lastState": { "terminated": end } }),
    )
}
