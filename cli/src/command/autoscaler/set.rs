//! `slipway autoscaler set`: a new autoscaler, other settings for the one there is, a number of replicas by hand.

use serde_json::{Map, Value, json};
use slipway_common::model::autoscaler::{Law, Mode, RawGains, RawSettings};

use super::{is_absent, path, read};
use crate::args::{SetArgs, SettingsArgs};
use crate::client::Client;
use crate::client::types::{AutoscalerView, WishAccepted};
use crate::command::{CommandError, resolve};
use crate::exit::Exit;
use crate::view;

/// CPU target of a new autoscaler.
const CPU_TARGET: f64 = 0.6;

/// Sets what is given.
///
/// # Errors
/// When nothing is given, a new autoscaler lacks its largest number, or the server cannot be reached or refuses.
pub(super) async fn run(client: &Client, args: &SetArgs, json: bool) -> Result<Exit, CommandError> {
    let settings = (args.settings != SettingsArgs::default()).then_some(&args.settings);
    if settings.is_none() && args.replicas.is_none() {
        return Err(CommandError::Settings { reason: "nothing to set is given".to_owned() });
    }
    let id = resolve::deployment(client, &args.id).await?;
    if let Some(settings) = settings {
        let document = store(client, &id, settings).await?;
        if json {
            view::json(&document);
        } else {
            let autoscaler: AutoscalerView = read(client, document)?;
            view::autoscaler::print_settings(&autoscaler, jiff::Timestamp::now());
        }
    }
    if let Some(replicas) = args.replicas {
        let body = json!({ "replicas": replicas });
        let document: Value = client.put_answered(&["deployments", &id, "replicas"], &body).await?;
        if json {
            view::json(&document);
        } else {
            let accepted: WishAccepted = read(client, document)?;
            view::line(&format!("{} replicas are asked for", accepted.replicas));
        }
    }
    Ok(Exit::Done)
}

