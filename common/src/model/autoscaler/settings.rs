//! The settings of one autoscaler: raw as they arrive, and valid. After `AutoscalerSettings::try_from` the values fit
//! each other, and a controller need not check again. What is shown of valid settings is the raw form with every
//! value filled in, so that what was read can be sent back.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Largest gain of the law `kabernetes`.
const GAIN_MAX: f64 = 1_000.0;
/// Largest proportional gain of the law `standard`: beyond 2 a loop on the logarithm does not settle.
const STANDARD_KP_MAX: f64 = 2.0;
/// Largest integral or derivative gain of the law `standard`.
const STANDARD_GAIN_MAX: f64 = 10.0;
/// Largest replica count.
const REPLICAS_MAX: u32 = 10_000;
/// Longest interval, window, silence or hold.
const SECONDS_MAX: u32 = 3_600;
/// Most changes an hour that may be allowed.
const ACTIONS_PER_HOUR_MAX: u32 = 3_600;

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

/// Which rule turns measurements into replica counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Works on the logarithm of estimated demand over capacity; see the crate `slipway-scaler`.
    #[default]
    Standard,
    /// The law of Kabernetes, sign and all; see the crate `slipway-scaler`.
    Kabernetes,
}

/// How closely the law `standard` follows the load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As closely as the measurements allow, at the price of more changes.
    #[default]
    Tight,
    /// With few changes: larger steps, longer memory.
    Calm,
}

/// What a mode sets where the settings say nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModeDefaults {
    /// Gains of the law `standard`: proportional, integral, derivative.
    pub gains: (f64, f64, f64),
    /// See [`RawSettings::hold_s`].
    pub hold_s: u32,
    /// See [`RawSettings::down_percent_per_min`].
    pub down_percent_per_min: f64,
    /// See [`RawSettings::hysteresis`].
    pub hysteresis: f64,
    /// See [`RawSettings::actions_per_hour_max`].
    pub actions_per_hour_max: u32,
}

impl Mode {
    /// The defaults of this mode. How they were found is said where the other constants of the mode are, in the
    /// controller's tuning.
    #[must_use]
    pub fn defaults(self) -> ModeDefaults {
        match self {
            Self::Tight => ModeDefaults {
                gains: (1.0, 1.0, 1.0),
                hold_s: 24,
                down_percent_per_min: 47.0,
                hysteresis: 0.04,
                actions_per_hour_max: 240,
            },
            Self::Calm => ModeDefaults {
                gains: (1.0, 1.0, 1.0),
                hold_s: 16,
                down_percent_per_min: 9.0,
                hysteresis: 0.05,
                actions_per_hour_max: 60,
            },
        }
    }
}

/// Settings as they arrive. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSettings {
    /// Which rule decides.
    #[serde(default)]
    pub law: Law,
    /// How closely the law `standard` follows the load.
    #[serde(default)]
    pub mode: Mode,
    /// Share of the CPU one replica should use, from above 0 to 1.
    pub cpu_target: f64,
    /// Gains of the controller; default by mode for the law `standard`, all 0 for the law `kabernetes`.
    #[serde(default)]
    pub constants: Option<RawGains>,
    /// Fewest replicas.
    #[serde(default = "one")]
    pub replicas_min: u32,
    /// Most replicas.
    pub replicas_max: u32,
    /// Shortest pause between two decisions, in seconds.
    #[serde(default = "five")]
    pub interval_s: u32,
    /// CPU use is averaged over at least this many seconds; a container counts after it was ready for as long.
    #[serde(default = "five")]
    pub window_s: u32,
    /// After how many seconds of silence the metrics count as missing.
    #[serde(default = "thirty")]
    pub stale_after_s: u32,
    /// For how many seconds, at least, the highest demand is remembered before replicas are taken away; how it is
    /// forgotten after that is learned from the load, at most over some forty times as long; default by mode.
    #[serde(default)]
    pub hold_s: Option<u32>,
    /// Most replicas taken away in a minute, in percent of those that run; default by mode.
    #[serde(default)]
    pub down_percent_per_min: Option<f64>,
    /// Replicas are taken away only when the rest would stay below the target by this share; default by mode.
    #[serde(default)]
    pub hysteresis: Option<f64>,
    /// Most changes in any hour; default by mode.
    #[serde(default)]
    pub actions_per_hour_max: Option<u32>,
}

