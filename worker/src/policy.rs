//! What a failure does to a job: retry, defer or fail. Pure; the one place that decides it.

use std::time::Duration;

use slipway_common::failure::FailureClass;

/// How patient the worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLimits {
    /// Attempts at a stage before the job fails.
    pub attempts_max: u32,
    /// Pause before the second attempt.
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
}

/// What is to happen after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Park the job and try the stage again.
    Retry {
        /// After this long.
        after: Duration,
    },
    /// Hand the job back; the attempt does not count.
    Defer {
        /// To be delivered again after this long.
        after: Duration,
    },
    /// The job fails.
    Fail,
    /// The job ends because somebody asked for it.
    Cancel,
}

/// Decides what `class` does to a job at its `attempt` (from 1). `jitter` from 0 to 1 spreads the retries of
/// jobs that failed together.
#[must_use]
pub fn decide(class: FailureClass, attempt: u32, limits: &RetryLimits, jitter: f64) -> Decision {
    match class {
        FailureClass::Transient if attempt < limits.attempts_max => {
            Decision::Retry { after: backoff(attempt, limits, jitter) }
        }
        FailureClass::Transient | FailureClass::Permanent => Decision::Fail,
        FailureClass::Stale => Decision::Defer { after: limits.backoff_min },
        FailureClass::Cancelled => Decision::Cancel,
    }
}

/// Doubles from `backoff_min` to `backoff_max`; half of it fixed, half spread by `jitter`.
fn backoff(attempt: u32, limits: &RetryLimits, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20);
    let full = limits.backoff_min.saturating_mul(1 << doublings).min(limits.backoff_max);
    let half = full / 2;
    half + half.mul_f64(if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: RetryLimits = RetryLimits {
        attempts_max: 5,
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(60),
    };

    #[test]
    fn passing_faults_are_retried_until_the_attempts_end() {
        for attempt in 1..5 {
            assert!(matches!(decide(FailureClass::Transient, attempt, &LIMITS, 0.5), Decision::Retry { .. }));
        }
        assert_eq!(decide(FailureClass::Transient, 5, &LIMITS, 0.5), Decision::Fail);
        assert_eq!(decide(FailureClass::Permanent, 1, &LIMITS, 0.5), Decision::Fail);
        assert_eq!(decide(FailureClass::Cancelled, 1, &LIMITS, 0.5), Decision::Cancel);
    }

    #[test]
    fn a_stale_view_costs_no_attempt() {
        assert!(matches!(decide(FailureClass::Stale, 99, &LIMITS, 0.5), Decision::Defer { .. }));
    }

    proptest! {
        #[test]
        fn pauses_stay_within_their_limits(attempt in 1_u32..1_000, jitter in proptest::num::f64::ANY) {
            let pause = backoff(attempt, &LIMITS, jitter);
            prop_assert!(pause >= LIMITS.backoff_min / 2 && pause <= LIMITS.backoff_max);
        }
    }
}
