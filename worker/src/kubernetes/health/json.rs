//! Reading the JSON form of Kubernetes objects. What is missing, null or of another type than the API says is
//! absent: no reader fails, and none panics.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

static NULL: Value = Value::Null;

/// Longest text of a cluster that is repeated in a sentence, in characters. Registries and admission webhooks may
/// answer with whole pages.
const SAID_CHARS_MAX: usize = 400;

/// What stands where nothing does.
pub(super) fn nothing() -> &'static Value {
    &NULL
}

/// The value at `path`, null where a step is missing.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, step| value.get(step).unwrap_or(&NULL))
}

/// The text at `path`, unless it is empty.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path).as_str().filter(|text| !text.is_empty())
}

/// The number at `path`. Negative numbers, fractions and numbers written as text are none.
pub(super) fn count(value: &Value, path: &[&str]) -> Option<u64> {
    at(value, path).as_u64()
}

/// The number at `path`, and zero where there is none: the API leaves zeros out.
pub(super) fn count_or_zero(value: &Value, path: &[&str]) -> u64 {
    count(value, path).unwrap_or(0)
}

/// Whether `true` stands at `path`.
pub(super) fn is_true(value: &Value, path: &[&str]) -> bool {
    at(value, path).as_bool() == Some(true)
}

/// The list at `path`.
pub(super) fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The object at `path`.
pub(super) fn object<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    Some(at(value, path)).filter(|value| value.is_object())
}

/// The date at `path`.
pub(super) fn time(value: &Value, path: &[&str]) -> Option<Timestamp> {
    text(value, path)?.parse().ok()
}

/// How long ago `then` was; negative for a date still to come, as clocks differ between machines.
pub(super) fn age(now: Timestamp, then: Timestamp) -> SignedDuration {
    now.duration_since(then)
}

/// The name of an object.
pub(super) fn name(object: &Value) -> String {
    text(object, &["metadata", "name"]).map_or_else(|| "without a name".to_owned(), said)
}

/// An object in a sentence: `Deployment web`.
pub(super) fn title(kind: &str, object: &Value) -> String {
    format!("{kind} {}", name(object))
}

/// A text of the cluster made fit for a sentence: one line, no control characters, not endless.
pub(super) fn said(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SAID_CHARS_MAX) {
        Some((end, _next)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A duration in a sentence: `45 s`, `12 min`, `3 h`.
pub(super) fn spoken(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds @ ..300 if seconds % 60 != 0 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

/// A number with its noun: `1 pod`, `2 pods`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}
