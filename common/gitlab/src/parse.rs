//! Fields of answers that are read leniently: absent, empty and strange values are no reason to refuse an answer.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// The value, or its default when it is `null`.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A time, or none when it is not in the form of RFC 3339: GitLab has several.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.and_then(|text| text.parse().ok()))
}

/// The text, or none when it is empty.
pub(crate) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.filter(|text| !text.trim().is_empty()))
}
