//! Which settings are valid.

use super::*;

type Spoil = fn(&mut RawSettings);

fn raw() -> RawSettings {
    serde_json::from_str(
        r#"{"cpu_target": 0.6, "constants": {"kp": 1, "ki": 0.1, "kd": 0}, "replicas_max": 10}"#,
    )
    .unwrap()
}

fn gains(raw: &mut RawSettings) -> &mut RawGains {
    raw.constants.as_mut().unwrap()
}

#[test]
fn what_is_not_given_has_a_default() {
    let settings = AutoscalerSettings::try_from(raw()).unwrap();
    assert_eq!(settings.replicas().0.get(), 1);
    assert_eq!(settings.interval(), SignedDuration::from_secs(5));
    assert_eq!(settings.law(), Law::Standard);
    assert_eq!(settings.actions_per_hour_max(), Mode::Tight.defaults().actions_per_hour_max);
    assert_eq!(settings.cpu_target().get(), 0.6);
}

#[test]
fn values_outside_their_range_are_refused_by_name() {
    let cases: [(&str, Spoil); 14] = [
        ("cpu_target", |raw| raw.cpu_target = 0.0),
        ("cpu_target", |raw| raw.cpu_target = 1.01),
        ("cpu_target", |raw| raw.cpu_target = f64::NAN),
        ("constants.kp", |raw| gains(raw).kp = -1.0),
        ("constants.ki", |raw| gains(raw).ki = f64::INFINITY),
        ("constants.kd", |raw| gains(raw).kd = 1_001.0),
        ("replicas_min", |raw| raw.replicas_min = 0),
        ("replicas_max", |raw| raw.replicas_max = 10_001),
        ("interval_s", |raw| raw.interval_s = 0),
        ("constants.kp", |raw| gains(raw).kp = 2.1),
        ("hold_s", |raw| raw.hold_s = Some(0)),
        ("hysteresis", |raw| raw.hysteresis = Some(f64::NAN)),
        ("down_percent_per_min", |raw| raw.down_percent_per_min = Some(101.0)),
        ("actions_per_hour_max", |raw| raw.actions_per_hour_max = Some(0)),
    ];
    for (field, spoil) in cases {
        let mut raw = raw();
        spoil(&mut raw);
        match AutoscalerSettings::try_from(raw) {
            Err(SettingsError::Range { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn values_must_fit_each_other() {
    let cases: [Spoil; 3] =
        [|raw| raw.replicas_min = 11, |raw| raw.window_s = 31, |raw| raw.stale_after_s = 4];
    for spoil in cases {
        let mut raw = raw();
        spoil(&mut raw);
        assert!(matches!(AutoscalerSettings::try_from(raw), Err(SettingsError::Relation(_))));
    }
}

#[test]
fn unknown_fields_are_refused() {
    let text =
        r#"{"cpu_target": 0.6, "constants": {"kp": 1, "ki": 0, "kd": 0}, "replicas_max": 2, "speed": 1}"#;
    assert!(serde_json::from_str::<RawSettings>(text).unwrap_err().to_string().contains("speed"));
}

#[test]
fn the_old_law_takes_its_old_gains() {
    let mut raw = raw();
    raw.law = Law::Kabernetes;
    gains(&mut raw).kp = 40.0;
    assert_eq!(AutoscalerSettings::try_from(raw).unwrap().gains().0.get(), 40.0);
}

#[test]
fn what_is_shown_can_be_sent_back() {
    let settings = AutoscalerSettings::try_from(raw()).unwrap();
    let shown = serde_json::to_string(&settings).unwrap();
    assert!(shown.contains(r#""law":"standard""#) && shown.contains(r#""hold_s":"#), "{shown}");
    assert_eq!(serde_json::from_str::<AutoscalerSettings>(&shown).unwrap(), settings);
}
