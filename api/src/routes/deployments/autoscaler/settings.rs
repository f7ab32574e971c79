//! Settings of an autoscaler as they arrive: checked, and changed in part. Pure.

use serde_json::{Map, Value};
use slipway_common::model::autoscaler::{AutoscalerSettings, RawSettings, SettingsError};
use slipway_common::model::request::RequestLimits;

use crate::body;
use crate::refusal::Refusal;

/// The field that holds the gains, and their names.
const CONSTANTS: &str = "constants";

/// Settings that fit each other and this installation.
pub(crate) fn checked(raw: RawSettings, limits: &RequestLimits) -> Result<AutoscalerSettings, Refusal> {
    let replicas_max = raw.replicas_max;
    let settings = valid(raw)?;
    if replicas_max > limits.replicas_max {
        return Err(Refusal::field("replicas_max", format!("must be from 1 to {}", limits.replicas_max)));
    }
    Ok(settings)
}

/// Settings that fit each other.
pub(crate) fn valid(raw: RawSettings) -> Result<AutoscalerSettings, Refusal> {
    AutoscalerSettings::try_from(raw).map_err(|error| match error {
        SettingsError::Range { field, range, value: _ } => Refusal::field(field, format!("must be {range}")),
        SettingsError::Relation(words) => Refusal::field(first_named(words), words),
    })
}

/// The field that a sentence names first, in backquotes.
fn first_named(words: &str) -> &str {
    words.split('`').nth(1).unwrap_or_default()
}

/// The settings after a merge patch (RFC 7396) over all of them.
pub(crate) fn patched(
    settings: &AutoscalerSettings,
    patch: &Value,
    limits: &RequestLimits,
) -> Result<AutoscalerSettings, Refusal> {
    let current = serde_json::to_value(RawSettings::from(settings.clone()))
        .map_err(|_| Refusal::Internal("settings cannot be written as JSON"))?;
    let wanted = with_all_constants(merged(current, patch))?;
    checked(body::from_value(wanted)?, limits)
}

/// RFC 7396, section 2. Nested no deeper than a body may be.
fn merged(target: Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut members = if let Value::Object(members) = target { members } else { Map::new() };
    for (name, change) in changes {
        let before = members.remove(name);
        if !change.is_null() {
            members.insert(name.clone(), merged(before.unwrap_or_default(), change));
        }
    }
    Value::Object(members)
}

