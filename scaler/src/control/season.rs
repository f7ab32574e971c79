//! Whether the load repeats itself, and what comes if it does: the learned profile of an hour, of a day, of whatever
//! period fits.
//!
//! The demand of the past is kept finely for two hours and coarsely for two days. Every now and then the period that it
//! repeats itself with is looked for in both ([`period`]). While one is believed, what comes is what came one and two
//! periods ago, on average, moved by the share of today's difference that lasted until now. A finely known period is
//! preferred. Sources: the seasonal naive forecast (Hyndman and Athanasopoulos 2021, "Forecasting: Principles and
//! Practice", 5.2), tried against the naive one.

mod period;
mod ring;

use serde::{Deserialize, Serialize};

use self::period::{Period, Sought};
pub(crate) use self::ring::RingRecord;
use self::ring::{Bins, Ring};
use crate::number::{from_len, to_index};

/// One resolution.
#[derive(Debug, Clone, Copy)]
struct Resolution {
    bins: Bins,
    /// Shortest period, in bins.
    shortest: usize,
    /// Bins between two searches.
    pause: usize,
    /// See [`Sought::swing_min`].
    swing_min: f64,
}

/// Two hours, for periods up to 95 minutes.
static FINE: Resolution =
    Resolution { bins: Bins { length_s: 20.0, kept: 384 }, shortest: 12, pause: 6, swing_min: 50.0 };
/// Two days and two hours, for periods up to 37 hours. Five minutes of measurements have little noise.
static COARSE: Resolution =
    Resolution { bins: Bins { length_s: 300.0, kept: 600 }, shortest: 13, pause: 12, swing_min: 15.0 };
/// Periods that are averaged.
const PERIODS: usize = 2;

/// What is kept of a season over a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SeasonRecord {
    fine: RingRecord,
    coarse: RingRecord,
}

/// What comes, while the load repeats itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Foretold {
    /// The highest demand until then, logarithmic.
    pub(crate) ln_highest: f64,
    /// The demand at the end of a lead time, logarithmic.
    pub(crate) ln_then: f64,
    /// The period, in seconds.
    pub(crate) period_s: f64,
    /// See [`Period::ratio`].
    pub(crate) ratio: f64,
}

/// The demand of the past, and the period it repeats itself with.
#[derive(Debug, Clone)]
pub(crate) struct Season {
    fine: Part,
    coarse: Part,
}

#[derive(Debug, Clone)]
struct Part {
    resolution: &'static Resolution,
    ring: Ring,
    until_search: usize,
    period: Option<Period>,
}

impl Season {
    pub(crate) fn new() -> Self {
        Self::of(&SeasonRecord::default())
    }

    pub(crate) fn of(record: &SeasonRecord) -> Self {
        Self { fine: Part::of(&record.fine, &FINE), coarse: Part::of(&record.coarse, &COARSE) }
    }

    pub(crate) fn record(&self) -> SeasonRecord {
        SeasonRecord { fine: self.fine.ring.record(), coarse: self.coarse.ring.record() }
    }

    /// Takes a logarithmic demand, or a lower bound of it where it is not `exact`.
    pub(crate) fn note(&mut self, now_s: f64, ln_demand: f64, exact: bool, lead_s: f64) {
        self.fine.note(now_s, ln_demand, exact, lead_s);
        self.coarse.note(now_s, ln_demand, exact, lead_s);
    }

    /// What comes within a lead time and `more_s` after it, seen from the logarithmic level of now; nothing while no
    /// period is believed, or while what was a period ago is not known.
    pub(crate) fn foretold(&self, now_s: f64, ln_level: f64, lead_s: f64, more_s: f64) -> Option<Foretold> {
        self.fine
            .foretold(now_s, ln_level, lead_s, more_s)
            .or_else(|| self.coarse.foretold(now_s, ln_level, lead_s, more_s))
    }
}

impl Part {
    fn of(record: &RingRecord, resolution: &'static Resolution) -> Self {
        Self { resolution, ring: Ring::of(record, &resolution.bins), until_search: 0, period: None }
    }

    fn note(&mut self, now_s: f64, ln_demand: f64, exact: bool, lead_s: f64) {
        let closed = self.ring.note(now_s, ln_demand, exact);
        if closed == 0 {
            return;
        }
        if self.until_search > closed {
            self.until_search -= closed;
            return;
        }
        self.until_search = self.resolution.pause;
        let lead = to_index((lead_s / self.resolution.bins.length_s).ceil()).max(1);
        let Resolution { shortest, swing_min, .. } = *self.resolution;
        self.period = period::find(self.ring.values(), &Sought { shortest, lead, swing_min }, self.period);
    }

    fn foretold(&self, now_s: f64, ln_level: f64, lead_s: f64, more_s: f64) -> Option<Foretold> {
        let period = self.period?;
        let moved = self.moved(now_s, ln_level, &period)?;
        let at = |bin: u64| Some(self.usual(bin, &period)? + moved);
        let (first, last) = (self.ring.bin_of(now_s), self.ring.bin_of(now_s + lead_s + more_s));
        let highest = (first..=last).map(at).try_fold(f64::NEG_INFINITY, |most, ln| Some(most.max(ln?)));
        Some(Foretold {
            ln_highest: highest?,
            ln_then: at(self.ring.bin_of(now_s + lead_s))?,
            period_s: from_len(period.length) * self.resolution.bins.length_s,
            ratio: period.ratio,
        })
    }

