//! The constants of the law `standard` that belong to a mode and are not settings.

use serde::{Deserialize, Serialize};

use crate::settings::Mode;

/// Constants of one mode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Time constant of the level between jumps, in seconds.
    pub level_time_s: f64,
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
    /// When the count grew so often in the last hour, the load is taken to move.
    pub moving_growths: f64,
    /// Dead band of one replica, relative; falls with the root of the count.
    pub band_one: f64,
    /// Price of having been short of replicas, per replica that was remembered in vain; decides how long commands are
    /// remembered.
    pub short_price: f64,
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
    /// Windows that must pass with so many serving before another round.
    pub round_wait_windows: f64,
}

impl Tuning {
    /// The constants of a mode.
    ///
    /// How they were found: with `slipway-scaler simulate --suite FOLDER --training --tune N` on the training half of
    /// the suite (start-up 30 s, one seed, the objective of `sim::tune`). Tight: 240 evaluations, of which a point near
    /// the best was taken, then nine single changes that lowered the objective or the number of changes. Calm: 150
    /// evaluations from there. Some were then moved by hand to where 24 hours of steady load with 5 % noise cause no
    /// change: `slope_gate`, `jump_threshold`, `band_noise_max`. `band_moving_max` and `moving_growths` came later, by
    /// single changes with two seeds. The held-out half took no part. The search had not converged: differences of a
    /// few percent mean nothing.
    #[must_use]
    pub fn of(mode: Mode) -> Self {
        match mode {
            Mode::Tight => Self::TIGHT,
            Mode::Calm => Self::CALM,
        }
    }

    const TIGHT: Self = Self {
        level_time_s: 17.0,
        trend_gain: 0.8,
        jump_drift: 1.03,
        jump_threshold: 8.0,
        slope_gate: 4.0,
        lead_max: 0.5,
        band_noise: 5.5,
        band_noise_max: 0.10,
        band_moving_max: 0.03,
        moving_growths: 3.0,
        band_one: 0.01,
        short_price: 15.0,
        up_chunk: 0.0,
        interval_min_s: 5.0,
        ceiling_mean: 0.98,
        ceiling_share: 0.6,
        boost_jump: 2.0,
        boost_learned: 0.3,
        boost_round: 0.34,
        boost_max: 1.4,
        round_complete: 0.5,
        round_wait_windows: 1.0,
    };

    const CALM: Self = Self {
        level_time_s: 45.0,
        trend_gain: 2.0,
        jump_threshold: 8.0,
        slope_gate: 5.0,
        lead_max: 0.3,
        band_noise_max: 0.10,
        moving_growths: 1_000.0,
        band_one: 0.045,
        short_price: 18.0,
        up_chunk: 0.085,
        interval_min_s: 55.0,
        boost_jump: 2.3,
        boost_learned: 0.75,
        boost_round: 1.3,
        boost_max: 2.0,
        round_complete: 0.8,
        round_wait_windows: 3.0,
        ..Self::TIGHT
    };
}
