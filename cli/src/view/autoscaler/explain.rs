//! A decision in one plain sentence.

use slipway_common::model::autoscaler::{AutoscalerFault, Clamp, Decision, Evidence, Reason, Silence, Terms};

use crate::view::text::clean;

/// A term of the sum that is smaller is not told.
const TERM_MIN: f64 = 0.005;

/// What is known of a decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The decision; nothing when a newer server made one that this program does not know.
    pub(crate) decision: Option<Decision>,
    /// Replicas ordered when it was made.
    pub(crate) replicas: u32,
    /// How the last command came about.
    pub(crate) terms: Option<&'a Terms>,
    /// What the metrics said.
    pub(crate) evidence: Option<&'a Evidence>,
    /// Why the target did not take it.
    pub(crate) fault: Option<&'a AutoscalerFault>,
}

/// The sentence.
pub(crate) fn sentence(told: &Told<'_>) -> String {
    let mut text = match told.decision {
        None => format!("stays at {}: a reason this version does not know", told.replicas),
        Some(Decision::Scale { from, to, terms }) => format!("{from} -> {to}: {}", of_terms(&terms)),
        Some(Decision::Hold(reason)) => {
            let why = why(reason, told.terms);
            let numbers = match (is_computed(reason), told.terms, told.evidence) {
                (true, Some(terms), _) => format!("; {}", measured(terms)),
                (true, None, Some(evidence)) => format!(
                    "; CPU {:.2}, demand {:.1} replicas",
                    evidence.utilisation, evidence.demand_replicas
                ),
                (true, None, None) | (false, _, _) => String::new(),
            };
            format!("stays at {}: {why}{numbers}", told.replicas)
        }
    };
    if let Some(fault) = told.fault {
        text += &format!("; not done: {} ({})", clean(&fault.reason), clean(&fault.code));
    }
    text
}

fn of_terms(terms: &Terms) -> String {
    let mut parts = vec![measured(terms)];
    let named = [
        ("proportional", terms.proportional),
        (if terms.blind_round > 0 { "growth at the ceiling" } else { "integral" }, terms.integral),
        ("derivative", terms.derivative),
        ("what comes", terms.season),
        ("rest of a change of settings", terms.bump),
    ];
    let told: Vec<String> = named
        .into_iter()
        .filter(|(_, value)| value.abs() >= TERM_MIN)
        .map(|(name, value)| format!("{name} {value:+.2}"))
        .collect();
    parts.extend((!told.is_empty()).then(|| told.join(", ")));
    let repeats = || format!("the load repeats itself every {}", period(terms.period_s));
    parts.extend((terms.period_s > 0.0).then(repeats));
    let limits: Vec<&str> =
        terms.clamps.iter().filter(|clamp| *clamp != Clamp::SensorCeiling).map(Clamp::name).collect();
    parts.extend((!limits.is_empty()).then(|| format!("limited by {}", limits.join(", "))));
    parts.join("; ")
}

/// A period, in minutes or in hours.
fn period(period_s: f64) -> String {
    let minutes = period_s / 60.0;
    if minutes < 120.0 { format!("{minutes:.0} minutes") } else { format!("{:.1} hours", minutes / 60.0) }
}

/// What went into it: CPU against its target, demand and its growth.
fn measured(terms: &Terms) -> String {
    let ceiling = if terms.clamps.has(Clamp::SensorCeiling) { ", at its ceiling" } else { "" };
    let demand = if terms.clamps.has(Clamp::SensorCeiling) && !terms.feed_forward {
        format!("demand at least {:.1} replicas", terms.demand_replicas)
    } else {
        format!("demand {:.1} replicas", terms.demand_replicas)
    };
    let percent_per_s = 100.0 * terms.slope_per_s;
    let growth =
        if percent_per_s.abs() >= 0.05 { format!(", {percent_per_s:+.1} %/s") } else { String::new() };
    let arrivals = if terms.feed_forward { ", by arrivals" } else { "" };
    format!(
        "CPU {:.2} of {:.2} target{ceiling}; {demand}{growth}{arrivals}",
        terms.utilisation, terms.cpu_target
    )
}

/// Whether the terms belong to this decision: others are made without looking at the demand.
fn is_computed(reason: Reason) -> bool {
    match reason {
        Reason::OnTarget
        | Reason::DeadBand
        | Reason::HoldingDown
        | Reason::DownRate
        | Reason::MinInterval
        | Reason::ActionBudget
        | Reason::AwaitingReplicas
        | Reason::AtLimit => true,
        Reason::Adopted { .. }
        | Reason::AwaitingTarget
        | Reason::Silence { .. }
        | Reason::NothingNew
        | Reason::NotDue
        | Reason::Clock
        | Reason::Stopped => false,
    }
}

fn why(reason: Reason, terms: Option<&Terms>) -> String {
    let words = match reason {
        Reason::OnTarget => "it is what is wanted",
        Reason::DeadBand => "the change that is wanted is too small to act on",
        Reason::HoldingDown => return holding_down(terms),
        Reason::DownRate => "fewer are wanted, but enough were taken away for now",
        Reason::MinInterval => "the last change is too recent",
        Reason::ActionBudget => "the changes of this hour are used up",
        Reason::AwaitingReplicas => "what was ordered does not all serve yet",
        Reason::AtLimit => "it is at its limit",
        Reason::Adopted { expected, found } => {
            return format!("somebody set {found} where {expected} were ordered, and that is taken over");
        }
        Reason::AwaitingTarget => "the target has not taken up the last order yet",
        Reason::Silence { silence } => silent(silence),
        Reason::NothingNew => "nothing new was measured",
        Reason::NotDue => "the next decision is not due yet",
        Reason::Clock => "the clock did not move forward",
        Reason::Stopped => "nothing runs, and starting it is not the autoscaler's business",
    };
    words.to_owned()
}

