//! The settings of one autoscaler: raw as they arrive, and valid. After `AutoscalerSettings::try_from` the values fit
//! each other, and a controller need not check again.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Largest gain.
const GAIN_MAX: f64 = 1_000.0;
/// Largest replica count.
const REPLICAS_MAX: u32 = 10_000;
/// Longest interval, window or silence.
const SECONDS_MAX: u32 = 3_600;

/// Why settings were refused; the message names the field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// A value is outside its range.
    #[error("`{field}` is {value}; it must be {range}")]
    Range {
        /// Which field.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed, in words.
        range: &'static str,
    },
    /// Two values do not fit each other.
    #[error("{0}")]
    Relation(&'static str),
}

/// Settings as they arrive. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSettings {
    /// Share of the CPU one replica should use, from above 0 to 1.
    pub cpu_target: f64,
    /// Gains of the controller.
    pub constants: RawGains,
    /// Fewest replicas.
    #[serde(default = "one")]
    pub replicas_min: u32,
    /// Most replicas.
    pub replicas_max: u32,
    /// Pause between two decisions, in seconds.
    #[serde(default = "fifteen")]
    pub interval_s: u32,
    /// Samples of how many seconds are averaged.
    #[serde(default = "sixty")]
    pub window_s: u32,
    /// After how many seconds of silence the metrics count as missing.
    #[serde(default = "sixty")]
    pub stale_after_s: u32,
}

/// Gains as they arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGains {
    /// Proportional.
    pub kp: f64,
    /// Integral.
    pub ki: f64,
    /// Derivative.
    pub kd: f64,
}

fn one() -> u32 {
    1
}

fn fifteen() -> u32 {
    15
}

fn sixty() -> u32 {
    60
}

/// A share: above 0, at most 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Fraction(f64);

impl Fraction {
    /// The share as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    fn new(field: &'static str, value: f64) -> Result<Self, SettingsError> {
        if value > 0.0 && value <= 1.0 {
            Ok(Self(value))
        } else {
            Err(SettingsError::Range { field, value, range: "above 0 and at most 1" })
        }
    }
}

/// A gain: finite, from 0 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Gain(f64);

impl Gain {
    /// The gain as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    fn new(field: &'static str, value: f64) -> Result<Self, SettingsError> {
        if (0.0..=GAIN_MAX).contains(&value) {
            Ok(Self(value))
        } else {
            Err(SettingsError::Range { field, value, range: "from 0 to 1000" })
        }
    }
}

/// A replica count: from 1 to 10000, so that an autoscaler never ends an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replicas(u32);

impl Replicas {
    /// The count as a number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    fn new(field: &'static str, value: u32) -> Result<Self, SettingsError> {
        if (1..=REPLICAS_MAX).contains(&value) {
            Ok(Self(value))
        } else {
            Err(SettingsError::Range { field, value: f64::from(value), range: "from 1 to 10000" })
        }
    }
}

/// Valid settings of one autoscaler.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoscalerSettings {
    cpu_target: Fraction,
    kp: Gain,
    ki: Gain,
    kd: Gain,
    replicas_min: Replicas,
    replicas_max: Replicas,
    interval: SignedDuration,
    window: SignedDuration,
    stale_after: SignedDuration,
}

impl AutoscalerSettings {
    /// Share of the CPU one replica should use.
    #[must_use]
    pub fn cpu_target(&self) -> Fraction {
        self.cpu_target
    }

    /// Gains: proportional, integral, derivative.
    #[must_use]
    pub fn gains(&self) -> (Gain, Gain, Gain) {
        (self.kp, self.ki, self.kd)
    }

    /// Fewest and most replicas; the first never exceeds the second.
    #[must_use]
    pub fn replicas(&self) -> (Replicas, Replicas) {
        (self.replicas_min, self.replicas_max)
    }

    /// Pause between two decisions.
    #[must_use]
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }

    /// The span samples are averaged over; at least one interval.
    #[must_use]
    pub fn window(&self) -> SignedDuration {
        self.window
    }

    /// The silence after which the metrics count as missing; at least one interval.
    #[must_use]
    pub fn stale_after(&self) -> SignedDuration {
        self.stale_after
    }
}

impl TryFrom<RawSettings> for AutoscalerSettings {
    type Error = SettingsError;

    fn try_from(raw: RawSettings) -> Result<Self, Self::Error> {
        let settings = Self {
            cpu_target: Fraction::new("cpu_target", raw.cpu_target)?,
            kp: Gain::new("constants.kp", raw.constants.kp)?,
            ki: Gain::new("constants.ki", raw.constants.ki)?,
            kd: Gain::new("constants.kd", raw.constants.kd)?,
            replicas_min: Replicas::new("replicas_min", raw.replicas_min)?,
            replicas_max: Replicas::new("replicas_max", raw.replicas_max)?,
            interval: seconds("interval_s", raw.interval_s)?,
            window: seconds("window_s", raw.window_s)?,
            stale_after: seconds("stale_after_s", raw.stale_after_s)?,
        };
        let relations = [
            (settings.replicas_min <= settings.replicas_max, "`replicas_min` must not exceed `replicas_max`"),
            (settings.interval <= settings.window, "`window_s` must be at least `interval_s`"),
            (settings.interval <= settings.stale_after, "`stale_after_s` must be at least `interval_s`"),
        ];
        match relations.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(SettingsError::Relation(broken)),
            None => Ok(settings),
        }
    }
}

fn seconds(field: &'static str, value: u32) -> Result<SignedDuration, SettingsError> {
    if (1..=SECONDS_MAX).contains(&value) {
        Ok(SignedDuration::from_secs(i64::from(value)))
    } else {
        Err(SettingsError::Range { field, value: f64::from(value), range: "from 1 to 3600" })
    }
}
