//! Which delay queue a parked job goes to next.

use std::time::Duration;

/// Shorter than this a parked job is held by the worker that met it; it is also the shortest delay queue.
pub(super) const HELD_MAX: Duration = Duration::from_millis(250);

/// The largest of the delays (ascending, in milliseconds) that ends before `left` does; `None` when even the
/// shortest is too long and the job is to be held until it is due.
///
/// A job parked for long passes several queues, each time the largest that fits, and is never late by more
/// than the shortest one: it is held for what remains.
pub(super) fn rung(rungs_ms: &[u64], left: Duration) -> Option<u64> {
    let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    rungs_ms.iter().copied().rev().find(|rung_ms| *rung_ms <= left_ms)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{HELD_MAX, rung};

    const RUNGS: [u64; 3] = [250, 1_000, 4_000];

    #[test]
    fn the_largest_that_fits() {
        for (left_ms, expected) in [
            (0, None),
            (249, None),
            (250, Some(250)),
            (999, Some(250)),
            (1_000, Some(1_000)),
            (3_999, Some(1_000)),
            (4_000, Some(4_000)),
            (u64::MAX, Some(4_000)),
        ] {
            assert_eq!(rung(&RUNGS, Duration::from_millis(left_ms)), expected, "{left_ms} ms left");
        }
    }

    #[test]
    fn every_wait_ends_in_a_short_hold() {
        for left_ms in [251, 1_700, 3_600_000] {
            let mut left = Duration::from_millis(left_ms);
            let mut hops = 0;
            while let Some(rung_ms) = rung(&RUNGS, left) {
                left -= Duration::from_millis(rung_ms);
                hops += 1;
                assert!(hops < 1_000, "{left_ms} ms never end");
            }
            assert!(left < HELD_MAX, "{left_ms} ms end in a hold of {left:?}");
        }
    }
}
