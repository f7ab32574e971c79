//! How far a rise of the demand is carried ahead. A trend that lasts is worth following as far as a start takes; one
//! that is half noise is not. Which it is, is learned: several ways of carrying it on are tried at once, and the one
//! whose forecasts were nearest to what came, in the mean square, is used. What a load that repeats itself has foretold
//! (`season`) is judged beside them.

use serde::{Deserialize, Serialize};

use super::estimator::Estimate;
use super::tuning::Tuning;
use crate::number::from_len;

/// One way to carry a rise on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    /// Share of the rise that is taken to go on.
    share: f64,
    /// Whether only what is beyond the noise of the trend counts ([`Tuning::slope_gate`]).
    gated: bool,
}

const WAYS: [Way; 4] = [
    Way { share: 0.0, gated: false },
    GATED,
    Way { share: 0.5, gated: false },
    Way { share: 1.0, gated: false },
];
/// All that foretell: the ways, and after them the season.
const ALL: usize = WAYS.len() + 1;
/// The way of a load that hardly moves, and until enough was learned.
const GATED: Way = Way { share: 1.0, gated: true };
/// Enough is this long, in seconds.
const LEARNED_MIN_S: f64 = 300.0;
/// Forecasts made within one lead time.
const PARTS: usize = 4;
/// Time constant of the mean square errors, in seconds.
const ERROR_S: f64 = 3_600.0;
/// A larger error, a logarithm, counts as this: a jump is no trend.
const ERROR_MAX: f64 = 0.7;

/// How good the forecasts were.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeadRecord {
    /// Mean square error of each way, as they are listed, and of the season.
    square: Vec<f64>,
    learned_s: f64,
}

/// Forecasts, and how good they were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lead {
    /// Logarithms of the demand that each way foretold for a lead time later, newest first.
    foretold: [Option<[f64; ALL]>; PARTS],
    part_s: f64,
    square: [f64; ALL],
    learned_s: f64,
}

impl Lead {
    pub(crate) fn new() -> Self {
        Self { foretold: [None; PARTS], part_s: 0.0, square: [0.0; ALL], learned_s: 0.0 }
    }

    /// Forgets the forecasts, keeps what was learned: what was before a silence foretells nothing.
    pub(crate) fn restart(&mut self) {
        *self = Self { square: self.square, learned_s: self.learned_s, ..Self::new() };
    }

    /// What was learned.
    pub(crate) fn record(&self) -> LeadRecord {
        LeadRecord { square: self.square.to_vec(), learned_s: self.learned_s }
    }

    /// Takes over what was learned before; not what is no mean square, or is of other ways.
    pub(crate) fn recall(&mut self, record: &LeadRecord) {
        let Ok(square) = <[f64; ALL]>::try_from(record.square.as_slice()) else { return };
        let sound = |value: &f64| (0.0..f64::MAX).contains(value);
        if square.iter().all(sound) && sound(&record.learned_s) {
            self.square = square;
            self.learned_s = record.learned_s.min(ERROR_S);
        }
    }

    /// Compares what is measured with what was foretold, and foretells anew. `ln_season` is what the season says of the
    /// demand after the lead time; while it says nothing, it is taken to say what the best way does.
    pub(crate) fn learn(
        &mut self,
        ln_measured: f64,
        (estimate, ln_season): (&Estimate, Option<f64>),
        (lead_s, dt_s): (f64, f64),
        tuning: &Tuning,
    ) {
        if let Some(foretold) = self.foretold[PARTS - 1] {
            self.learned_s = (self.learned_s + dt_s).min(ERROR_S);
            let weight = (dt_s / self.learned_s.max(dt_s)).min(1.0);
            for (square, ln_foretold) in self.square.iter_mut().zip(foretold) {
                let error = (ln_measured - ln_foretold).abs().min(ERROR_MAX);
                *square += weight * (error * error - *square);
            }
        }
        self.part_s += dt_s;
        if self.part_s * from_len(PARTS) >= lead_s {
            self.part_s = 0.0;
            self.foretold.rotate_right(1);
            let ahead =
                |way: Way| estimate.ln_level + rise(way, estimate, lead_s, tuning).min(tuning.lead_max);
            let ln_season = ln_season.unwrap_or_else(|| ahead(self.best()));
            let mut all = [ln_season; ALL];
            all[..WAYS.len()].copy_from_slice(&WAYS.map(ahead));
            self.foretold[0] = Some(all);
        }
    }

    /// The rise over the lead time, logarithmic, at least 0: as learned while the load moves, else beyond the noise.
    pub(crate) fn rise(&self, moving: bool, estimate: &Estimate, lead_s: f64, tuning: &Tuning) -> f64 {
        let way = if moving && self.learned_s >= LEARNED_MIN_S { self.best() } else { GATED };
        rise(way, estimate, lead_s, tuning)
    }

