//! What counts as evidence, and what is dropped.

use super::*;

fn sample(container: u64, at_s: f64, used_cores: f64) -> ContainerSample {
    ContainerSample {
        owner: Key::of("shop"),
        container: Key::from_number(container),
        at_s,
        cpu: Cpu::Mean { used_cores, window_s: 5.0 },
        allowed_cores: 1.0,
        ready_since_s: Some(-1_000.0),
    }
}

fn window() -> DemandWindow {
    DemandWindow::new(Key::of("shop"), DemandLimits::default())
}

fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

#[test]
fn demand_is_mean_use_times_what_serves() {
    let mut window = window();
    for (container, used) in [(1, 0.4), (2, 0.6), (3, 0.8)] {
        window.push(&sample(container, 100.0, used), 101.0).unwrap();
    }
    let evidence = window.read(Some(3), 102.0).unwrap();
    close(evidence.utilisation, 0.6);
    close(evidence.demand_replicas, 1.8);
    close(evidence.at_s, 100.0);
    assert_eq!(evidence.counting, 3);
}

#[test]
fn those_that_do_not_report_are_like_those_that_do() {
    let mut window = window();
    for container in 0..4 {
        window.push(&sample(container, 100.0, 0.5), 101.0).unwrap();
    }
    close(window.read(Some(10), 102.0).unwrap().demand_replicas, 5.0);
    assert_eq!(window.read(Some(14), 102.0), Err(Silence::TooFewReport));
}

#[test]
fn what_does_not_serve_or_is_too_young_does_not_count() {
    let mut window = window();
    window.push(&sample(1, 100.0, 0.5), 101.0).unwrap();
    window.push(&ContainerSample { ready_since_s: None, ..sample(2, 100.0, 1.0) }, 101.0).unwrap();
    window.push(&ContainerSample { ready_since_s: Some(97.0), ..sample(3, 100.0, 1.0) }, 101.0).unwrap();
    let evidence = window.read(Some(1), 102.0).unwrap();
    close(evidence.utilisation, 0.5);
    let mut young = self::window();
    young.push(&ContainerSample { ready_since_s: Some(97.0), ..sample(3, 100.0, 1.0) }, 101.0).unwrap();
    assert_eq!(young.read(None, 102.0), Err(Silence::TooYoung));
}

#[test]
fn a_young_one_that_burns_more_than_the_others_warms_up() {
    let mut window = window();
    window.push(&sample(1, 100.0, 0.5), 101.0).unwrap();
    window.push(&ContainerSample { ready_since_s: Some(60.0), ..sample(2, 100.0, 1.0) }, 101.0).unwrap();
    window.push(&ContainerSample { ready_since_s: Some(60.0), ..sample(3, 100.0, 0.4) }, 101.0).unwrap();
    let evidence = window.read(Some(3), 102.0).unwrap();
    close(evidence.utilisation, 0.45);
    close(evidence.demand_replicas, 1.35);
}

#[test]
fn a_replica_that_came_in_the_middle_of_a_window_is_reckoned_in() {
    // Two of three served for the first half: each of the two used 3.0 / 2 and then 3.0 / 3 of what there was.
    let mut window = window();
    let used = 0.5 * (1.2 / 2.0) + 0.5 * (1.2 / 3.0);
    window.push(&sample(1, 100.0, used), 101.0).unwrap();
    window.push(&sample(2, 100.0, used), 101.0).unwrap();
    window.push(&ContainerSample { ready_since_s: Some(97.5), ..sample(3, 100.0, 0.2) }, 101.0).unwrap();
    close(window.read(Some(3), 102.0).unwrap().demand_replicas, 1.2);
}

#[test]
fn silence_is_no_evidence() {
    let mut window = window();
    assert_eq!(window.read(Some(3), 0.0), Err(Silence::NeverHeard));
    window.push(&sample(1, 100.0, 0.5), 101.0).unwrap();
    assert_eq!(window.read(Some(1), 131.0), Err(Silence::Stale));
    assert_eq!(window.read(Some(0), 102.0), Err(Silence::NothingReady));
}

