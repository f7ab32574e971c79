//! When a project is looked at again: after the interval, sooner and ever later while looks come to nothing. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_common::model::registered::state::SweepState;

/// Pause after the first look that came to nothing.
const BACKOFF_MIN: Duration = Duration::from_secs(5);
/// By how much a pause is lengthened at most, so that projects registered together are not looked at together.
const JITTER_MAX: f64 = 0.2;

/// The pause after a look; `share` from 0 to 1 spreads it. Doubles with `failures` in a row, up to the interval.
pub(super) fn pause(failures: u32, interval: Duration, share: f64) -> Duration {
    let shortest = shortest(failures, interval);
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    shortest + shortest.mul_f64(JITTER_MAX * share)
}

fn shortest(failures: u32, interval: Duration) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return interval };
    BACKOFF_MIN.saturating_mul(1 << doublings.min(20)).min(interval)
}

/// Whether an entry whose time had come at `due_at` was brought forward since the last look, as a delivery does.
pub(super) fn is_hint(due_at: Timestamp, last: Option<&SweepState>, interval: Duration) -> bool {
    last.is_none_or(|last| due_at < after(last.swept_at, shortest(last.failures, interval)))
}

/// `pause` after `from`.
pub(super) fn after(from: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    from.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(240);

    #[test]
    fn looks_that_come_to_nothing_are_repeated_ever_later() {
        let pauses_s: Vec<u64> = (0..9).map(|failures| pause(failures, INTERVAL, 0.0).as_secs()).collect();
        assert_eq!(pauses_s, [240, 5, 10, 20, 40, 80, 160, 240, 240]);
        assert_eq!(pause(u32::MAX, INTERVAL, 0.0), INTERVAL);
        assert_eq!(pause(0, INTERVAL, 1.0), Duration::from_secs(288));
    }

    #[test]
    fn only_what_was_brought_forward_is_a_hint() {
        let state = |failures| SweepState { failures, ..SweepState::at(Timestamp::UNIX_EPOCH) };
        let at = |seconds| after(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds));
        assert!(is_hint(at(100), None, INTERVAL), "nobody has looked yet");
        assert!(is_hint(at(100), Some(&state(0)), INTERVAL));
        assert!(!is_hint(at(240), Some(&state(0)), INTERVAL));
        assert!(!is_hint(at(100), Some(&state(1)), INTERVAL), "it is looked again by itself");
        assert!(is_hint(at(4), Some(&state(1)), INTERVAL));
    }

    proptest! {
        #[test]
        fn pauses_stay_within_their_limits(failures in 0_u32..100, share in proptest::num::f64::ANY) {
            let pause = pause(failures, INTERVAL, share);
            prop_assert!(pause >= BACKOFF_MIN && pause <= INTERVAL.mul_f64(1.0 + JITTER_MAX));
        }
    }
}
