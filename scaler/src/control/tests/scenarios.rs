//! What must and must not happen, each with the allowed range.

use super::*;
use crate::demand::{ContainerSample, Cpu, DemandLimits, DemandWindow, Key};
use crate::settings::{Mode, RawGains};

/// Steady load with 5 % noise on every measurement of the whole deployment, 24 simulated hours, at every count from 1
/// to 100: no change at all. The load sits exactly at the target, where a count one lower or higher is closest.
fn steady(mode: Mode, share_of_target: f64, count: u32) {
    let demand = f64::from(count) * 0.6 * share_of_target;
    let mut rig = Rig::new(settings(|raw| raw.mode = mode), count, demand);
    rig.noise = 0.05;
    rig.rng = Rng::new(u64::from(count) + 17);
    for _ in 0..24 * 720 {
        let decision = rig.tick();
        assert_eq!(rig.actions, 0, "{mode:?} at {count}, {share_of_target}, {} s: {decision:?}", rig.now_s);
    }
}

/// Debug builds look at a part of the counts, all small ones among them, to end within seconds; with
/// `SLIPWAY_TEST_LONG` set, every count is looked at.
fn steady_counts() -> Vec<u32> {
    let long = std::env::var_os("SLIPWAY_TEST_LONG").is_some();
    (1..=100).filter(|n| long || *n <= 12 || n % 11 == 0 || *n == 100).collect()
}

#[test]
fn a_steady_load_with_noise_changes_nothing_in_a_day() {
    for count in steady_counts() {
        steady(Mode::Tight, 0.999, count);
    }
}

#[test]
fn a_steady_load_with_noise_changes_nothing_in_a_day_when_calm() {
    for count in steady_counts() {
        steady(Mode::Calm, 0.999, count);
    }
}

/// After a change the dead band is narrow for a while. Noise must not use that to change the count again and again.
#[test]
fn after_a_step_a_steady_load_is_left_alone_again() {
    for mode in [Mode::Tight, Mode::Calm] {
        for count in [1, 2, 3, 5, 8, 13, 30, 60] {
            let mut rig = Rig::new(settings(|raw| raw.mode = mode), count, f64::from(count) * 0.54);
            rig.noise = 0.05;
            rig.startup_s = 30.0;
            rig.rng = Rng::new(u64::from(count) + 17);
            rig.run(900);
            rig.demand *= 1.5;
            rig.run(3_600);
            let settled = rig.actions;
            assert!((1..=12).contains(&settled), "{mode:?} at {count}: {settled}");
            rig.run(23 * 3_600);
            assert_eq!(rig.actions, settled, "{mode:?} at {count}");
        }
    }
}

#[test]
fn an_outage_holds_and_ends_without_overshoot() {
    for factor in [0.5, 1.0, 1.6] {
        let mut rig = Rig::new(settings(|_| {}), 10, 10.0 * 0.58);
        rig.noise = 0.02;
        rig.run(900);
        let before = rig.replicas;
        rig.silent = true;
        rig.demand *= factor;
        rig.run(600);
        assert_eq!(rig.replicas, before, "silence holds");
        rig.silent = false;
        rig.most = rig.replicas;
        rig.run(25);
        let needed = f64::max(rig.demand / 0.6, 1.0).ceil();
        let limit = f64::max(1.2 * needed, f64::from(before));
        assert!(f64::from(rig.most) <= limit, "{factor}: {} of {needed}", rig.most);
        assert!(f64::from(rig.replicas) >= needed, "{factor}: settled within 5 periods");
        let settled = rig.replicas;
        rig.run(25);
        assert_eq!(rig.replicas, settled, "{factor}: stays");
    }
}

