//! Workloads with replicas: Deployment, ReplicaSet, StatefulSet, DaemonSet. Each is ready when the numbers of its
//! status, taken of its present spec, are the numbers it wants.

use serde_json::Value;

use super::answer::{Counts, Progress, Trouble, TroubleCode, Verdict};
use super::condition::{Condition, is_unobserved, unobserved};
use super::json::{at, count, count_or_zero, counted, is_true, text, title};
use super::refusal;

/// What is left to do before the numbers are right.
struct Gap {
    counts: Counts,
    /// What a caller reads after the object's name.
    message: String,
}

impl Gap {
    fn of(counts: Counts) -> Self {
        let Counts { wanted, updated, available, .. } = counts;
        let (updated, replicas) = (updated.min(wanted), counted(wanted, "replica"));
        Self { counts, message: format!("{updated} of {replicas} updated, {available} available") }
    }

    /// Names the replicas that are too many: of older templates, or more than wanted.
    fn with_surplus(mut self, surplus: u64) -> Self {
        if surplus > 0 {
            self.message += &format!(", {} to be removed", counted(surplus, "replica"));
        }
        self
    }

    fn verdict(self, kind: &str, object: &Value) -> Verdict {
        let message = format!("{}: {}", title(kind, object), self.message);
        Verdict::Progressing(Progress { message, counts: Some(self.counts), may_stay: false })
    }
}

/// The verdict on a Deployment.
pub(super) fn deployment(object: &Value) -> Verdict {
    if is_unobserved(object) {
        let refused = refusal::of_replica_set_creation(&title("Deployment", object), object);
        return refused.map_or_else(|| unobserved("Deployment", object), Verdict::Degraded);
    }
    if is_paused(object) {
        return Verdict::Suspended { message: paused(object) };
    }
    let Some(gap) = deployment_gap(object) else { return Verdict::Ready };
    match deployment_trouble(object) {
        Some(trouble) => Verdict::Degraded(trouble),
        None => gap.verdict("Deployment", object),
    }
}

/// Whether the rollout of a Deployment is held.
pub(super) fn is_paused(deployment: &Value) -> bool {
    is_true(deployment, &["spec", "paused"])
}

/// What to say of a Deployment whose rollout is held.
pub(super) fn paused(deployment: &Value) -> String {
    format!("{}: is paused, so nothing new is rolled out", title("Deployment", deployment))
}

/// Whether all replicas of a Deployment are of its newest template and available, and no others are left.
pub(super) fn is_complete(deployment: &Value) -> bool {
    deployment_gap(deployment).is_none()
}

/// The replicas of a Deployment as its status has them: ready and available count those of older templates.
pub(super) fn deployment_counts(object: &Value) -> Counts {
    Counts {
        wanted: wanted(object),
        updated: count_or_zero(object, &["status", "updatedReplicas"]),
        ready: count_or_zero(object, &["status", "readyReplicas"]),
        available: count_or_zero(object, &["status", "availableReplicas"]),
    }
}

/// How many replicas of a Deployment are to be removed: those of older templates, or those more than wanted.
pub(super) fn surplus(deployment: &Value) -> u64 {
    let total = count_or_zero(deployment, &["status", "replicas"]);
    let updated = count_or_zero(deployment, &["status", "updatedReplicas"]);
    total.saturating_sub(updated.min(wanted(deployment)))
}

/// Whether the Deployment has not moved for longer than its `progressDeadlineSeconds`.
pub(super) fn deadline_passed(deployment: &Value) -> Option<Condition<'_>> {
    let progressing = Condition::of(deployment, "Progressing")?;
    Some(progressing).filter(|condition| condition.reason() == "ProgressDeadlineExceeded")
}

fn deployment_gap(object: &Value) -> Option<Gap> {
    let counts = deployment_counts(object);
    let total = count_or_zero(object, &["status", "replicas"]);
    let is_there =
        counts.updated == counts.wanted && total == counts.wanted && counts.available >= counts.wanted;
    (!is_there).then(|| Gap::of(counts).with_surplus(surplus(object)))
}

