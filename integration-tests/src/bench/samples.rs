//! Durations of one kind, sorted: percentiles by nearest rank, so that every answer is a value that was measured.

use std::time::Duration;

/// Milliseconds of a duration.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Sorted durations; at least one.
#[derive(Debug, Clone)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Sorts the durations; `None` when there are none.
    #[must_use]
    pub fn new(mut durations: Vec<Duration>) -> Option<Self> {
        durations.sort_unstable();
        (!durations.is_empty()).then_some(Self(durations))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The least value that at least `per_mille` thousandths of all are not above, in milliseconds.
    #[must_use]
    pub fn per_mille_ms(&self, per_mille: usize) -> f64 {
        let rank = (self.0.len() * per_mille.min(1_000)).div_ceil(1_000).max(1);
        millis(self.0[rank - 1])
    }

    /// The median in milliseconds; with an even number of values the lower one in the middle.
    #[must_use]
    pub fn median_ms(&self) -> f64 {
        self.per_mille_ms(500)
    }

    /// The least value in milliseconds.
    #[must_use]
    pub fn min_ms(&self) -> f64 {
        self.per_mille_ms(0)
    }

    /// The greatest value in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.per_mille_ms(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let samples = Samples::new((1..=200).rev().map(Duration::from_millis).collect()).unwrap();
        let rounded = |value: f64| format!("{value:.3}");
        assert_eq!(rounded(samples.min_ms()), "1.000");
        assert_eq!(rounded(samples.median_ms()), "100.000");
        assert_eq!(rounded(samples.per_mille_ms(990)), "198.000");
        assert_eq!(rounded(samples.max_ms()), "200.000");
        assert!(Samples::new(Vec::new()).is_none());
    }
}
