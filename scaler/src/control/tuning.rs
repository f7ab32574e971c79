//! The constants of the law `standard` that belong to a mode and are not settings.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use crate::settings::Mode;

/// Constants of one mode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Time constant of the level between jumps, in seconds.
    pub level_time_s: f64,
    /// The same while the load moves.
    pub level_moving_s: f64,
    /// Time constant of the trend, in seconds.
    pub trend_time_s: f64,
    /// Gain of the trend, relative to critical damping.
    pub trend_gain: f64,
    /// Drift of the jump test, in standard deviations.
    pub jump_drift: f64,
    /// Threshold of the jump test, in standard deviations.
    pub jump_threshold: f64,
    /// A trend counts beyond so many standard deviations of itself.
    pub slope_gate: f64,
    /// Most that the derivative term may add, logarithmic.
    pub lead_max: f64,
    /// Dead band in standard deviations of the level.
    pub band_noise: f64,
    /// Most that noise may add to the dead band, relative.
    pub band_noise_max: f64,
    /// The same while the load moves: a wide band keeps a steady load from being answered to noise, and costs a moving
    /// one more than it saves.
    pub band_moving_max: f64,
    /// The load is taken to move while the mean square of the level's distance from its own mean is so many times what
    /// noise would make of it ...
    pub moving_ratio: f64,
    /// ... and the count grew so often in the last hour.
    pub moving_growths: f64,
    /// Dead band of one replica, relative; falls with the root of the count.
    pub band_one: f64,
    /// Power of the utilisation with which requests that wait too long grow; decides how long commands are remembered.
    pub late_power: f64,
    /// A growth is at least this share of the count.
    pub up_chunk: f64,
    /// Shortest time between two changes, in seconds; growth after a jump or at the ceiling does not wait.
    pub interval_min_s: f64,
    /// Mean utilisation from which the CPU counts as standing at its ceiling.
    pub ceiling_mean: f64,
    /// Share of containers at their ceiling ([`crate::demand::CEILING_ONE`]) from which the same holds.
    pub ceiling_share: f64,
    /// First boost at the ceiling per unit of the jump that led there, logarithmic.
    pub boost_jump: f64,
    /// Share of the learned hidden demand in the first boost.
    pub boost_learned: f64,
    /// Boost of every further round, per unit of `ki`, logarithmic.
    pub boost_round: f64,
    /// Most boost in one round, logarithmic.
    pub boost_max: f64,
    /// Share of the ordered replicas that must have served for a window before another round.
    pub round_complete: f64,
    /// Of a load that repeats itself, what comes within so long after the lead time is ordered too, in seconds.
    pub season_more_s: f64,
    /// A period is followed at once while what it foretold wrongly is less than this share of what changed, in the mean
    /// square; else when it foretold better than the trend.
    pub season_sure: f64,
    /// Windows that must pass with so many serving before another round.
    pub round_wait_windows: f64,
}

impl Tuning {
    /// The constants of a mode.
    ///
    /// How they were found: on the training half of the suite (start-up 30 s, two to four seeds), first by searches of some
    /// hundred evaluations as `slipway-scaler simulate --suite FOLDER --training --tune N` makes them, then by single
    /// changes. Some were moved by hand to where 24 hours of steady load with 5 % noise cause no change (`slope_gate`,
    /// `jump_threshold`, `band_noise_max`), and a single step none after it has settled (`moving_growths`). The held-out
    /// half took no part. The searches had not converged: differences of a few percent mean nothing. The guesses of `calm`
    /// at the ceiling were chosen on twelve more runs of the bursty profile besides.
    #[must_use]
    pub fn of(mode: Mode) -> Self {
        match mode {
            Mode::Tight => Self::TIGHT,
            Mode::Calm => Self::CALM,
        }
    }

    /// The constants of a mode, one copy for all controllers.
    pub(crate) fn shared(mode: Mode) -> Arc<Self> {
        static TIGHT: LazyLock<Arc<Tuning>> = LazyLock::new(|| Arc::new(Tuning::TIGHT));
        static CALM: LazyLock<Arc<Tuning>> = LazyLock::new(|| Arc::new(Tuning::CALM));
        match mode {
            Mode::Tight => Arc::clone(&TIGHT),
            Mode::Calm => Arc::clone(&CALM),
        }
    }

    const TIGHT: Self = Self {
        level_time_s: 17.0,
        level_moving_s: 7.0,
        trend_time_s: 12.0,
        trend_gain: 0.67,
        jump_drift: 1.13,
        jump_threshold: 8.0,
        slope_gate: 4.0,
        lead_max: 0.5,
        band_noise: 5.5,
        band_noise_max: 0.11,
        band_moving_max: 0.03,
        moving_ratio: 4.0,
        moving_growths: 5.0,
        band_one: 0.01,
        late_power: 8.0,
        up_chunk: 0.0,
        interval_min_s: 5.0,
        ceiling_mean: 0.98,
        ceiling_share: 0.6,
        boost_jump: 2.0,
        boost_learned: 0.3,
        boost_round: 0.34,
        boost_max: 1.4,
        round_complete: 0.5,
        season_more_s: 15.0,
        season_sure: 0.2,
        round_wait_windows: 1.0,
    };

    const CALM: Self = Self {
        level_time_s: 17.0,
        level_moving_s: 17.0,
        trend_time_s: 17.0,
        trend_gain: 1.0,
        jump_threshold: 8.0,
        slope_gate: 5.0,
        lead_max: 0.5,
        band_noise_max: 0.10,
        moving_ratio: 1_000_000.0,
        band_one: 0.045,
        late_power: 8.0,
        up_chunk: 0.085,
        interval_min_s: 65.0,
        boost_max: 1.0,
        season_more_s: 30.0,
        ..Self::TIGHT
    };
}
