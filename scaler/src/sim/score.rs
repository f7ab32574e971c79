//! The scores of one run. With `d` the demanded replicas (fewest that meet the objective, from the true load) and `s`
//! those that serve, in steps of 15 s: the elasticity scores of the SPEC research group (Herbst et al. 2016; Bauer
//! et al. 2019), beside what users feel and pay.

use serde::Serialize;

use super::load::Load;
use super::plant::Second;
use crate::number::{ceil_count, from_len};

/// Utilisation up to which about 98 % of the requests meet the objective.
pub const DEMAND_UTILISATION: f64 = 0.7;
/// Step of the elasticity scores, in seconds.
pub const STEP_S: usize = 15;

/// Scores of one run; shares in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Requests answered late or not at all.
    pub violations_percent: f64,
    /// Requests rejected.
    pub rejected_percent: f64,
    /// Replica-seconds paid for, relative to the demanded ones.
    pub cost: f64,
    /// Changes of the count in an hour.
    pub actions_per_hour: f64,
    /// Under-provisioning accuracy: `100/T sum max(d - s, 0)/d dt`.
    pub under_percent: f64,
    /// Over-provisioning accuracy: `100/T sum max(s - d, 0)/d dt`.
    pub over_percent: f64,
    /// Share of time with too few replicas.
    pub under_time_percent: f64,
    /// Share of time in which supply and demand do not move the same way.
    pub instability_percent: f64,
}

/// Adds up a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scorer {
    requests: f64,
    violations: f64,
    rejected: f64,
    replica_s: f64,
    demanded_s: f64,
    actions: f64,
    /// The second it began with, and the one that comes next.
    began: usize,
    seconds: usize,
    under: f64,
    over: f64,
    under_steps: f64,
    unstable_steps: f64,
    steps: f64,
    last: Option<(f64, f64)>,
}

impl Scorer {
    /// Scores that begin with this second of the load.
    pub(crate) fn from(second: usize) -> Self {
        Self { began: second, seconds: second, ..Self::default() }
    }

    /// One second, and whether the count was changed in it.
    pub(crate) fn add(&mut self, second: &Second, acted: bool, load: &Load) {
        self.requests += second.requests;
        self.violations += second.violations.max(second.rejected);
        self.rejected += second.rejected;
        self.replica_s += f64::from(second.billed);
        self.actions += if acted { 1.0 } else { 0.0 };
        if self.seconds.is_multiple_of(STEP_S) {
            self.step(f64::from(second.ready), load);
        }
        self.seconds += 1;
    }

    fn step(&mut self, supplied: f64, load: &Load) {
        let mean = (self.seconds..self.seconds + STEP_S).map(|s| load.work_replicas(s)).sum::<f64>()
            / from_len(STEP_S);
        let demanded = f64::from(ceil_count(mean / DEMAND_UTILISATION).max(1));
        self.demanded_s += demanded * from_len(STEP_S);
        self.under += (demanded - supplied).max(0.0) / demanded;
        self.over += (supplied - demanded).max(0.0) / demanded;
        self.under_steps += if demanded > supplied { 1.0 } else { 0.0 };
        self.steps += 1.0;
        if let Some((supplied_before, demanded_before)) = self.last {
            let moves = (sign(supplied - supplied_before) - sign(demanded - demanded_before)).abs();
            self.unstable_steps += moves.min(1.0);
        }
        self.last = Some((supplied, demanded));
    }

    pub(crate) fn scores(&self) -> Scores {
        let requests = self.requests.max(1.0);
        let hours = from_len((self.seconds - self.began).max(1)) / 3_600.0;
        let steps = self.steps.max(1.0);
        Scores {
            violations_percent: 100.0 * self.violations / requests,
            rejected_percent: 100.0 * self.rejected / requests,
            cost: self.replica_s / self.demanded_s.max(1.0),
            actions_per_hour: self.actions / hours,
            under_percent: 100.0 * self.under / steps,
            over_percent: 100.0 * self.over / steps,
            under_time_percent: 100.0 * self.under_steps / steps,
            instability_percent: 100.0 * self.unstable_steps / (steps - 1.0).max(1.0),
        }
    }
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// The mean of several scores, field by field.
#[must_use]
pub fn mean(scores: &[Scores]) -> Scores {
    let count = from_len(scores.len().max(1));
    let of = |field: fn(&Scores) -> f64| scores.iter().map(field).sum::<f64>() / count;
    Scores {
        violations_percent: of(|s| s.violations_percent),
        rejected_percent: of(|s| s.rejected_percent),
        cost: of(|s| s.cost),
        actions_per_hour: of(|s| s.actions_per_hour),
        under_percent: of(|s| s.under_percent),
        over_percent: of(|s| s.over_percent),
        under_time_percent: of(|s| s.under_time_percent),
        instability_percent: of(|s| s.instability_percent),
    }
}
