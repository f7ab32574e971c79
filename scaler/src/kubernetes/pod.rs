//! Which pods are replicas of which deployment, what each may use, and since when it serves. Pure.
//!
//! A pod counts because the ReplicaSet of the Deployment made it, not because of its labels alone: one that
//! somebody made by hand with the same labels is none. One that ends or has ended is none either.

use std::collections::HashMap;

use jiff::Timestamp;
use slipway_cluster::labels;

use super::object::{Container, ObjectName, Owner, Pod, Quantities};
use super::quantity::quantity;
use crate::number;
use crate::target::Subject;

/// The subjects of a cluster, by their Deployments.
pub(super) type Wanted = HashMap<ObjectName, Subject>;

impl Pod {
    /// The subject it is a replica of.
    pub(super) fn subject<'a>(&self, wanted: &'a Wanted) -> Option<&'a Subject> {
        let name = self.metadata.label(labels::NAME)?.to_owned();
        let of = ObjectName { namespace: self.metadata.namespace.clone(), name };
        let subject = wanted.get(&of)?;
        let has_ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let ends = self.metadata.deletion_timestamp.is_some();
        let counts = self.metadata.is_of(&subject.place) && self.is_made_by(&of.name) && !ends && !has_ended;
        counts.then_some(subject)
    }

    /// Whether a ReplicaSet of this Deployment made it. That is called by the Deployment's name and the
    /// template's hash.
    fn is_made_by(&self, deployment: &str) -> bool {
        let Some(hash) = self.metadata.label(labels::TEMPLATE_HASH) else { return false };
        self.controller().is_some_and(|owner| {
            owner.kind == "ReplicaSet"
                && owner.api_version.starts_with("apps/")
                && owner.name == format!("{deployment}-{hash}")
        })
    }

    /// What made it and looks after it.
    pub(super) fn controller(&self) -> Option<&Owner> {
        self.metadata.owner_references.iter().find(|owner| owner.controller)
    }

    /// What its containers may use together: their limits, or what they have asked for. Nothing when one has
    /// neither.
    pub(super) fn cpu_allowed_cores(&self) -> Option<f64> {
        let of_one = |container: &Container| {
            let resources = &container.resources;
            let text = resources.limits.cpu.as_ref().or(resources.requests.cpu.as_ref())?;
            quantity(text)
        };
        let allowed_cores: f64 = self.running().map(of_one).sum::<Option<f64>>()?;
        Some(allowed_cores).filter(|cores| *cores > 0.0)
    }

    /// The memory its containers may use together; nothing when one has no limit.
    pub(super) fn memory_allowed_bytes(&self) -> Option<u64> {
        let of_one = |limits: &Quantities| quantity(limits.memory.as_ref()?);
        let allowed: f64 =
            self.running().map(|container| of_one(&container.resources.limits)).sum::<Option<f64>>()?;
        Some(number::to_u64(allowed)).filter(|bytes| *bytes > 0)
    }

    /// Since when it takes requests; nothing while it does not.
    pub(super) fn ready_since(&self) -> Option<Timestamp> {
        let ready = self.status.conditions.iter().find(|condition| condition.kind == "Ready")?;
        if ready.status == "True" { ready.last_transition_time } else { None }
    }

    /// The containers that run all the time.
    fn running(&self) -> impl Iterator<Item = &Container> {
        let beside = self.spec.init_containers.iter();
        let beside = beside.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        self.spec.containers.iter().chain(beside)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use slipway_common::model::DeploymentId;
    use slipway_common::model::autoscaler::Place;

    use super::*;

    fn subject() -> Subject {
        Subject {
            place: Place { project: "shop-1a2b3c".parse().unwrap(), environment: "default".parse().unwrap() },
            deployment: DeploymentId::generate(),
            target: "here".parse().unwrap(),
        }
    }

    fn body() -> Value {
        json!({
            "metadata": {
                "name": "shop-7d9f-x2x9z",
                "namespace": "shop-1a2b3c--default",
                "labels": {
                    "app.kubernetes.io/name": "shop",
                    "app.kubernetes.io/managed-by": "slipway",
                    "slipway.dev/project": "shop-1a2b3c",
                    "slipway.dev/environment": "default",
                    "pod-template-hash": "7d9f",
                },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-7d9f", "uid": "u",
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "nodeName": "node-1",
                "containers": [{ "name": "shop", "resources": {
                    "limits": { "cpu": "500m", "memory": "256Mi" },
                    "requests": { "cpu": "50m", "memory": "256Mi" },
                } }],
            },
            "status": {
                "phase": "Running",
                "conditions": [
                    { "type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-27T11:00:00Z" },
                    { "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-27T12:00:00Z" },
                ],
            },
        })
    }

    fn pod(change: impl FnOnce(&mut Value)) -> Pod {
        let mut body = body();
        change(&mut body);
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_pod_counts_for_the_deployment_that_made_it_and_for_no_other() {
        let subject = subject();
        let wanted = Wanted::from([(ObjectName::of(&subject), subject.clone())]);
        assert_eq!(pod(|_| {}).subject(&wanted), Some(&subject));
        assert_eq!(pod(|_| {}).subject(&Wanted::new()), None);
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 12] = [
            ("by hand", |body| body["metadata"]["ownerReferences"] = json!([])),
            ("of a job", |body| body["metadata"]["ownerReferences"][0]["kind"] = json!("Job")),
            ("of another group", |body| {
                body["metadata"]["ownerReferences"][0]["apiVersion"] = json!("example.com/v1");
            }),
            ("of another ReplicaSet", |body| {
                body["metadata"]["ownerReferences"][0]["name"] = json!("shop-other-7d9f");
            }),
            ("of a longer name", |body| {
                body["metadata"]["labels"]["pod-template-hash"] = json!("x-7d9f");
            }),
            ("not managed", |body| body["metadata"]["ownerReferences"][0]["controller"] = json!(false)),
            ("not of Slipway", |body| {
                body["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("helm");
            }),
            ("of another project", |body| {
                body["metadata"]["labels"]["slipway.dev/project"] = json!("shop-000000");
            }),
            ("of a support", |body| body["metadata"]["labels"]["app.kubernetes.io/name"] = json!("db")),
            ("elsewhere", |body| body["metadata"]["namespace"] = json!("default")),
            ("ending", |body| body["metadata"]["deletionTimestamp"] = json!("2026-11-27T12:00:00Z")),
            ("evicted", |body| body["status"]["phase"] = json!("Failed")),
        ];
        for (what, change) in changes {
            assert_eq!(pod(change).subject(&wanted), None, "{what}");
        }
    }

    #[test]
    fn limits_count_before_requests_and_without_either_nothing_is_known() {
        let allowed = |containers: Value, init: Value| {
            let read = pod(|body| {
                body["spec"]["containers"] = containers;
                body["spec"]["initContainers"] = init;
            });
            (read.cpu_allowed_cores(), read.memory_allowed_bytes())
        };
        let limited = json!({ "resources": { "limits": { "cpu": "500m", "memory": "1Ki" } } });
        let asking = json!({ "resources": { "requests": { "cpu": "250m", "memory": "1Ki" } } });
        let boundless = json!({ "resources": {} });
        assert_eq!(allowed(json!([limited]), json!([])), (Some(0.5), Some(1_024)));
        assert_eq!(allowed(json!([limited, asking]), json!([])), (Some(0.75), None));
        assert_eq!(allowed(json!([limited, boundless]), json!([])), (None, None));
        assert_eq!(allowed(json!([limited, {}]), json!([])), (None, None));
        assert_eq!(allowed(json!([]), json!([])), (None, None));
        let none = json!({ "resources": { "limits": { "cpu": "0", "memory": "1Ki" } } });
        assert_eq!(allowed(json!([none]), json!([])), (None, Some(1_024)));
        let mut beside = limited.clone();
        beside["restartPolicy"] = json!("Always");
        assert_eq!(allowed(json!([limited]), json!([beside, boundless])), (Some(1.0), Some(2_048)));
    }

    #[test]
    fn a_pod_serves_since_it_became_ready() {
        let at = "2026-11-27T12:00:00Z".parse().ok();
        assert_eq!(pod(|_| {}).ready_since(), at);
        assert_eq!(
            pod(|body| body["status"]["conditions"][1]["status"] = json!("False")).ready_since(),
            None
        );
        assert_eq!(pod(|body| body["status"]["conditions"] = json!([])).ready_since(), None);
        assert_eq!(pod(|body| body["status"] = json!({})).ready_since(), None);
    }
}
