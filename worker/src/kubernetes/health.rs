//! The health of Kubernetes objects: what their JSON says about whether they are as wanted, on their way, or in
//! trouble, and where a Deployment's rollout stands. Pure: the cluster is asked elsewhere, the time is handed in, and
//! no JSON makes these functions fail.
//!
//! `answer` holds what is answered, `json` and `condition` read, the others judge one group of kinds each.

mod answer;
mod condition;
mod container;
mod job;
mod json;
mod network;
mod pod;
mod refusal;
mod rollout;
mod scaling;
mod storage;
#[cfg(test)]
mod tests;
mod workload;

use jiff::Timestamp;
use serde_json::Value;

pub use answer::{Counts, Progress, Rollout, Trouble, TroubleCode, TroubledContainer, Verdict};

/// How `object` fares at `now`.
///
/// It is told by `apiVersion` and `kind`, which the API leaves out of the items of a list: there the caller puts them
/// in, or every item is judged by its conditions alone. Of pods behind it the object only tells numbers; of a
/// Deployment [`rollout()`] tells more.
pub fn verdict(object: &Value, now: Timestamp) -> Verdict {
    let group = json::text(object, &["apiVersion"]).and_then(|version| version.split_once('/'));
    let group = group.map_or("", |(group, _version)| group);
    let kind = json::text(object, &["kind"]).unwrap_or_default();
    if condition::is_deleting(object) {
        let kind = if kind.is_empty() { "Object".to_owned() } else { json::said(kind) };
        return condition::deleting(&kind, object);
    }
    match (group, kind) {
        ("apps" | "extensions", "Deployment") => workload::deployment(object),
        ("apps" | "extensions", "ReplicaSet") | ("", "ReplicationController") => {
            workload::replica_set(kind, object)
        }
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps" | "extensions", "DaemonSet") => workload::daemon_set(object),
        ("batch", "Job") => job::job(object),
        ("batch", "CronJob") => job::cron_job(object),
        ("", "Pod") => pod::verdict(object, now),
        ("", "Service") => network::service(object),
        ("networking.k8s.io" | "extensions", "Ingress") => network::ingress(object),
        ("", "PersistentVolumeClaim") => storage::claim(object, now),
        ("", "Namespace") => condition::namespace(object),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::autoscaler(object, now),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => condition::custom_resource_definition(object),
        _ => condition::generic(object),
    }
}

/// Where the rollout of `deployment` stands at `now`, told from it, the ReplicaSets it owns and their pods; others in
/// the lists are left out.
///
/// The Deployment is to be read first, then the ReplicaSets, then the pods: then a ReplicaSet's new revision is never
/// missed for a Deployment that already stands for it.
///
/// Troubles of pods count only for the newest ReplicaSet, and only while the rollout is not complete. A container
/// that cannot get its image is a trouble at once, and so is one that waits in `CrashLoopBackOff` after a restart; a
/// first end with an error is not.
pub fn rollout(deployment: &Value, replica_sets: &[&Value], pods: &[&Value], now: Timestamp) -> Rollout {
    rollout::rollout(deployment, replica_sets, pods, now)
}

/// The container of `pod` whose last log lines tell what is wrong, if it is one.
///
/// To be asked when something went wrong: a container that runs without being ready is one, however short that has
/// been.
pub fn troubled_container(pod: &Value) -> Option<TroubledContainer> {
    pod::troubled_container(pod)
}
