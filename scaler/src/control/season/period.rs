//! Which period a series repeats itself with, if any. Pure.
//!
//! For a period `P` and a lead of `h` values, what would have been foretold is compared with what came, in the mean
//! square, and that with what the series changed by within the lead:
//!
//! ```text
//! ratio = sum (x(t) - x(t-P) - share (x(t-h) - x(t-h-P)))^2  /  sum (x(t) - x(t-h))^2
//! ```
//!
//! `share` says how much of today's difference is taken to stay: nothing, half or all of it. A difference is cut off at
//! [`DIFFERENCE_MAX`]: how large a jump that comes at another time is says nothing more.

use std::ops::Range;

use super::ring::MISSING;
use crate::number::{from_i64, from_len, to_index};

/// A larger difference counts as this, in thousandths of a logarithm.
const DIFFERENCE_MAX: i32 = 700;
/// A period is believed while its ratio is below this.
const RATIO_MAX: f64 = 0.5;
/// Another period takes the place of the one that was believed when its ratio is below so many times that one's.
const CLEARLY: f64 = 0.7;
/// Values that are compared at least.
const COMPARED_MIN: usize = 24;
/// Values that must be known for anything to be compared: so many, and a period before them the shortest part of it.
const KNOWN_MIN: usize = COMPARED_MIN + 12;
/// Share of a period that is compared at least, beyond the first one.
const COMPARED_SHARE: f64 = 0.35;
/// Values that are compared at most, in periods.
const COMPARED_PERIODS: usize = 2;
/// What changed a period ago is at least this share of what changed, in the mean square: a level that was there before is
/// no repetition.
const ALIKE: f64 = 0.5;
/// What changed is at least so many times what noise makes, in the mean square.
const NOISE_TIMES: f64 = 3.0;
/// After so many values it is looked whether the rest can still matter.
const CHECKED_EVERY: usize = 16;
/// The shares that are tried, in quarters.
const QUARTERS: [i32; 3] = [0, 2, 4];

/// A period that is believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Period {
    /// Its length in values.
    pub(crate) length: usize,
    /// Share of today's difference that is taken to stay.
    pub(crate) share: f64,
    /// Mean square of what it foretold wrongly, over that of what changed.
    pub(crate) ratio: f64,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought {
    /// Shortest period, in values.
    pub(crate) shortest: usize,
    /// Values that a forecast reaches ahead.
    pub(crate) lead: usize,
    /// Least root mean square of the changes within the lead, in thousandths of a logarithm: below it is noise.
    pub(crate) swing_min: f64,
}

/// The best period of a series, oldest value first; the one `before` stays unless another is clearly better.
pub(crate) fn find(values: &[i16], sought: &Sought, before: Option<Period>) -> Option<Period> {
    let known = values.iter().filter(|value| **value != MISSING).count();
    if known < KNOWN_MIN {
        return None;
    }
    let longest = to_index(from_len(values.len()) / (1.0 + COMPARED_SHARE));
    let (noise, changes) = (noise_square(values), Changes::of(values, sought.lead));
    let (mut best, mut same): (Option<Period>, Option<Period>) = (None, None);
    for length in sought.shortest.max(2 * sought.lead + 1)..=longest {
        let Some(period) = tried(values, length, sought, (&changes, noise)) else { continue };
        if best.is_none_or(|best| period.ratio < best.ratio) {
            best = Some(period);
        }
        if before.is_some_and(|before| before.length == length) {
            same = Some(period);
        }
    }
    let stays = same.filter(|same| best.is_some_and(|best| best.ratio > CLEARLY * same.ratio));
    stays.or(best).filter(|period| period.ratio < RATIO_MAX)
}

