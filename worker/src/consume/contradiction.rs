//! Contradictions between a job and its history. One may pass: while the store was away an earlier run of the job, in
//! another process, may have gone on in the ledger alone, and its events reach the store after this run has begun. What
//! lasts is a defect, and the job is set aside.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use slipway_common::model::JobId;

/// Runs of one job in this process that may be refused before that counts as lasting.
const PASSING_MAX: u32 = 5;
/// Most jobs remembered; with more, all are forgotten, which only costs further tries.
const JOBS_MAX: usize = 1_000;

/// How often each job was refused.
#[derive(Debug, Default)]
pub(crate) struct Contradictions {
    times: Mutex<HashMap<JobId, u32>>,
}

impl Contradictions {
    /// Notes one more for this job; `true` when it is to be set aside.
    pub(super) fn lasts(&self, job: JobId) -> bool {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() >= JOBS_MAX && !times.contains_key(&job) {
            times.clear();
        }
        let count = times.entry(job).or_default();
        *count += 1;
        let lasts = *count > PASSING_MAX;
        if lasts {
            times.remove(&job);
        }
        lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_set_aside_when_its_contradiction_lasts() {
        let (contradictions, job) = (Contradictions::default(), JobId::generate());
        for _ in 0..PASSING_MAX {
            assert!(!contradictions.lasts(job));
            assert!(!contradictions.lasts(JobId::generate()), "each job counts for itself");
        }
        assert!(contradictions.lasts(job));
        assert!(!contradictions.lasts(job), "queued again by somebody, it begins anew");
    }

    #[test]
    fn not_every_job_is_remembered_for_ever() {
        let contradictions = Contradictions::default();
        for _ in 0..3 * JOBS_MAX {
            assert!(!contradictions.lasts(JobId::generate()));
        }
        assert!(contradictions.times.lock().unwrap().len() <= JOBS_MAX);
    }
}
