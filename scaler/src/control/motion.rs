//! Whether the load moves. One that moves is followed closely; one that does not is averaged, so that noise changes
//! nothing.
//!
//! It moves while two things hold: the level is further from its own mean of ten minutes, in the mean square, than noise
//! makes it; and the count grew several times in the last hour. The first alone holds for most of an hour after a
//! single step, the second alone can be kept up by noise.

use super::estimator::Estimate;
use super::tuning::Tuning;

/// Time constant of the mean, and of the mean square of the distance from it, in seconds.
const MEAN_S: f64 = 600.0;

/// State of the test.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Motion {
    ln_mean: Option<f64>,
    square: f64,
    moves: bool,
}

impl Motion {
    /// Whether the load moved at the last look.
    pub(crate) fn moves(&self) -> bool {
        self.moves
    }

    /// Compares the level with its mean; `growths` is how often the count grew in the last hour.
    pub(crate) fn look(&mut self, estimate: &Estimate, growths: u32, dt_s: f64, tuning: &Tuning) {
        let weight = 1.0 - (-dt_s / MEAN_S).exp();
        // A first impression is no mean to be far from.
        let known = self.ln_mean.filter(|_| !estimate.cold).unwrap_or(estimate.ln_level);
        let distance = estimate.ln_level - known;
        self.ln_mean = Some(known + weight * distance);
        self.square += weight * (distance * distance - self.square);
        let by_noise = tuning.moving_ratio * estimate.level_noise * estimate.level_noise;
        self.moves = f64::from(growths) >= tuning.moving_growths && self.square > by_noise;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Mode;

    /// Whether the load moved at the end of two hours of levels, with so many growths in every hour.
    fn moves(growths: u32, level: impl Fn(f64) -> f64) -> bool {
        let (mut motion, tuning) = (Motion::default(), Tuning::of(Mode::Tight));
        for step in 0..1_440 {
            let estimate = Estimate {
                ln_level: level(5.0 * f64::from(step)),
                slope_per_s: 0.0,
                noise: 0.05,
                level_noise: 0.02,
                slope_noise_per_s: 0.001,
                jump: None,
                cold: step < 8,
            };
            motion.look(&estimate, growths, 5.0, &tuning);
        }
        motion.moves()
    }

    #[test]
    fn a_wave_moves_and_noise_and_a_step_long_ago_do_not() {
        let wave = |now_s: f64| 0.3 * (now_s / 300.0).sin();
        assert!(moves(6, wave));
        assert!(!moves(1, wave), "the count hardly grew");
        assert!(!moves(60, |now_s| 0.02 * (now_s * 12.9898).sin()), "growth that noise has caused");
        assert!(!moves(6, |now_s| if now_s < 1_800.0 { 0.0 } else { 1.0 }));
        assert!(moves(6, |now_s| if now_s < 6_900.0 { 0.0 } else { 1.0 }));
    }
}