    /// How far the level is from what is usual now, as far as that is taken to stay.
    fn moved(&self, now_s: f64, ln_level: f64, period: &Period) -> Option<f64> {
        Some(period.share * (ln_level - self.usual(self.ring.bin_of(now_s), period)?))
    }

    /// The mean of what there was one and two periods before a bin, as far as it is known.
    fn usual(&self, bin: u64, period: &Period) -> Option<f64> {
        let length = u64::try_from(period.length).ok()?;
        let before = |times: usize| self.ring.value(bin.checked_sub(length * u64::try_from(times).ok()?)?);
        let last = before(1)?;
        let (sum, count) =
            (2..=PERIODS).map_while(before).fold((last, 1.0), |(sum, n), ln| (sum + ln, n + 1.0));
        Some(sum / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD_S: f64 = 35.0;
    const DAY_S: f64 = 86_400.0;

    /// A season that saw a demand every `pause_s`, until `end_s`.
    fn told(end_s: f64, pause_s: f64, ln_demand: impl Fn(f64) -> f64) -> Season {
        let mut season = Season::new();
        let mut now_s = 0.0;
        while now_s < end_s {
            season.note(now_s, ln_demand(now_s), true, LEAD_S);
            now_s += pause_s;
        }
        season
    }

    /// Ten minutes at e, ten at e^2.
    fn jumps(now_s: f64) -> f64 {
        if now_s.rem_euclid(1_200.0) < 600.0 { 1.0 } else { 2.0 }
    }

    /// Busy from nine to five.
    fn working_days(now_s: f64) -> f64 {
        if (9.0..17.0).contains(&(now_s.rem_euclid(DAY_S) / 3_600.0)) { 2.5 } else { 1.0 }
    }

    #[test]
    fn a_jump_that_came_twice_is_foretold_before_it_comes() {
        let before_s = 4_200.0 - 20.0;
        let season = told(before_s, 5.0, jumps);
        let foretold = season.foretold(before_s, jumps(before_s), LEAD_S, 0.0).unwrap();
        assert_eq!((foretold.period_s, foretold.ln_highest, foretold.ln_then), (1_200.0, 2.0, 2.0));
        let early_s = 4_200.0 - 120.0;
        let foretold = told(early_s, 5.0, jumps).foretold(early_s, 1.0, LEAD_S, 0.0).unwrap();
        assert_eq!((foretold.ln_highest, foretold.ln_then), (1.0, 1.0), "not long before");
        let more = told(early_s, 5.0, jumps).foretold(early_s, 1.0, LEAD_S, 100.0).unwrap();
        assert_eq!((more.ln_highest, more.ln_then), (2.0, 1.0));
    }

    #[test]
    fn a_jump_of_every_day_is_foretold_on_the_third() {
        let before_s = 2.0 * DAY_S + 9.0 * 3_600.0 - 20.0;
        let season = told(before_s, 30.0, working_days);
        let foretold = season.foretold(before_s, 1.0, LEAD_S, 0.0).unwrap();
        assert_eq!((foretold.period_s, foretold.ln_highest), (DAY_S, 2.5));
    }

    #[test]
    fn what_is_known_outlives_a_restart_and_a_pause() {
        let (end_s, after_s) = (2.0 * DAY_S + 8.0 * 3_600.0, 2.0 * DAY_S + 8.5 * 3_600.0);
        let before = told(end_s, 30.0, working_days);
        let mut after = Season::of(&before.record());
        assert_eq!(after.record(), before.record());
        let mut now_s = after_s;
        while now_s < 2.0 * DAY_S + 9.0 * 3_600.0 - 20.0 {
            after.note(now_s, 1.0, true, LEAD_S);
            now_s += 30.0;
        }
        assert_eq!(after.foretold(now_s, 1.0, LEAD_S, 0.0).unwrap().ln_highest, 2.5);
    }

    #[test]
    fn a_load_that_does_not_repeat_itself_foretells_nothing() {
        assert_eq!(Season::new().foretold(0.0, 1.0, LEAD_S, 0.0), None);
        let once = told(7_000.0, 5.0, |now_s| if now_s < 3_000.0 { 1.0 } else { 2.0 });
        assert_eq!(once.foretold(7_000.0, 2.0, LEAD_S, 0.0), None);
        let steady = told(7_000.0, 5.0, |now_s| 0.05 * (now_s * 12.9898).sin());
        assert_eq!(steady.foretold(7_000.0, 0.0, LEAD_S, 0.0), None);
    }

    #[test]
    fn a_season_that_ends_is_believed_no_more() {
        let ended = |now_s: f64| if now_s < 5_000.0 { jumps(now_s) } else { 1.0 };
        assert!(told(5_000.0, 5.0, ended).foretold(5_000.0, 1.0, LEAD_S, 0.0).is_some());
        assert_eq!(told(8_000.0, 5.0, ended).foretold(8_000.0, 1.0, LEAD_S, 0.0), None);
    }

    #[test]
    fn a_clock_that_goes_back_or_far_ahead_does_no_harm() {
        let mut season = told(5_000.0, 5.0, jumps);
        for now_s in [4_000.0, -5.0, f64::NAN, 1e18, 0.0, 1e18 + 40.0] {
            season.note(now_s, 1.0, true, LEAD_S);
            let _ = season.foretold(now_s, 1.0, LEAD_S, 0.0);
        }
        assert_eq!(season.foretold(5_000.0, 1.0, LEAD_S, 0.0), None);
    }
}
