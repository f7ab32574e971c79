//! The law of Kabernetes by its recorded runs, and the parts of ours by hand.

use super::*;
use crate::settings::{Law, RawGains};

const AVERAGES: [f64; 8] = [0.0, 120.0, 120.0, 60.0, 50.0, 40.0, 0.0, 0.0];

fn counts(gains: KabernetesGains) -> (Vec<f64>, Vec<u32>) {
    let mut law = KabernetesLaw::new(50.0);
    let mut count = 1;
    let mut commands = Vec::new();
    let mut counts = Vec::new();
    for average in AVERAGES {
        let (command, next) = law.step(&gains, average, count);
        count = next;
        commands.push(command);
        counts.push(count);
    }
    (commands, counts)
}

#[test]
fn the_old_law_with_a_proportional_gain() {
    let (commands, counts) = counts(KabernetesGains { kp: 0.1, ki: 0.0, kd: 0.0, band_replicas: None });
    assert_eq!(
        commands.iter().map(|u| u.ceil()).collect::<Vec<_>>(),
        [-5.0, 7.0, 7.0, 1.0, 0.0, -1.0, -5.0, -5.0]
    );
    assert_eq!(counts, [1, 8, 15, 16, 16, 15, 10, 5]);
}

#[test]
fn the_old_law_with_all_gains() {
    let (commands, counts) = counts(KabernetesGains { kp: 0.05, ki: 0.01, kd: 0.02, band_replicas: None });
    for (command, expected) in commands.iter().zip([-3.0, 1.3, 4.4, 2.7, 1.2, 0.6, -1.3, -2.6]) {
        assert!((command - expected).abs() < 1e-9, "{commands:?}");
    }
    assert_eq!(
        commands.iter().map(|u| u.ceil()).collect::<Vec<_>>(),
        [-3.0, 2.0, 5.0, 3.0, 2.0, 1.0, -1.0, -2.0]
    );
    assert_eq!(counts, [1, 3, 8, 11, 13, 14, 13, 11]);
}

#[test]
fn the_old_law_with_a_band() {
    let (commands, counts) = counts(KabernetesGains { kp: 0.1, ki: 0.0, kd: 0.0, band_replicas: Some(4.0) });
    assert_eq!(
        commands.iter().map(|u| u.ceil()).collect::<Vec<_>>(),
        [-4.0, 4.0, 4.0, 1.0, 0.0, -1.0, -4.0, -4.0]
    );
    assert_eq!(counts, [1, 5, 9, 10, 10, 9, 5, 1]);
}

#[test]
fn the_controller_runs_the_old_law_unchanged() {
    let mut controller = Controller::new(settings(|raw| {
        raw.law = Law::Kabernetes;
        raw.cpu_target = 0.5;
        raw.constants = Some(RawGains { kp: 0.05, ki: 0.01, kd: 0.02 });
    }));
    let mut count = 1;
    let mut at_s = 0.0;
    let mut counts = Vec::new();
    for average in AVERAGES {
        at_s += 5.0;
        let seen = Observation {
            now_s: at_s,
            replicas: count,
            ready: count,
            evidence: Ok(evidence(at_s, average / 100.0, count)),
            arrivals_per_s: None,
            inflight: None,
        };
        count = controller.step(&seen).to().unwrap_or(count);
        counts.push(count);
    }
    assert_eq!(counts, [1, 3, 8, 11, 13, 14, 13, 11]);
}

#[test]
fn a_decision_says_how_it_came_about() {
    let mut rig = Rig::new(settings(|_| {}), 4, 4.0 * 0.55);
    rig.run(120);
    assert_eq!(rig.actions, 0);
    rig.demand = 4.0 * 0.9;
    let decision = rig.tick();
    let Decision::Scale { from: 4, to: 6, terms } = decision else { panic!("{decision:?}") };
    assert!((terms.utilisation - 0.9).abs() < 1e-9);
    assert!((terms.proportional - (0.9f64 / 0.6).ln()).abs() < 1e-6, "{terms:?}");
    let sum = terms.ln_replicas
        + terms.proportional
        + terms.integral
        + terms.derivative
        + terms.season
        + terms.bump;
    assert!((sum.exp() - terms.command_replicas).abs() < 1e-9);
    let shown = serde_json::to_value(decision).unwrap();
    assert_eq!(shown["decision"], "scale");
    assert_eq!(shown["terms"]["clamps"], serde_json::json!([]));
    assert_eq!(serde_json::from_value::<Decision>(shown).unwrap(), decision);
}

#[test]
fn clamps_are_written_as_names() {
    let mut clamps = Clamps::default();
    clamps.add(Clamp::Max);
    clamps.add(Clamp::DownRate);
    let text = serde_json::to_string(&clamps).unwrap();
    assert_eq!(text, r#"["max","down_rate"]"#);
    assert_eq!(serde_json::from_str::<Clamps>(&text).unwrap(), clamps);
    assert!(serde_json::from_str::<Clamps>(r#"["never"]"#).is_err());
}

#[test]
fn a_hold_says_why() {
    let mut rig = Rig::new(settings(|_| {}), 3, 1.5);
    rig.run(60);
    rig.silent = true;
    let text = serde_json::to_string(&rig.tick()).unwrap();
    assert_eq!(text, r#"{"decision":"hold","reason":"silence","silence":"stale"}"#);
}

/// A deployment may cost 4 KiB; containers come on top, at less than 100 bytes each, and what is remembered of two days,
/// at 1,968 bytes.
#[test]
fn a_controller_is_small() {
    assert!(size_of::<StandardLaw>() + size_of::<Controller>() <= 2_112, "{}", size_of::<StandardLaw>());
}
