//! Silent stalls: work is ready, workers are able, and nothing is consumed. Pure; the samples come from elsewhere.

use std::time::Duration;

/// Longest time without consumption that is no stall.
pub const STALL_MAX: Duration = Duration::from_secs(10);

/// One look at the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, since the run began.
    pub at: Duration,
    /// Jobs ready in the queue; `None` when the broker could not be asked.
    pub ready: Option<u64>,
    /// Jobs taken up so far, over all workers.
    pub consumed: u64,
    /// Whether at least one worker lives and everything it needs is up.
    pub able: bool,
}

/// A time in which nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Stall {
    /// Its beginning, since the run began.
    pub from: Duration,
    /// How long.
    pub lasted: Duration,
    /// Jobs that were ready at its end.
    pub ready: u64,
}

/// Every stall longer than `longest`. A sample in which something was consumed, nothing was ready or nobody was able
/// ends the time that is measured.
#[must_use]
pub fn stalls(samples: &[Sample], longest: Duration) -> Vec<Stall> {
    let mut found = Vec::new();
    let mut running: Option<Stall> = None;
    let mut consumed = None;
    for sample in samples {
        let stuck =
            sample.able && sample.ready.is_some_and(|ready| ready > 0) && consumed == Some(sample.consumed);
        consumed = Some(sample.consumed);
        if stuck {
            let stall = running.get_or_insert(Stall { from: sample.at, lasted: Duration::ZERO, ready: 0 });
            stall.lasted = sample.at.saturating_sub(stall.from);
            stall.ready = sample.ready.unwrap_or_default();
        } else {
            found.extend(running.take());
        }
    }
    found.extend(running);
    found.retain(|stall| stall.lasted > longest);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sample a second: ready, consumed, able.
    fn samples(of: impl IntoIterator<Item = (Option<u64>, u64, bool)>) -> Vec<Sample> {
        let at = (0_u64..).map(Duration::from_secs);
        at.zip(of).map(|(at, (ready, consumed, able))| Sample { at, ready, consumed, able }).collect()
    }

    #[test]
    fn a_queue_that_nobody_consumes_is_a_stall() {
        let stuck = samples(std::iter::repeat_n((Some(5), 7, true), 20));
        let found = stalls(&stuck, STALL_MAX);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].ready, 5);
        assert!(found[0].lasted > STALL_MAX);
    }

    #[test]
    fn consumption_an_empty_queue_and_outages_are_no_stalls() {
        assert_eq!(stalls(&samples((0..40).map(|n| (Some(5), n, true))), STALL_MAX), []);
        assert_eq!(stalls(&samples(std::iter::repeat_n((Some(0), 7, true), 40)), STALL_MAX), []);
        assert_eq!(stalls(&samples(std::iter::repeat_n((Some(5), 7, false), 40)), STALL_MAX), []);
        assert_eq!(stalls(&samples(std::iter::repeat_n((None, 7, true), 40)), STALL_MAX), []);
    }

    #[test]
    fn the_clock_starts_anew_after_an_outage() {
        let halves = std::iter::repeat_n((Some(5), 7, true), 9)
            .chain([(Some(5), 7, false)])
            .chain(std::iter::repeat_n((Some(5), 7, true), 9));
        assert_eq!(stalls(&samples(halves), STALL_MAX), []);
    }

    #[test]
    fn each_stall_is_told_once() {
        let stuck = |consumed| std::iter::repeat_n((Some(1), consumed, true), 15);
        assert_eq!(stalls(&samples(stuck(1).chain(stuck(2))), STALL_MAX).len(), 2);
    }
}
