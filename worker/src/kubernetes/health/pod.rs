//! Pods: whether a node took the pod, how its containers fare, and how it ended.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::{Trouble, TroubleCode, TroubledContainer, Verdict};
use super::condition::{Condition, may_stay, progressing};
use super::container::{Container, ContainerTrouble, Moment, Policy, Standing, containers};
use super::json::{age, said, text, time, title};

/// How long the scheduler may find no node before that is a trouble: a claim applied together with the pod, or a
/// node that is just being added, takes a moment.
const SCHEDULING_GRACE: SignedDuration = SignedDuration::from_secs(15);

/// Words of the scheduler when it is a volume that it misses.
const VOLUME_MISSING: [&str; 3] =
    ["PersistentVolumeClaim", "persistentvolumeclaim", "persistent volumes to bind"];

/// How the life of a pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// It serves: ready, and to run for ever.
    Serving,
    /// It has done its work.
    Done,
    /// It is on its way, with what to say after its name.
    Starting(String),
    /// It is ready, and will end: whoever waits for its work waits for that.
    Working,
    /// Something is wrong.
    Troubled(Trouble),
    /// It has ended with an error, and no container of it is started again.
    Dead(Trouble),
}

/// The verdict on a pod.
pub(super) fn verdict(pod: &Value, now: Timestamp) -> Verdict {
    let title = title("Pod", pod);
    match life(pod, now) {
        Life::Serving | Life::Done => Verdict::Ready,
        Life::Starting(words) => progressing(format!("{title}: {words}")),
        Life::Working => may_stay(format!("{title}: runs until its work is done")),
        Life::Troubled(trouble) | Life::Dead(trouble) => Verdict::Degraded(trouble),
    }
}

/// How the life of a pod stands at `now`.
pub(super) fn life(pod: &Value, now: Timestamp) -> Life {
    match text(pod, &["status", "phase"]) {
        Some("Succeeded") => return Life::Done,
        Some("Failed") => return Life::Dead(death(pod)),
        Some(_) | None => {}
    }
    if let Some(life) = unscheduled(pod, now) {
        return life;
    }
    let moment =
        Moment { now: Some(now), ready_changed: Condition::of(pod, "Ready").and_then(|ready| ready.since()) };
    let standings: Vec<_> = containers(pod).iter().map(|container| container.standing(moment)).collect();
    if let Some(trouble) = worst(&standings) {
        return Life::Troubled(of_container(pod, trouble.clone()));
    }
    if !is_ready(pod) {
        return Life::Starting(waits_for(pod, &standings));
    }
    if Policy::of_pod(pod) == Policy::Always { Life::Serving } else { Life::Working }
}

/// The container whose log tells why a pod is in trouble. It is asked when something went wrong, so a container that
/// runs without being ready is one, however short that has been.
pub(super) fn troubled_container(pod: &Value) -> Option<TroubledContainer> {
    let containers = containers(pod);
    let moment = Moment { now: None, ready_changed: None };
    let in_trouble = containers.iter().filter_map(|container| match container.standing(moment) {
        Standing::Troubled(trouble) => Some((container, trouble)),
        Standing::Fine | Standing::Starting(_) => None,
    });
    let failed = containers.iter().filter_map(|container| Some((container, container.failure()?)));
    let unready = containers.iter().filter(|container| container.runs_unready());
    let unready = unready.map(|container| (container, container.probe_failed("")));
    let found =
        in_trouble.min_by_key(|(_, trouble)| !trouble.lasting).or_else(|| failed.chain(unready).next());
    found.map(|(container, trouble)| shown(pod, container, trouble))
}

fn shown(pod: &Value, container: &Container<'_>, trouble: ContainerTrouble) -> TroubledContainer {
    let previous_logs = container.has_previous_logs();
    let Trouble { code, reason, .. } = of_container(pod, trouble.clone());
    TroubledContainer { name: trouble.name, code, reason, previous_logs }
}

/// The trouble of a pod that is one of its containers'.
fn of_container(pod: &Value, trouble: ContainerTrouble) -> Trouble {
    let reason = format!("{}: {}", title("Pod", pod), trouble.words);
    Trouble { code: trouble.code, reason, container: Some(trouble.name), lasting: trouble.lasting }
}

/// The first trouble that lasts, or else the first.
fn worst(standings: &[Standing]) -> Option<&ContainerTrouble> {
    let troubles = standings.iter().filter_map(|standing| match standing {
        Standing::Troubled(trouble) => Some(trouble),
        Standing::Fine | Standing::Starting(_) => None,
    });
    troubles.min_by_key(|trouble| !trouble.lasting)
}

/// What the scheduler says, as long as it found no node.
fn unscheduled(pod: &Value, now: Timestamp) -> Option<Life> {
    let refused = Condition::of(pod, "PodScheduled").filter(Condition::fails)?;
    match refused.reason() {
        "Unschedulable" => {}
        "SchedulingGated" => {
            return Some(Life::Starting("waits for its scheduling gates to be lifted".to_owned()));
        }
        _ => return Some(Life::Starting(format!("is not on a node yet: {}", refused.words()))),
    }
    let since = refused.since().or_else(|| time(pod, &["metadata", "creationTimestamp"]));
    if since.is_some_and(|since| age(now, since) < SCHEDULING_GRACE) {
        return Some(Life::Starting(format!("is not on a node yet: {}", refused.words())));
    }
    let misses_volume = VOLUME_MISSING.iter().any(|words| refused.message().contains(words));
    let code = if misses_volume { TroubleCode::VolumeUnbound } else { TroubleCode::Unschedulable };
    let reason = format!("{}: no node takes it: {}", title("Pod", pod), refused.words());
    Some(Life::Troubled(Trouble { code, reason, container: None, lasting: false }))
}

fn is_ready(pod: &Value) -> bool {
    text(pod, &["status", "phase"]) == Some("Running") && Condition::holding(pod, "Ready").is_some()
}

/// What a pod that is not ready waits for.
fn waits_for(pod: &Value, standings: &[Standing]) -> String {
    let starting = standings.iter().find_map(|standing| match standing {
        Standing::Starting(words) => Some(words.clone()),
        Standing::Fine | Standing::Troubled(_) => None,
    });
    if let Some(words) = starting {
        return words;
    }
    match Condition::of(pod, "Ready").filter(Condition::fails) {
        Some(unready) if unready.reason() == "ReadinessGatesNotReady" => {
            format!("its readiness gates have not passed: {}", unready.words())
        }
        Some(_) | None if standings.is_empty() => "is not started on a node yet".to_owned(),
        Some(_) | None => "is not ready yet".to_owned(),
    }
}

/// Why a pod that failed did.
fn death(pod: &Value) -> Trouble {
    // A reason is given when it was the node that ended the pod; the ends of its containers follow from that.
    let reason = text(pod, &["status", "reason"]);
    let failed = containers(pod).iter().find_map(Container::failure);
    if let Some(trouble) = failed.filter(|_| reason.is_none()) {
        return Trouble { lasting: true, ..of_container(pod, trouble) };
    }
    let words =
        [reason, text(pod, &["status", "message"])].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let words = if words.is_empty() { "no reason is given".to_owned() } else { said(&words) };
    let (code, what) = match reason {
        Some("Evicted") => (TroubleCode::Evicted, "was put off its node"),
        Some(_) | None => (TroubleCode::PodFailed, "failed"),
    };
    Trouble {
        code,
        reason: format!("{}: {what}: {words}", title("Pod", pod)),
        container: None,
        lasting: true,
    }
}