fn holding_down(terms: Option<&Terms>) -> String {
    match terms {
        Some(terms) if terms.clamps.has(Clamp::HoldMemory) => format!(
            "fewer would do now, but earlier demand still counts for {:.1}, and is forgotten over {:.0} s",
            terms.held_replicas, terms.hold_s
        ),
        Some(_) => "fewer would do, but without a margin".to_owned(),
        None => "fewer would do now, but a higher demand is still remembered".to_owned(),
    }
}

fn silent(silence: Silence) -> &'static str {
    match silence {
        Silence::NeverHeard => "no metrics were heard yet",
        Silence::Stale => "the last metrics are too old",
        Silence::NothingReady => "no replica serves",
        Silence::TooYoung => "the replicas that report have only just started",
        Silence::TooFewReport => "too few of the replicas report",
    }
}

#[cfg(test)]
mod tests {
    use slipway_common::model::autoscaler::Clamps;

    use super::*;

    fn terms(clamps: &[Clamp]) -> Terms {
        let mut set = Clamps::default();
        clamps.iter().for_each(|clamp| set.add(*clamp));
        Terms {
            utilisation: 0.93,
            cpu_target: 0.6,
            demand_replicas: 1.86,
            slope_per_s: 0.004,
            proportional: 0.438,
            derivative: 0.2,
            held_replicas: 5.66,
            hold_s: 192.0,
            clamps: set,
            ..Terms::default()
        }
    }

    fn told(decision: Decision, terms: Option<&Terms>) -> String {
        sentence(&Told { decision: Some(decision), replicas: 3, terms, evidence: None, fault: None })
    }

    #[test]
    fn a_change_is_told_with_its_terms() {
        let scale = Decision::Scale { from: 2, to: 4, terms: terms(&[Clamp::UpGrowth, Clamp::Max]) };
        assert_eq!(
            told(scale, None),
            "2 -> 4: CPU 0.93 of 0.60 target; demand 1.9 replicas, +0.4 %/s; proportional +0.44, \
             derivative +0.20; limited by max, up_growth"
        );
    }

    #[test]
    fn what_is_ordered_ahead_of_a_load_that_repeats_itself_is_told() {
        let ahead = |period_s| Terms { derivative: 0.0, season: 0.9, period_s, ..terms(&[]) };
        assert_eq!(
            told(Decision::Scale { from: 2, to: 9, terms: ahead(86_400.0) }, None),
            "2 -> 9: CPU 0.93 of 0.60 target; demand 1.9 replicas, +0.4 %/s; proportional +0.44, what comes +0.90; \
             the load repeats itself every 24.0 hours"
        );
        assert!(told(Decision::Scale { from: 2, to: 9, terms: ahead(960.0) }, None).ends_with("16 minutes"));
    }

    #[test]
    fn at_the_ceiling_the_demand_is_a_bound() {
        let blind = Terms {
            utilisation: 1.0,
            slope_per_s: 0.0,
            derivative: 0.0,
            integral: 0.34,
            blind_round: 2,
            ..terms(&[Clamp::SensorCeiling])
        };
        assert_eq!(
            told(Decision::Scale { from: 2, to: 5, terms: blind }, None),
            "2 -> 5: CPU 1.00 of 0.60 target, at its ceiling; demand at least 1.9 replicas; \
             proportional +0.44, growth at the ceiling +0.34"
        );
    }

    #[test]
    fn a_hold_says_why() {
        let held = terms(&[Clamp::HoldMemory]);
        assert_eq!(
            told(Decision::Hold(Reason::HoldingDown), Some(&held)),
            "stays at 3: fewer would do now, but earlier demand still counts for 5.7, and is forgotten over 192 s; \
             CPU 0.93 of 0.60 target; demand 1.9 replicas, +0.4 %/s"
        );
        let silence = Reason::Silence { silence: Silence::TooFewReport };
        assert_eq!(
            told(Decision::Hold(silence), Some(&held)),
            "stays at 3: too few of the replicas report",
            "the terms are of an earlier decision"
        );
        let adopted = Decision::Hold(Reason::Adopted { expected: 4, found: 3 });
        assert!(told(adopted, None).contains("set 3 where 4 were ordered"));
    }

    #[test]
    fn a_failure_is_told_and_cannot_steer_the_terminal() {
        let fault = AutoscalerFault { code: "hpa".to_owned(), reason: "an HPA\u{1b}[2J owns it".to_owned() };
        let told = Told {
            decision: Some(Decision::Hold(Reason::OnTarget)),
            replicas: 3,
            terms: None,
            evidence: None,
            fault: Some(&fault),
        };
        let text = sentence(&told);
        assert_eq!(text, "stays at 3: it is what is wanted; not done: an HPA [2J owns it (hpa)");
        assert!(sentence(&Told { decision: None, ..told }).contains("does not know"));
    }
}