    /// Whether the season foretold better than every way.
    pub(crate) fn trusts_season(&self) -> bool {
        let ways = &self.square[..WAYS.len()];
        self.learned_s >= LEARNED_MIN_S && ways.iter().all(|square| self.square[WAYS.len()] < *square)
    }

    fn best(&self) -> Way {
        let mut best = (f64::INFINITY, GATED);
        for (square, way) in self.square.iter().zip(WAYS) {
            if *square < best.0 {
                best = (*square, way);
            }
        }
        best.1
    }
}

fn rise(way: Way, estimate: &Estimate, lead_s: f64, tuning: &Tuning) -> f64 {
    let gate = if way.gated { tuning.slope_gate * estimate.slope_noise_per_s } else { 0.0 };
    way.share * lead_s * (estimate.slope_per_s - gate).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Mode;

    const LEAD_S: f64 = 40.0;

    /// A lead that saw a demand every 5 s, for an hour, with the slope that was claimed at each.
    fn taught(demand: impl Fn(f64) -> f64, slope: impl Fn(f64) -> f64) -> (Lead, Estimate) {
        let (mut lead, tuning) = (Lead::new(), Tuning::of(Mode::Tight));
        let mut estimate = Estimate {
            ln_level: 0.0,
            slope_per_s: 0.0,
            noise: 0.03,
            level_noise: 0.01,
            slope_noise_per_s: 0.002,
            jump: None,
            cold: false,
        };
        for step in 0..720 {
            let now_s = 5.0 * f64::from(step);
            estimate.ln_level = demand(now_s).ln();
            estimate.slope_per_s = slope(now_s);
            lead.learn(estimate.ln_level, (&estimate, None), (LEAD_S, 5.0), &tuning);
        }
        (lead, Estimate { slope_per_s: 0.005, ..estimate })
    }

    #[test]
    fn a_trend_that_lasts_is_carried_on_and_one_that_is_noise_is_not() {
        let tuning = Tuning::of(Mode::Tight);
        // Ten minutes up and ten down, at half a percent a second.
        let rising = |now_s: f64| now_s.rem_euclid(1_200.0) < 600.0;
        let saw = |now_s: f64| {
            let into_s = now_s.rem_euclid(1_200.0);
            f64::exp(0.005 * if into_s < 600.0 { into_s } else { 1_200.0 - into_s })
        };
        let (lasting, estimate) = taught(saw, |now_s| if rising(now_s) { 0.005 } else { -0.005 });
        assert!((lasting.rise(true, &estimate, LEAD_S, &tuning) - 0.2).abs() < 1e-9);
        let (noise, estimate) = taught(|_| 5.0, |now_s| 0.01 * (now_s * 12.9898).sin());
        assert!(noise.rise(true, &estimate, LEAD_S, &tuning).abs() < 1e-9);
        // A load that does not move is told by the gate alone: 0.005 - 4 x 0.002 is nothing.
        assert!(lasting.rise(false, &estimate, LEAD_S, &tuning).abs() < 1e-9);
    }

    #[test]
    fn a_season_is_trusted_while_it_foretells_better_than_the_trend() {
        let (mut lead, estimate) = taught(|_| 5.0, |_| 0.0);
        let tuning = Tuning::of(Mode::Tight);
        assert!(!lead.trusts_season(), "it said nothing, so it is no better");
        let jumps = |now_s: f64| if now_s.rem_euclid(600.0) < 300.0 { 1.0 } else { 2.0 };
        for (seconds, knows) in [(3_600, true), (7_200, false)] {
            for step in 0..seconds / 5 {
                let now_s = 5.0 * f64::from(step);
                let level = Estimate { ln_level: jumps(now_s), slope_per_s: 0.0, ..estimate };
                let says = if knows { jumps(now_s + LEAD_S) } else { 3.0 };
                lead.learn(level.ln_level, (&level, Some(says)), (LEAD_S, 5.0), &tuning);
            }
            assert_eq!(lead.trusts_season(), knows);
        }
    }

    #[test]
    fn before_enough_was_learned_only_what_is_beyond_the_noise_counts() {
        let tuning = Tuning::of(Mode::Tight);
        let (_, estimate) = taught(|_| 5.0, |_| 0.0);
        let steep = Estimate { slope_per_s: 0.01, ..estimate };
        assert!((Lead::new().rise(true, &steep, LEAD_S, &tuning) - 0.002 * LEAD_S).abs() < 1e-9);
        let mut lead = taught(|_| 5.0, |_| 0.0).0;
        lead.restart();
        assert!(lead.foretold.iter().all(Option::is_none) && lead.learned_s > LEARNED_MIN_S);
    }
}