/// How well a period of this length would have foretold; nothing where there is too little to tell, where too little has
/// changed, or where something else did a period ago.
fn tried(
    values: &[i16],
    length: usize,
    sought: &Sought,
    (changes, noise): (&Changes, f64),
) -> Option<Period> {
    let there = values.len().checked_sub(length + sought.lead)?;
    let compared = there.min(COMPARED_PERIODS * length.max(COMPARED_MIN));
    let window = values.len() - compared..values.len();
    let changed = changes.mean(&window)?;
    let changed_then = changes.mean(&(window.start - length..window.end - length))?;
    let least = (sought.swing_min * sought.swing_min).max(NOISE_TIMES * noise);
    if changed < least || changed_then - noise < ALIKE * (changed - noise) {
        return None;
    }
    let (wrong, count) = wrong(values, window, (length, sought.lead), RATIO_MAX * changed)?;
    let enough = COMPARED_MIN.max(to_index(COMPARED_SHARE * from_len(length)).saturating_sub(sought.lead));
    if count < enough {
        return None;
    }
    let all = wrong.into_iter().zip(QUARTERS).map(|(wrong, quarters)| Period {
        length,
        share: f64::from(quarters) / 4.0,
        ratio: from_i64(wrong) / from_len(count) / changed,
    });
    all.min_by(|one, other| one.ratio.total_cmp(&other.ratio))
}

/// Sums of squares of what would have been foretold wrongly, by share, and of how many values; nothing as soon as all are
/// sure to be above `most` on average.
fn wrong(
    values: &[i16],
    window: Range<usize>,
    (length, lead): (usize, usize),
    most: f64,
) -> Option<([i64; QUARTERS.len()], usize)> {
    let (mut wrong, mut count) = ([0_i64; QUARTERS.len()], 0);
    let too_much = most * from_len(window.len());
    for now in window {
        let (new, old) = (values[now], values[now - lead]);
        let (new_then, old_then) = (values[now - length], values[now - length - lead]);
        if new == MISSING || old == MISSING || new_then == MISSING || old_then == MISSING {
            continue;
        }
        let off = i32::from(new) - i32::from(new_then);
        let before = i32::from(old) - i32::from(old_then);
        for (wrong, quarters) in wrong.iter_mut().zip(QUARTERS) {
            *wrong += square(off - quarters * before / 4);
        }
        count += 1;
        if count % CHECKED_EVERY == 0 && wrong.iter().all(|wrong| from_i64(*wrong) > too_much) {
            return None;
        }
    }
    Some((wrong, count))
}

/// What a series changed by within the lead, squared: sums over its beginning, so that those over any part are known at
/// once. Most periods are out of the question for that alone.
#[derive(Debug)]
struct Changes {
    /// Before each value: the sum, and how many are known.
    before: Vec<(i64, usize)>,
}

impl Changes {
    fn of(values: &[i16], lead: usize) -> Self {
        let mut before = Vec::with_capacity(values.len() + 1);
        let (mut sum, mut count) = (0, 0);
        before.push((sum, count));
        for (index, new) in values.iter().enumerate() {
            let old = index.checked_sub(lead).map_or(MISSING, |old| values[old]);
            if *new != MISSING && old != MISSING {
                sum += square(i32::from(*new) - i32::from(old));
                count += 1;
            }
            before.push((sum, count));
        }
        Self { before }
    }

    /// The mean square over a part of the series, if anything of it is known.
    fn mean(&self, part: &Range<usize>) -> Option<f64> {
        let ((sum, count), (end_sum, end_count)) = (self.before[part.start], self.before[part.end]);
        (end_count > count).then(|| from_i64(end_sum - sum) / from_len(end_count - count))
    }
}

/// The mean square of the difference of two values that noise makes. From the median of the second differences, which a
/// few jumps do not move: those of noise with a standard deviation of 1 have one of the root of 6, and half of them are
/// below 0.6745 times that.
fn noise_square(values: &[i16]) -> f64 {
    let known = values.windows(3).filter(|three| !three.contains(&MISSING));
    let mut bends: Vec<i32> = known
        .map(|three| (i32::from(three[0]) - 2 * i32::from(three[1]) + i32::from(three[2])).abs())
        .collect();
    if bends.is_empty() {
        return 0.0;
    }
    let middle = bends.len() / 2;
    let (_, median, _) = bends.select_nth_unstable(middle);
    let deviation = f64::from(*median) / (0.6745 * 6.0_f64.sqrt());
    2.0 * deviation * deviation
}

