//! The few conversions between counts and `f64` that the language leaves to `as`, each with what it does at the edges.

/// A replica count from a number: rounds towards zero, nothing for what is not a number, the largest count beyond it.
#[must_use]
#[expect(
    clippy::as_conversions,
    reason = "float to integer saturates, which is what is wanted, and has no From"
)]
pub fn to_count(value: f64) -> u32 {
    value as u32
}

/// A 64-bit number as `f64`; above 2^53 the nearest one.
#[must_use]
#[expect(clippy::as_conversions, reason = "rounding is harmless here, and there is no From")]
pub fn from_u64(value: u64) -> f64 {
    value as f64
}

/// A length as `f64`.
#[must_use]
#[expect(clippy::as_conversions, reason = "no length reaches 2^53, and there is no From")]
pub fn from_len(value: usize) -> f64 {
    value as f64
}

/// A whole number of milli-units; rounds towards zero, nothing for what is not a number or is negative.
#[must_use]
#[expect(
    clippy::as_conversions,
    reason = "float to integer saturates, which is what is wanted, and has no From"
)]
pub fn to_u64(value: f64) -> u64 {
    value as u64
}

/// The smallest whole number that is not below `value`, where a value that exceeds a whole number by rounding alone
/// counts as that number.
#[must_use]
pub fn ceil_count(value: f64) -> u32 {
    to_count((value - 1e-9 * value.abs().max(1.0)).ceil())
}

/// An index into a list from a number that is known to be small and not negative.
#[must_use]
#[expect(
    clippy::as_conversions,
    reason = "float to integer saturates, which is what is wanted, and has no From"
)]
pub fn to_index(value: f64) -> usize {
    value as usize
}

/// A sum of whole numbers as `f64`; beyond 2^53 the nearest one.
#[must_use]
#[expect(clippy::as_conversions, reason = "rounding is harmless here, and there is no From")]
pub fn from_i64(value: i64) -> f64 {
    value as f64
}

/// A small whole number; rounds towards zero, nothing for what is not a number, the nearest one beyond its range.
#[must_use]
#[expect(
    clippy::as_conversions,
    reason = "float to integer saturates, which is what is wanted, and has no From"
)]
pub fn to_i16(value: f64) -> i16 {
    value as i16
}
