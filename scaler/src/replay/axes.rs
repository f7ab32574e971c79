//! The space in which constants are searched, by law and mode.

use slipway_common::model::autoscaler::{AutoscalerSettings, Law};

use super::tune::Constants;
use crate::number::to_count;
use crate::sim::rng::Rng;

/// Where constants are looked for.
pub(super) struct Axes {
    kp: (f64, f64),
    ki: (f64, f64),
    kd: (f64, f64),
    hold_s: (f64, f64),
    /// The defaults of law and mode.
    pub(super) usual: Constants,
}

impl Axes {
    pub(super) fn of(settings: &AutoscalerSettings) -> Self {
        let defaults = settings.mode().defaults();
        let (kp, ki, kd) = defaults.gains;
        let usual = Constants { kp, ki, kd, hold_s: defaults.hold_s };
        match settings.law() {
            // A shorter memory than half the mode's, or one beyond eight times, is another mode.
            Law::Standard => {
                let hold_s = f64::from(defaults.hold_s);
                Self {
                    kp: (0.2, 1.6),
                    ki: (0.0, 3.0),
                    kd: (0.0, 3.0),
                    hold_s: (0.5 * hold_s, 8.0 * hold_s),
                    usual,
                }
            }
            // Replicas per percent point; that law has no memory.
            Law::Kabernetes => {
                let hold_s = (settings.hold_s(), settings.hold_s());
                let usual = Constants { kp: 0.05, ki: 0.0, kd: 0.02, hold_s: to_count(hold_s.0) };
                Self { kp: (0.0, 0.5), ki: (0.0, 0.002), kd: (0.0, 0.2), hold_s, usual }
            }
        }
    }

    pub(super) fn anywhere(&self, rng: &mut Rng) -> Constants {
        let mut on = |(low, high): (f64, f64)| rng.between(low, high);
        let (kp, ki, kd) = (on(self.kp), on(self.ki), on(self.kd));
        let hold_s = on((self.hold_s.0.ln(), self.hold_s.1.ln())).exp();
        self.rounded(kp, ki, kd, hold_s)
    }

    /// Some of the numbers moved, by a little or by much.
    pub(super) fn changed(&self, from: &Constants, rng: &mut Rng) -> Constants {
        let width = if rng.chance(0.5) { 0.25 } else { 0.08 };
        let mut moved = |value: f64, (low, high): (f64, f64)| {
            let step = if rng.chance(0.6) { width * rng.normal() } else { 0.0 };
            (value + step * (high - low)).clamp(low, high)
        };
        let kp = moved(from.kp, self.kp);
        let ki = moved(from.ki, self.ki);
        let kd = moved(from.kd, self.kd);
        let ln_hold = moved(f64::from(from.hold_s).ln(), (self.hold_s.0.ln(), self.hold_s.1.ln()));
        self.rounded(kp, ki, kd, ln_hold.exp())
    }

    /// Digits that mean something: a hundredth of each range.
    fn rounded(&self, kp: f64, ki: f64, kd: f64, hold_s: f64) -> Constants {
        let on = |value: f64, (low, high): (f64, f64)| {
            let digits = 10f64.powf(-((high - low) / 100.0).log10().round());
            ((value * digits).round() / digits).clamp(low, high)
        };
        Constants {
            kp: on(kp, self.kp),
            ki: on(ki, self.ki),
            kd: on(kd, self.kd),
            hold_s: to_count(hold_s.round()).max(1),
        }
    }
}
