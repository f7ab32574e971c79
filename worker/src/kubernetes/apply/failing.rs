//! What becomes of a rollout in trouble: what certainly does not pass fails it at once, what might pass gets a while;
//! either way it is told at once, with the container's last words and the pod's events.

use jiff::{SignedDuration, Timestamp};
use kube::core::params::ListParams;
use serde_json::Value;

use super::super::cluster::Cluster;
use super::super::error::KubernetesError;
use super::super::health::{TroubleCode, troubled_container};
use super::super::kind::Kind;
use super::super::state::Workloads;

use super::super::wanted::Wanted;
use crate::docker::LogSink;
use crate::text::{Redactor, clean};

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
    let mut lines = events(cluster, &namespace, name).await;
    let troubled = troubled_container(pod);
    let previous = troubled.as_ref().is_some_and(|troubled| troubled.previous_logs);
    if let Some(container) = found.container.clone().or(troubled.map(|troubled| troubled.name)) {
        let read = cluster.container_log(&namespace, name, &container, previous, LOG_LINES_MAX).await;
        lines.extend(read.unwrap_or_default().iter().map(|line| clean(line)));
    }
    redact(wanted, lines)
}

async fn events(cluster: &Cluster, namespace: &str, pod: &str) -> Vec<String> {
    let about = ListParams::default().fields(&format!("involvedObject.kind=Pod,involvedObject.name={pod}"));
    let mut found = cluster.list(Kind::Event, Some(namespace), about).await.unwrap_or_default();
    found.sort_by(|left, right| when(left).cmp(when(right)));
    let newest = found.len().saturating_sub(EVENTS_MAX);
    let texts = found.iter().skip(newest).map(|event| {
        let part = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        clean(&format!("{}: {}", part("reason"), part("message")))
    });
    texts.collect()
}

fn when(event: &Value) -> &str {
    event["lastTimestamp"].as_str().or_else(|| event["eventTime"].as_str()).unwrap_or_default()
}

/// The lines without the values the containers were given.
fn redact(wanted: &Wanted, lines: Vec<String>) -> Vec<String> {
    let given = wanted.supports.iter().map(|support| &support.env).chain([&wanted.env]);
    let redactor = Redactor::new(given.flat_map(|variables| variables.values.values()));
    lines.iter().map(|line| redactor.apply(line)).collect()
}
