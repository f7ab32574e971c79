//! The live state of a deployment on a cluster: how many replicas are wanted, updated and ready, and each pod.

use jiff::Timestamp;
use kube::core::params::ListParams;
use serde_json::Value;
use slipway_common::model::{Drift, LiveReplica, LiveState};

use super::Place;
use super::drift::{self, Ownerships};
use super::error::KubernetesError;
use super::events;
use super::inventory::{self, Phase};
use super::kind::Kind;
use super::state::Workloads;
use super::wanted::Wanted;

/// Events that are kept.
const EVENTS_MAX: usize = 10;

/// What is looked at.
#[derive(Debug)]
pub struct Looked<'a> {
    /// The deployment.
    pub deployment: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Name of its application.
    pub app: &'a str,
    /// Replicas that were asked for.
    pub replicas: u32,
    /// Whether no job is at work on it: what a job does is no drift.
    pub is_settled: bool,
}

/// What was found of drift at the last look.
#[derive(Debug, Default)]
pub struct Judged {
    there: Ownerships,
    drift: Vec<Drift>,
    /// Whether it was found twice: the watches tell of an apply a moment later than the inventory.
    is_certain: bool,
}

/// Reads what runs: from what the watches have seen, or from the cluster.
///
/// # Errors
/// What any call may return.
pub async fn live_state(
    place: Place<'_>,
    looked: &Looked<'_>,
    judged: &mut Judged,
) -> Result<LiveState, KubernetesError> {
    let namespace = looked.namespace;
    let seen = match place.watch.workloads(namespace) {
        Some(seen) => seen,
        None => Workloads::read(place.cluster, namespace).await?,
    };
    let mut live = of_workloads(&seen, looked, Timestamp::now());
    if live.replicas_serving < live.replicas_wanted {
        let found = place.cluster.list(Kind::Event, Some(namespace), ListParams::default()).await?;
        live.events = events::newest(&found, EVENTS_MAX);
    }
    live.drift = drift_of(place, looked, judged).await?;
    Ok(live)
}

/// What others have changed. The inventory is read only when something was changed since it was read last.
async fn drift_of(
    place: Place<'_>,
    looked: &Looked<'_>,
    judged: &mut Judged,
) -> Result<Vec<Drift>, KubernetesError> {
    let there = place.watch.ownerships(looked.namespace).filter(|_| looked.is_settled);
    let Some(there) = there else {
        *judged = Judged::default();
        return Ok(Vec::new());
    };
    if judged.is_certain && judged.there == there {
        return Ok(judged.drift.clone());
    }
    let found = match inventory::read(place.cluster, looked.namespace).await? {
        None => drift::without_inventory(),
        Some(read) if read.inventory.deployment != looked.deployment => Vec::new(),
        Some(read) if matches!(read.inventory.phase, Phase::Applying | Phase::Supports) => Vec::new(),
        Some(read) => drift::compare(&read.inventory, &there),
    };
    let is_certain = found.is_empty() || (judged.there == there && judged.drift == found);
    *judged = Judged { there, drift: found, is_certain };
    Ok(if is_certain { judged.drift.clone() } else { Vec::new() })
}

/// The state of `app` and of the support containers beside it. Pure.
fn of_workloads(seen: &Workloads, looked: &Looked<'_>, now: Timestamp) -> LiveState {
    let app = looked.app;
    let deployment = seen.deployment(app);
    // Of a Deployment that was deleted as many replicas are wanted as were asked for.
    let wanted = deployment["spec"]["replicas"].as_u64().and_then(|count| u32::try_from(count).ok());
    let replicas: Vec<LiveReplica> = seen.pods_of(app).into_iter().map(replica).collect();
    let serving = replicas.iter().filter(|replica| replica.serving).count();
    let supports = seen.deployments.keys().filter(|name| *name != app);
    let supports = supports.flat_map(|name| seen.pods_of(name)).map(replica);
    LiveState {
        replicas_wanted: wanted.unwrap_or(looked.replicas),
        replicas_updated: Some(count(&deployment["status"]["updatedReplicas"])),
        replicas_serving: u32::try_from(serving).unwrap_or(u32::MAX),
        replicas,
        supports: supports.collect(),
        events: Vec::new(),
        drift: Vec::new(),
        observed_at: now,
    }
}

