//! The integral term: remembers what the proportional term leaves until it makes a whole replica. With `kp` = 1 that
//! is nothing.
//!
//! The command starts from the replicas that are ordered, so the actuator itself integrates; this sum holds what is
//! left over. It moves only while the whole fleet serves and can be measured, only beyond the dead band, is bounded,
//! decays, and is used up by the change it leads to (back-calculation with the integer that was applied).

/// Bound, logarithmic.
const SUM_MAX: f64 = 0.5;
/// Time in which an error of 1 adds 1 at `ki` = 1, in seconds.
const TIME_S: f64 = 60.0;
/// Time constant of the decay, in seconds.
const DECAY_S: f64 = 300.0;

/// State of the integral term.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Integrator {
    sum: f64,
}

impl Integrator {
    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }

    /// `I <- I exp(-dt / 300 s) + ki (1 - kp) e dt / 60 s` for errors `(1 - kp) e` beyond the dead band; says whether the bound was reached.
    pub(crate) fn add(&mut self, error: f64, dead_band: f64, ki: f64, dt_s: f64) -> bool {
        self.sum *= (-dt_s / DECAY_S).exp();
        if error.abs() > dead_band {
            self.sum += ki * error * dt_s / TIME_S;
        }
        let bounded = self.sum.clamp(-SUM_MAX, SUM_MAX);
        let reached = (bounded - self.sum).abs() > 0.0;
        self.sum = if bounded.is_finite() { bounded } else { 0.0 };
        reached
    }

    /// What was applied has used the sum up.
    pub(crate) fn used(&mut self) {
        self.sum = 0.0;
    }
}