fn square(difference: i32) -> i64 {
    let difference = i64::from(difference.abs().min(DIFFERENCE_MAX));
    difference * difference
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUGHT: Sought = Sought { shortest: 12, lead: 2, swing_min: 50.0 };

    fn series(length: u32, value: impl Fn(f64) -> f64) -> Vec<i16> {
        (0..length).map(|index| super::super::ring::grain(value(f64::from(index)))).collect()
    }

    /// A number between -1 and 1 that nobody could foretell.
    fn noise(index: f64) -> f64 {
        let value = (index * 12.9898).sin() * 43_758.547;
        2.0 * (value - value.floor()) - 1.0
    }

    #[test]
    fn the_period_of_a_wave_is_found_after_a_third_of_the_second_one() {
        let wave = |index: f64| (std::f64::consts::TAU * index / 60.0).sin() + 0.03 * noise(index);
        assert_eq!(find(&series(70, wave), &SOUGHT, None), None);
        let found = find(&series(90, wave), &SOUGHT, None).unwrap();
        assert!((59..=61).contains(&found.length) && found.ratio < 0.1, "{found:?}");
    }

    #[test]
    fn jumps_that_come_again_are_found() {
        let square = |index: f64| if (index / 24.0).floor() % 2.0 < 1.0 { 1.0 } else { 2.0 };
        assert_eq!(find(&series(120, square), &SOUGHT, None).unwrap().length, 48);
    }

    #[test]
    fn a_level_that_differs_from_day_to_day_is_taken_to_stay() {
        let days =
            |index: f64| (std::f64::consts::TAU * index / 40.0).sin() + 0.4 * noise((index / 40.0).floor());
        let found = find(&series(360, days), &SOUGHT, None).unwrap();
        assert_eq!(found.length % 40, 0, "{found:?}");
        assert!(found.share > 0.4, "{found:?}");
    }

    #[test]
    fn noise_and_what_hardly_changes_and_what_is_missing_have_no_period() {
        for size in [0.01, 0.05, 0.3, 1.0] {
            for from in 0..10 {
                let only_noise = series(384, |index| size * noise(index + 1_000.0 * f64::from(from)));
                assert_eq!(find(&only_noise, &SOUGHT, None), None, "{size} from {from}");
            }
        }
        let small = series(384, |index| 0.02 * (std::f64::consts::TAU * index / 60.0).sin());
        assert_eq!(find(&small, &SOUGHT, None), None);
        assert_eq!(find(&[MISSING; 384], &SOUGHT, None), None);
        assert_eq!(find(&[], &SOUGHT, None), None);
    }

    #[test]
    fn a_jump_back_to_what_was_before_is_no_repetition() {
        for (up, down) in [(60.0, 120.0), (40.0, 90.0), (100.0, 130.0)] {
            for length in (130..384).step_by(6) {
                let once =
                    |index: f64| if (up..down).contains(&index) { 2.0 } else { 1.6 } + 0.02 * noise(index);
                let found = find(&series(length, once), &Sought { lead: 1, ..SOUGHT }, None);
                assert_eq!(found, None, "up at {up}, down at {down}, seen until {length}");
            }
        }
    }

    #[test]
    fn what_wanders_has_no_period() {
        let mut found = 0;
        for seed in 0..20 {
            let mut level = 0.0;
            let walk: Vec<i16> = (0..384)
                .map(|index| {
                    level += 0.1 * noise(f64::from(index) + 977.0 * f64::from(seed)) - 0.01 * level;
                    super::super::ring::grain(level)
                })
                .collect();
            found += usize::from(find(&walk, &SOUGHT, None).is_some());
        }
        assert!(found <= 1, "{found} of 20");
    }

    #[test]
    fn the_period_that_was_believed_stays_unless_another_is_clearly_better() {
        let wave = series(100, |index| (std::f64::consts::TAU * index / 60.0).sin() + 0.1 * noise(index));
        let best = find(&wave, &SOUGHT, None).unwrap();
        let (mut stayed, mut gave_way) = (0, 0);
        for length in best.length - 8..=best.length + 8 {
            let known = (&Changes::of(&wave, SOUGHT.lead), noise_square(&wave));
            let Some(before) = tried(&wave, length, &SOUGHT, known) else { continue };
            let found = find(&wave, &SOUGHT, Some(before)).unwrap();
            if best.ratio > CLEARLY * before.ratio {
                assert_eq!(found.length, length);
                stayed += 1;
            } else {
                assert_eq!(found.length, best.length);
                gave_way += 1;
            }
        }
        assert!(stayed >= 2 && gave_way >= 2, "{stayed} and {gave_way}");
    }
}
