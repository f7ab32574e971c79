//! Properties over generated sequences: limits hold, nothing ever is not a number, the integrator is bounded.
//! `SLIPWAY_TEST_CASES` sets the number of sequences (each of up to 40 steps); the default ends within seconds.

use proptest::prelude::*;

use super::*;
use crate::settings::{Law, Mode, RawGains};

fn cases() -> u32 {
    std::env::var("SLIPWAY_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

fn any_settings() -> impl Strategy<Value = AutoscalerSettings> {
    let gains = (0.0..2.0f64, 0.0..10.0f64, 0.0..10.0f64);
    let limits = (1u32..20, 0u32..200, 1u32..400);
    (prop::bool::ANY, prop::bool::weighted(0.8), 0.05..1.0f64, gains, limits, 0.0..0.5f64).prop_map(
        |(calm, standard, cpu_target, (kp, ki, kd), (min, more, budget), hysteresis)| {
            settings(|raw| {
                raw.mode = if calm { Mode::Calm } else { Mode::Tight };
                raw.law = if standard { Law::Standard } else { Law::Kabernetes };
                raw.cpu_target = cpu_target;
                raw.constants = Some(RawGains { kp, ki, kd });
                raw.replicas_min = min;
                raw.replicas_max = min + more;
                raw.actions_per_hour_max = Some(budget);
                raw.hysteresis = Some(hysteresis);
            })
        },
    )
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.0..2.0f64,
        2 => 0.0..1e6f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-1.0),
        1 => Just(0.0),
        1 => Just(f64::MAX),
    ]
}

#[derive(Debug, Clone)]
struct Step {
    later_s: f64,
    evidence_later_s: f64,
    utilisation: f64,
    demand: f64,
    silent: bool,
    foreign: Option<u32>,
    ready_share: f64,
    follows: bool,
    arrivals: Option<f64>,
}

fn any_step() -> impl Strategy<Value = Step> {
    (
        prop_oneof![8 => 1.0..20.0f64, 1 => Just(0.0), 1 => Just(f64::NAN), 1 => -50.0..700.0f64],
        prop_oneof![8 => 1.0..20.0f64, 1 => -20.0..0.0f64],
        any_number(),
        any_number(),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.05, 0u32..300),
        0.0..1.0f64,
        prop::bool::weighted(0.9),
        prop::option::weighted(0.2, any_number()),
    )
        .prop_map(
            |(
                later_s,
                evidence_later_s,
                utilisation,
                demand,
                silent,
                foreign,
                ready_share,
                follows,
                arrivals,
            )| Step {
                later_s,
                evidence_later_s,
                utilisation,
                demand,
                silent,
                foreign,
                ready_share,
                follows,
                arrivals,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_the_limits_hold_and_everything_is_a_number(
        first in any_settings(),
        second in any_settings(),
        change_at in 0usize..40,
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let mut controller = Controller::new(first.clone());
        let mut limits = first.replicas();
        let (mut now_s, mut evidence_s, mut replicas) = (0.0, 0.0, limits.0.get());
        for (index, step) in steps.into_iter().enumerate() {
            if index == change_at {
                controller.set_settings(second.clone());
                limits = second.replicas();
            }
            replicas = step.foreign.unwrap_or(replicas);
            now_s += if step.later_s.is_finite() { step.later_s.max(0.0) } else { 0.0 };
            evidence_s += step.evidence_later_s;
            let seen = Observation {
                now_s: if step.later_s.is_finite() { now_s + step.later_s.min(0.0) } else { step.later_s },
                replicas,
                ready: crate::number::to_count(step.ready_share * f64::from(replicas)),
                evidence: if step.silent {
                    Err(Silence::Stale)
                } else {
                    Ok(Evidence {
                        demand_replicas: step.demand,
                        ..evidence(evidence_s, step.utilisation, replicas)
                    })
                },
                arrivals_per_s: step.arrivals,
                inflight: step.arrivals,
            };
            let decision = controller.step(&seen);
            if step.silent {
                prop_assert_eq!(decision.to(), None);
            }
            if let Decision::Scale { from, to, terms } = decision {
                prop_assert_eq!(from, replicas);
                prop_assert!((limits.0.get()..=limits.1.get()).contains(&to), "{} of {:?}", to, limits);
                let sum = [terms.proportional, terms.derivative, terms.bump, terms.command_replicas,
                    terms.dead_band, terms.slope_per_s, terms.noise, terms.integral];
                prop_assert!(sum.iter().all(|term| term.is_finite()), "{:?}", terms);
                if controller.settings().law() == Law::Standard {
                    prop_assert!(terms.integral.abs() <= 2.5, "{:?}", terms);
                }
                if step.follows {
                    replicas = to;
                }
            }
        }
    }
}