fn deployment_trouble(object: &Value) -> Option<Trouble> {
    let title = title("Deployment", object);
    let passed = deadline_passed(object);
    let Some(refused) = refusal::of_deployment(&title, object) else {
        return passed.map(|passed| too_slow(&title, passed));
    };
    let lasting = refused.lasting || passed.is_some();
    Some(Trouble { lasting, ..refused })
}

/// The trouble of a Deployment whose deadline has passed.
pub(super) fn too_slow(title: &str, passed: Condition<'_>) -> Trouble {
    let reason = format!("{title}: its rollout made no progress within its deadline: {}", passed.words());
    Trouble { code: TroubleCode::ProgressDeadlineExceeded, reason, container: None, lasting: true }
}

/// The verdict on a ReplicaSet, or on a ReplicationController.
pub(super) fn replica_set(kind: &str, object: &Value) -> Verdict {
    if is_unobserved(object) {
        return unobserved(kind, object);
    }
    let total = count_or_zero(object, &["status", "replicas"]);
    let counts = Counts {
        wanted: wanted(object),
        updated: total,
        ready: count_or_zero(object, &["status", "readyReplicas"]),
        available: count_or_zero(object, &["status", "availableReplicas"]),
    };
    if total == counts.wanted && counts.available >= counts.wanted {
        return Verdict::Ready;
    }
    if let Some(trouble) = refusal::of_replica_set(&title(kind, object), object) {
        return Verdict::Degraded(trouble);
    }
    let Counts { wanted, available, .. } = counts;
    let message = format!("{total} of {} there, {available} available", counted(wanted, "replica"));
    Gap { counts, message }.verdict(kind, object)
}

/// The verdict on a StatefulSet.
pub(super) fn stateful_set(object: &Value) -> Verdict {
    if is_unobserved(object) {
        return unobserved("StatefulSet", object);
    }
    let total = count_or_zero(object, &["status", "replicas"]);
    let ready = count_or_zero(object, &["status", "readyReplicas"]);
    let counts = Counts {
        wanted: wanted(object),
        updated: count_or_zero(object, &["status", "updatedReplicas"]),
        ready,
        // Clusters before 1.22 do not count this, and know no `minReadySeconds` for it.
        available: count(object, &["status", "availableReplicas"]).unwrap_or(ready),
    };
    let are_there = total == counts.wanted && ready >= counts.wanted && counts.available >= counts.wanted;
    if are_there && is_rolled_out(object, counts) {
        return Verdict::Ready;
    }
    Gap::of(counts).with_surplus(total.saturating_sub(counts.wanted)).verdict("StatefulSet", object)
}

/// Whether as many replicas of a StatefulSet are updated as its strategy updates by itself.
fn is_rolled_out(object: &Value, counts: Counts) -> bool {
    let strategy = at(object, &["spec", "updateStrategy"]);
    if text(strategy, &["type"]) == Some("OnDelete") {
        return true;
    }
    let current = text(object, &["status", "currentRevision"]);
    let newest = text(object, &["status", "updateRevision"]);
    if current == newest {
        return true;
    }
    let kept = count_or_zero(strategy, &["rollingUpdate", "partition"]);
    counts.updated >= counts.wanted.saturating_sub(kept)
}

/// The verdict on a DaemonSet.
pub(super) fn daemon_set(object: &Value) -> Verdict {
    if is_unobserved(object) {
        return unobserved("DaemonSet", object);
    }
    let status = |field| count(object, &["status", field]);
    let Some(wanted) = status("desiredNumberScheduled") else {
        return unobserved("DaemonSet", object);
    };
    let counts = Counts {
        wanted,
        updated: status("updatedNumberScheduled").unwrap_or(0),
        ready: status("numberReady").unwrap_or(0),
        available: status("numberAvailable").unwrap_or(0),
    };
    let by_hand = text(object, &["spec", "updateStrategy", "type"]) == Some("OnDelete");
    if (by_hand || counts.updated >= wanted) && counts.available >= wanted {
        return Verdict::Ready;
    }
    Gap::of(counts).verdict("DaemonSet", object)
}

/// How many replicas the spec wants: one, if it does not say.
fn wanted(object: &Value) -> u64 {
    count(object, &["spec", "replicas"]).unwrap_or(1)
}