#[test]
fn overload_beyond_the_ceiling_is_left_quickly_and_without_a_flood() {
    for (start, demand) in [(1, 8.0), (2, 10.0), (5, 20.0), (10, 60.0)] {
        let mut rig = Rig::new(settings(|_| {}), start, f64::from(start) * 0.5);
        rig.startup_s = 30.0;
        rig.run(300);
        rig.demand = demand;
        rig.run(360);
        let needed = (demand / 0.6).ceil();
        assert!(f64::from(rig.ready()) >= demand, "{start} -> {demand}: {} ready", rig.ready());
        assert!(f64::from(rig.most) <= 2.5 * needed, "{start} -> {demand}: {} at most", rig.most);
        rig.run(1_200);
        let count = f64::from(rig.replicas);
        assert!((needed..=1.2 * needed).contains(&count), "{start} -> {demand}: ends at {count}");
    }
}

#[test]
fn at_the_ceiling_nothing_more_is_ordered_until_all_that_was_ordered_serves() {
    let mut rig = Rig::new(settings(|_| {}), 4, 2.0);
    rig.startup_s = 60.0;
    rig.run(300);
    rig.demand = 200.0;
    rig.run(10);
    let first = rig.replicas;
    assert!(first > 4);
    let mut orders = 0;
    for _ in 0..10 {
        let ready = rig.ready();
        if rig.tick().to().is_some() {
            orders += 1;
            assert_eq!(ready, first, "only once all serve");
        }
    }
    assert!(orders <= 1);
}

/// Four of five containers stand at their ceiling, by chance or because they have just started: the fifth shows that
/// hardly anything is hidden, so nothing is added to what is measured. When the last one is full as well, it is.
#[test]
fn while_some_containers_have_room_nothing_is_guessed() {
    let mut rig = Rig::new(settings(|_| {}), 5, 2.9);
    rig.startup_s = 30.0;
    rig.run(600);
    rig.now_s += 5.0;
    let with_room = Evidence {
        saturated_share: 0.8,
        utilisation: 0.9,
        demand_replicas: 4.5,
        ..evidence(rig.now_s, 0.9, 5)
    };
    let seen = Observation { evidence: Ok(with_room), ..rig.observe() };
    let decision = rig.controller.step(&seen);
    let first = decision.to().unwrap();
    assert_eq!(first, 9, "5 / 0.6 and no more: {decision:?}");
    rig.scale(first);
    rig.demand = 20.0;
    let full = rig.tick().to().unwrap();
    assert!(full > 15, "all of the CPU is used: {full}");
}

#[test]
fn constants_change_without_a_bump() {
    let mut rng = Rng::new(5);
    for case in 0..200 {
        let count = 2 + case % 60;
        let demand = f64::from(count) * 0.57;
        let mut rig = Rig::new(settings(|_| {}), count, demand);
        rig.noise = 0.02;
        rig.run(900);
        let before = rig.replicas;
        rig.controller.set_settings(settings(|raw| {
            raw.cpu_target = rng.between(0.2, 0.95);
            raw.mode = if rng.chance(0.5) { Mode::Tight } else { Mode::Calm };
            raw.hysteresis = Some(rng.between(0.0, 0.4));
            raw.hold_s = Some(60);
            let (kp, ki, kd) = (rng.between(0.2, 1.5), rng.between(0.0, 5.0), rng.between(0.0, 5.0));
            raw.constants = Some(RawGains { kp, ki, kd });
        }));
        rig.tick();
        assert!(rig.replicas.abs_diff(before) <= 1, "case {case}: {before} -> {}", rig.replicas);
    }
}

#[test]
fn a_new_target_is_reached_all_the_same() {
    let mut rig = Rig::new(settings(|_| {}), 20, 11.8);
    rig.run(600);
    rig.controller.set_settings(settings(|raw| raw.cpu_target = 0.4));
    rig.run(600);
    assert!((30..=33).contains(&rig.replicas), "{}", rig.replicas);
    rig.controller.set_settings(settings(|raw| raw.cpu_target = 0.8));
    rig.run(1_800);
    assert!((15..=17).contains(&rig.replicas), "{}", rig.replicas);
}