fn count(value: &Value) -> u32 {
    value.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
}

/// A pod as users see it.
fn replica(pod: &Value) -> LiveReplica {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let status = &pod["status"];
    let container = &status["containerStatuses"][0];
    let ended = [&container["state"]["terminated"], &container["lastState"]["terminated"]];
    let ended = ended.into_iter().find(|ended| ended.is_object());
    let is_going = !pod["metadata"]["deletionTimestamp"].is_null();
    LiveReplica {
        name: text(&pod["metadata"]["name"]),
        state: if is_going { "terminating".to_owned() } else { text(&status["phase"]).to_lowercase() },
        serving: !is_going && is_ready(status),
        started_at: status["startTime"].as_str().and_then(|at| at.parse().ok()),
        restarts: container["restartCount"].as_u64().unwrap_or_default(),
        exit_code: ended.and_then(|ended| ended["exitCode"].as_i64()),
        out_of_memory: ended.is_some_and(|ended| ended["reason"] == "OOMKilled"),
        reason: reason(status),
    }
}

fn is_ready(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Why the pod does not serve, in the cluster's word, e.g. `CrashLoopBackOff` or `Unschedulable`.
fn reason(status: &Value) -> Option<String> {
    let container = &status["containerStatuses"][0]["state"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let unscheduled = conditions
        .iter()
        .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False");
    [
        Some(&container["waiting"]["reason"]),
        Some(&container["terminated"]["reason"]),
        unscheduled.map(|condition| &condition["reason"]),
        Some(&status["reason"]),
    ]
    .into_iter()
    .flatten()
    .find_map(|reason| reason.as_str().filter(|reason| !reason.is_empty()).map(str::to_owned))
}

/// Whether the namespace is this deployment's, by its inventory; `None` when there is no inventory.
///
/// # Errors
/// What any call may return.
pub async fn owner(place: Place<'_>, wanted: &Wanted) -> Result<Option<String>, KubernetesError> {
    let read = inventory::read(place.cluster, &wanted.namespace()).await?;
    Ok(read.map(|read| read.inventory.deployment))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn pod(name: &str, app: &str, status: Value) -> (String, Arc<Value>) {
        let labels = json!({ super::super::labels::NAME: app });
        let pod = json!({ "metadata": { "name": name, "labels": labels }, "status": status });
        (name.to_owned(), Arc::new(pod))
    }

    #[test]
    fn a_pod_serves_when_it_is_ready_and_says_why_when_not() {
        let ready = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        let pulling = json!({
            "phase": "Pending",
            "containerStatuses": [{ "restartCount": 0, "state": { "waiting": { "reason": "ImagePullBackOff" } } }],
        });
        let deployment = json!({ "spec": { "replicas": 2 }, "status": { "updatedReplicas": 1 } });
        let seen = Workloads {
            deployments: [("web".to_owned(), Arc::new(deployment)), ("db".to_owned(), Arc::default())].into(),
            pods: [
                pod("web-1", "web", ready.clone()),
                pod("web-2", "web", pulling),
                pod("db-1", "db", ready),
            ]
            .into(),
            ..Workloads::default()
        };
        let looked = |app| Looked { deployment: "", namespace: "", app, replicas: 3, is_settled: true };
        let live = of_workloads(&seen, &looked("web"), Timestamp::UNIX_EPOCH);
        let gone = of_workloads(&seen, &looked("gone"), Timestamp::UNIX_EPOCH);
        assert_eq!((gone.replicas_wanted, gone.replicas_serving), (3, 0));
        assert_eq!((live.replicas_wanted, live.replicas_updated, live.replicas_serving), (2, Some(1), 1));
        assert_eq!(live.replicas[1].reason.as_deref(), Some("ImagePullBackOff"));
        assert_eq!(live.supports.len(), 1);
    }
}
