//! Loads that repeat themselves: what comes is ordered before it comes, also by a controller that was not there before.

use super::*;
use crate::settings::Mode;

const DAY_S: f64 = 86_400.0;

/// From 4 to 12 replicas' work and back, every ten minutes, a little other each time.
fn jumps(now_s: f64) -> f64 {
    let turn = (now_s / 1_200.0).floor();
    let differs = 1.0 + 0.1 * (turn * 2.4).sin();
    if now_s.rem_euclid(1_200.0) < 600.0 { 4.0 * differs } else { 12.0 * differs }
}

/// From 3 to 10 replicas' work at nine, back at five.
fn working_days(now_s: f64) -> f64 {
    if (9.0..17.0).contains(&(now_s.rem_euclid(DAY_S) / 3_600.0)) { 10.0 } else { 3.0 }
}

fn rig(mode: Mode, demand: f64) -> Rig {
    let mut rig = Rig::new(settings(|raw| raw.mode = mode), 10, demand);
    rig.startup_s = 30.0;
    rig.noise = 0.03;
    rig
}

/// Runs until a moment; answers for how long it lacked replicas, in seconds.
fn lacking_s(rig: &mut Rig, until_s: f64, demand: impl Fn(f64) -> f64) -> f64 {
    let mut lacking_s = 0.0;
    while rig.now_s < until_s {
        rig.demand = demand(rig.now_s + 5.0);
        rig.tick();
        if rig.demand > f64::from(rig.ready()) {
            lacking_s += 5.0;
        }
    }
    lacking_s
}

#[test]
fn jumps_that_come_again_are_met() {
    for mode in [Mode::Tight, Mode::Calm] {
        let mut rig = rig(mode, 4.0);
        let learning_s = lacking_s(&mut rig, 3_800.0, jumps);
        assert!(learning_s >= 30.0, "{mode:?}: the first jumps cannot be foreseen: {learning_s} s");
        rig.most = rig.replicas;
        let after_s = lacking_s(&mut rig, 20_000.0, jumps);
        assert!(after_s <= 15.0, "{mode:?}: thirteen more are foreseen: {after_s} s");
        assert!(rig.most <= 40, "{mode:?}: {}", rig.most);
    }
}

/// Who sets `kd` to 0 wants nothing ordered ahead.
#[test]
fn without_kd_nothing_is_ordered_ahead() {
    let mut rig = rig(Mode::Tight, 4.0);
    let gains = crate::settings::RawGains { kp: 1.0, ki: 1.0, kd: 0.0 };
    rig.controller = Controller::new(settings(|raw| raw.constants = Some(gains)));
    lacking_s(&mut rig, 3_800.0, jumps);
    let mut most = 0.0_f64;
    while rig.now_s < 15_000.0 {
        rig.demand = jumps(rig.now_s + 5.0);
        rig.tick();
        most = most.max(rig.controller.terms().map_or(0.0, |terms| terms.season.max(terms.derivative)));
    }
    assert!(most.abs() < 1e-12, "{most}");
}

#[test]
fn a_decision_says_that_the_load_repeats_itself() {
    let mut rig = rig(Mode::Tight, 4.0);
    lacking_s(&mut rig, 7_800.0 - 70.0, jumps);
    let mut told = None;
    while rig.now_s < 7_800.0 {
        rig.demand = jumps(rig.now_s + 5.0);
        told = told.or(match rig.tick() {
            Decision::Scale { terms, .. } => Some(terms),
            Decision::Hold(_) => None,
        });
    }
    let terms = told.expect("it is ordered before it comes");
    assert!(terms.period_s > 0.0 && terms.period_s.rem_euclid(1_200.0) < 1e-9, "{terms:?}");
    assert!(terms.season > 0.7 && terms.derivative.abs() < 1e-9, "{terms:?}");
}

