//! Events: what a cluster tells of its objects. It keeps them for an hour or so.

use kube::core::params::ListParams;
use serde_json::Value;
use slipway_common::model::LiveEvent;

use super::cluster::Cluster;
use super::error::KubernetesError;
use super::kind::Kind;
use crate::text::clean;

/// The newest events about a pod, oldest first. `pod` is a name that the cluster has told.
///
/// # Errors
/// What any call may return.
pub(super) async fn of_pod(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    most: usize,
) -> Result<Vec<LiveEvent>, KubernetesError> {
    let about = ListParams::default().fields(&format!("involvedObject.kind=Pod,involvedObject.name={pod}"));
    let found = cluster.list(Kind::Event, Some(namespace), about).await?;
    Ok(newest(&found, most))
}

/// The newest of these events, oldest first. Pure.
pub(super) fn newest(events: &[Value], most: usize) -> Vec<LiveEvent> {
    let mut found: Vec<LiveEvent> = events.iter().map(event).collect();
    found.sort_by(|left, right| (left.at, &left.about).cmp(&(right.at, &right.about)));
    let surplus = found.len().saturating_sub(most);
    found.split_off(surplus)
}

fn event(event: &Value) -> LiveEvent {
    let text = |value: &Value| clean(value.as_str().unwrap_or_default());
    let about = &event["involvedObject"];
    let at = event["lastTimestamp"].as_str().or_else(|| event["eventTime"].as_str());
    LiveEvent {
        about: format!("{} {}", text(&about["kind"]), text(&about["name"])),
        reason: text(&event["reason"]),
        message: text(&event["message"]),
        at: at.and_then(|at| at.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_events_are_kept_in_order() {
        let of = |second: usize| {
            json!({
                "involvedObject": { "kind": "Pod", "name": "web-1" },
                "reason": "BackOff",
                "message": format!("number {second}"),
                "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
            })
        };
        let events: Vec<Value> = (0..15).rev().map(of).chain([json!({})]).collect();
        let newest = newest(&events, 10);
        assert_eq!((newest.len(), newest[0].message.as_str()), (10, "number 5"));
        assert_eq!(newest[9].about, "Pod web-1");
    }
}
