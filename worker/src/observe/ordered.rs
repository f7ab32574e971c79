//! How many replicas of a deployment must serve, when the number that is ordered changes. Pure.
//!
//! What an autoscaler, or a person, orders takes its time: until the new replicas have come up, fewer serve than are
//! ordered, and nothing is wrong. So only that counts which was ordered longer ago than a replica may take to come up:
//! of all that was ordered since, the fewest must serve. A replica that is lost is missing at once, for its number was
//! ordered before; one that never comes up is missing once its time is over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The numbers that were ordered of one deployment, newest last, each with when that was.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    numbers: VecDeque<(Instant, u32)>,
}

impl Ordered {
    /// Whether nothing was seen yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Takes note of what is ordered now.
    pub(super) fn note(&mut self, number: u32, now: Instant) {
        if self.numbers.back().is_none_or(|(_, last)| *last != number) {
            self.numbers.push_back((now, number));
        }
    }

    /// How many replicas must serve now, if one may take `grace` to come up.
    pub(super) fn due(&mut self, grace: Duration, now: Instant) -> u32 {
        // A number held until the next was ordered.
        while self.numbers.get(1).is_some_and(|(next, _)| now.duration_since(*next) >= grace) {
            self.numbers.pop_front();
        }
        self.numbers.iter().map(|(_, number)| *number).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(120);

    /// What must serve at each of these times, when so many were ordered then.
    fn due(course: &[(u64, u32)]) -> Vec<u32> {
        let (start, mut ordered) = (Instant::now(), Ordered::default());
        let at = |second: &u64| start + Duration::from_secs(*second);
        course
            .iter()
            .map(|(second, number)| {
                ordered.note(*number, at(second));
                ordered.due(GRACE, at(second))
            })
            .collect()
    }

    #[test]
    fn a_steady_number_is_due_at_once() {
        assert_eq!(due(&[(0, 3), (2, 3), (1_000, 3)]), [3, 3, 3]);
    }

    #[test]
    fn more_are_due_when_they_have_had_time_to_come_up() {
        assert_eq!(due(&[(0, 3), (10, 9), (129, 9), (130, 9)]), [3, 3, 3, 9]);
    }

    #[test]
    fn fewer_are_due_at_once() {
        assert_eq!(due(&[(0, 9), (10, 4), (11, 4)]), [9, 4, 4]);
    }

    #[test]
    fn a_number_that_grows_all_the_time_is_due_step_by_step() {
        let course: Vec<(u64, u32)> = (0..20).map(|step| (u64::from(step) * 60, step + 1)).collect();
        let found = due(&course);
        assert_eq!(found[..4], [1, 1, 1, 2]);
        assert_eq!(found[19], 18, "what was ordered within the last two minutes is not due");
    }

    #[test]
    fn what_was_due_once_is_not_kept_for_ever() {
        let (start, mut ordered) = (Instant::now(), Ordered::default());
        assert!(ordered.is_unknown());
        for second in 0..10_000 {
            let now = start + Duration::from_secs(second);
            ordered.note(if second % 2 == 0 { 3 } else { 4 }, now);
            assert_eq!(ordered.due(GRACE, now), 3);
            assert!(ordered.numbers.len() <= 122, "{}", ordered.numbers.len());
        }
    }
}
