//! HorizontalPodAutoscaler: whether it can read its metrics and scale its target.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::{TroubleCode, Verdict};
use super::condition::{Condition, degraded, progressing};
use super::json::{age, items, text, title};

/// How long an autoscaler may fail before that is a trouble: pods have no metrics in their first minutes.
const METRICS_GRACE: SignedDuration = SignedDuration::from_mins(5);

/// Where `autoscaling/v1` keeps the conditions, as JSON in text.
const CONDITIONS_V1: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// The verdict on a HorizontalPodAutoscaler.
pub(super) fn autoscaler(object: &Value, now: Timestamp) -> Verdict {
    let conditions = items(object, &["status", "conditions"]);
    if !conditions.is_empty() {
        return of_conditions(object, conditions, now);
    }
    let annotated = text(object, &["metadata", "annotations", CONDITIONS_V1]);
    let annotated: Value = annotated.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    of_conditions(object, items(&annotated, &[]), now)
}

fn of_conditions(object: &Value, conditions: &[Value], now: Timestamp) -> Verdict {
    let title = title("HorizontalPodAutoscaler", object);
    let Some(failure) = failure(conditions) else {
        let works = ["AbleToScale", "ScalingLimited"].iter().any(|kind| holds(conditions, kind));
        return if works {
            Verdict::Ready
        } else {
            progressing(format!("{title}: has not looked at its target yet"))
        };
    };
    let words = format!("{title}: cannot scale: {}", failure.words());
    match failure.since() {
        Some(since) if age(now, since) < METRICS_GRACE => progressing(words),
        Some(_) | None => degraded(TroubleCode::ScalingFailed, words, false),
    }
}

fn failure(conditions: &[Value]) -> Option<Condition<'_>> {
    let failing = |kind| Condition::among(conditions, kind).filter(Condition::fails);
    // Other reasons, as `BackoffBoth`, only say that it has scaled a moment ago.
    let scale = failing("AbleToScale").filter(|condition| condition.reason().starts_with("Failed"));
    // With no replicas wanted there is nothing to scale, which is what somebody asked for.
    scale.or_else(|| failing("ScalingActive").filter(|condition| condition.reason() != "ScalingDisabled"))
}

fn holds(conditions: &[Value], kind: &str) -> bool {
    Condition::among(conditions, kind).is_some_and(|condition| condition.holds())
}
