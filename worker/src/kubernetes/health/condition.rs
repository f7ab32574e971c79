//! `status.conditions`: reading them, and the verdict on kinds that have no rule of their own, which is theirs to
//! give in conditions. Also what `metadata.generation` says about a status: whether it is of the present spec.

use jiff::Timestamp;
use serde_json::Value;

use super::answer::{Progress, Trouble, TroubleCode, Verdict};
use super::json::{at, count, count_or_zero, is_true, items, said, text, time, title};

/// One condition of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a>(&'a Value);

impl<'a> Condition<'a> {
    /// The condition of this type.
    pub(super) fn of(object: &'a Value, kind: &str) -> Option<Self> {
        Self::among(items(object, &["status", "conditions"]), kind)
    }

    /// The condition of this type in a list of conditions.
    pub(super) fn among(conditions: &'a [Value], kind: &str) -> Option<Self> {
        conditions.iter().find(|condition| text(condition, &["type"]) == Some(kind)).map(Self)
    }

    /// The condition of this type, if it holds.
    pub(super) fn holding(object: &'a Value, kind: &str) -> Option<Self> {
        Self::of(object, kind).filter(Self::holds)
    }

    /// Its status is `True`.
    pub(super) fn holds(&self) -> bool {
        text(self.0, &["status"]) == Some("True")
    }

    /// Its status is `False`; `Unknown` is neither.
    pub(super) fn fails(&self) -> bool {
        text(self.0, &["status"]) == Some("False")
    }

    /// Its reason, one word; empty if none is given.
    pub(super) fn reason(&self) -> &'a str {
        text(self.0, &["reason"]).unwrap_or_default()
    }

    /// Its message as the cluster put it; empty if none is given.
    pub(super) fn message(&self) -> &'a str {
        text(self.0, &["message"]).unwrap_or_default()
    }

    /// Since when it has this status.
    pub(super) fn since(&self) -> Option<Timestamp> {
        time(self.0, &["lastTransitionTime"])
    }

    /// What it says, for a sentence.
    pub(super) fn words(&self) -> String {
        match (self.message(), self.reason()) {
            ("", "") => "no reason is given".to_owned(),
            ("", word) | (word, _) => said(word),
        }
    }

    /// It was set for an earlier spec of its object.
    fn is_outdated(&self, object: &Value) -> bool {
        let seen = count(self.0, &["observedGeneration"]);
        seen.is_some_and(|seen| seen < count_or_zero(object, &["metadata", "generation"]))
    }
}

/// The status is of an earlier spec, or there is none yet. For kinds whose controller always writes
/// `observedGeneration`.
pub(super) fn is_unobserved(object: &Value) -> bool {
    let seen = count_or_zero(object, &["status", "observedGeneration"]);
    seen < count_or_zero(object, &["metadata", "generation"])
}

/// The answer while the status is not of the present spec.
pub(super) fn unobserved(kind: &str, object: &Value) -> Verdict {
    progressing(format!("{}: its controller has not taken it up yet", title(kind, object)))
}

/// On its way, without numbers.
pub(super) fn progressing(message: String) -> Verdict {
    Verdict::Progressing(Progress { message, counts: None, may_stay: false })
}

/// On its way, and perhaps for ever, with nothing wrong.
pub(super) fn may_stay(message: String) -> Verdict {
    Verdict::Progressing(Progress { message, counts: None, may_stay: true })
}

/// In trouble that is no container's.
pub(super) fn degraded(code: TroubleCode, reason: String, lasting: bool) -> Verdict {
    Verdict::Degraded(Trouble { code, reason, container: None, lasting })
}

/// The verdict on a kind without a rule of its own. Without a word on its health it is as it is wanted: most kinds
/// only hold data.
pub(super) fn generic(object: &Value) -> Verdict {
    let kind = text(object, &["kind"]).map_or_else(|| "Object".to_owned(), said);
    let writes_generation = !at(object, &["status", "observedGeneration"]).is_null();
    if writes_generation && is_unobserved(object) {
        return unobserved(&kind, object);
    }
    if let Some(stalled) = Condition::holding(object, "Stalled") {
        let reason = format!("{}: its controller has given up: {}", title(&kind, object), stalled.words());
        return degraded(TroubleCode::Stalled, reason, true);
    }
    if let Some(reconciling) = Condition::holding(object, "Reconciling") {
        return progressing(format!("{}: {}", title(&kind, object), reconciling.words()));
    }
    // `Available` alone is what aggregated APIs and operators write; where both stand, `Ready` is the stricter.
    match Condition::of(object, "Ready").or_else(|| Condition::of(object, "Available")) {
        Some(condition) if condition.is_outdated(object) => unobserved(&kind, object),
        Some(condition) if !condition.holds() => {
            progressing(format!("{}: {}", title(&kind, object), condition.words()))
        }
        Some(_) | None => Verdict::Ready,
    }
}

/// The verdict on a CustomResourceDefinition: whether objects of its kind can be applied.
pub(super) fn custom_resource_definition(object: &Value) -> Verdict {
    let title = title("CustomResourceDefinition", object);
    let refused = Condition::of(object, "NamesAccepted").filter(Condition::fails);
    if let Some(refused) = refused {
        let reason = format!("{title}: its names are not accepted: {}", refused.words());
        return degraded(TroubleCode::Rejected, reason, true);
    }
    match Condition::of(object, "Established") {
        Some(established) if established.holds() => Verdict::Ready,
        Some(_) | None => progressing(format!("{title}: the API does not serve it yet")),
    }
}

/// The verdict on a namespace that is not being deleted.
pub(super) fn namespace(object: &Value) -> Verdict {
    if text(object, &["status", "phase"]) == Some("Terminating") {
        deleting("Namespace", object)
    } else {
        Verdict::Ready
    }
}

/// The verdict on anything that was deleted.
pub(super) fn deleting(kind: &str, object: &Value) -> Verdict {
    let mut message = format!("{}: is being deleted", title(kind, object));
    let finalizers = items(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str);
    let finalizers: Vec<_> = finalizers.collect();
    if !finalizers.is_empty() {
        message += &format!("; it waits for {}", said(&finalizers.join(", ")));
    }
    // A namespace tells in its conditions what is left in it, each of which holds while something is wrong.
    let left = items(object, &["status", "conditions"]).iter().map(Condition);
    let left = left
        .filter(|_| kind == "Namespace")
        .find(|condition| condition.holds() && !condition.message().is_empty());
    if let Some(left) = left {
        message += &format!("; {}", left.words());
    }
    Verdict::Deleting { message }
}

/// Whether an object was deleted.
pub(super) fn is_deleting(object: &Value) -> bool {
    text(object, &["metadata", "deletionTimestamp"]).is_some()
}

/// Whether an object was told to rest.
pub(super) fn is_suspended(object: &Value) -> bool {
    is_true(object, &["spec", "suspend"])
}