#[test]
fn a_foreign_count_is_adopted() {
    let mut rig = Rig::new(settings(|_| {}), 6, 6.0 * 0.55);
    rig.run(600);
    rig.replicas = 11;
    let decision = rig.tick();
    assert_eq!(decision, Decision::Hold(Reason::Adopted { expected: 6, found: 11 }));
    rig.run(35);
    assert_eq!(rig.replicas, 11, "kept for as long as demand is remembered");
    rig.run(1_200);
    assert!((6..=7).contains(&rig.replicas), "then ours again: {}", rig.replicas);
    rig.replicas = 4;
    assert!(matches!(rig.tick(), Decision::Hold(Reason::Adopted { expected: _, found: 4 })));
    rig.run(60);
    assert!(rig.replicas >= 6, "the load still needs them: {}", rig.replicas);
}

#[test]
fn a_restart_never_takes_away() {
    let mut rig = Rig::new(settings(|_| {}), 30, 3.0);
    rig.run(85);
    assert_eq!((rig.replicas, rig.actions), (30, 0));
    rig.run(1_200);
    assert!(rig.replicas <= 6, "later it does: {}", rig.replicas);
}

#[test]
fn the_action_budget_is_a_hard_limit() {
    let mut rig = Rig::new(
        settings(|raw| {
            raw.actions_per_hour_max = Some(10);
            raw.hold_s = Some(1);
            raw.down_percent_per_min = Some(100.0);
        }),
        10,
        5.0,
    );
    let mut times = Vec::new();
    for step in 0..4 * 720 {
        rig.demand = if step % 24 < 12 { 4.0 } else { 12.0 };
        if rig.tick().to().is_some() {
            times.push(rig.now_s);
        }
    }
    assert!(times.len() >= 20, "it does act: {}", times.len());
    for start in &times {
        let in_hour = times.iter().filter(|at| (0.0..3_600.0).contains(&(*at - start))).count();
        assert!(in_hour <= 10, "{in_hour} in the hour from {start}");
    }
}

#[test]
fn a_target_that_does_not_follow_is_not_taken_for_a_foreign_writer() {
    let mut rig = Rig::new(settings(|_| {}), 5, 2.5);
    rig.run(300);
    rig.demand = 4.5;
    rig.now_s += 5.0;
    let seen = rig.observe();
    let ordered = rig.controller.step(&seen).to().unwrap();
    assert!(ordered > 5);
    for _ in 0..3 {
        rig.now_s += 5.0;
        let seen = rig.observe();
        assert_eq!(rig.controller.step(&seen), Decision::Hold(Reason::AwaitingTarget));
    }
    rig.now_s += 5.0;
    let seen = rig.observe();
    let again = rig.controller.step(&seen);
    assert_eq!(again.to(), Some(ordered), "ordered again, not {again:?}");
}

#[test]
fn repeated_late_and_broken_input_is_harmless() {
    let mut rig = Rig::new(settings(|_| {}), 5, 2.8);
    rig.run(300);
    let good = rig.observe();
    for (name, bad) in [
        ("repeated", good),
        ("clock back", Observation { now_s: good.now_s - 60.0, ..good }),
        ("no clock", Observation { now_s: f64::NAN, ..good }),
        ("old evidence", Observation { now_s: good.now_s + 5.0, ..good }),
        (
            "not a number",
            Observation {
                now_s: good.now_s + 10.0,
                evidence: Ok(Evidence { demand_replicas: f64::NAN, ..evidence(good.now_s + 10.0, 0.5, 5) }),
                ..good
            },
        ),
        (
            "endless",
            Observation {
                now_s: good.now_s + 15.0,
                evidence: Ok(Evidence {
                    demand_replicas: f64::INFINITY,
                    ..evidence(good.now_s + 15.0, 0.5, 5)
                }),
                ..good
            },
        ),
    ] {
        assert_eq!(rig.controller.step(&bad).to(), None, "{name}");
    }
    rig.now_s += 15.0;
    rig.run(60);
    assert_eq!(rig.replicas, 5);
}

#[test]
fn a_stopped_deployment_is_left_alone() {
    let mut rig = Rig::new(settings(|_| {}), 5, 2.8);
    rig.run(60);
    let seen = Observation { now_s: rig.now_s + 5.0, replicas: 0, ready: 0, ..rig.observe() };
    assert_eq!(rig.controller.step(&seen), Decision::Hold(Reason::Stopped));
}

