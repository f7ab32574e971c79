//! What becomes of a rollout in trouble: what certainly does not pass fails it at once, what might pass gets a while;
//! either way it is told at once, with the container's last words and the pod's events.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::cluster::Cluster;
use super::super::error::KubernetesError;
use super::super::events;
use super::super::health::{TroubleCode, troubled_container};
use super::super::state::Workloads;
use super::super::wanted::Wanted;
use crate::docker::LogSink;
use crate::text::Redactor;

/// Lines of output that are told.
const LOG_LINES_MAX: i64 = 20;
/// Events that are told.
const EVENTS_MAX: usize = 8;

/// What is wrong with a rollout.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) code: TroubleCode,
    pub(super) reason: String,
    pub(super) pod: Option<String>,
    pub(super) container: Option<String>,
    /// Whether waiting is pointless.
    pub(super) certain: bool,
}

/// Fails the rollout, or returns what it waits for.
pub(super) async fn judge(
    cluster: &Cluster,
    wanted: &Wanted,
    seen: &Workloads,
    found: Finding,
    said: Option<&str>,
    now: Timestamp,
    log: &dyn LogSink,
) -> Result<String, KubernetesError> {
    let pod = found.pod.as_deref().and_then(|name| seen.pod(name));
    // What concerns no pod, such as a quota, passes or not whatever is waited: the deadline of the rollout decides.
    let fails = found.certain || pod.is_some_and(|pod| age(pod, now) >= patience(cluster));
    let is_new = said != Some(found.reason.as_str());
    if !fails && !is_new {
        return Ok(found.reason);
    }
    let lines = lines(cluster, wanted, pod, &found).await;
    if !fails {
        lines.iter().for_each(|line| log.line(line));
        return Ok(found.reason);
    }
    Err(KubernetesError::Rollout {
        code: found.code.as_str().to_owned(),
        reason: found.reason,
        log_tail: lines,
    })
}

fn patience(cluster: &Cluster) -> SignedDuration {
    SignedDuration::try_from(cluster.settings().trouble_max).unwrap_or(SignedDuration::MAX)
}

fn age(pod: &Value, now: Timestamp) -> SignedDuration {
    let created: Option<Timestamp> =
        pod["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse().ok());
    created.map(|created| now.duration_since(created)).unwrap_or_default()
}

/// The pod's events and the container's last lines. They explain a failure: that they cannot be read is none of its own.
async fn lines(cluster: &Cluster, wanted: &Wanted, pod: Option<&Value>, found: &Finding) -> Vec<String> {
    let (Some(pod), Some(name)) = (pod, &found.pod) else { return Vec::new() };
    let namespace = wanted.namespace();
    let events = events::of_pod(cluster, &namespace, name, EVENTS_MAX).await.unwrap_or_default();
    let mut lines: Vec<String> =
        events.iter().map(|event| format!("{}: {}", event.reason, event.message)).collect();
    let troubled = troubled_container(pod);
    let previous = troubled.as_ref().is_some_and(|troubled| troubled.previous_logs);
    if let Some(container) = found.container.clone().or(troubled.map(|troubled| troubled.name)) {
        let read = cluster.container_log(&namespace, name, &container, previous, LOG_LINES_MAX).await;
        lines.extend(read.unwrap_or_default().lines);
    }
    redact(wanted, &lines)
}

/// The lines without the values the containers were given.
fn redact(wanted: &Wanted, lines: &[String]) -> Vec<String> {
    let given = wanted.supports.iter().map(|support| &support.env).chain([&wanted.env]);
    let redactor = Redactor::new(given.flat_map(|variables| variables.values.values()));
    lines.iter().map(|line| redactor.shown(line)).collect()
}
