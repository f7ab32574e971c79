//! The checker: lost, duplicated, wrong. Pure, and tested with planted histories.

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, EffectKind};

/// How a job ended, as Slipway tells it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It did what it was for.
    Succeeded,
    /// It failed for good.
    Failed {
        /// The code of the failure.
        code: String,
    },
    /// It was stopped on request.
    Cancelled,
    /// A newer one took over.
    Superseded,
}

/// One accepted job, as the client that asked for it knows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct JobHistory {
    /// The job named in the 202.
    pub job: String,
    /// Its deployment.
    pub deployment: String,
    /// How it ended; `None` when it had not by the deadline.
    pub ended: Option<Ended>,
    /// Every effect that its success stands for, and where; no other request has the same place.
    pub wanted: Vec<(EffectKind, String)>,
}

/// What was promised and not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// Accepted, and no end by the deadline; or success without its effects.
    Lost,
    /// An effect was made twice.
    Duplicated,
    /// The end contradicts the effects.
    Wrong,
    /// Work was ready, workers were there, and nothing moved.
    Stall,
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Its kind.
    pub kind: ViolationKind,
    /// The job, or what stalled.
    pub subject: String,
    /// What was seen.
    pub what: String,
}

impl Violation {
    /// A violation.
    #[must_use]
    pub fn new(kind: ViolationKind, subject: &str, what: String) -> Self {
        Self { kind, subject: subject.to_owned(), what }
    }
}

/// Compares what was said with what happened. Answers every violation, in the order of the jobs, then the effects.
#[must_use]
pub fn check(jobs: &[JobHistory], effects: &[Effect]) -> Vec<Violation> {
    let by_job = grouped(effects, |effect| effect.job.clone());
    let by_place = grouped(effects, |effect| (effect.kind, effect.place.clone()));
    let nothing = Vec::new();
    let mut violations: Vec<Violation> = jobs
        .iter()
        .flat_map(|job| {
            let own = by_job.get(&job.job).unwrap_or(&nothing);
            let mut found = duplicated(job, own);
            found.extend(end_against_effects(job, own));
            found.extend(foreign(job, &by_place));
            found
        })
        .collect();
    violations.extend(unasked(jobs, effects));
    violations
}

/// A process that held a delivery when the broker took it back, and ended the job afterwards, has lost that
/// acknowledgement, and must know it.
#[must_use]
pub fn unaccounted(process: &str, taken_back: u64, lost_acks_told: u64) -> Option<Violation> {
    (lost_acks_told < taken_back).then(|| {
        let what =
            format!("the broker took {taken_back} deliveries back, and {lost_acks_told} acknowledgements count as lost");
        Violation::new(ViolationKind::Wrong, process, what)
    })
}

fn grouped<K: Ord>(effects: &[Effect], key: impl Fn(&Effect) -> K) -> BTreeMap<K, Vec<&Effect>> {
    let mut groups: BTreeMap<K, Vec<&Effect>> = BTreeMap::new();
    for effect in effects {
        groups.entry(key(effect)).or_default().push(effect);
    }
    groups
}

/// The same effect of the same job more than once.
fn duplicated(job: &JobHistory, own: &[&Effect]) -> Vec<Violation> {
    let mut times: BTreeMap<(EffectKind, &str), Vec<&str>> = BTreeMap::new();
    for effect in own {
        // One job makes one commit and one image, wherever they are put.
        let place = match effect.kind {
            EffectKind::Commit | EffectKind::Image => "",
            EffectKind::Container | EffectKind::Manifest => effect.place.as_str(),
        };
        times.entry((effect.kind, place)).or_default().push(&effect.value);
    }
    let twice = times.into_iter().filter(|(_, values)| values.len() > 1);
    twice
        .map(|((kind, place), values)| {
            let what = format!("{kind:?} {place} was made {} times: {}", values.len(), values.join(", "));
            Violation::new(ViolationKind::Duplicated, &job.job, what)
        })
        .collect()
}

/// What the job said of its end, against its own effects.
fn end_against_effects(job: &JobHistory, own: &[&Effect]) -> Option<Violation> {
    let there = |(kind, place): &(EffectKind, String)| {
        own.iter().any(|effect| effect.kind == *kind && effect.place == *place)
    };
    let missing: Vec<String> = job
        .wanted
        .iter()
        .filter(|wanted| !there(wanted))
        .map(|(kind, at)| format!("{kind:?} at {at}"))
        .collect();
    let complete = missing.is_empty() && !job.wanted.is_empty();
    let violation = |kind, what: String| Some(Violation::new(kind, &job.job, what));
    match &job.ended {
        None => violation(ViolationKind::Lost, format!("no end by the deadline; missing: {missing:?}")),
        Some(Ended::Succeeded) if !missing.is_empty() => {
            violation(ViolationKind::Lost, format!("succeeded without {}", missing.join(", ")))
        }
        Some(Ended::Failed { code }) if complete => {
            violation(ViolationKind::Wrong, format!("failed ({code}) although all its effects are there"))
        }
        Some(Ended::Succeeded | Ended::Failed { .. } | Ended::Cancelled | Ended::Superseded) => None,
    }
}

/// Effects of other jobs at a place that is this request's alone: the request was carried out by more than one job.
fn foreign(job: &JobHistory, by_place: &BTreeMap<(EffectKind, String), Vec<&Effect>>) -> Vec<Violation> {
    let at = job.wanted.iter().flat_map(|wanted| by_place.get(wanted).into_iter().flatten());
    let others: BTreeSet<(&str, &str)> = at
        .filter(|effect| effect.job != job.job)
        .map(|effect| (effect.job.as_str(), effect.value.as_str()))
        .collect();
    let violation = |(other, value): (&str, &str)| {
        let what = format!("the job {other} was at this request too: {value}");
        Violation::new(ViolationKind::Duplicated, &job.job, what)
    };
    others.into_iter().map(violation).collect()
}