/// Gains as they arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGains {
    /// Proportional: share of the logarithmic error that one decision takes away. 1 takes all of it.
    pub kp: f64,
    /// Integral: growth while the CPU stands at its ceiling, and trim of what the proportional term leaves.
    pub ki: f64,
    /// Derivative: share of the lead time over which a significant rise of demand is carried forward, and, up to all of
    /// it, of what comes when the load repeats itself. With 0 nothing is ordered ahead.
    pub kd: f64,
}

fn one() -> u32 {
    1
}

fn five() -> u32 {
    5
}

fn thirty() -> u32 {
    30
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
        let value = within(field, value, f64::MIN_POSITIVE, 1.0, "above 0 and at most 1")?;
        Ok(Self(value))
    }
}

/// A gain: finite, from 0 to what the law allows.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Gain(f64);

impl Gain {
    /// The gain as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    fn new(field: &'static str, value: f64, max: f64, range: &'static str) -> Result<Self, SettingsError> {
        Ok(Self(within(field, value, 0.0, max, range)?))
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
        whole(field, value, REPLICAS_MAX, "from 1 to 10000").map(Self)
    }
}

/// Valid settings of one autoscaler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSettings", into = "RawSettings")]
pub struct AutoscalerSettings {
    law: Law,
    mode: Mode,
    cpu_target: Fraction,
    kp: Gain,
    ki: Gain,
    kd: Gain,
    replicas_min: Replicas,
    replicas_max: Replicas,
    interval_s: u32,
    window_s: u32,
    stale_after_s: u32,
    hold_s: u32,
    down_percent_per_min: f64,
    hysteresis: f64,
    actions_per_hour_max: u32,
}

// Valid settings hold no number that differs from itself.
impl Eq for AutoscalerSettings {}

impl AutoscalerSettings {
    /// Which rule decides.
    #[must_use]
    pub fn law(&self) -> Law {
        self.law
    }

    /// How closely the law `standard` follows the load.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

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

    /// Shortest pause between two decisions.
    #[must_use]
    pub fn interval(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.interval_s))
    }

    /// The span CPU use is averaged over.
    #[must_use]
    pub fn window(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.window_s))
    }

    /// The silence after which the metrics count as missing; at least one interval and one window.
    #[must_use]
    pub fn stale_after(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.stale_after_s))
    }

    /// For how long, at least, the highest demand is remembered before replicas are taken away, in seconds.
    #[must_use]
    pub fn hold_s(&self) -> f64 {
        f64::from(self.hold_s)
    }

    /// Most replicas taken away in a minute, in percent of those that run.
    #[must_use]
    pub fn down_percent_per_min(&self) -> f64 {
        self.down_percent_per_min
    }

    /// The margin below the target that must remain after replicas are taken away, as a share.
    #[must_use]
    pub fn hysteresis(&self) -> f64 {
        self.hysteresis
    }

    /// Most changes in any hour.
    #[must_use]
    pub fn actions_per_hour_max(&self) -> u32 {
        self.actions_per_hour_max
    }
}

impl TryFrom<RawSettings> for AutoscalerSettings {
    type Error = SettingsError;

