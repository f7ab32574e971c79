//! Faults that generated steps have found, each with the sequence that shows it.

use super::*;
use crate::settings::Mode;

#[test]
fn every_term_is_a_number_at_the_longest_interval() {
    let mut controller = Controller::new(settings(|raw| {
        raw.mode = Mode::Calm;
        (raw.interval_s, raw.window_s, raw.stale_after_s) = (3_600, 3_600, 3_600);
    }));
    controller.step(&Rig::new(settings(|_| {}), 10, 5.0).observe());
    let terms = *controller.terms().unwrap();
    assert!(terms.dead_band.is_finite(), "{terms:?}");
    let text = serde_json::to_string(&terms).unwrap();
    assert!(serde_json::from_str::<Terms>(&text).is_ok(), "what is kept can be read back: {text}");
}

#[test]
fn endless_use_is_no_evidence() {
    let mut rig = Rig::new(settings(|_| {}), 10, 5.0);
    let seen = rig.observe();
    let endless = Evidence { utilisation: f64::INFINITY, ..seen.evidence.unwrap() };
    let decision = rig.controller.step(&Observation { evidence: Ok(endless), ..seen });
    assert_eq!(decision, Decision::Hold(Reason::NothingNew));
}

#[test]
fn a_round_of_less_than_a_doubling_waits_for_its_replicas_too() {
    let mut rig = Rig::new(settings(|_| {}), 10, 5.7);
    rig.startup_s = 60.0;
    rig.run(600);
    rig.silent = true;
    rig.run(600);
    rig.demand = 11.5;
    rig.silent = false;
    let orders: Vec<u32> = (0..11).filter_map(|_| rig.tick().to()).collect();
    assert!(orders.len() <= 1, "{orders:?} while none of them serves");
}

#[test]
fn one_measurement_below_the_ceiling_begins_nothing_anew() {
    let mut rig = Rig::new(settings(|_| {}), 10, 5.7);
    rig.run(600);
    let mut orders = Vec::new();
    let looks = [(10, 1.0, 1.0); 5].into_iter().chain([(14, 0.96, 0.5), (20, 0.99, 0.65)]);
    for (ready, utilisation, saturated_share) in looks {
        rig.now_s += 5.0;
        let evidence = Evidence { saturated_share, ..evidence(rig.now_s, utilisation, ready) };
        let seen = Observation { ready, evidence: Ok(evidence), ..rig.observe() };
        if let Some(to) = rig.controller.step(&seen).to() {
            orders.push(to);
            rig.replicas = to;
        }
    }
    assert!(orders.iter().max() <= Some(&60), "{orders:?}");
}

#[test]
fn constants_that_change_while_changes_must_wait_are_soft_all_the_same() {
    let calm = |cpu_target: f64| {
        settings(|raw| {
            raw.mode = Mode::Calm;
            raw.cpu_target = cpu_target;
        })
    };
    let mut rig = Rig::new(calm(0.6), 20, 11.0);
    rig.run(600);
    rig.demand = 13.5;
    while rig.tick().to().is_none() {}
    let before = rig.replicas;
    rig.controller.set_settings(calm(0.3));
    let first = (0..60).find_map(|_| rig.tick().to()).unwrap();
    assert!(first.abs_diff(before) <= 1, "{before} to {first}");
}