/// Makes an autoscaler or changes the one there is.
async fn store(client: &Client, id: &str, flags: &SettingsArgs) -> Result<Value, CommandError> {
    match client.get::<Value>(&path(id), &[]).await {
        Ok(document) => {
            let there: AutoscalerView = read(client, document.clone())?;
            let changes = changes(&there.settings, &overlaid(&there.settings, flags));
            if changes.is_empty() {
                return Ok(document);
            }
            Ok(client.patch_answered(&path(id), &Value::Object(changes)).await?)
        }
        Err(error) if is_absent(&error) => {
            let mut wanted = shown(&new(flags)?);
            wanted.retain(|_, value| !value.is_null());
            Ok(client.put_answered(&path(id), &Value::Object(wanted)).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The settings of a new autoscaler.
fn new(flags: &SettingsArgs) -> Result<RawSettings, CommandError> {
    let Some(replicas_max) = flags.max else {
        return Err(CommandError::Settings {
            reason: "there is no autoscaler yet, and a new one needs --max, the most replicas it may order"
                .to_owned(),
        });
    };
    let plain = RawSettings {
        law: Law::default(),
        mode: Mode::default(),
        cpu_target: CPU_TARGET,
        constants: None,
        replicas_min: 1,
        replicas_max,
        interval_s: 5,
        window_s: 5,
        stale_after_s: 30,
        hold_s: None,
        down_percent_per_min: None,
        hysteresis: None,
        actions_per_hour_max: None,
    };
    Ok(overlaid(&plain, flags))
}

/// Settings with the flags over them. Another mode or law takes its own defaults where the flags say nothing.
pub(super) fn overlaid(before: &RawSettings, flags: &SettingsArgs) -> RawSettings {
    let mode = flags.mode.map_or(before.mode, Mode::from);
    let law = flags.law.map_or(before.law, Law::from);
    let (same_mode, same_law) = (mode == before.mode, law == before.law);
    let kept = if same_mode && same_law { before.constants.clone() } else { None };
    RawSettings {
        law,
        mode,
        cpu_target: flags.cpu_target.unwrap_or(before.cpu_target),
        constants: constants(kept, (law, mode), flags),
        replicas_min: flags.min.unwrap_or(before.replicas_min),
        replicas_max: flags.max.unwrap_or(before.replicas_max),
        interval_s: flags.interval_s.unwrap_or(before.interval_s),
        window_s: flags.window_s.unwrap_or(before.window_s),
        stale_after_s: flags.stale_after_s.unwrap_or(before.stale_after_s),
        hold_s: flags.hold_s.or(before.hold_s.filter(|_| same_mode)),
        down_percent_per_min: flags
            .down_percent_per_min
            .or(before.down_percent_per_min.filter(|_| same_mode)),
        hysteresis: flags.hysteresis.or(before.hysteresis.filter(|_| same_mode)),
        actions_per_hour_max: flags
            .actions_per_hour_max
            .or(before.actions_per_hour_max.filter(|_| same_mode)),
    }
}

/// All three, when one of them is given.
fn constants(kept: Option<RawGains>, (law, mode): (Law, Mode), flags: &SettingsArgs) -> Option<RawGains> {
    if flags.kp.is_none() && flags.ki.is_none() && flags.kd.is_none() {
        return kept;
    }
    let (kp, ki, kd) = match (kept, law) {
        (Some(kept), _) => (kept.kp, kept.ki, kept.kd),
        (None, Law::Standard) => mode.defaults().gains,
        (None, Law::Kabernetes) => (0.0, 0.0, 0.0),
    };
    Some(RawGains { kp: flags.kp.unwrap_or(kp), ki: flags.ki.unwrap_or(ki), kd: flags.kd.unwrap_or(kd) })
}

/// A merge patch from one to the other: only what differs, `null` for what shall have its default.
fn changes(before: &RawSettings, after: &RawSettings) -> Map<String, Value> {
    let before = shown(before);
    let mut after = shown(after);
    after.retain(|name, value| before.get(name) != Some(value));
    after
}

fn shown(settings: &RawSettings) -> Map<String, Value> {
    match json!(settings) {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::autoscaler::{LawArg, ModeArg};
    use crate::client::fake::{self, Answer};

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const ABSENT: &str = r#"{"title":"Not Found","status":404,"code":"autoscaler_absent","detail":"none"}"#;
    const THERE: &str =
        r#"{"updated_at":"2026-01-01T00:00:00Z","settings":{"cpu_target":0.6,"replicas_max":9}}"#;

    fn before() -> RawSettings {
        serde_json::from_value(json!({
            "law": "standard", "mode": "tight", "cpu_target": 0.6, "replicas_max": 9, "hold_s": 24,
            "constants": { "kp": 1.0, "ki": 1.0, "kd": 1.0 }, "down_percent_per_min": 54.0, "hysteresis": 0.08,
            "actions_per_hour_max": 240
        }))
        .unwrap()
    }

    fn patch(flags: &SettingsArgs) -> Value {
        Value::Object(changes(&before(), &overlaid(&before(), flags)))
    }

    #[test]
    fn only_what_is_given_is_changed() {
        assert_eq!(patch(&SettingsArgs::default()), json!({}));
        let flags = SettingsArgs { kp: Some(0.5), max: Some(9), min: Some(2), ..SettingsArgs::default() };
        let wanted = json!({ "constants": { "kp": 0.5, "ki": 1.0, "kd": 1.0 }, "replicas_min": 2 });
        assert_eq!(patch(&flags), wanted);
    }

    #[test]
    fn another_mode_brings_its_defaults() {
        let calm = SettingsArgs { mode: Some(ModeArg::Calm), hold_s: Some(40), ..SettingsArgs::default() };
        let wanted = json!({ "mode": "calm", "constants": null, "hold_s": 40, "down_percent_per_min": null,
            "hysteresis": null, "actions_per_hour_max": null });
        assert_eq!(patch(&calm), wanted);
        let law = SettingsArgs { law: Some(LawArg::Kabernetes), kp: Some(0.05), ..SettingsArgs::default() };
        let wanted = json!({ "law": "kabernetes", "constants": { "kp": 0.05, "ki": 0.0, "kd": 0.0 } });
        assert_eq!(patch(&law), wanted);
        let same = SettingsArgs { mode: Some(ModeArg::Tight), ..SettingsArgs::default() };
        assert_eq!(patch(&same), json!({}));
    }

    #[test]
    fn a_new_autoscaler_needs_its_largest_number() {
        let error = new(&SettingsArgs { cpu_target: Some(0.7), ..SettingsArgs::default() }).unwrap_err();
        assert!(error.to_string().contains("--max"), "{error}");
        let plain = new(&SettingsArgs { max: Some(4), ..SettingsArgs::default() }).unwrap();
        assert_eq!((plain.replicas_min, plain.replicas_max, plain.hold_s), (1, 4, None));
        assert!((plain.cpu_target - CPU_TARGET).abs() < 1e-12);
        let one = new(&SettingsArgs { max: Some(4), kd: Some(2.0), ..SettingsArgs::default() }).unwrap();
        assert_eq!(one.constants, Some(RawGains { kp: 1.0, ki: 1.0, kd: 2.0 }));
    }

    fn args(settings: SettingsArgs, replicas: Option<u32>) -> SetArgs {
        SetArgs { id: ID.to_owned(), replicas, settings }
    }

    #[tokio::test]
    async fn an_autoscaler_is_made_where_there_is_none_and_changed_where_there_is_one() {
        let script = vec![
            Answer::Json(404, ABSENT),
            Answer::Json(201, THERE),
            Answer::Json(200, THERE),
            Answer::Json(200, THERE),
            Answer::Json(202, r#"{"wish":"w","replicas":3}"#),
        ];
        let (client, heads) = fake::client(script).await;
        let flags = SettingsArgs { max: Some(9), ..SettingsArgs::default() };
        run(&client, &args(flags.clone(), None), false).await.unwrap();
        let other = SettingsArgs { cpu_target: Some(0.7), ..flags };
        run(&client, &args(other, Some(3)), false).await.unwrap();
        let heads = heads.lock().unwrap();
        let verbs: Vec<&str> = heads.iter().filter_map(|head| head.split(" http").next()).collect();
        let at = |verb: &str, what: &str| format!("{verb} /deployments/{ID}/{what}");
        let wanted = [
            at("get", "autoscaler"),
            at("put", "autoscaler"),
            at("get", "autoscaler"),
            at("patch", "autoscaler"),
            at("put", "replicas"),
        ];
        assert_eq!(verbs, wanted);
    }

    #[tokio::test]
    async fn nothing_given_is_a_usage_error_and_other_refusals_are_told() {
        let (client, heads) =
            fake::client(vec![Answer::Json(404, r#"{"title":"x","code":"not_found"}"#)]).await;
        let empty = run(&client, &args(SettingsArgs::default(), None), false).await;
        assert!(matches!(empty, Err(CommandError::Settings { .. })));
        let flags = SettingsArgs { max: Some(9), ..SettingsArgs::default() };
        let unknown = run(&client, &args(flags, None), false).await;
        assert!(matches!(unknown, Err(CommandError::Client(_))));
        assert_eq!(heads.lock().unwrap().len(), 1);
    }
}
