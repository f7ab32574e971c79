//! The law of Kabernetes, exactly: for who tuned constants against it. It knows no time, no maximum and no limit on
//! its sum; what surrounds it here adds the configured limits and nothing else.

use crate::number::{ceil_count, to_count};

/// Constants of the old law. Unlike those of the law `standard`, they count percent points and replicas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KabernetesGains {
    /// Replicas per percent point of error.
    pub kp: f64,
    /// Replicas per percent point of summed error.
    pub ki: f64,
    /// Replicas per percent point of *fallen* error.
    pub kd: f64,
    /// Bound of the proportional term in replicas (the variant `banda-proporcional`), if any.
    pub band_replicas: Option<f64>,
}

/// State of the old law.
///
/// With `e = measured - target` in percent points, `e'` the error before (at first `-target`) and `E` the sum of all
/// errors including this one: `u = kp e + kd (e' - e) + ki E`, and `ceil(u)` replicas are added, or removed when it
/// is negative, but never the last one. The sign of the derivative is the opposite of the usual one: it pushes *down*
/// while the error rises. Source: Kabernetes' controller, as described in its test runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KabernetesLaw {
    target_percent: f64,
    error_before: f64,
    error_sum: f64,
}

impl KabernetesLaw {
    /// The law at its start.
    #[must_use]
    pub fn new(target_percent: f64) -> Self {
        Self { target_percent, error_before: -target_percent, error_sum: 0.0 }
    }

    /// The set point moves; sums and the last error stay, as they did.
    pub fn set_target_percent(&mut self, target_percent: f64) {
        self.target_percent = target_percent;
    }

    /// One cycle: what the law wants to add (positive) or remove, as a number and as the change of `count` replicas
    /// that it makes. A measurement that is not finite changes nothing.
    #[must_use]
    pub fn step(&mut self, gains: &KabernetesGains, measured_percent: f64, count: u32) -> (f64, u32) {
        if !measured_percent.is_finite() {
            return (0.0, count.max(1));
        }
        let error = measured_percent - self.target_percent;
        self.error_sum = (self.error_sum + error).clamp(f64::MIN, f64::MAX);
        let proportional = gains.kp * error;
        let proportional = match gains.band_replicas {
            Some(band) => proportional.clamp(-band.abs(), band.abs()),
            None => proportional,
        };
        let command = proportional + gains.kd * (self.error_before - error) + gains.ki * self.error_sum;
        self.error_before = error;
        (command, applied(command, count))
    }

    /// The parts of the sum for the record: last error and summed error, in percent points.
    #[must_use]
    pub fn errors_percent(&self) -> (f64, f64) {
        (self.error_before, self.error_sum)
    }
}

fn applied(command: f64, count: u32) -> u32 {
    let whole = command.ceil();
    if whole > 0.0 {
        count.saturating_add(to_count(whole)).max(1)
    } else {
        let removed = ceil_count(-whole).min(count.saturating_sub(1));
        (count - removed).max(1)
    }
}