#[test]
fn reported_arrivals_say_what_the_ceiling_hides() {
    let run = |arrivals: bool| {
        let mut rig = Rig::new(settings(|_| {}), 5, 2.5);
        rig.startup_s = 30.0;
        let mut serving_after_s = None;
        for step in 0..240 {
            rig.demand = if step < 120 { 2.5 } else { 25.0 };
            rig.now_s += 5.0;
            let mut seen = rig.observe();
            seen.arrivals_per_s = arrivals.then_some(rig.demand * 20.0);
            if let Some(to) = rig.controller.step(&seen).to() {
                rig.scale(to);
            }
            if step >= 120 && f64::from(rig.ready()) >= 25.0 && serving_after_s.is_none() {
                serving_after_s = Some(5 * (step - 120));
            }
        }
        (serving_after_s.unwrap(), rig.most)
    };
    let (with_s, most_with) = run(true);
    let (without_s, _) = run(false);
    assert!(with_s <= 35, "{with_s}");
    assert!(with_s <= without_s, "{with_s} and {without_s}");
    assert!(most_with <= 44, "{most_with}");
}

/// Five seconds of a rig whose controller is told how many requests arrive.
fn tick_with_arrivals(rig: &mut Rig, arrivals_per_s: f64) -> Decision {
    rig.now_s += 5.0;
    let mut seen = rig.observe();
    seen.arrivals_per_s = Some(arrivals_per_s);
    let decision = rig.controller.step(&seen);
    if let Some(to) = decision.to() {
        rig.actions += 1;
        rig.scale(to);
    }
    decision
}

#[test]
fn what_waited_is_worked_off_without_another_order() {
    let mut rig = Rig::new(settings(|_| {}), 8, 4.0);
    rig.startup_s = 30.0;
    for _ in 0..120 {
        tick_with_arrivals(&mut rig, 80.0);
    }
    // Five times the work: the fleet stands at its ceiling, and the larger one too for as long as it works off queues.
    rig.demand = 1_000.0;
    for _ in 0..7 {
        tick_with_arrivals(&mut rig, 400.0);
    }
    let ordered = rig.most;
    assert!(rig.ready() == ordered && ordered >= 34, "{} of {ordered}", rig.ready());
    rig.demand = 20.0;
    for _ in 0..120 {
        tick_with_arrivals(&mut rig, 400.0);
    }
    assert_eq!(rig.most, ordered, "a queue that is worked off is no new load");
    assert!((34..=38).contains(&rig.replicas), "{}", rig.replicas);
}

#[test]
fn arrivals_that_claim_too_little_are_not_believed() {
    // Requests cost five times as much, or a third more, from now on, and as many arrive.
    for (cpu_target, demand) in [(0.6, 20.0), (0.6, 6.0), (0.8, 8.2), (0.9, 8.2)] {
        let mut rig = Rig::new(settings(|raw| raw.cpu_target = cpu_target), 8, 8.0 * cpu_target - 0.5);
        let arrivals_per_s = 20.0 * rig.demand;
        for _ in 0..120 {
            tick_with_arrivals(&mut rig, arrivals_per_s);
        }
        rig.demand = demand;
        for _ in 0..240 {
            tick_with_arrivals(&mut rig, arrivals_per_s);
        }
        let needed = demand / cpu_target;
        let count = f64::from(rig.replicas);
        assert!((0.95 * needed..1.3 * needed).contains(&count), "{cpu_target}, {demand}: {count}");
    }
}

#[test]
fn the_start_up_time_is_learned() {
    let mut rig = Rig::new(settings(|raw| raw.hold_s = Some(5)), 5, 2.8);
    rig.startup_s = 90.0;
    for step in 0..720 {
        rig.demand = if step / 60 % 2 == 0 { 2.8 } else { 5.0 };
        rig.tick();
    }
    let learned_s = rig.controller.startup_s().unwrap();
    assert!((80.0..=100.0).contains(&learned_s), "{learned_s}");
}

/// A fleet of containers that start, burn and serve, seen through the window: what a roll-out looks like.
struct Rollout {
    window: DemandWindow,
    controller: Controller,
    ordered: u32,
    actions: u32,
    containers: Vec<(u64, f64)>,
    next: u64,
}

