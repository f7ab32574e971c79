//! Demand of the past at one resolution: mean logarithms of short times, the newest so many.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::number::{to_i16, to_u64};

/// Values are kept in thousandths of a logarithm.
const GRAIN: f64 = 1_000.0;
/// Largest value that is kept.
const VALUE_MAX: f64 = 32_000.0;
/// No value: nothing was measured then.
pub(super) const MISSING: i16 = i16::MIN;
/// So many bins in a row of which only a lower bound is known are made good for by the next one.
const UNKNOWN_MAX: usize = 15;

/// The bins of a ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bins {
    /// Length of one, in seconds.
    pub(super) length_s: f64,
    /// How many are kept.
    pub(super) kept: usize,
}

/// What is kept of a ring over a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RingRecord {
    /// Number of the bin after the last value, counted from the beginning of time.
    bin: u64,
    /// Thousandths of a logarithm, oldest first.
    values: Vec<i16>,
}

/// The bins that are full, and the one that is being filled.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    bins: &'static Bins,
    values: VecDeque<i16>,
    /// Number of the bin that is being filled, counted from the beginning of time.
    bin: u64,
    sum: f64,
    count: u32,
    /// Whether all that is in it was known exactly.
    exact: bool,
    /// So many of the newest values are lower bounds, or missing.
    unknown: usize,
}

impl Ring {
    pub(super) fn new(bins: &'static Bins) -> Self {
        Self { bins, values: VecDeque::new(), bin: 0, sum: 0.0, count: 0, exact: true, unknown: 0 }
    }

    /// What was kept before a restart. Values that are too many, or would be of the future, are left out.
    pub(super) fn of(record: &RingRecord, bins: &'static Bins) -> Self {
        let surplus = record.values.len().saturating_sub(bins.kept);
        let values = record.values.iter().skip(surplus).copied().collect();
        Self { values, bin: record.bin, ..Self::new(bins) }
    }

    pub(super) fn record(&self) -> RingRecord {
        RingRecord { bin: self.bin, values: self.values.iter().copied().collect() }
    }

    /// The number of the bin of a moment.
    pub(super) fn bin_of(&self, at_s: f64) -> u64 {
        to_u64(at_s / self.bins.length_s)
    }

    /// Takes a logarithmic demand, or a lower bound of it where it is not `exact`. Answers how many bins were closed.
    pub(super) fn note(&mut self, now_s: f64, ln_demand: f64, exact: bool) -> usize {
        let bin = self.bin_of(now_s);
        if self.values.is_empty() && self.count == 0 {
            self.bin = bin;
        }
        let passed = usize::try_from(bin.saturating_sub(self.bin)).unwrap_or(usize::MAX);
        if passed > 0 {
            self.close();
            self.miss(passed - 1);
            self.bin = bin;
        }
        self.sum += ln_demand;
        self.count += 1;
        self.exact &= exact;
        passed
    }

    /// So many bins have passed in silence. After one longer than what is kept, nothing is left.
    fn miss(&mut self, bins: usize) {
        if bins >= self.bins.kept {
            self.values.clear();
            self.unknown = 0;
            return;
        }
        (0..bins).for_each(|_| self.push(MISSING, false));
    }

    fn close(&mut self) {
        if self.count == 0 {
            self.push(MISSING, false);
        } else {
            self.push(grain(self.sum / f64::from(self.count)), self.exact);
        }
        (self.sum, self.count, self.exact) = (0.0, 0, true);
    }

    /// Adds a value. The first exact one after lower bounds is what the demand had been rising to.
    fn push(&mut self, value: i16, exact: bool) {
        if !exact {
            self.unknown += 1;
        } else if self.unknown > 0 {
            let bounds = if self.unknown <= UNKNOWN_MAX { self.unknown } else { 0 };
            self.values.iter_mut().rev().take(bounds).for_each(|bound| *bound = value.max(*bound));
            self.unknown = 0;
        }
        if self.values.len() == self.bins.kept {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// The logarithmic demand of a bin, if it is known.
    pub(super) fn value(&self, bin: u64) -> Option<f64> {
        let back = usize::try_from(self.bin.checked_sub(bin)?).ok()?;
        let value = *self.values.get(self.values.len().checked_sub(back)?)?;
        (value != MISSING).then(|| f64::from(value) / GRAIN)
    }

    /// All values, oldest first.
    pub(super) fn values(&mut self) -> &[i16] {
        self.values.make_contiguous()
    }
}

/// A logarithm in thousandths.
pub(super) fn grain(ln_demand: f64) -> i16 {
    to_i16((ln_demand * GRAIN).clamp(-VALUE_MAX, VALUE_MAX).round())
}

#[cfg(test)]
mod tests {
    use super::*;

    static BINS: Bins = Bins { length_s: 20.0, kept: 6 };

    fn noted(values: &[(f64, f64, bool)]) -> Ring {
        let mut ring = Ring::new(&BINS);
        for (at_s, ln_demand, exact) in values {
            ring.note(*at_s, *ln_demand, *exact);
        }
        ring
    }

    #[test]
    fn a_bin_is_the_mean_of_what_fell_into_it() {
        let ring = noted(&[(100.0, 1.0, true), (105.0, 2.0, true), (119.9, 3.0, true), (120.0, 9.0, true)]);
        assert_eq!((ring.bin, ring.value(5), ring.value(6), ring.value(4)), (6, Some(2.0), None, None));
    }

    #[test]
    fn the_oldest_go_and_a_silence_is_missing() {
        let mut ring = noted(&[(0.0, 1.0, true), (20.0, 2.0, true), (40.0, 3.0, true), (120.0, 4.0, true)]);
        assert_eq!(ring.values(), [1_000, 2_000, 3_000, MISSING, MISSING, MISSING]);
        ring.note(145.0, 5.0, true);
        assert_eq!(ring.values(), [2_000, 3_000, 4_000, 4_000, 4_000, 4_000]);
        ring.note(1e9, 5.0, true);
        assert!(ring.values().is_empty());
    }

    #[test]
    fn lower_bounds_become_what_was_measured_after_them_if_that_is_more() {
        let mut ring = noted(&[
            (0.0, 1.0, true),
            (20.0, 2.0, false),
            (40.0, 4.0, false),
            (60.0, 3.0, true),
            (80.0, 0.0, true),
        ]);
        assert_eq!(ring.values(), [1_000, 3_000, 4_000, 3_000]);
    }

    #[test]
    fn a_record_is_the_ring_again() {
        let ring = noted(&[(0.0, 1.0, true), (20.0, -2.0, true), (40.0, 3.0, true)]);
        let again = Ring::of(&ring.record(), &BINS);
        assert_eq!(again.record(), ring.record());
        assert_eq!((again.value(1), again.bin), (Some(-2.0), 2));
        let long = RingRecord { bin: 9, values: vec![7; 50] };
        assert_eq!(Ring::of(&long, &BINS).record().values.len(), 6);
    }

    #[test]
    fn values_beyond_what_is_kept_are_cut_off() {
        assert_eq!([grain(1e9), grain(-1e9), grain(f64::NAN), grain(1.2345)], [32_000, -32_000, 0, 1_235]);
    }
}
