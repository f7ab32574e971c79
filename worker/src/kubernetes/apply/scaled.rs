//! Whose the number of replicas is: what an autoscaler or a person has set is left to them.

use serde_json::Value;

use super::super::cluster::{Cluster, FIELD_MANAGER, Key, Mode};
use super::super::error::KubernetesError;
use super::super::wanted::Wanted;

/// How often the Deployment is looked at before it is taken for one that changes all the time.
const LOOKS_MAX: u32 = 5;

/// Applies the application's Deployment `key` with the number of replicas it shall have.
pub(super) async fn apply(
    cluster: &Cluster,
    wanted: &Wanted,
    key: Key<'_>,
    body: &Value,
) -> Result<Value, KubernetesError> {
    let mut looks = 1;
    loop {
        let live = cluster.get(key).await?;
        let sized = sized(body, wanted, live.as_ref());
        let is_tied = !sized["metadata"]["resourceVersion"].is_null();
        match cluster.apply(key, &sized, Mode::Apply).await {
            Err(error) if is_tied && error.is_conflict() && looks < LOOKS_MAX => looks += 1,
            applied => return applied,
        }
    }
}

/// The Deployment as it is applied to what is there. Pure.
///
/// A field that is left out goes on as its owner set it; the number of a Deployment that nobody else has scaled so far is
/// Slipway's own, and left out it would become 1. So it is said again as it is there, and only to the version it was read
/// from: an autoscaler may set it for the first time at this moment.
fn sized(body: &Value, wanted: &Wanted, live: Option<&Value>) -> Value {
    let (replicas, version) = match live {
        Some(live) if belong_to_another(live, wanted.is_scaled) => (None, None),
        Some(live) if wanted.is_scaled && live["spec"]["replicas"].as_u64() > Some(0) => {
            (Some(live["spec"]["replicas"].clone()), live["metadata"]["resourceVersion"].as_str())
        }
        Some(_) | None => (Some(wanted.replicas.into()), None),
    };
    let mut body = body.clone();
    if let Some(spec) = body["spec"].as_object_mut() {
        match replicas {
            Some(replicas) => spec.insert("replicas".to_owned(), replicas),
            None => spec.remove("replicas"),
        };
    }
    if let Some(version) = version {
        body["metadata"]["resourceVersion"] = version.into();
    }
    body
}

/// Whether somebody else owns `spec.replicas`: another manager, or Slipway's scaler as long as there is an autoscaler. What
/// it has set before the autoscaler was deleted is nobody's any more. Pure.
fn belong_to_another(live: &Value, is_scaled: bool) -> bool {
    let managers = live["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_own = |manager: &Value| {
        *manager == FIELD_MANAGER || (!is_scaled && *manager == slipway_cluster::SCALER_FIELD_MANAGER)
    };
    managers
        .iter()
        .any(|entry| !is_own(&entry["manager"]) && !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::wanted::Variables;
    use super::*;

    fn wanted(replicas: u32, is_scaled: bool) -> Wanted {
        Wanted {
            project: "shop-1a2b3c".parse().unwrap(),
            environment: "staging".parse().unwrap(),
            deployment: "d1".to_owned(),
            job: "j1".to_owned(),
            fence: 1,
            image: String::new(),
            port: 8080,
            replicas,
            is_scaled,
            env: Variables::default(),
            resources: slipway_common::model::ResourceSpec::default(),
            health: slipway_common::model::HealthSpec::default(),
            supports: Vec::new(),
            hostnames: Vec::new(),
            pull: None,
            thorough: false,
        }
    }

    /// A Deployment with so many replicas, a number that `manager` has set.
    fn live(replicas: u32, manager: &str) -> Value {
        json!({
            "metadata": { "resourceVersion": "41", "managedFields": [
                { "manager": FIELD_MANAGER, "fieldsV1": { "f:spec": { "f:selector": {} } } },
                { "manager": manager, "fieldsV1": { "f:spec": { "f:replicas": {} } } },
            ] },
            "spec": { "replicas": replicas },
        })
    }

    #[test]
    fn the_number_is_that_of_whoever_sets_it() {
        let ours = |replicas| Some(live(replicas, FIELD_MANAGER));
        let scaled_to = |replicas| Some(live(replicas, "keda"));
        let by_scaler = |replicas| Some(live(replicas, "slipway-scaler"));
        let cases = [
            ("nobody scales, and it is new", wanted(3, false), None, Some(3), None),
            ("nobody scales", wanted(3, false), ours(5), Some(3), None),
            ("another scales", wanted(3, false), scaled_to(7), None, None),
            ("none are wanted of what another scaled", wanted(0, false), scaled_to(7), None, None),
            ("an autoscaler's, and it is new here", wanted(7, true), None, Some(7), None),
            ("an autoscaler's, that has scaled it", wanted(7, true), by_scaler(9), None, None),
            ("an autoscaler's that is gone", wanted(3, false), by_scaler(9), Some(3), None),
            ("an autoscaler's, that has not yet", wanted(7, true), ours(5), Some(5), Some("41")),
            ("an autoscaler's, and none run", wanted(2, true), ours(0), Some(2), None),
        ];
        for (case, wanted, live, replicas, version) in cases {
            for body in [json!({ "spec": { "paused": false } }), json!({ "spec": { "replicas": 99 } })] {
                let sized = sized(&body, &wanted, live.as_ref());
                assert_eq!(sized["spec"]["replicas"].as_u64(), replicas, "{case}");
                assert_eq!(sized["spec"].get("replicas").is_some(), replicas.is_some(), "{case}");
                assert_eq!(sized["metadata"]["resourceVersion"].as_str(), version, "{case}");
                assert_eq!(sized["spec"]["paused"], body["spec"]["paused"], "{case}");
            }
        }
    }

    #[test]
    fn replicas_are_left_to_whoever_set_them() {
        let owned_by = |manager: &str, field: &str| {
            json!({ "metadata": { "managedFields": [
                { "manager": FIELD_MANAGER, "fieldsV1": { "f:spec": { "f:selector": {} } } },
                { "manager": manager, "fieldsV1": { "f:spec": { field: {} } } },
            ] } })
        };
        for is_scaled in [true, false] {
            let belong = |live: &Value| belong_to_another(live, is_scaled);
            assert!(belong(&owned_by("keda", "f:replicas")));
            assert_eq!(belong(&owned_by("slipway-scaler", "f:replicas")), is_scaled);
            assert!(!belong(&owned_by(FIELD_MANAGER, "f:replicas")));
            assert!(!belong(&owned_by("kubectl", "f:template")));
            assert!(!belong(&json!({})));
        }
    }
}
