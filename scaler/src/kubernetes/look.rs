//! Looking: what runs of the subjects, who else sets their numbers, and whether a deploy job would.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use slipway_cluster::{FIELD_MANAGER, labels};
use slipway_common::model::DeploymentId;
use slipway_common::model::autoscaler::AutoscalerFault;

use super::api::CallError;
use super::object::{Deployment, HorizontalPodAutoscaler, ObjectName};
use super::{ClusterTarget, EACH_MAX};
use crate::target::{Seen, Subject, TargetError};

const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const AUTOSCALERS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";
/// How long a list of the cluster's own autoscalers is believed.
const TARGETED_MAX_AGE: Duration = Duration::from_secs(5);
/// How long is remembered what was seen of a subject that nobody asks for any more.
const KNOWN_MAX_AGE: Duration = Duration::from_secs(600);

/// Which Deployments the cluster's own autoscalers set, and the name of the autoscaler.
pub(super) type Targeted = HashMap<ObjectName, String>;

/// What was found of subjects.
type Found = HashMap<DeploymentId, (Seen, Known)>;

/// What is known of a subject's Deployment besides what the loop is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Which object of that name it is.
    pub(super) uid: String,
    /// Whether a deploy job would set the number of replicas.
    pub(super) needs_owning: bool,
}

impl ClusterTarget {
    /// What runs of `subjects`, which are on this cluster. Those of which nothing is there are left out.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub async fn look(&self, subjects: &[Subject]) -> Result<HashMap<DeploymentId, Seen>, TargetError> {
        if subjects.is_empty() {
            return Ok(HashMap::new());
        }
        let targeted = self.targeted().await?;
        let found = self.found(subjects, &targeted).await?;
        Ok(self.take(subjects, found))
    }

    /// What is to be said of those subjects whose Deployment is there.
    async fn found(&self, subjects: &[Subject], targeted: &Targeted) -> Result<Found, CallError> {
        let names = subjects.iter().map(|subject| (ObjectName::of(subject), subject));
        let wanted: HashMap<ObjectName, &Subject> = names.collect();
        let judged = |deployment: Deployment| {
            let name = deployment.metadata.object_name();
            let subject = wanted.get(&name)?;
            Some((subject.deployment, judge(subject, &deployment, targeted.get(&name))?))
        };
        if subjects.len() > EACH_MAX {
            let listed = self.api.list(DEPLOYMENTS, Some(&labels::managed()), judged).await?;
            return Ok(listed.into_iter().collect());
        }
        let each = try_join_all(wanted.keys().map(|name| self.api.deployment(name))).await?;
        Ok(each.into_iter().flatten().filter_map(judged).collect())
    }

    /// Which Deployments the cluster's own autoscalers set. Where they cannot be seen, they are taken for
    /// none.
    async fn targeted(&self) -> Result<Arc<Targeted>, CallError> {
        let known = self.lock().targeted.clone();
        if let Some((at, targeted)) = known
            && at.elapsed() < TARGETED_MAX_AGE
        {
            return Ok(targeted);
        }
        let targeted = match self.api.list(AUTOSCALERS, None, targeted_by).await {
            Ok(pairs) => pairs.into_iter().collect(),
            Err(error) if error.has_status(403) || error.has_status(404) => {
                self.say_blind(&error);
                Targeted::new()
            }
            Err(error) => return Err(error),
        };
        let targeted = Arc::new(targeted);
        self.lock().targeted = Some((Instant::now(), Arc::clone(&targeted)));
        Ok(targeted)
    }

    fn say_blind(&self, error: &CallError) {
        let has_said = std::mem::replace(&mut self.lock().has_said_blind, true);
        if !has_said {
            let cluster = &self.settings.name;
            tracing::warn!(%cluster, %error, "the cluster's own autoscalers cannot be seen");
        }
    }

    /// Takes in what was found.
    fn take(&self, subjects: &[Subject], mut found: Found) -> HashMap<DeploymentId, Seen> {
        let now = Instant::now();
        let mut memory = self.lock();
        memory.known.retain(|_, (at, _)| now.duration_since(*at) < KNOWN_MAX_AGE);
        let mut all = HashMap::new();
        for Subject { deployment, .. } in subjects {
            if let Some((seen, known)) = found.remove(deployment) {
                memory.known.insert(*deployment, (now, known));
                all.insert(*deployment, seen);
            } else {
                memory.known.remove(deployment);
            }
        }
        all
    }
}

