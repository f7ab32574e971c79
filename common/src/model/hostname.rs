//! Host names an application answers to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest host name (RFC 1035, section 2.3.4, less the bytes of its wire form).
pub const HOSTNAME_MAX_BYTES: usize = 253;
/// Longest label of one.
const LABEL_MAX_BYTES: usize = 63;

/// A host name in lower case, of two labels at least: no address, no wildcard, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct Hostname(String);

/// Why a host name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a host name such as `shop.example.com`: labels of lower-case letters, digits and inner hyphens, at most \
     {HOSTNAME_MAX_BYTES} bytes in all"
)]
pub struct HostnameError;

impl Hostname {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let labels: Vec<&str> = text.split('.').collect();
        let is_name = text.len() <= HOSTNAME_MAX_BYTES
            && labels.len() >= 2
            && labels.iter().all(|label| is_label(label))
            // A last label of digits would make it an address for some readers.
            && labels.last().is_some_and(|last| last.bytes().any(|byte| byte.is_ascii_lowercase()));
        if is_name { Ok(Self(text.to_owned())) } else { Err(HostnameError) }
    }
}

fn is_label(label: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    bytes.len() <= LABEL_MAX_BYTES
        && bytes.first().copied().is_some_and(is_edge)
        && bytes.last().copied().is_some_and(is_edge)
        && bytes.iter().all(|byte| is_edge(*byte) || *byte == b'-')
}

impl TryFrom<String> for Hostname {
    type Error = HostnameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> Self {
        name.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_names_and_nothing_else() {
        for good in ["shop.example.com", "a.b", "x--y.example.io", "1.example.com"] {
            assert!(good.parse::<Hostname>().is_ok(), "{good}");
        }
        let long = format!("{}.com", "a.".repeat(130));
        for bad in [
            "",
            "shop",
            "Shop.example.com",
            "*.example.com",
            "shop.example.com.",
            "192.0.2.1",
            "a..b",
            "-a.b",
        ] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
        for bad in ["a-.b", "a_b.c", "a b.c", "a.b/c", "a.b:80", "a.b\n", "ü.example.com", &long] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
    }
}
