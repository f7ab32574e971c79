//! What a run has shown: the table for people, and the file for a replay.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::history::{Happened, Resumed};
use super::plan::{Plan, Shape};
use crate::effects::{Ended, JobHistory, Stall, Violation, ViolationKind};

/// Resumption after `kill -9` of a worker takes at most this long at p99.
const RESUME_AFTER_KILL_MAX: Duration = Duration::from_secs(2);
/// The same after a freeze.
const RESUME_AFTER_FREEZE_MAX: Duration = Duration::from_secs(20);

/// How many jobs came to which end.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Asked for.
    pub jobs: usize,
    /// Answered 202.
    pub accepted: usize,
    /// Ended well.
    pub succeeded: usize,
    /// Failed, by code.
    pub failed: BTreeMap<String, usize>,
    /// Ended otherwise, or not at all.
    pub other: usize,
}

impl Tally {
    /// Counts the ends of the jobs.
    #[must_use]
    pub fn of(jobs: usize, histories: &[JobHistory]) -> Self {
        let mut tally = Self { jobs, accepted: histories.len(), ..Self::default() };
        for history in histories {
            match &history.ended {
                Some(Ended::Succeeded) => tally.succeeded += 1,
                Some(Ended::Failed { code }) => *tally.failed.entry(code.clone()).or_default() += 1,
                Some(Ended::Cancelled | Ended::Superseded) | None => tally.other += 1,
            }
        }
        tally
    }
}

/// Everything a run has shown, and everything a replay needs.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    /// Of which plan.
    pub plan: Plan,
    /// Over how many parts.
    pub shape: Shape,
    /// The fault planted in the processes, if any.
    pub planted: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// Ends of the jobs.
    pub tally: Tally,
    /// How often each status was answered to a request for a job.
    pub answers: BTreeMap<String, u64>,
    /// What was promised and not kept.
    pub violations: Vec<Violation>,
    /// Times in which nothing moved.
    pub stalls: Vec<Stall>,
    /// From the kill of a worker to the next stage of a job it held.
    pub resumed_after_kill: Vec<Duration>,
    /// From the freeze of a worker to the next stage of a job it held.
    pub resumed_after_freeze: Vec<Duration>,
    /// Resumptions that fell together with faults of other parts.
    pub resumed_under_other_faults: usize,
    /// Faults by kind and part, as they happened.
    pub faults: BTreeMap<String, usize>,
    /// Processes that ended without being told to.
    pub ended_by_themselves: Vec<String>,
    /// What went wrong with the run itself.
    pub troubles: Vec<String>,
}

impl Report {
    pub(super) fn count_faults(happened: &[Happened]) -> BTreeMap<String, usize> {
        let mut faults = BTreeMap::new();
        for fault in happened {
            let part = fault.part.to_string();
            let part = part.split('-').next().unwrap_or_default().to_owned();
            *faults.entry(format!("{} {part}", fault.kind.as_str())).or_default() += 1;
        }
        faults
    }

    pub(super) fn set_resumed(&mut self, resumed: Resumed) {
        self.resumed_after_kill = sorted(resumed.after_kill);
        self.resumed_after_freeze = sorted(resumed.after_freeze);
        self.resumed_under_other_faults = resumed.under_other_faults;
    }

    /// Violations of one kind.
    #[must_use]
    pub fn count(&self, kind: ViolationKind) -> usize {
        self.violations.iter().filter(|violation| violation.kind == kind).count()
    }

    /// Whether nothing was lost, duplicated, wrong or stalled, and every planned fault was done.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.troubles.is_empty()
    }
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    times
}

/// The smallest of the sorted times that so many per mille do not exceed.
fn per_mille(sorted: &[Duration], share: usize) -> Option<Duration> {
    let rank = (sorted.len() * share).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied()
}

fn resumptions(times: &[Duration], longest: Duration) -> String {
    let (Some(p50), Some(p99)) = (per_mille(times, 500), per_mille(times, 990)) else {
        return "none measured".to_owned();
    };
    let verdict = if p99 <= longest { "met" } else { "missed" };
    format!(
        "p50 {:.3} s, p99 {:.3} s of {} (goal {} s: {verdict})",
        p50.as_secs_f64(),
        p99.as_secs_f64(),
        times.len(),
        longest.as_secs()
    )
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<String, usize>| {
            let each: Vec<String> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
            if each.is_empty() { "none".to_owned() } else { each.join(", ") }
        };
        let answers: Vec<String> =
            self.answers.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        let rows = [
            ("seed", self.plan.seed.to_string()),
            (
                "parts",
                format!(
                    "{} API, {} workers, {} RabbitMQ nodes, 1 Redis",
                    self.shape.apis, self.shape.workers, self.shape.brokers
                ),
            ),
            ("planted fault", self.planted.clone().unwrap_or_else(|| "none".to_owned())),
            ("took", format!("{:.0} s", self.took.as_secs_f64())),
            ("jobs", self.tally.jobs.to_string()),
            ("accepted", self.tally.accepted.to_string()),
            ("succeeded", self.tally.succeeded.to_string()),
            ("failed", list(&self.tally.failed)),
            ("other ends", self.tally.other.to_string()),
            ("lost", self.count(ViolationKind::Lost).to_string()),
            ("duplicated", self.count(ViolationKind::Duplicated).to_string()),
            ("wrong", self.count(ViolationKind::Wrong).to_string()),
            ("stalls > 10 s", self.count(ViolationKind::Stall).to_string()),
            ("faults", list(&self.faults)),
            ("resumed after kill", resumptions(&self.resumed_after_kill, RESUME_AFTER_KILL_MAX)),
            ("resumed after freeze", resumptions(&self.resumed_after_freeze, RESUME_AFTER_FREEZE_MAX)),
            ("other resumptions", format!("{} under faults of other parts", self.resumed_under_other_faults)),
            ("answers to POST", answers.join(", ")),
            ("ended by themselves", self.ended_by_themselves.len().to_string()),
        ];
        for (name, value) in rows {
            writeln!(formatter, "{name:<22} {value}")?;
        }
        for violation in &self.violations {
            writeln!(formatter, "VIOLATION {:?} {}: {}", violation.kind, violation.subject, violation.what)?;
        }
        for trouble in &self.troubles {
            writeln!(formatter, "TROUBLE {trouble}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(per_mille(&times, 500), Some(Duration::from_millis(100)));
        assert_eq!(per_mille(&times, 990), Some(Duration::from_millis(198)));
        assert_eq!(per_mille(&times[..1], 990), Some(Duration::from_millis(1)));
        assert_eq!(per_mille(&[], 990), None);
    }

    #[test]
    fn a_missed_goal_is_called_one() {
        let text = resumptions(&[Duration::from_secs(3)], RESUME_AFTER_KILL_MAX);
        assert!(text.ends_with("missed)"), "{text}");
    }
}
