//! Generated loads. Each comes in two forms, so that one can be tuned on and the other reported.

use std::f64::consts::TAU;

use super::load::Load;
use super::rng::Rng;
use crate::number::from_len;

/// Length of every profile, in seconds.
const DURATION_S: usize = 7_200;

/// The shapes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// The same load all the time.
    Steady,
    /// Jumps up and down, of two to eight times.
    Steps,
    /// Eight times the load within 20 seconds, twice.
    Flash,
    /// From 2 to 40 replicas' work in ten minutes, and back.
    Ramp,
    /// Between two levels, twenty minutes each turn.
    Square,
    /// A wave.
    Sine,
    /// A level that wanders, with bursts of a minute.
    Bursty,
}

/// Which form of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The one constants are chosen on.
    Training,
    /// The one figures are reported for.
    HeldOut,
}

impl Profile {
    /// All shapes.
    pub const ALL: [Self; 7] =
        [Self::Steady, Self::Steps, Self::Flash, Self::Ramp, Self::Square, Self::Sine, Self::Bursty];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Steps => "steps",
            Self::Flash => "flash",
            Self::Ramp => "ramp",
            Self::Square => "square",
            Self::Sine => "sine",
            Self::Bursty => "bursty",
        }
    }

    /// The load, in work of replicas.
    #[must_use]
    pub fn load(self, form: Form) -> Load {
        let held_out = form == Form::HeldOut;
        let pick = |training: f64, other: f64| if held_out { other } else { training };
        let work: Box<dyn Fn(f64) -> f64> = match self {
            Self::Steady => Box::new(move |_| pick(11.0, 7.3)),
            Self::Steps => {
                let levels = if held_out {
                    [3.0, 6.0, 2.5, 10.0, 3.0, 20.0, 4.0, 28.0, 14.0, 3.5]
                } else {
                    [4.0, 9.0, 4.0, 14.0, 3.0, 18.0, 9.0, 24.0, 6.0, 4.0]
                };
                Box::new(move |t| levels[crate::number::to_index(t / 720.0).min(9)])
            }
            Self::Flash => Box::new(move |t| flash(t, pick(3.0, 4.0), pick(6.0, 8.0))),
            Self::Ramp => Box::new(move |t| ramp(t, pick(3.0, 2.0), pick(30.0, 40.0))),
            Self::Square => {
                let (low, high, half_s) = (pick(6.0, 5.0), pick(15.0, 17.0), pick(600.0, 480.0));
                Box::new(move |t| if (t / half_s).floor().rem_euclid(2.0) < 1.0 { low } else { high })
            }
            Self::Sine => {
                let (middle, swing, turn_s) = (pick(10.0, 12.0), pick(6.0, 9.0), pick(1_800.0, 1_200.0));
                Box::new(move |t| middle + swing * (TAU * t / turn_s).sin())
            }
            Self::Bursty => return bursty(self.name(), if held_out { 77 } else { 7 }),
        };
        Load::of_work(self.name(), (0..DURATION_S).map(|second| work(from_len(second))).collect())
    }
}

/// From `base` to `factor` times as much within 20 s, ten minutes there, ten minutes back; the same an hour later.
fn flash(t_s: f64, base: f64, factor: f64) -> f64 {
    let t_s = t_s.rem_euclid(3_600.0) - 1_200.0;
    let share = match t_s {
        t if t < 0.0 => 0.0,
        t if t < 20.0 => t / 20.0,
        t if t < 620.0 => 1.0,
        t => (1.0 - (t - 620.0) / 600.0).max(0.0),
    };
    base * (1.0 + (factor - 1.0) * share)
}

/// Ten minutes of quiet, ten up, twenty there, twenty down; twice.
fn ramp(t_s: f64, low: f64, high: f64) -> f64 {
    let t_s = t_s.rem_euclid(3_600.0) - 600.0;
    let share = match t_s {
        t if t < 0.0 => 0.0,
        t if t < 600.0 => t / 600.0,
        t if t < 1_800.0 => 1.0,
        t => (1.0 - (t - 1_800.0) / 1_200.0).max(0.0),
    };
    low + (high - low) * share
}

/// The logarithm wanders (Ornstein and Uhlenbeck, 10 minutes, 0.4) and bursts of 1.5 to 3 times come every 8 minutes
/// or so and last about a minute.
fn bursty(name: &str, seed: u64) -> Load {
    let mut rng = Rng::new(seed);
    let (mut wander, mut burst, mut left_s) = (0.0, 1.0, 0.0);
    let mut work = Vec::with_capacity(DURATION_S);
    for _ in 0..DURATION_S {
        wander += -wander / 600.0 + 0.4 * (2.0f64 / 600.0).sqrt() * rng.normal();
        left_s -= 1.0;
        if left_s <= 0.0 {
            burst = 1.0;
            if rng.chance(1.0 / 480.0) {
                burst = rng.between(1.5, 3.0);
                left_s = rng.between(30.0, 120.0);
            }
        }
        work.push(8.0 * f64::exp(wander) * burst);
    }
    Load::of_work(name, work)
}
