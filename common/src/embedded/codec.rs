//! How values are laid down in columns: times as microseconds, ids as 16 bytes, bodies as JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::fault::Fault;

/// An id as a column value.
pub(super) type Key = [u8; 16];

pub(super) fn key(uuid: Uuid) -> Key {
    uuid.into_bytes()
}

pub(super) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::unreadable(what, &error))
}

pub(super) fn from_json<T: DeserializeOwned>(what: &'static str, body: &str) -> Result<T, Fault> {
    serde_json::from_str(body).map_err(|error| Fault::unreadable(what, &error))
}

/// Microseconds, rounded down: what has certainly passed at `at`.
pub(super) fn micros(at: Timestamp) -> i64 {
    let micros = at.as_microsecond();
    if at.subsec_nanosecond() % 1_000 < 0 { micros - 1 } else { micros }
}

/// Microseconds, rounded up: a wake-up must not come before its time.
pub(super) fn micros_up(at: Timestamp) -> i64 {
    let micros = at.as_microsecond();
    if at.subsec_nanosecond() % 1_000 > 0 { micros + 1 } else { micros }
}

/// The time `ttl` after `now`, to the microsecond; the end of time if it lies beyond.
pub(super) fn after(now: Timestamp, ttl: Duration) -> Timestamp {
    let end = now.checked_add(ttl).unwrap_or(Timestamp::MAX);
    Timestamp::from_microsecond(micros(end)).unwrap_or(end)
}

/// Counts are never negative; a negative column reads as 0.
pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

/// A number too large for a column reads as the largest there is.
pub(super) fn signed<T: TryInto<i64>>(count: T) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_towards_the_safe_side() {
        let at = Timestamp::new(5, 1_500).unwrap();
        assert_eq!((micros(at), micros_up(at)), (5_000_001, 5_000_002));
        let before = Timestamp::new(-5, -1_500).unwrap();
        assert_eq!((micros(before), micros_up(before)), (-5_000_002, -5_000_001));
        assert_eq!(after(Timestamp::MAX, Duration::from_secs(1)).as_second(), Timestamp::MAX.as_second());
    }
}
