//! Switches for the fault suites: planted faults, known mistakes that the suites must catch before they are trusted,
//! and jobs cut short, so that thousands of them have an effect that is cheap and can be counted. The switches exist
//! in debug builds only; in a release build nothing is ever planted or cut, and the branches are compiled out.

use crate::model::Stage;

/// Environment variable that plants one fault.
pub const PLANT_VARIABLE: &str = "SLIPWAY_PLANT";

/// A mistake that a suite must catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A job is acknowledged before its effects are made.
    AckBeforeEffect,
    /// An acknowledgement that did not reach the broker counts as one that did.
    LostAckIgnored,
    /// The end of a consumer's stream counts as an idle queue.
    StreamEndIsIdle,
    /// A deadline that ran out is recorded as the failure of the job.
    TimeoutIsFailure,
    /// A job is recognised as done by Redis alone.
    DedupeInRedisOnly,
}

impl Plant {
    /// Every fault that can be planted.
    pub const ALL: [Self; 5] = [
        Self::AckBeforeEffect,
        Self::LostAckIgnored,
        Self::StreamEndIsIdle,
        Self::TimeoutIsFailure,
        Self::DedupeInRedisOnly,
    ];

    /// Its name as a value of [`PLANT_VARIABLE`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AckBeforeEffect => "ack_before_effect",
            Self::LostAckIgnored => "lost_ack_ignored",
            Self::StreamEndIsIdle => "stream_end_is_idle",
            Self::TimeoutIsFailure => "timeout_is_failure",
            Self::DedupeInRedisOnly => "dedupe_in_redis_only",
        }
    }

    /// Whether this fault is planted in this process. Always `false` in a release build.
    #[must_use]
    pub fn is_planted(self) -> bool {
        cfg!(debug_assertions) && planted() == Some(self)
    }
}

/// What the environment plants, looked up once.
fn planted() -> Option<Plant> {
    static PLANTED: std::sync::OnceLock<Option<Plant>> = std::sync::OnceLock::new();
    *PLANTED.get_or_init(|| {
        let named = std::env::var(PLANT_VARIABLE).ok()?;
        let plant = Plant::ALL.into_iter().find(|plant| plant.as_str() == named);
        tracing::warn!(plant = named, known = plant.is_some(), "a fault is planted in this process");
        plant
    })
}

/// Environment variable that names the last stage jobs perform; the later ones count as passed.
pub const LAST_STAGE_VARIABLE: &str = "SLIPWAY_LAST_STAGE";

/// Whether jobs of this process perform `stage`. Always `true` in a release build.
#[must_use]
pub fn performs(stage: Stage) -> bool {
    !cfg!(debug_assertions) || last_stage().is_none_or(|last| stage <= last)
}

/// What the environment names, looked up once.
fn last_stage() -> Option<Stage> {
    static LAST: std::sync::OnceLock<Option<Stage>> = std::sync::OnceLock::new();
    *LAST.get_or_init(|| {
        let named = std::env::var(LAST_STAGE_VARIABLE).ok()?;
        let last = Stage::DEPLOY.into_iter().find(|stage| stage.to_string() == named);
        tracing::warn!(stage = named, known = last.is_some(), "jobs of this process end early");
        last
    })
}