#[test]
fn the_morning_of_the_third_day_is_met_also_after_a_restart() {
    let mut rig = rig(Mode::Tight, 3.0);
    rig.now_s = 0.0;
    let first_s = lacking_s(&mut rig, DAY_S, working_days);
    assert!(first_s >= 30.0, "nobody knew: {first_s} s");
    lacking_s(&mut rig, 2.0 * DAY_S + 7.0 * 3_600.0, working_days);
    let known = rig.controller.knowledge().and_then(|known| known.text()).unwrap();
    rig.controller = Controller::new(settings(|_| {}));
    rig.controller.recall(&Knowledge::read(&known).unwrap());
    let third_s = lacking_s(&mut rig, 3.0 * DAY_S, working_days);
    assert!(third_s <= 5.0, "{third_s} s");
}

/// What was foretold before a silence says nothing of the ceiling after it: what is hidden there is guessed.
#[test]
fn after_a_silence_what_was_foretold_before_it_counts_no_more() {
    let mut rig = rig(Mode::Tight, 4.0);
    lacking_s(&mut rig, 12_300.0, jumps);
    rig.silent = true;
    rig.run(120);
    (rig.silent, rig.demand, rig.noise) = (false, 90.0, 0.0);
    let first = (0..4).find_map(|_| match rig.tick() {
        Decision::Scale { terms, .. } => Some(terms),
        Decision::Hold(_) => None,
    });
    let terms = first.expect("all replicas stand at their ceiling");
    assert!(terms.blind_round == 1 && terms.integral > 0.01, "{terms:?}");
}

/// After a load has stopped repeating itself, what it used to do is ordered once more at most, and not kept.
#[test]
fn a_load_that_stops_repeating_itself_is_followed_again() {
    let mut rig = rig(Mode::Tight, 4.0);
    lacking_s(&mut rig, 12_000.0, jumps);
    lacking_s(&mut rig, 15_000.0, |_| 4.0);
    rig.most = rig.replicas;
    let lacking_s = lacking_s(&mut rig, 22_000.0, |_| 4.0);
    assert!(rig.most <= 9 && lacking_s < 1.0, "{} and {lacking_s} s", rig.most);
}

#[test]
fn knowledge_is_written_and_read_again() {
    let mut rig = rig(Mode::Tight, 4.0);
    lacking_s(&mut rig, 9_000.0, jumps);
    let known = rig.controller.knowledge().unwrap();
    let text = known.text().unwrap();
    let read = Knowledge::read(&text).unwrap();
    // The last digit of a number may differ.
    assert_eq!((&read.season, read.start), (&known.season, known.start));
    assert!((read.hidden - known.hidden).abs() < 1e-12);
    let mut next = Controller::new(settings(|_| {}));
    next.recall(&known);
    assert_eq!(next.knowledge().as_ref(), Some(&known));
    assert!((next.startup_s().unwrap() - rig.controller.startup_s().unwrap()).abs() < 1e-9);
    assert!(text.len() <= 8_192, "{} bytes after two and a half hours", text.len());
    let mut old = Controller::new(settings(|raw| raw.law = crate::settings::Law::Kabernetes));
    old.recall(&known);
    assert_eq!(old.knowledge(), None);
}

/// What is no knowledge, or of another form, or makes no sense, is as good as none: nothing is learned from it.
#[test]
fn bad_knowledge_does_no_harm() {
    let fresh = || Controller::new(settings(|_| {}));
    let text = fresh().knowledge().and_then(|known| known.text()).unwrap();
    for bad in ["", "{}", "null", "[1, 2]", &text[1..], &text.replace("\"form\":1", "\"form\":2")] {
        assert_eq!(Knowledge::read(bad), None, "{bad}");
    }
    let twisted = [
        ("\"hidden\":0.0", "\"hidden\":1e300"),
        ("\"hidden\":0.0", "\"hidden\":-3.0"),
        ("\"price\":[0.0,", "\"price\":["),
        ("\"price\":[0.0,", "\"price\":[-1.0,"),
        ("\"square\":[0.0,", "\"square\":[-1.0,"),
        ("\"square\":[0.0,", "\"square\":[0.0,0.0,"),
        ("\"startup_s\":30.0,\"starts_seen\":0", "\"startup_s\":1e9,\"starts_seen\":9"),
    ];
    for (from, to) in twisted {
        assert!(text.contains(from), "{from} in {text}");
        let mut next = fresh();
        next.recall(&Knowledge::read(&text.replace(from, to)).unwrap());
        assert_eq!(next.knowledge(), fresh().knowledge(), "{to}");
    }
}
