//! The plant as a record shows it: how long starts take, how noisy measurements are, what the demand did.

use serde::Serialize;

use super::record::{Moment, Record, median};

/// Noise where the record shows none, relative.
const NOISE_ASSUMED: f64 = 0.03;
/// Least and most noise that is believed, relative.
const NOISE_RANGE: (f64, f64) = (0.002, 0.5);
/// From the median of absolute differences to their standard deviation, were they normal.
const MEDIAN_TO_DEVIATION: f64 = 1.4826;
/// Two measurements further apart than so many windows do not tell of noise.
const NEAR_WINDOWS: f64 = 3.0;
/// A change of the load is one by this share at least ...
const CHANGE_MIN: f64 = 0.25;
/// ... and by so many standard deviations of the noise.
const CHANGE_NOISES: f64 = 4.0;
/// Demand below which changes do not count, in replicas.
const DEMAND_MIN: f64 = 0.05;

/// What was identified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Identified {
    /// For how long something was measured, in seconds.
    pub measured_s: f64,
    /// Time from an order to its last replica serving, in seconds.
    pub startup_s: f64,
    /// Starts that showed it; without any it is an assumption.
    pub starts_seen: u32,
    /// Noise of one measurement, relative (standard deviation).
    pub noise: f64,
    /// Time between two observations, in seconds.
    pub interval_s: f64,
    /// Least demand, in replicas working flat out.
    pub demand_min: f64,
    /// Mean demand.
    pub demand_mean: f64,
    /// Most demand.
    pub demand_max: f64,
    /// How often the load changed by a quarter or more.
    pub changes_seen: u32,
    /// Share of the time in which the CPU stood at its ceiling.
    pub saturated_share: f64,
    /// Share of the time in which the metrics said nothing.
    pub silent_share: f64,
}

impl Identified {
    /// Reads it from a record and the same record without its noise.
    pub(super) fn of(record: &Record, smooth: &Record) -> Self {
        let noise = noise(record);
        let known = || smooth.moments.iter().filter_map(|moment| Some((moment.demand?, moment.lasts_s)));
        let measured_s = record.measured_s();
        let steps = record.moments.windows(2).map(|pair| pair[1].now_s - pair[0].now_s);
        let least = known().map(|(demand, _)| demand).fold(f64::INFINITY, f64::min);
        Self {
            measured_s,
            startup_s: record.startup_s,
            starts_seen: record.starts_seen,
            noise,
            interval_s: median(steps.collect()).unwrap_or(1.0),
            demand_min: if least.is_finite() { least } else { 0.0 },
            demand_mean: known().map(|(demand, lasts_s)| demand * lasts_s).sum::<f64>() / measured_s.max(1.0),
            demand_max: known().map(|(demand, _)| demand).fold(0.0, f64::max),
            changes_seen: changes(&smooth.moments, noise),
            saturated_share: record.saturated_share(),
            silent_share: record.silent_share(),
        }
    }
}

/// From the innovations of the demand while nothing else changes: the difference of two neighbours has twice the
/// variance of one.
fn noise(record: &Record) -> f64 {
    let innovation = |pair: &[Moment]| {
        let (before, now) = (&pair[0], &pair[1]);
        let (then, this) = (before.evidence?, now.evidence?);
        let same = (before.replicas, before.ready) == (now.replicas, now.ready);
        let near_s = NEAR_WINDOWS * this.window_s.max(then.window_s);
        let near = this.at_s > then.at_s && this.at_s - then.at_s <= near_s;
        let measured = !before.censored && !now.censored;
        let enough = then.demand_replicas > DEMAND_MIN && this.demand_replicas > DEMAND_MIN;
        (same && near && measured && enough).then(|| (this.demand_replicas / then.demand_replicas).ln().abs())
    };
    let innovations = record.moments.windows(2).filter_map(innovation).collect();
    median(innovations).map_or(NOISE_ASSUMED, |middle| {
        (MEDIAN_TO_DEVIATION * middle / std::f64::consts::SQRT_2).clamp(NOISE_RANGE.0, NOISE_RANGE.1)
    })
}

/// How often the demand moved away from where it was last, by more than noise.
pub(super) fn changes(smooth: &[Moment], noise: f64) -> u32 {
    let least = (1.0 + CHANGE_MIN).ln().max(CHANGE_NOISES * noise);
    let mut level: Option<f64> = None;
    let mut changes = 0;
    for demand in smooth.iter().filter_map(|moment| moment.demand) {
        let ln_demand = demand.max(DEMAND_MIN).ln();
        match level {
            None => level = Some(ln_demand),
            Some(before) if (ln_demand - before).abs() >= least => {
                changes += 1;
                level = Some(ln_demand);
            }
            Some(_) => {}
        }
    }
    changes
}