/// Effects of jobs nobody was told about, at places nobody asked for.
fn unasked(jobs: &[JobHistory], effects: &[Effect]) -> Vec<Violation> {
    let known: BTreeSet<&str> = jobs.iter().map(|job| job.job.as_str()).collect();
    let places: BTreeSet<&(EffectKind, String)> = jobs.iter().flat_map(|job| &job.wanted).collect();
    let strange = effects.iter().filter(|effect| {
        !known.contains(effect.job.as_str()) && !places.contains(&(effect.kind, effect.place.clone()))
    });
    strange
        .map(|effect| {
            let what = format!("{:?} {} at {} was never accepted", effect.kind, effect.value, effect.place);
            Violation::new(ViolationKind::Wrong, &effect.job, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, ended: Option<Ended>) -> JobHistory {
        JobHistory {
            job: name.to_owned(),
            deployment: format!("deployment of {name}"),
            ended,
            wanted: vec![(EffectKind::Commit, format!("branch of {name}"))],
        }
    }

    fn commit(job: &str, place: &str, value: &str) -> Effect {
        Effect {
            kind: EffectKind::Commit,
            job: job.to_owned(),
            place: format!("branch of {place}"),
            value: value.to_owned(),
        }
    }

    fn kinds(violations: &[Violation]) -> Vec<ViolationKind> {
        violations.iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn a_good_history_has_no_violations() {
        let jobs =
            [job("a", Some(Ended::Succeeded)), job("b", Some(Ended::Failed { code: "poison".into() }))];
        assert_eq!(check(&jobs, &[commit("a", "a", "1")]), []);
    }

    #[test]
    fn a_job_without_an_end_is_lost() {
        let found = check(&[job("a", None)], &[commit("a", "a", "1")]);
        assert_eq!(kinds(&found), [ViolationKind::Lost]);
    }

    #[test]
    fn success_without_its_effect_is_lost() {
        let found = check(&[job("a", Some(Ended::Succeeded))], &[]);
        assert_eq!(kinds(&found), [ViolationKind::Lost]);
        // The effect must be where it was wanted.
        let found = check(&[job("a", Some(Ended::Succeeded))], &[commit("a", "elsewhere", "1")]);
        assert_eq!(kinds(&found), [ViolationKind::Lost]);
    }

    #[test]
    fn two_commits_of_one_job_are_a_duplicate() {
        let effects = [commit("a", "a", "1"), commit("a", "a", "2")];
        let found = check(&[job("a", Some(Ended::Succeeded))], &effects);
        assert_eq!(kinds(&found), [ViolationKind::Duplicated]);
        // Also on two references, and when one reference was advanced twice to the same commit.
        for (place, value) in [("another", "1"), ("a", "1")] {
            let effects = [commit("a", "a", "1"), commit("a", place, value)];
            let found = check(&[job("a", Some(Ended::Succeeded))], &effects);
            assert_eq!(kinds(&found), [ViolationKind::Duplicated], "{place} {value}");
        }
    }

    #[test]
    fn one_request_carried_out_by_two_jobs_is_a_duplicate() {
        let effects = [commit("a", "a", "1"), commit("twin", "a", "2")];
        let found = check(&[job("a", Some(Ended::Succeeded))], &effects);
        assert_eq!(kinds(&found), [ViolationKind::Duplicated]);
        // The twin did it, and the job that the client knows did nothing.
        let found = check(&[job("a", Some(Ended::Succeeded))], &[commit("twin", "a", "2")]);
        assert_eq!(kinds(&found), [ViolationKind::Lost, ViolationKind::Duplicated]);
    }

    #[test]
    fn a_failure_with_all_its_effects_is_wrong() {
        let failed = Some(Ended::Failed { code: "stage_timeout".into() });
        let found = check(&[job("a", failed)], &[commit("a", "a", "1")]);
        assert_eq!(kinds(&found), [ViolationKind::Wrong]);
    }

    #[test]
    fn an_effect_nobody_asked_for_is_wrong() {
        let effects = [commit("a", "a", "1"), commit("stranger", "nowhere", "2")];
        let found = check(&[job("a", Some(Ended::Succeeded))], &effects);
        assert_eq!(kinds(&found), [ViolationKind::Wrong]);
    }

    #[test]
    fn a_lost_acknowledgement_that_nobody_tells_of_is_wrong() {
        assert_eq!(unaccounted("worker-0", 1, 1), None);
        let found = unaccounted("worker-0", 1, 0).unwrap();
        assert_eq!((found.kind, found.subject.as_str()), (ViolationKind::Wrong, "worker-0"));
    }

    #[test]
    fn replicas_are_no_duplicates_and_doubled_replicas_are() {
        let container = |replica: &str, id: &str| Effect {
            kind: EffectKind::Container,
            job: "a".to_owned(),
            place: replica.to_owned(),
            value: id.to_owned(),
        };
        let done = JobHistory { wanted: Vec::new(), ..job("a", Some(Ended::Succeeded)) };
        assert_eq!(check(std::slice::from_ref(&done), &[container("1", "x"), container("2", "y")]), []);
        let found = check(&[done], &[container("1", "x"), container("1", "y")]);
        assert_eq!(kinds(&found), [ViolationKind::Duplicated]);
    }
}
