//! Why pods were not created: reading the conditions in which ReplicaSets and Deployments tell of it.

use serde_json::Value;

use super::answer::{Trouble, TroubleCode};
use super::condition::Condition;

const PODS: &str = "its pods are";
const REPLICA_SET: &str = "its new ReplicaSet is";

/// Words of refusals that the same pods meet again whatever becomes of the cluster: pod security, the namespace's
/// limit ranges, a quota on a resource that the pods do not state, a pod that is no valid pod, a namespace on its
/// way out.
const FINAL: [&str; 6] = [
    "violates PodSecurity",
    " usage per ",
    "limit to request ratio per ",
    "failed quota:",
    " is invalid: ",
    "because it is being terminated",
];

/// Words of refusals in general.
const REFUSED: [&str; 4] = ["forbidden", "denied the request", "violates ", " is invalid: "];

/// The trouble of a ReplicaSet whose pods could not be created or deleted.
pub(super) fn of_replica_set(title: &str, replica_set: &Value) -> Option<Trouble> {
    Some(read(title, Condition::holding(replica_set, "ReplicaFailure")?, PODS))
}

/// The trouble of a Deployment whose pods, or whose ReplicaSet, could not be created or deleted.
///
/// It never lasts for certain: the Deployment repeats what its old ReplicaSets say, and those of a template that has
/// been put right say it until they are gone.
pub(super) fn of_deployment(title: &str, deployment: &Value) -> Option<Trouble> {
    let pods = Condition::holding(deployment, "ReplicaFailure").map(|failure| read(title, failure, PODS));
    let trouble = pods.or_else(|| of_replica_set_creation(title, deployment))?;
    Some(Trouble { lasting: false, ..trouble })
}

/// The trouble of a Deployment whose ReplicaSet could not be created. Its controller then takes up nothing else, so
/// its status stays that of the spec before.
pub(super) fn of_replica_set_creation(title: &str, deployment: &Value) -> Option<Trouble> {
    let progressing = Condition::of(deployment, "Progressing").filter(Condition::fails)?;
    let failed = Some(progressing).filter(|condition| condition.reason() == "ReplicaSetCreateError")?;
    Some(Trouble { lasting: false, ..read(title, failed, REPLICA_SET) })
}

fn read(title: &str, failure: Condition<'_>, whose: &str) -> Trouble {
    let message = failure.message();
    let is_final = FINAL.iter().any(|words| message.contains(words));
    let (code, what) = if message.contains("exceeded quota") {
        (TroubleCode::QuotaExceeded, "not allowed by a quota")
    } else if is_final || REFUSED.iter().any(|words| message.contains(words)) {
        (TroubleCode::Rejected, "refused")
    } else if failure.reason() == "FailedDelete" {
        (TroubleCode::ReplicaFailure, "not deleted")
    } else {
        (TroubleCode::ReplicaFailure, "not created")
    };
    // A quota is freed by others, so it is never final, whatever else the message says.
    let lasting = is_final && code == TroubleCode::Rejected;
    let reason = format!("{title}: {whose} {what}: {}", failure.words());
    Trouble { code, reason, container: None, lasting }
}
