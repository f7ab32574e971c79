//! How fast this machine is at the moment, beside how fast it was at its best: bounds on time are stretched by it, since
//! machines are shared and a test must not fail because somebody else's work came in between.
//!
//! A thread does the same small piece of work again and again and notes how long each took on the clock. The least of
//! all is the floor; the slowest tenth of the last minute against it is the slowdown.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// Every bound is stretched by this in any case.
const MARGIN: f64 = 2.0;
/// Pause between two pieces of work.
const PAUSE: Duration = Duration::from_millis(50);
/// Pieces that are remembered: those of the last minute, about.
const REMEMBERED_MAX: usize = 1_200;
/// Multiplications in one piece: about a millisecond without optimisation.
const PIECE: u64 = 100_000;

/// What was measured so far.
#[derive(Debug, Default)]
struct Pace {
    floor: Option<Duration>,
    last: VecDeque<Duration>,
}

static PACE: Mutex<Pace> = Mutex::new(Pace { floor: None, last: VecDeque::new() });

/// Begins to measure, once for this process. Called by whatever starts processes to be measured.
pub fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let watching = std::thread::Builder::new().name("pace".to_owned()).spawn(measure);
        if let Err(error) = watching {
            eprintln!("harness: the machine's pace is not measured: {error}");
        }
    });
}

/// What a bound is worth on this machine now: its double, times the slowdown.
#[must_use]
pub fn allowed(bound: Duration) -> Duration {
    let slowdown = PACE.lock().unwrap_or_else(PoisonError::into_inner).slowdown();
    let allowed = bound.mul_f64(MARGIN * slowdown);
    eprintln!("pace: slowdown {slowdown:.2}, so a bound of {bound:?} is {allowed:?} here");
    allowed
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which no runtime waits for")]
fn measure() {
    loop {
        let took = piece();
        PACE.lock().unwrap_or_else(PoisonError::into_inner).note(took);
        std::thread::sleep(PAUSE);
    }
}

/// Does one piece of work; answers how long it took.
fn piece() -> Duration {
    let begun = Instant::now();
    let mut value = black_box(1_u64);
    for step in 0..PIECE {
        value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step));
    }
    black_box(value);
    begun.elapsed()
}

impl Pace {
    fn note(&mut self, took: Duration) {
        self.floor = Some(self.floor.map_or(took, |floor| floor.min(took)));
        if self.last.len() == REMEMBERED_MAX {
            self.last.pop_front();
        }
        self.last.push_back(took);
    }

    /// The 90th percentile of what is remembered, by nearest rank, in floors; 1 before anything was measured.
    fn slowdown(&self) -> f64 {
        let mut sorted: Vec<Duration> = self.last.iter().copied().collect();
        sorted.sort();
        let rank = (sorted.len() * 9).div_ceil(10);
        match (sorted.get(rank.saturating_sub(1)), self.floor) {
            (Some(slow), Some(floor)) if floor > Duration::ZERO => slow.div_duration_f64(floor),
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(millis: impl IntoIterator<Item = u64>) -> Pace {
        let mut pace = Pace::default();
        millis.into_iter().for_each(|took| pace.note(Duration::from_millis(took)));
        pace
    }

    fn is(slowdown: f64, wanted: f64) -> bool {
        (slowdown - wanted).abs() < 1e-9
    }

    #[test]
    fn the_slowest_tenth_counts_against_the_best() {
        assert!(is(Pace::default().slowdown(), 1.0));
        assert!(is(pace([2; 20]).slowdown(), 1.0));
        assert!(is(pace([2, 2, 2, 2, 2, 2, 2, 2, 6, 9]).slowdown(), 3.0));
    }

    #[test]
    fn the_best_is_remembered_longer_than_the_rest() {
        let slow_now = std::iter::once(1).chain(std::iter::repeat_n(4, 2 * REMEMBERED_MAX));
        assert!(is(pace(slow_now).slowdown(), 4.0));
        let fast_now = std::iter::repeat_n(4, 10).chain(std::iter::repeat_n(1, REMEMBERED_MAX));
        assert!(is(pace(fast_now).slowdown(), 1.0));
    }

    #[test]
    fn a_bound_is_at_least_doubled() {
        watch();
        assert!(allowed(Duration::from_secs(1)) >= Duration::from_secs(2));
    }
}