#[test]
fn what_is_no_sample_is_dropped_and_counted() {
    let mut window = window();
    window.push(&sample(1, 100.0, 0.5), 101.0).unwrap();
    let cases = [
        (ContainerSample { owner: Key::of("other"), ..sample(1, 105.0, 0.5) }, Dropped::Foreign),
        (sample(1, 105.0, f64::NAN), Dropped::NotANumber),
        (sample(1, 105.0, f64::INFINITY), Dropped::NotANumber),
        (sample(1, 105.0, -0.1), Dropped::NotANumber),
        (ContainerSample { allowed_cores: 0.0, ..sample(1, 105.0, 0.5) }, Dropped::NotANumber),
        (sample(1, 105.0, 17.0), Dropped::Absurd),
        (sample(1, 100.0, 0.9), Dropped::Duplicate),
        (sample(1, 95.0, 0.9), Dropped::OutOfOrder),
        (sample(1, 60.0, 0.9), Dropped::Stale),
        (sample(1, 111.0, 0.9), Dropped::Ahead),
    ];
    for (bad, expected) in cases {
        assert_eq!(window.push(&bad, 105.0), Err(expected), "{bad:?}");
    }
    let counts = window.dropped();
    assert_eq!((counts.not_a_number, counts.foreign, counts.absurd), (4, 1, 1));
    assert_eq!((counts.duplicate, counts.out_of_order, counts.stale, counts.ahead), (1, 1, 1, 1));
    close(window.read(Some(1), 105.0).unwrap().utilisation, 0.5);
}

#[test]
fn a_counter_survives_lost_samples_and_restarts() {
    let mut window = window();
    let count = |at_s: f64, used_total_s: f64| ContainerSample {
        cpu: Cpu::Counter { used_total_s },
        ..sample(1, at_s, 0.0)
    };
    window.push(&count(100.0, 50.0), 100.0).unwrap();
    assert_eq!(window.read(Some(1), 100.0), Err(Silence::TooYoung));
    window.push(&count(105.0, 52.0), 105.0).unwrap();
    close(window.read(Some(1), 105.0).unwrap().utilisation, 0.4);
    // 110 and 115 are lost: the difference covers all of the time.
    window.push(&count(120.0, 61.0), 120.0).unwrap();
    let evidence = window.read(Some(1), 120.0).unwrap();
    close(evidence.utilisation, 0.6);
    close(evidence.window_s, 15.0);
    window.push(&count(125.0, 0.5), 125.0).unwrap();
    assert_eq!(window.read(Some(1), 125.0), Err(Silence::TooYoung), "began anew");
    window.push(&count(130.0, 3.0), 130.0).unwrap();
    close(window.read(Some(1), 130.0).unwrap().utilisation, 0.5);
    assert_eq!(window.push(&count(135.0, 1e6), 135.0), Err(Dropped::Absurd));
}

#[test]
fn counters_that_come_faster_than_the_window_are_summed_up() {
    let mut window = window();
    for second in 0..=5u32 {
        let at_s = 100.0 + f64::from(second);
        let cpu = Cpu::Counter { used_total_s: 0.7 * f64::from(second) };
        window.push(&ContainerSample { cpu, ..sample(1, at_s, 0.0) }, at_s).unwrap();
        let read = window.read(Some(1), at_s);
        assert_eq!(read.is_ok(), second == 5, "{second}: {read:?}");
    }
    close(window.read(Some(1), 105.0).unwrap().utilisation, 0.7);
}

#[test]
fn memory_is_bounded_and_the_gone_are_forgotten() {
    let limits = DemandLimits { containers_max: 2, ..DemandLimits::default() };
    let mut window = DemandWindow::new(Key::of("shop"), limits);
    window.push(&sample(1, 100.0, 0.5), 101.0).unwrap();
    window.push(&sample(2, 100.0, 0.5), 101.0).unwrap();
    assert_eq!(window.push(&sample(3, 100.0, 0.5), 101.0), Err(Dropped::TooMany));
    window.push(&sample(3, 140.0, 0.5), 141.0).unwrap();
    assert_eq!(window.len(), 1);
    window.remove(Key::from_number(3));
    assert!(window.is_empty());
}
