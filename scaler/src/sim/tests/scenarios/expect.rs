//! What a scenario allows, and how what happened is held against it.

use serde::Deserialize;

use super::Part;
use crate::number::{ceil_count, from_len};
use crate::sim::load::Load;

/// A load counts as another one from this change on, relative.
const JUMP: f64 = 0.05;

/// What is allowed. What is left out is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// Counts ordered, for spans of time.
    #[serde(default)]
    pub(super) replicas: Vec<Range>,
    /// After each jump of the load.
    pub(super) settle: Option<Settle>,
    /// The highest count over the highest that the load needs at the target, or that the fleet began with.
    pub(super) overshoot_percent_max: Option<f64>,
    /// Changes of the count.
    pub(super) actions_max: Option<u32>,
    /// Requests answered late or not at all.
    pub(super) violations_percent_max: Option<f64>,
}

/// Replicas ordered in a span of time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    from_s: usize,
    to_s: usize,
    min: u32,
    max: u32,
}

/// When the count must have come to rest near what a jump of the load needs.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settle {
    up_within_s: usize,
    down_within_s: usize,
    /// So far above the need the count may rest, in percent.
    above_percent: f64,
    /// So far below it, in percent: the dead band.
    #[serde(default)]
    below_percent: f64,
}

/// What happened, second by second.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) load: Load,
    cpu_target: f64,
    pub(super) ordered: Vec<u32>,
    pub(super) ready: Vec<u32>,
    pub(super) actions: u32,
    pub(super) requests: f64,
    pub(super) late: f64,
}

impl Outcome {
    pub(super) fn new(load: Load, cpu_target: f64) -> Self {
        Self {
            load,
            cpu_target,
            ordered: Vec::new(),
            ready: Vec::new(),
            actions: 0,
            requests: 0.0,
            late: 0.0,
        }
    }

    fn violations_percent(&self) -> f64 {
        100.0 * self.late / self.requests.max(1.0)
    }

    fn need(&self, work: f64) -> u32 {
        ceil_count(work / self.cpu_target).max(1)
    }

    fn overshoot_percent(&self) -> f64 {
        let (mut need, mut worst) = (self.ordered.first().copied().unwrap_or(1), 0.0);
        for (second, ordered) in self.ordered.iter().enumerate() {
            need = need.max(self.need(self.load.work_replicas(second)));
            worst = f64::max(worst, 100.0 * (f64::from(*ordered) / f64::from(need) - 1.0));
        }
        worst
    }

    /// For each jump of the load: when, up or down, and after how long the count, and what serves, rested near it.
    fn settled(
        &self,
        parts: &[Part],
        (below_percent, above_percent): (f64, f64),
    ) -> Vec<(usize, bool, usize)> {
        let mut found = Vec::new();
        let (mut start, mut before) = (0, None);
        for part in parts {
            let end = start + part.for_s;
            let flat = part.to.is_none_or(|to| (to / part.work - 1.0).abs() < JUMP);
            if let Some(before) =
                before.filter(|before: &f64| (part.work / before - 1.0).abs() > JUMP && flat)
            {
                let need = f64::from(self.need(part.work));
                let least = ceil_count(need * (1.0 - below_percent / 100.0));
                let most = ceil_count(need * (1.0 + above_percent / 100.0));
                let rests = |second: usize| {
                    (least..=most).contains(&self.ordered[second]) && self.ready[second] >= least
                };
                let last = (start..end).rev().find(|second| !rests(*second));
                found.push((start, part.work > before, last.map_or(0, |last| last + 1 - start)));
            }
            before = Some(part.to.unwrap_or(part.work));
            start = end;
        }
        found
    }

    pub(super) fn figures(&self, parts: &[Part]) -> String {
        let most = self.ordered.iter().max();
        format!(
            "most {most:?}, last {:?}, {} changes, {:.2} % late, {:.0} % over, settled {:?}",
            self.ordered.last(),
            self.actions,
            self.violations_percent(),
            self.overshoot_percent(),
            self.settled(parts, (5.0, 20.0)),
        )
    }
}

impl Expect {
    /// What is not as it should be.
    pub(super) fn complaints(&self, outcome: &Outcome, parts: &[Part]) -> Vec<String> {
        let mut found = Vec::new();
        for range in &self.replicas {
            let span = &outcome.ordered[range.from_s..range.to_s];
            if let Some(place) = span.iter().position(|count| !(range.min..=range.max).contains(count)) {
                found.push(format!("{} replicas at {} s: {range:?}", span[place], range.from_s + place));
            }
        }
        if let Some(settle) = self.settle {
            for (at_s, up, took_s) in outcome.settled(parts, (settle.below_percent, settle.above_percent)) {
                let most_s = if up { settle.up_within_s } else { settle.down_within_s };
                if took_s > most_s {
                    found.push(format!("the jump at {at_s} s took {took_s} s to settle, not {most_s} s"));
                }
            }
        }
        let measured = [
            ("% over the need", outcome.overshoot_percent(), self.overshoot_percent_max),
            ("changes", f64::from(outcome.actions), self.actions_max.map(f64::from)),
            ("% late", outcome.violations_percent(), self.violations_percent_max),
        ];
        for (what, value, most) in measured {
            if let Some(most) = most.filter(|most| value > *most) {
                found.push(format!("{value:.2} {what}, not {most:.2}"));
            }
        }
        if from_len(outcome.ordered.len()) < 1.0 {
            found.push("no load".to_owned());
        }
        found
    }
}