impl Rollout {
    fn new(ordered: u32) -> Self {
        Self {
            window: DemandWindow::new(Key::of("app"), DemandLimits::default()),
            controller: Controller::new(settings(|_| {})),
            ordered,
            actions: 0,
            containers: (0..u64::from(ordered)).map(|id| (id, -3_600.0)).collect(),
            next: 0,
        }
    }

    /// Five seconds under `demand`; a container burns a whole core for `burn_s` after its start, and serves from
    /// `unready_s` on.
    fn tick(&mut self, now_s: f64, demand: f64, burn_s: f64, unready_s: f64) {
        let serves = |started_s: f64| now_s - started_s >= unready_s;
        let serving = self.containers.iter().filter(|(_, started)| serves(*started)).count();
        for (id, started_s) in &self.containers {
            let share = demand / f64::from(u32::try_from(serving).unwrap());
            let used_cores = match (now_s - started_s < burn_s, serves(*started_s)) {
                (true, _) => 1.0,
                (false, true) => share.min(1.0),
                (false, false) => 0.0,
            };
            let sample = ContainerSample {
                owner: Key::of("app"),
                container: Key::from_number(*id),
                at_s: now_s,
                cpu: Cpu::Mean { used_cores, window_s: 5.0 },
                allowed_cores: 1.0,
                ready_since_s: serves(*started_s).then_some(started_s + unready_s),
            };
            self.window.push(&sample, now_s).unwrap();
        }
        let ready = u32::try_from(serving).unwrap();
        let seen = Observation {
            now_s,
            replicas: self.ordered,
            ready,
            evidence: self.window.read(Some(ready), now_s),
            arrivals_per_s: None,
            inflight: None,
        };
        if let Some(to) = self.controller.step(&seen).to() {
            self.actions += 1;
            for _ in self.ordered..to {
                self.containers.push((1_000 + self.next, now_s));
                self.next += 1;
            }
            self.containers.truncate(usize::try_from(to).unwrap());
            self.ordered = to;
        }
    }
}

#[test]
fn a_rollout_with_surge_and_burning_starts_orders_no_replica() {
    for surge in [0.25, 0.5, 1.0] {
        for unready_s in [60.0, 0.0] {
            let mut rollout = Rollout::new(12);
            let mut next_id = 100;
            let batch = crate::number::ceil_count(12.0 * surge);
            let mut now_s = 0.0;
            for step in 0..360 {
                now_s += 5.0;
                let phase = step % 30;
                let old = rollout.containers.iter().filter(|(id, _)| *id < 100).count();
                if step >= 60 && phase == 0 && old > 0 {
                    for _ in 0..batch {
                        rollout.containers.push((next_id, now_s));
                        next_id += 1;
                    }
                } else if step >= 60 && phase == 15 {
                    let mut leaving = batch;
                    rollout.containers.retain(|(id, _)| {
                        let leaves = *id < 100 && leaving > 0;
                        leaving -= u32::from(leaves);
                        !leaves
                    });
                    while rollout.containers.len() > 12 {
                        rollout.containers.pop();
                    }
                }
                rollout.tick(now_s, 12.0 * 0.55, 60.0, unready_s);
                assert_eq!((rollout.actions, rollout.ordered), (0, 12), "{surge} {unready_s} at {now_s} s");
            }
        }
    }
}

#[test]
fn starts_that_burn_for_a_minute_cause_no_chain_of_starts() {
    for unready_s in [60.0, 0.0] {
        let mut rollout = Rollout::new(6);
        let mut now_s = 0.0;
        for step in 0..720 {
            now_s += 5.0;
            let demand = if step < 120 { 6.0 * 0.55 } else { 5.0 };
            rollout.tick(now_s, demand, 60.0, unready_s);
            assert!(rollout.ordered <= 10, "{unready_s}: {} at {now_s} s", rollout.ordered);
        }
        assert!((9..=10).contains(&rollout.ordered));
        assert!(rollout.actions <= 2, "{} changes", rollout.actions);
    }
}