/// Which Deployment this autoscaler sets, and its own name. Pure.
fn targeted_by(autoscaler: HorizontalPodAutoscaler) -> Option<(ObjectName, String)> {
    let HorizontalPodAutoscaler { metadata, spec } = autoscaler;
    let target = spec.scale_target_ref;
    let is_of_deployment = target.kind == "Deployment"
        && (target.api_version.is_empty() || target.api_version.starts_with("apps/"));
    let name = ObjectName { namespace: metadata.namespace, name: target.name };
    is_of_deployment.then_some((name, metadata.name))
}

/// What is to be said of a subject whose Deployment was found; nothing when it is going, or not Slipway's.
/// Pure.
///
/// The Deployment is the same for all deployments of a project's environment, one after the other.
fn judge(subject: &Subject, found: &Deployment, autoscaler: Option<&String>) -> Option<(Seen, Known)> {
    let metadata = &found.metadata;
    if !metadata.is_of(&subject.place) || metadata.deletion_timestamp.is_some() {
        return None;
    }
    let hands_off = autoscaler.map(|name| AutoscalerFault {
        code: "hpa_targets_it".to_owned(),
        reason: format!("the HorizontalPodAutoscaler {name} sets its number of replicas"),
    });
    let is_owned = metadata
        .managed_fields
        .iter()
        .any(|managed| managed.manager != FIELD_MANAGER && managed.owns_replicas());
    let known = Known { uid: metadata.uid.clone(), needs_owning: !is_owned };
    let (replicas, ready) = (found.spec.replicas, found.status.ready_replicas);
    Some((Seen { replicas, ready, unfinished: 0, hands_off }, known))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use slipway_cluster::Access;
    use slipway_common::model::autoscaler::Place;

    use super::super::ClusterSettings;
    use super::*;

    fn subject(project: &str) -> Subject {
        Subject {
            place: Place { project: project.parse().unwrap(), environment: "default".parse().unwrap() },
            deployment: DeploymentId::generate(),
            target: "here".parse().unwrap(),
        }
    }

    fn body() -> Value {
        json!({
            "metadata": {
                "name": "shop",
                "namespace": "shop-1a2b3c--default",
                "uid": "u1",
                "labels": {
                    "app.kubernetes.io/managed-by": "slipway",
                    "slipway.dev/project": "shop-1a2b3c",
                    "slipway.dev/environment": "default",
                },
                "managedFields": [
                    { "manager": "slipway", "operation": "Apply",
                      "fieldsV1": { "f:metadata": {}, "f:spec": { "f:replicas": {}, "f:template": {} } } },
                    { "manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
                      "fieldsV1": { "f:status": { "f:replicas": {} } } },
                ],
            },
            "spec": { "replicas": 5, "template": {} },
            "status": { "replicas": 5, "readyReplicas": 3 },
        })
    }

    fn deployment(change: impl FnOnce(&mut Value)) -> Deployment {
        let mut body = body();
        change(&mut body);
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn the_numbers_are_those_of_the_specification_and_of_what_serves() {
        let (seen, known) = judge(&subject("shop-1a2b3c"), &deployment(|_| {}), None).unwrap();
        assert_eq!(seen, Seen { replicas: 5, ready: 3, unfinished: 0, hands_off: None });
        assert_eq!(known, Known { uid: "u1".to_owned(), needs_owning: true });
        let none_ready = deployment(|body| body["status"] = json!({}));
        let (seen, _) = judge(&subject("shop-1a2b3c"), &none_ready, None).unwrap();
        assert_eq!(seen.ready, 0);
    }

    #[test]
    fn what_is_going_or_not_slipways_is_not_there() {
        let subject = subject("shop-1a2b3c");
        let going = deployment(|body| body["metadata"]["deletionTimestamp"] = json!("2026-11-27T12:00:00Z"));
        assert_eq!(judge(&subject, &going, None), None);
        for (label, value) in [
            ("app.kubernetes.io/managed-by", "helm"),
            ("slipway.dev/project", "shop-000000"),
            ("slipway.dev/environment", "staging"),
        ] {
            let other = deployment(|body| body["metadata"]["labels"][label] = json!(value));
            assert_eq!(judge(&subject, &other, None), None, "{label}");
        }
    }

    #[test]
    fn the_number_needs_owning_as_long_as_the_worker_alone_owns_it() {
        let needs = |manager: &str, fields: Value| {
            let other = json!({ "manager": manager, "operation": "Update", "fieldsV1": fields });
            let found = deployment(|body| {
                if let Some(all) = body["metadata"]["managedFields"].as_array_mut() {
                    all.push(other);
                }
            });
            judge(&subject("shop-1a2b3c"), &found, None).unwrap().1.needs_owning
        };
        assert!(!needs("slipway-scaler", json!({ "f:spec": { "f:replicas": {} } })));
        assert!(!needs("kubectl", json!({ "f:spec": { "f:replicas": {} } })));
        assert!(needs("kubectl", json!({ "f:spec": { "f:paused": {} } })));
        assert!(needs("slipway", json!({ "f:spec": { "f:replicas": {} } })));
    }

    #[test]
    fn an_autoscaler_of_the_cluster_is_left_alone() {
        let targeting = |namespace: &str, api_version: &str, kind: &str, name: &str| -> Targeted {
            let autoscaler = json!({
                "metadata": { "name": "hpa", "namespace": namespace },
                "spec": { "scaleTargetRef": { "apiVersion": api_version, "kind": kind, "name": name } },
            });
            targeted_by(serde_json::from_value(autoscaler).unwrap()).into_iter().collect()
        };
        let subject = subject("shop-1a2b3c");
        let name = ObjectName::of(&subject);
        let hits = |targeted: &Targeted| targeted.get(&name).cloned();
        let there = "shop-1a2b3c--default";
        assert_eq!(hits(&targeting(there, "apps/v1", "Deployment", "shop")).as_deref(), Some("hpa"));
        assert_eq!(hits(&targeting(there, "", "Deployment", "shop")).as_deref(), Some("hpa"));
        assert_eq!(hits(&targeting("default", "apps/v1", "Deployment", "shop")), None);
        assert_eq!(hits(&targeting(there, "apps/v1", "StatefulSet", "shop")), None);
        assert_eq!(hits(&targeting(there, "apps/v1", "Deployment", "db")), None);
        assert_eq!(hits(&targeting(there, "example.com/v1", "Deployment", "shop")), None);
        let (seen, _) = judge(&subject, &deployment(|_| {}), Some(&"hpa".to_owned())).unwrap();
        assert_eq!(seen.hands_off.unwrap().code, "hpa_targets_it");
    }

    #[test]
    fn what_is_gone_is_known_no_more() {
        let target = ClusterTarget::new(ClusterSettings {
            name: "here".parse().unwrap(),
            access: Access::InCluster,
            sample_interval: Duration::from_secs(5),
            kubelet: false,
        });
        let subjects = [subject("shop-1a2b3c"), subject("other-1a2b3c")];
        let shop = judge(&subjects[0], &deployment(|_| {}), None).unwrap();
        let seen = target.take(&subjects, HashMap::from([(subjects[0].deployment, shop)]));
        assert_eq!(seen.keys().collect::<Vec<_>>(), [&subjects[0].deployment]);
        assert!(target.needs_owning(&subjects[0].deployment));
        assert!(!target.needs_owning(&subjects[1].deployment));
        assert!(target.take(&subjects, HashMap::new()).is_empty());
        assert!(!target.needs_owning(&subjects[0].deployment));
    }
}
