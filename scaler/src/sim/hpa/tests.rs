//! The HPA's rules against cases reckoned by hand, and one that it fails by design.

use super::*;

fn pod(usage_milli: u64) -> HpaPod {
    HpaPod {
        gone: false,
        pending: false,
        ready: Some((true, 0.0)),
        started_s: Some(0.0),
        metric: Some(HpaMetric { usage_milli, at_s: 1_000.0, window_s: 15.0 }),
        request_milli: 1_000,
    }
}

fn unready() -> HpaPod {
    HpaPod { ready: Some((false, 990.0)), started_s: Some(990.0), ..pod(1_000) }
}

fn sync(current: u32, pods: &[HpaPod]) -> u32 {
    Hpa::new(HpaSettings::default()).sync(1_010.0, current, pods)
}

#[test]
fn cases_reckoned_by_hand() {
    let cases: [(&str, u32, Vec<HpaPod>, u32); 11] = [
        ("90 % of 60 %: 1.5 times 3", 3, vec![pod(900); 3], 5),
        ("65 % is within the tolerance", 3, vec![pod(650); 3], 3),
        ("66.6 % is cut to 66 %", 3, vec![pod(666); 3], 3),
        ("67 % is not", 3, vec![pod(670); 3], 4),
        ("30 %: half", 4, vec![pod(300); 4], 2),
        ("no metric: nothing", 4, vec![HpaPod { metric: None, ..pod(0) }; 4], 4),
        ("unready ones count as idle: 60 %", 6, [vec![pod(900); 4], vec![unready(); 2]].concat(), 6),
        (
            "a missing one counts as busy: 40 %",
            4,
            [vec![pod(200); 3], vec![HpaPod { metric: None, ..pod(0) }]].concat(),
            3,
        ),
        ("ten times 3, but at most 4 more", 3, vec![pod(6_000); 3], 7),
        ("ten times 8, but at most twice", 8, vec![pod(6_000); 8], 16),
        ("gone ones are dropped", 3, [vec![pod(900); 3], vec![HpaPod { gone: true, ..pod(0) }]].concat(), 5),
    ];
    for (name, current, pods, expected) in cases {
        assert_eq!(sync(current, &pods), expected, "{name}");
    }
}

#[test]
fn limits_come_before_metrics() {
    assert_eq!(sync(0, &[]), 0);
    assert_eq!(sync(500, &[]), 200);
    let mut hpa = Hpa::new(HpaSettings { replicas_min: 3, ..HpaSettings::default() });
    assert_eq!(hpa.sync(0.0, 1, &[]), 3);
}

#[test]
fn fewer_only_after_five_minutes_of_fewer() {
    let mut hpa = Hpa::new(HpaSettings::default());
    let mut now_s = 1_000.0;
    assert_eq!(hpa.sync(now_s, 4, &vec![pod(600); 4]), 4);
    let mut after_s = 0.0;
    let count = loop {
        now_s += 15.0;
        after_s += 15.0;
        let count = hpa.sync(now_s, 4, &vec![pod(300); 4]);
        if count < 4 {
            break count;
        }
    };
    assert_eq!((count, after_s), (2, 300.0));
}

/// kubernetes/kubernetes#29989: containers that say they are ready at once and burn a core for a minute.
#[test]
fn starts_that_burn_make_the_hpa_start_more() {
    let mut hpa = Hpa::new(HpaSettings::default());
    let mut started: Vec<f64> = vec![-3_600.0; 3];
    let (mut now_s, mut most) = (0.0, 0);
    let demand = 3.0;
    while now_s < 600.0 {
        now_s += 15.0;
        let share = demand / from_len(started.len());
        let pods: Vec<HpaPod> = started
            .iter()
            .map(|at_s| {
                let used = if now_s - at_s < 60.0 { 1.0 } else { share };
                HpaPod {
                    ready: Some((true, *at_s)),
                    started_s: Some(*at_s),
                    metric: Some(HpaMetric {
                        usage_milli: crate::number::to_u64(used * 1_000.0),
                        at_s: now_s,
                        window_s: 15.0,
                    }),
                    ..pod(0)
                }
            })
            .collect();
        let count = hpa.sync(now_s, u32::try_from(started.len()).unwrap(), &pods);
        started.resize(usize::try_from(count).unwrap(), now_s);
        most = most.max(count);
    }
    assert!(most >= 12, "5 would do; the HPA went to {most}");
}