    fn try_from(raw: RawSettings) -> Result<Self, Self::Error> {
        let (kp, ki, kd) = gains(&raw)?;
        let defaults = raw.mode.defaults();
        let down = raw.down_percent_per_min.unwrap_or(defaults.down_percent_per_min);
        let hysteresis = raw.hysteresis.unwrap_or(defaults.hysteresis);
        let actions = raw.actions_per_hour_max.unwrap_or(defaults.actions_per_hour_max);
        let settings = Self {
            law: raw.law,
            mode: raw.mode,
            cpu_target: Fraction::new("cpu_target", raw.cpu_target)?,
            kp,
            ki,
            kd,
            replicas_min: Replicas::new("replicas_min", raw.replicas_min)?,
            replicas_max: Replicas::new("replicas_max", raw.replicas_max)?,
            interval_s: seconds("interval_s", raw.interval_s)?,
            window_s: seconds("window_s", raw.window_s)?,
            stale_after_s: seconds("stale_after_s", raw.stale_after_s)?,
            hold_s: seconds("hold_s", raw.hold_s.unwrap_or(defaults.hold_s))?,
            down_percent_per_min: within(
                "down_percent_per_min",
                down,
                1.0,
                100.0,
                "from 1 to 100 (percent)",
            )?,
            hysteresis: within("hysteresis", hysteresis, 0.0, 0.5, "from 0 to 0.5 (a share)")?,
            actions_per_hour_max: whole(
                "actions_per_hour_max",
                actions,
                ACTIONS_PER_HOUR_MAX,
                "from 1 to 3600 (changes an hour)",
            )?,
        };
        settings.related()
    }
}

impl AutoscalerSettings {
    fn related(self) -> Result<Self, SettingsError> {
        let relations = [
            (self.replicas_min <= self.replicas_max, "`replicas_min` must not exceed `replicas_max`"),
            (self.interval_s <= self.stale_after_s, "`stale_after_s` must be at least `interval_s`"),
            (self.window_s <= self.stale_after_s, "`stale_after_s` must be at least `window_s`"),
        ];
        match relations.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(SettingsError::Relation(broken)),
            None => Ok(self),
        }
    }
}

impl From<AutoscalerSettings> for RawSettings {
    fn from(settings: AutoscalerSettings) -> Self {
        Self {
            law: settings.law,
            mode: settings.mode,
            cpu_target: settings.cpu_target.get(),
            constants: Some(RawGains { kp: settings.kp.get(), ki: settings.ki.get(), kd: settings.kd.get() }),
            replicas_min: settings.replicas_min.get(),
            replicas_max: settings.replicas_max.get(),
            interval_s: settings.interval_s,
            window_s: settings.window_s,
            stale_after_s: settings.stale_after_s,
            hold_s: Some(settings.hold_s),
            down_percent_per_min: Some(settings.down_percent_per_min),
            hysteresis: Some(settings.hysteresis),
            actions_per_hour_max: Some(settings.actions_per_hour_max),
        }
    }
}

fn gains(raw: &RawSettings) -> Result<(Gain, Gain, Gain), SettingsError> {
    let (kp, ki, kd) = match (&raw.constants, raw.law) {
        (Some(given), _) => (given.kp, given.ki, given.kd),
        (None, Law::Standard) => raw.mode.defaults().gains,
        (None, Law::Kabernetes) => (0.0, 0.0, 0.0),
    };
    let (kp_max, kp_range, max, range) = match raw.law {
        Law::Standard => (
            STANDARD_KP_MAX,
            "from 0 to 2 for the law `standard`",
            STANDARD_GAIN_MAX,
            "from 0 to 10 for the law `standard`",
        ),
        Law::Kabernetes => (GAIN_MAX, "from 0 to 1000", GAIN_MAX, "from 0 to 1000"),
    };
    Ok((
        Gain::new("constants.kp", kp, kp_max, kp_range)?,
        Gain::new("constants.ki", ki, max, range)?,
        Gain::new("constants.kd", kd, max, range)?,
    ))
}

fn within(
    field: &'static str,
    value: f64,
    min: f64,
    max: f64,
    range: &'static str,
) -> Result<f64, SettingsError> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(SettingsError::Range { field, value, range }) }
}

fn whole(field: &'static str, value: u32, max: u32, range: &'static str) -> Result<u32, SettingsError> {
    if (1..=max).contains(&value) {
        Ok(value)
    } else {
        Err(SettingsError::Range { field, value: f64::from(value), range })
    }
}

fn seconds(field: &'static str, value: u32) -> Result<u32, SettingsError> {
    whole(field, value, SECONDS_MAX, "from 1 to 3600 (seconds)")
}
