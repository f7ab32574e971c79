//! What limited a decision: a small set that is written as a list of names.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One limit that kept a command from becoming the replica count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clamp {
    /// `replicas_max`.
    Max,
    /// `replicas_min`.
    Min,
    /// The change is smaller than the dead band.
    DeadBand,
    /// A higher demand is still remembered.
    HoldMemory,
    /// The rest would not stay below the target by the hysteresis.
    Hysteresis,
    /// `down_percent_per_min`.
    DownRate,
    /// The growth one decision may make.
    UpGrowth,
    /// Too soon after the last change.
    MinInterval,
    /// `actions_per_hour_max`.
    ActionBudget,
    /// The CPU stood at its ceiling: the demand is at least what was measured.
    SensorCeiling,
    /// The lead reached its bound.
    Lead,
    /// The integrator reached its bound.
    Integrator,
    /// Constants were changed a moment ago: at most one replica.
    Bumpless,
    /// The count was enlarged to make one change do the work of several.
    Chunk,
}

impl Clamp {
    const ALL: [Self; 14] = [
        Self::Max,
        Self::Min,
        Self::DeadBand,
        Self::HoldMemory,
        Self::Hysteresis,
        Self::DownRate,
        Self::UpGrowth,
        Self::MinInterval,
        Self::ActionBudget,
        Self::SensorCeiling,
        Self::Lead,
        Self::Integrator,
        Self::Bumpless,
        Self::Chunk,
    ];

    /// The name it is written with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Min => "min",
            Self::DeadBand => "dead_band",
            Self::HoldMemory => "hold_memory",
            Self::Hysteresis => "hysteresis",
            Self::DownRate => "down_rate",
            Self::UpGrowth => "up_growth",
            Self::MinInterval => "min_interval",
            Self::ActionBudget => "action_budget",
            Self::SensorCeiling => "sensor_ceiling",
            Self::Lead => "lead",
            Self::Integrator => "integrator",
            Self::Bumpless => "bumpless",
            Self::Chunk => "chunk",
        }
    }

    fn bit(self) -> u16 {
        match self {
            Self::Max => 1,
            Self::Min => 1 << 1,
            Self::DeadBand => 1 << 2,
            Self::HoldMemory => 1 << 3,
            Self::Hysteresis => 1 << 4,
            Self::DownRate => 1 << 5,
            Self::UpGrowth => 1 << 6,
            Self::MinInterval => 1 << 7,
            Self::ActionBudget => 1 << 8,
            Self::SensorCeiling => 1 << 9,
            Self::Lead => 1 << 10,
            Self::Integrator => 1 << 11,
            Self::Bumpless => 1 << 12,
            Self::Chunk => 1 << 13,
        }
    }
}

/// Which limits took part in one decision.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Clamps(u16);

impl Clamps {
    /// Notes one more.
    pub fn add(&mut self, clamp: Clamp) {
        self.0 |= clamp.bit();
    }

    /// Whether it took part.
    #[must_use]
    pub fn has(self, clamp: Clamp) -> bool {
        self.0 & clamp.bit() != 0
    }

    /// All that took part.
    pub fn iter(self) -> impl Iterator<Item = Clamp> {
        Clamp::ALL.into_iter().filter(move |clamp| self.has(*clamp))
    }
}

impl fmt::Debug for Clamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Clamp::name)).finish()
    }
}

impl Serialize for Clamps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Clamp::name))
    }
}

impl<'de> Deserialize<'de> for Clamps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut clamps = Self::default();
        for name in Vec::<String>::deserialize(deserializer)? {
            let known = Clamp::ALL.into_iter().find(|clamp| clamp.name() == name);
            clamps.add(known.ok_or_else(|| D::Error::custom(format!("unknown clamp `{name}`")))?);
        }
        Ok(clamps)
    }
}
