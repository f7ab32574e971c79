//! Level and trend of the demand's logarithm, the noise of its measurement, and the test that tells a jump from noise.
//!
//! Between jumps the level is an average whose window grows until it reaches its time constant, so noise is averaged
//! out; two one-sided sums of the standardised innovations (CUSUM, Page 1954) end that: when one passes its threshold
//! the level is set to what was measured since the sum began, and the averaging starts anew. The steady-state
//! variances of level and trend are those of the alpha-beta filter (Kalata 1984).

use super::tuning::Tuning;

/// Noise before any was measured, relative.
const NOISE_START: f64 = 0.05;
/// Least noise: what counters and clocks round to.
const NOISE_MIN: f64 = 0.004;
/// Most noise; beyond it the measurement is of no use anyway.
const NOISE_MAX: f64 = 0.6;
/// Innovations beyond so many standard deviations do not teach the noise.
const NOISE_CLIP: f64 = 3.0;
/// Weight of one innovation in the noise.
const NOISE_WEIGHT: f64 = 0.03;
/// So many measurements after a start are a first impression.
const COLD: u32 = 8;
/// Steepest trend, relative per second.
const SLOPE_MAX_PER_S: f64 = 0.2;

/// What the filter says after one measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// Logarithm of the demand.
    pub(crate) ln_level: f64,
    /// Its growth per second.
    pub(crate) slope_per_s: f64,
    /// Standard deviation of one measurement.
    pub(crate) noise: f64,
    /// Standard deviation of the level.
    pub(crate) level_noise: f64,
    /// Standard deviation of the trend, per second.
    pub(crate) slope_noise_per_s: f64,
    /// By how much the level jumped with this measurement.
    pub(crate) jump: Option<f64>,
    /// Whether there were too few measurements since the start to know more than a first impression.
    pub(crate) cold: bool,
}

impl Estimate {
    /// `min(noise share x level noise, most) + one / sqrt(n)`: grows with the noise, falls with the count. While there
    /// is only a first impression, nothing bounds the part of the noise; while the load moves, it is bounded closely.
    pub(crate) fn dead_band(&self, replicas: u32, moving: bool, tuning: &Tuning) -> f64 {
        let most = match (self.cold, moving) {
            (true, _) => f64::INFINITY,
            (false, true) => tuning.band_moving_max,
            (false, false) => tuning.band_noise_max,
        };
        (tuning.band_noise * self.level_noise).min(most) + tuning.band_one / f64::from(replicas.max(1)).sqrt()
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct OneSided {
    sum: f64,
    run: u32,
    run_sum: f64,
}

impl OneSided {
    /// Adds one standardised innovation; says whether the sum passed its threshold.
    fn add(&mut self, innovation: f64, measured: f64, tuning: &Tuning) -> bool {
        self.sum = (self.sum + innovation - tuning.jump_drift).max(0.0);
        if self.sum == 0.0 {
            *self = Self::default();
            return false;
        }
        self.run += 1;
        self.run_sum += measured;
        self.sum > tuning.jump_threshold
    }
}

/// State of the filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimator {
    ln_level: f64,
    slope_per_s: f64,
    variance: f64,
    since_jump: u32,
    since_start: u32,
    measured_before: f64,
    up: OneSided,
    down: OneSided,
}

impl Estimator {
    pub(crate) fn new() -> Self {
        Self {
            ln_level: 0.0,
            slope_per_s: 0.0,
            variance: NOISE_START * NOISE_START,
            since_jump: 0,
            since_start: 0,
            measured_before: 0.0,
            up: OneSided::default(),
            down: OneSided::default(),
        }
    }

    /// Forgets level and trend, keeps the learned noise: after a silence.
    pub(crate) fn restart(&mut self) {
        *self = Self { variance: self.variance, ..Self::new() };
    }

    /// The same after the ceiling was left: the next measurement is believed at once.
    pub(crate) fn restart_warm(&mut self) {
        *self = Self { variance: self.variance, since_start: COLD, ..Self::new() };
    }