/// A single constant that was taken away gets its default, as the others have theirs.
fn with_all_constants(mut wanted: Value) -> Result<Value, Refusal> {
    let names = ["kp", "ki", "kd"];
    let is_complete = |constants: &Map<String, Value>| names.iter().all(|name| constants.contains_key(*name));
    let given = wanted.get(CONSTANTS).and_then(Value::as_object).filter(|given| !is_complete(given));
    let Some(mut given) = given.cloned() else { return Ok(wanted) };
    let mut others = wanted.clone();
    if let Some(members) = others.as_object_mut() {
        members.remove(CONSTANTS);
    }
    let defaults = RawSettings::from(valid(body::from_value(others)?)?).constants;
    let gains = defaults.map(|gains| [gains.kp, gains.ki, gains.kd]).unwrap_or_default();
    for (name, gain) in names.into_iter().zip(gains) {
        given.entry(name).or_insert_with(|| Value::from(gain));
    }
    if let Some(members) = wanted.as_object_mut() {
        members.insert(CONSTANTS.to_owned(), Value::Object(given));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipway_common::config::Config;

    use super::*;

    fn limits() -> RequestLimits {
        Config::load(None, Vec::new()).unwrap().limits
    }

    fn read(settings: Value) -> Result<AutoscalerSettings, Refusal> {
        checked(body::from_value(settings)?, &limits())
    }

    fn good() -> AutoscalerSettings {
        read(json!({
            "cpu_target": 0.6, "replicas_max": 8, "hold_s": 7,
            "constants": { "kp": 0.9, "ki": 0.8, "kd": 0.7 }
        }))
        .unwrap()
    }

    fn shown(settings: AutoscalerSettings) -> Value {
        serde_json::to_value(RawSettings::from(settings)).unwrap()
    }

    fn patch(patch: &Value) -> Result<Value, Refusal> {
        patched(&good(), patch, &limits()).map(shown)
    }

    fn field(refusal: Refusal) -> String {
        let Refusal::Fields(errors) = refusal else { panic!("{refusal:?}") };
        errors[0].field.clone()
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        assert_eq!(patch(&json!({})).unwrap(), shown(good()));
        let changed = patch(&json!({ "constants": { "kp": 0.5 }, "replicas_min": 2 })).unwrap();
        assert_eq!(changed["constants"], json!({ "kp": 0.5, "ki": 0.8, "kd": 0.7 }));
        let mut wanted = shown(good());
        wanted["constants"]["kp"] = json!(0.5);
        wanted["replicas_min"] = json!(2);
        assert_eq!(changed, wanted);
    }

    #[test]
    fn null_is_the_default_again() {
        let plain = shown(read(json!({ "cpu_target": 0.6, "replicas_max": 8 })).unwrap());
        let changed = patch(&json!({ "hold_s": null, "constants": null })).unwrap();
        assert_eq!(changed, plain);
        let changed = patch(&json!({ "constants": { "kd": null } })).unwrap();
        assert_eq!(changed["constants"]["kd"], plain["constants"]["kd"]);
        assert_eq!(changed["constants"]["kp"], 0.9);
        assert_eq!(field(patch(&json!({ "cpu_target": null })).unwrap_err()), "cpu_target");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        for (wrong, name) in [
            (json!({ "nope": 1 }), "nope"),
            (json!({ "cpu_target": 0 }), "cpu_target"),
            (json!({ "cpu_target": "high" }), "cpu_target"),
            (json!({ "replicas_min": 9 }), "replicas_min"),
            (json!({ "replicas_max": 33 }), "replicas_max"),
            (json!({ "replicas_max": 20_000 }), "replicas_max"),
            (json!({ "replicas_max": 2.5 }), "replicas_max"),
            (json!({ "interval_s": 31 }), "stale_after_s"),
            (json!({ "constants": { "kp": 2.5 } }), "constants.kp"),
            (json!({ "constants": { "kq": 1 } }), "constants.kq"),
            (json!({ "constants": 1 }), "constants"),
            (json!({ "law": "newton" }), "law"),
        ] {
            assert_eq!(field(patch(&wrong).unwrap_err()), name, "{wrong}");
        }
        for no_settings in [json!(null), json!([]), json!("x"), json!(1)] {
            assert!(patch(&no_settings).is_err(), "{no_settings}");
        }
    }

    /// The examples of RFC 7396, appendix A, that show something different each.
    #[test]
    fn merging_is_as_the_rfc_says() {
        for (target, change, result) in [
            (json!({ "a": "b" }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": "b" }), json!({ "b": "c" }), json!({ "a": "b", "b": "c" })),
            (json!({ "a": "b", "b": "c" }), json!({ "a": null }), json!({ "b": "c" })),
            (json!({ "a": ["b"] }), json!({ "a": "c" }), json!({ "a": "c" })),
            (
                json!({ "a": { "b": "c" } }),
                json!({ "a": { "b": "d", "c": null } }),
                json!({ "a": { "b": "d" } }),
            ),
            (json!({ "a": [{ "b": "c" }] }), json!({ "a": [1] }), json!({ "a": [1] })),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({ "e": null }), json!({ "a": 1 }), json!({ "e": null, "a": 1 })),
            (json!([1, 2]), json!({ "a": "b", "c": null }), json!({ "a": "b" })),
            (json!({}), json!({ "a": { "bb": { "ccc": null } } }), json!({ "a": { "bb": {} } })),
        ] {
            assert_eq!(merged(target, &change), result);
        }
    }
}
