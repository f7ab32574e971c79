//! The rollout of a Deployment, told from the Deployment and the pods of its newest ReplicaSet: a pod that cannot
//! start is seen at once, and not when the Deployment's deadline of many minutes has passed. What happens to pods of
//! older templates never counts: they are on their way out, and may be why there is a new one.

use jiff::Timestamp;
use serde_json::Value;

use super::super::labels::{REVISION, TEMPLATE_HASH};
use super::answer::{Counts, Rollout, Trouble, TroubleCode};
use super::condition::{Condition, is_deleting, is_unobserved};
use super::json::{count_or_zero, counted, items, name, text, time, title};
use super::pod::{Life, life};
use super::{refusal, workload};

/// How many pods of one template must have died to be a trouble. Each is replaced, so a single one, evicted perhaps,
/// is none.
const DEAD_PODS_MIN: usize = 3;

/// A trouble of the rollout, and the pod it is of.
struct Finding {
    trouble: Trouble,
    pod: Option<String>,
}

/// Where the rollout stands at `now`.
pub(super) fn rollout(
    deployment: &Value,
    replica_sets: &[&Value],
    pods: &[&Value],
    now: Timestamp,
) -> Rollout {
    if is_deleting(deployment) {
        let reason = format!("{}: is being deleted", title("Deployment", deployment));
        return failing(Finding::of_deployment(TroubleCode::BeingDeleted, reason));
    }
    // Until then revision and numbers are those of the template before, and so would be the pods.
    if is_unobserved(deployment) {
        let refused = refusal::of_replica_set_creation(&title("Deployment", deployment), deployment);
        if let Some(trouble) = refused {
            return failing(Finding { trouble, pod: None });
        }
        return progressing(deployment, None, Some("its controller has not taken it up yet".to_owned()));
    }
    if workload::is_complete(deployment) {
        return Rollout::Complete;
    }
    if workload::is_paused(deployment) {
        return failing(Finding::of_deployment(TroubleCode::Paused, workload::paused(deployment)));
    }
    let newest = newest_replica_set(deployment, replica_sets);
    let lives: Vec<_> = newest.map_or_else(Vec::new, |newest| lives_of(newest, pods, now));
    match find_trouble(deployment, newest, &lives) {
        Some(finding) => failing(finding),
        None => progressing(deployment, newest, waits_for(newest, &lives)),
    }
}

impl Finding {
    fn of_deployment(code: TroubleCode, reason: String) -> Self {
        Self { trouble: Trouble { code, reason, container: None, lasting: true }, pod: None }
    }
}

/// The lives of the pods of a ReplicaSet that are not being deleted, by name.
fn lives_of(replica_set: &Value, pods: &[&Value], now: Timestamp) -> Vec<(String, Life)> {
    let own = pods.iter().filter(|pod| is_pod_of(pod, replica_set) && !is_deleting(pod));
    let mut lives: Vec<_> = own.map(|pod| (name(pod), life(pod, now))).collect();
    lives.sort_by(|(one, _), (other, _)| one.cmp(other));
    lives
}

/// The worst trouble: one that lasts before one that might pass, then the one that tells most.
fn find_trouble(deployment: &Value, newest: Option<&Value>, lives: &[(String, Life)]) -> Option<Finding> {
    let living = lives.iter().filter_map(|(pod, life)| match life {
        Life::Troubled(trouble) => Some(Finding { trouble: trouble.clone(), pod: Some(pod.clone()) }),
        Life::Serving | Life::Done | Life::Starting(_) | Life::Working | Life::Dead(_) => None,
    });
    let title = title("Deployment", deployment);
    let refused = newest.and_then(|newest| refusal::of_replica_set(&title, newest));
    let refused = refused
        .or_else(|| refused_pods(&title, deployment, newest))
        .map(|trouble| Finding { trouble, pod: None });
    let found = living.chain(refused).chain(dying(lives));
    let worst = found.min_by_key(|found| (!found.trouble.lasting, found.trouble.code));
    let passed = workload::deadline_passed(deployment).filter(|passed| !is_of_another(passed, newest));
    let Some(passed) = passed else { return worst };
    match worst {
        // The cause says more than the deadline, which says that it lasts.
        Some(Finding { trouble, pod }) => {
            Some(Finding { trouble: Trouble { lasting: true, ..trouble }, pod })
        }
        None => Some(Finding { trouble: workload::too_slow(&title, passed), pod: None }),
    }
}

/// What the Deployment says of pods that were not created, unless it is of an old ReplicaSet: it repeats those as well.
fn refused_pods(title: &str, deployment: &Value, newest: Option<&Value>) -> Option<Trouble> {
    let message = Condition::holding(deployment, "ReplicaFailure").map_or("", |failure| failure.message());
    let newest = newest.and_then(|newest| text(newest, &["metadata", "name"]));
    let is_of_another = message.contains("pods \"")
        && newest.is_some_and(|newest| !message.contains(&format!("pods \"{newest}-")));
    if is_of_another { None } else { refusal::of_deployment(title, deployment) }
}

