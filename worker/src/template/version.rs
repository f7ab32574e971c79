//! Runtime versions: one to three numbers, and nothing else, so that a version file cannot smuggle text.

use std::fmt;

/// A version of one to three numbers, ordered number by number (a missing number counts as 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(Vec<u16>);

impl Version {
    /// Parses `3`, `3.14` or `3.14.1`, with an optional leading `v`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Option<Vec<u16>> =
            text.split('.').map(|part| plain(part).then(|| part.parse().ok()).flatten()).collect();
        parts.filter(|parts| parts.len() <= 3).map(Self)
    }

    /// The leading version of a longer text, such as `21.0.2-tem` or `8.0.100-rc.1`.
    pub(super) fn leading(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let end = text.find(|each: char| !each.is_ascii_digit() && each != '.').unwrap_or(text.len());
        Self::parse(text[..end].trim_end_matches('.'))
    }

    /// The first number.
    pub(super) fn major(&self) -> u16 {
        self.part(0)
    }

    /// The number at `index`, 0 when absent.
    pub(super) fn part(&self, index: usize) -> u16 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// How many numbers were given.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// At most the first `parts` numbers.
    pub(super) fn truncated(&self, parts: usize) -> Self {
        Self(self.0.iter().copied().take(parts).collect())
    }

    /// The version one before at the last given number: `3.13` to `3.12`. `None` when that number is 0.
    pub(super) fn previous(&self) -> Option<Self> {
        let mut parts = self.0.clone();
        let last = parts.last_mut()?;
        *last = last.checked_sub(1)?;
        Some(Self(parts))
    }

    /// Whether `self` starts with the numbers of `prefix`, as far as both go.
    pub(super) fn agrees_with(&self, prefix: &Self) -> bool {
        self.0.iter().zip(&prefix.0).all(|(mine, theirs)| mine == theirs)
    }

    /// The three numbers, for comparison.
    pub(super) fn key(&self) -> [u16; 3] {
        [self.part(0), self.part(1), self.part(2)]
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u16::to_string).collect();
        formatter.write_str(&parts.join("."))
    }
}
