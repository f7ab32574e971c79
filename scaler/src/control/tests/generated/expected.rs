//! What must hold in every step, reckoned from outside: the gate of the clock, what is said about counts that nobody
//! ordered, the memory after a start, the action budget, and bounds of every number.

use std::collections::VecDeque;

use super::super::*;
use crate::settings::{Law, Mode};

/// Bound of the sum that the integral term keeps, logarithmic.
const INTEGRAL_MAX: f64 = 0.5;
/// Bound of what is summed up to a command, logarithmic.
const LN_COMMAND_MAX: f64 = 16.0;

/// What holds whatever happened before.
pub(super) fn assert_sound(
    seen: &Observation,
    decision: &Decision,
    settings: &AutoscalerSettings,
    terms: Option<&Terms>,
) {
    let (min, max) = settings.replicas();
    if let Decision::Scale { from, to, terms } = decision {
        assert_eq!(*from, seen.replicas);
        assert_ne!(from, to);
        assert!((min.get()..=max.get()).contains(to), "{to} is not within {min:?} and {max:?}");
        assert!(seen.evidence.is_ok(), "ordered in silence: {seen:?}");
        assert!(seen.replicas > 0, "started what somebody stopped");
        assert_terms(terms, settings);
    }
    if let Some(terms) = terms {
        assert_terms(terms, settings);
    }
}

fn assert_terms(terms: &Terms, settings: &AutoscalerSettings) {
    for (name, value) in [
        ("utilisation", terms.utilisation),
        ("cpu_target", terms.cpu_target),
        ("demand_replicas", terms.demand_replicas),
        ("level_replicas", terms.level_replicas),
        ("slope_per_s", terms.slope_per_s),
        ("noise", terms.noise),
        ("dead_band", terms.dead_band),
        ("lead_s", terms.lead_s),
        ("startup_s", terms.startup_s),
        ("ln_replicas", terms.ln_replicas),
        ("proportional", terms.proportional),
        ("integral", terms.integral),
        ("derivative", terms.derivative),
        ("bump", terms.bump),
        ("command_replicas", terms.command_replicas),
        ("held_replicas", terms.held_replicas),
        ("hold_s", terms.hold_s),
    ] {
        assert!(value.is_finite(), "{name} is {value} in {terms:?}");
    }
    if settings.law() == Law::Standard {
        let blind = Tuning::of(Mode::Tight).boost_max.max(Tuning::of(Mode::Calm).boost_max);
        let most = if terms.blind_round == 0 { INTEGRAL_MAX } else { blind };
        assert!(terms.integral.abs() <= most, "integral beyond {most}: {terms:?}");
        let sum = terms.ln_replicas
            + terms.proportional
            + terms.integral
            + terms.derivative
            + terms.season
            + terms.bump;
        let told = terms.command_replicas.ln();
        let due = sum.clamp(-LN_COMMAND_MAX, LN_COMMAND_MAX);
        assert!((told - due).abs() < 1e-9, "the terms make {due}, the command is {told}: {terms:?}");
    }
}

/// What is remembered of the sequence so far; of the law `standard` alone, for the other has no such promises.
#[derive(Debug)]
pub(super) struct Expected {
    last_now_s: f64,
    ordered: Option<u32>,
    before: u32,
    ordered_at_s: f64,
    /// Since when a count is remembered, which, and the shortest memory that was set since.
    found: Option<(f64, u32, f64)>,
    changes_s: VecDeque<f64>,
}

impl Expected {
    pub(super) fn new() -> Self {
        Self {
            last_now_s: f64::NEG_INFINITY,
            ordered: None,
            before: 0,
            ordered_at_s: f64::NEG_INFINITY,
            found: None,
            changes_s: VecDeque::new(),
        }
    }

    /// Whether a count that was found is still remembered.
    pub(super) fn holds_after_start(&self, seen: &Observation) -> bool {
        self.found.is_some_and(|(since_s, _, hold_s)| seen.now_s - since_s <= hold_s)
    }

    pub(super) fn check(&mut self, seen: &Observation, decision: &Decision, settings: &AutoscalerSettings) {
        if settings.law() != Law::Standard {
            return;
        }
        if let Some((_, _, hold_s)) = &mut self.found {
            *hold_s = hold_s.min(settings.hold_s());
        }
        if let Some(reason) = self.gate(seen, settings) {
            assert_eq!(*decision, Decision::Hold(reason));
            return;
        }
        self.last_now_s = seen.now_s;
        if let Some(reason) = self.look(seen, settings) {
            assert_eq!(*decision, Decision::Hold(reason));
        } else if let Err(silence) = seen.evidence {
            assert_eq!(*decision, Decision::Hold(Reason::Silence { silence }));
        }
        if let Decision::Scale { from, to, .. } = decision {
            self.ordered(seen.now_s, (*from, *to), settings);
        }
    }

    fn gate(&self, seen: &Observation, settings: &AutoscalerSettings) -> Option<Reason> {
        let since_s = seen.now_s - self.last_now_s;
        if !seen.now_s.is_finite() || since_s < 0.0 {
            Some(Reason::Clock)
        } else if since_s < 0.8 * settings.interval().as_secs_f64() {
            Some(Reason::NotDue)
        } else if seen.replicas == 0 {
            Some(Reason::Stopped)
        } else {
            None
        }
    }

    /// What must be said about the count that is there.
    fn look(&mut self, seen: &Observation, settings: &AutoscalerSettings) -> Option<Reason> {
        let Some(ordered) = self.ordered else {
            self.take_over(seen, settings);
            return None;
        };
        if seen.replicas == ordered {
            return None;
        }
        if seen.replicas == self.before {
            let patience_s = (3.0 * settings.interval().as_secs_f64()).max(10.0);
            if seen.now_s - self.ordered_at_s <= patience_s {
                return Some(Reason::AwaitingTarget);
            }
            self.ordered = Some(seen.replicas);
            return None;
        }
        self.take_over(seen, settings);
        Some(Reason::Adopted { expected: ordered, found: seen.replicas })
    }

    fn take_over(&mut self, seen: &Observation, settings: &AutoscalerSettings) {
        let first = self.ordered.is_none();
        self.ordered = Some(seen.replicas);
        self.before = if first { self.before } else { seen.replicas };
        self.found = Some((seen.now_s, seen.replicas, settings.hold_s()));
    }

    fn ordered(&mut self, now_s: f64, (from, to): (u32, u32), settings: &AutoscalerSettings) {
        let (min, max) = settings.replicas();
        let forced = !(min.get()..=max.get()).contains(&from);
        if let Some((since_s, count, hold_s)) = &mut self.found {
            if forced {
                *count = to.min(*count);
            } else if to < from && now_s - *since_s <= *hold_s {
                assert!(to >= *count, "{from} -> {to}, {} s after {count} were found", now_s - *since_s);
            }
        }
        while self.changes_s.front().is_some_and(|at_s| now_s - at_s >= 3_600.0) {
            self.changes_s.pop_front();
        }
        let most = usize::try_from(settings.actions_per_hour_max()).unwrap();
        assert!(forced || self.changes_s.len() < most, "more than {most} changes in an hour");
        self.changes_s.push_back(now_s);
        self.ordered = Some(to);
        self.before = from;
        self.ordered_at_s = now_s;
    }
}
