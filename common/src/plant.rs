//! Planted faults: known mistakes that the fault suites must catch before they are trusted. The switch exists in
//! debug builds only; in a release build nothing is ever planted and the branches are compiled out.

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