/// Whether a passed deadline was another ReplicaSet's. A Deployment that is set back to an earlier template keeps the
/// condition until it moves.
fn is_of_another(passed: &Condition<'_>, newest: Option<&Value>) -> bool {
    let newest = newest.and_then(|newest| text(newest, &["metadata", "name"]));
    let names_one = passed.message().contains("ReplicaSet \"");
    names_one && newest.is_some_and(|newest| !passed.message().contains(&format!("\"{newest}\"")))
}

/// The trouble of pods that die one after the other.
fn dying(lives: &[(String, Life)]) -> Option<Finding> {
    let dead = lives.iter().filter_map(|(pod, life)| match life {
        Life::Dead(trouble) => Some((pod, trouble)),
        Life::Serving | Life::Done | Life::Starting(_) | Life::Working | Life::Troubled(_) => None,
    });
    let dead: Vec<_> = dead.collect();
    let (pod, trouble) = dead.last().filter(|_| dead.len() >= DEAD_PODS_MIN)?;
    // The pod itself is gone for good; the next one may do better.
    let trouble = Trouble { lasting: false, ..(*trouble).clone() };
    Some(Finding { trouble, pod: Some((*pod).clone()) })
}

/// What a rollout without trouble waits for, apart from numbers.
fn waits_for(newest: Option<&Value>, lives: &[(String, Life)]) -> Option<String> {
    if newest.is_none() {
        return Some("its new ReplicaSet is not there yet".to_owned());
    }
    lives.iter().find_map(|(pod, life)| match life {
        Life::Starting(words) => Some(format!("Pod {pod}: {words}")),
        Life::Serving | Life::Done | Life::Working | Life::Troubled(_) | Life::Dead(_) => None,
    })
}

fn failing(finding: Finding) -> Rollout {
    let Finding { trouble: Trouble { code, reason, container, lasting }, pod } = finding;
    Rollout::Failing { code, reason, pod, container, certain: lasting }
}

fn progressing(deployment: &Value, newest: Option<&Value>, waits_for: Option<String>) -> Rollout {
    let Counts { wanted, updated, ready, available } = workload::deployment_counts(deployment);
    let of_newest = |field, of_all| newest.map_or(of_all, |newest| count_or_zero(newest, &["status", field]));
    let ready = of_newest("readyReplicas", ready);
    let available = of_newest("availableReplicas", available);
    let mut message = format!(
        "{}: {} of {} updated, {ready} ready, {available} available",
        title("Deployment", deployment),
        updated.min(wanted),
        counted(wanted, "replica")
    );
    let surplus = workload::surplus(deployment);
    if surplus > 0 {
        message += &format!(", {} to be removed", counted(surplus, "replica"));
    }
    if let Some(words) = waits_for {
        message += &format!("; {words}");
    }
    Rollout::Progressing { wanted, updated, ready, available, message }
}

/// The ReplicaSet of the Deployment's present template, once there is one.
fn newest_replica_set<'a>(deployment: &Value, replica_sets: &[&'a Value]) -> Option<&'a Value> {
    let own = replica_sets.iter().filter(|set| is_owned(set, "Deployment", deployment));
    let newest = own.max_by_key(|set| (revision(set), created(set), text(set, &["metadata", "name"])))?;
    // A lower revision than the Deployment's: the list is the older of the two, and its newest is an old one. A higher
    // one: the Deployment is being set back to an earlier template, whose ReplicaSet gets its new revision first.
    (revision(newest) >= revision(deployment)).then_some(newest)
}

fn revision(object: &Value) -> Option<u64> {
    text(object, &["metadata", "annotations", REVISION])?.parse().ok()
}

fn created(object: &Value) -> Option<Timestamp> {
    time(object, &["metadata", "creationTimestamp"])
}

fn is_pod_of(pod: &Value, replica_set: &Value) -> bool {
    if !items(pod, &["metadata", "ownerReferences"]).is_empty() {
        return is_owned(pod, "ReplicaSet", replica_set);
    }
    // A pod that nobody owns yet is taken over by the ReplicaSet whose labels it has.
    let hash = |object| text(object, &["metadata", "labels", TEMPLATE_HASH]);
    hash(pod).is_some() && hash(pod) == hash(replica_set)
}

/// Whether an object belongs to its owner, by uid; by name where one of them has no uid, so that objects that were
/// written by hand can be judged.
fn is_owned(object: &Value, kind: &str, owner: &Value) -> bool {
    let uid = text(owner, &["metadata", "uid"]);
    items(object, &["metadata", "ownerReferences"]).iter().any(|reference| {
        match text(reference, &["uid"]).zip(uid) {
            Some((one, other)) => one == other,
            None => {
                text(reference, &["kind"]) == Some(kind)
                    && text(reference, &["name"])
                        .is_some_and(|name| Some(name) == text(owner, &["metadata", "name"]))
            }
        }
    })
}
