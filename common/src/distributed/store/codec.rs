//! How values are laid down: times as microseconds, deployments as their number of events, a line end, and JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::Deployment;
use crate::store::StoreError;

/// What could not be read back.
pub(super) fn unreadable(what: &'static str, reason: impl ToString) -> StoreError {
    StoreError::Corrupt { what, reason: reason.to_string() }
}

pub(super) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| unreadable(what, error))
}

pub(super) fn from_json<T: DeserializeOwned>(what: &'static str, body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| unreadable(what, error))
}

/// The number of events a stored deployment is the fold of, and its body.
pub(super) fn split(stored: &str) -> Result<(u64, &str), StoreError> {
    let parts = stored.split_once('\n').and_then(|(count, body)| Some((count.parse().ok()?, body)));
    parts.ok_or_else(|| unreadable("deployment", "it does not begin with a number"))
}

/// A stored deployment.
pub(super) fn deployment(stored: &str) -> Result<Deployment, StoreError> {
    from_json("deployment", split(stored)?.1)
}

/// Microseconds since 1970, rounded down: what has certainly passed at `at`.
pub(super) fn micros(at: Timestamp) -> i64 {
    let micros = at.as_microsecond();
    if at.subsec_nanosecond() % 1_000 < 0 { micros - 1 } else { micros }
}

/// Microseconds at the time `ttl` after `now`; the end of time if it lies beyond.
pub(super) fn after(now: Timestamp, ttl: Duration) -> i64 {
    micros(now.checked_add(ttl).unwrap_or(Timestamp::MAX))
}

/// Milliseconds for which a key is kept that is needed for `keep`: a little longer, since clocks differ.
pub(super) fn lifetime_ms(keep: Duration, grace: Duration) -> u64 {
    /// What Redis can add to its own time.
    const LIFETIME_MAX_MS: u64 = 1 << 50;
    u64::try_from((keep.saturating_add(grace)).as_millis())
        .unwrap_or(LIFETIME_MAX_MS)
        .clamp(1, LIFETIME_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_deployments_begin_with_their_count() {
        assert_eq!(split("12\n{}").unwrap(), (12, "{}"));
        assert!(split("{}").is_err() && split("x\n{}").is_err() && split("").is_err());
    }

    #[test]
    fn lifetimes_are_what_redis_takes() {
        assert_eq!(lifetime_ms(Duration::from_secs(1), Duration::from_secs(2)), 3_000);
        assert_eq!(lifetime_ms(Duration::MAX, Duration::MAX), 1 << 50);
        assert_eq!(lifetime_ms(Duration::ZERO, Duration::ZERO), 1);
    }
}