    /// Takes the logarithm of one measured demand, `dt_s` after the last. A load that is `moving` is averaged for less
    /// long.
    pub(crate) fn update(&mut self, measured: f64, dt_s: f64, moving: bool, tuning: &Tuning) -> Estimate {
        self.since_start = self.since_start.saturating_add(1);
        if self.since_jump == 0 {
            self.ln_level = measured;
            self.measured_before = measured;
            self.since_jump = 1;
            return self.estimate(1.0, dt_s, tuning, None);
        }
        let predicted = self.ln_level + self.slope_per_s * dt_s;
        let innovation = measured - predicted;
        let standardised = innovation / self.noise();
        let jumped_up = self.up.add(standardised, measured, tuning);
        let jumped_down = self.down.add(-standardised, measured, tuning);
        let jump = if jumped_up || jumped_down {
            Some(self.jump(measured, if jumped_up { self.up } else { self.down }))
        } else {
            self.learn_noise(innovation);
            None
        };
        let gain = self.level_gain(dt_s, moving, tuning);
        if jump.is_none() {
            self.ln_level = predicted + gain * innovation;
            let slope = self.slope_per_s + trend_gain(dt_s, tuning) * innovation / dt_s;
            self.slope_per_s = slope.clamp(-SLOPE_MAX_PER_S, SLOPE_MAX_PER_S);
            self.since_jump = self.since_jump.saturating_add(1);
        }
        self.measured_before = measured;
        self.estimate(gain, dt_s, tuning, jump)
    }

    /// The level becomes what was measured since the sum began: the newest value when it came at once, else the mean
    /// of the last two, for the ones before are of the way there.
    fn jump(&mut self, measured: f64, run: OneSided) -> f64 {
        let level = match run.run {
            0 | 1 => measured,
            2 => 0.5 * run.run_sum,
            _ => 0.5 * (measured + self.measured_before),
        };
        let size = level - self.ln_level;
        self.ln_level = level;
        self.since_jump = 1;
        self.up = OneSided::default();
        self.down = OneSided::default();
        size
    }

    fn learn_noise(&mut self, innovation: f64) {
        let clip = NOISE_CLIP * NOISE_CLIP * self.variance;
        let seen = (innovation * innovation).min(clip);
        let variance = self.variance + NOISE_WEIGHT * (seen - self.variance);
        self.variance = variance.clamp(NOISE_MIN * NOISE_MIN, NOISE_MAX * NOISE_MAX);
    }

    fn noise(&self) -> f64 {
        self.variance.sqrt()
    }

    /// `max(1 - exp(-dt / time constant), 1 / (k + 1))`, with `k` measurements since the last jump.
    fn level_gain(&self, dt_s: f64, moving: bool, tuning: &Tuning) -> f64 {
        let time_s = if moving { tuning.level_moving_s } else { tuning.level_time_s };
        steady_gain(dt_s, time_s).max(1.0 / (f64::from(self.since_jump) + 1.0))
    }

    fn estimate(&self, gain: f64, dt_s: f64, tuning: &Tuning, jump: Option<f64>) -> Estimate {
        let noise = self.noise();
        let trend = trend_gain(dt_s, tuning);
        let denominator = gain * (4.0 - 2.0 * gain - trend);
        let level = ((2.0 * gain * gain + trend * (2.0 - 3.0 * gain)) / denominator).clamp(0.0, 1.0);
        let slope = (2.0 * trend * trend / denominator).max(0.0);
        Estimate {
            ln_level: self.ln_level,
            slope_per_s: self.slope_per_s,
            noise,
            level_noise: noise * level.sqrt(),
            slope_noise_per_s: noise * slope.sqrt() / dt_s,
            jump,
            cold: self.since_start <= COLD,
        }
    }
}

fn steady_gain(dt_s: f64, time_s: f64) -> f64 {
    1.0 - (-dt_s / time_s).exp()
}

/// The trend's gain of a filter that is critically damped, times what the tuning makes of it. Its time constant is its own:
/// what follows the level closely is too noisy for a trend. It is that of the steady state right after a jump too: a
/// few measurements make a level, not a trend.
fn trend_gain(dt_s: f64, tuning: &Tuning) -> f64 {
    let level_gain = steady_gain(dt_s, tuning.trend_time_s);
    tuning.trend_gain * level_gain * level_gain / (2.0 - level_gain)
}
