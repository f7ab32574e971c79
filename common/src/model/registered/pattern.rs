//! Patterns of ref names and of paths. `*` stands for any characters but `/`, `**` for any at all, `?` for one; an
//! exclamation mark or a brace means itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest pattern.
pub const PATTERN_MAX_BYTES: usize = 255;
/// Most wildcards of one pattern.
pub const WILDCARDS_MAX: usize = 8;

/// Why a pattern was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing was given.
    #[error("a pattern must not be empty")]
    Empty,
    /// Too long.
    #[error("a pattern may have {PATTERN_MAX_BYTES} bytes at most")]
    TooLong,
    /// Too many wildcards.
    #[error("a pattern may have {WILDCARDS_MAX} wildcards at most")]
    Wildcards,
    /// A character that names cannot have.
    #[error("a pattern must not hold control characters or a backslash")]
    Character,
    /// It begins with a slash.
    #[error("a pattern must not begin with a slash")]
    Absolute,
}

fn check(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    if text.len() > PATTERN_MAX_BYTES {
        return Err(PatternError::TooLong);
    }
    if text.chars().any(|character| character.is_control() || character == '\\') {
        return Err(PatternError::Character);
    }
    if text.starts_with('/') {
        return Err(PatternError::Absolute);
    }
    let wildcards = text.replace("**", "*").bytes().filter(|byte| matches!(byte, b'*' | b'?')).count();
    if wildcards > WILDCARDS_MAX { Err(PatternError::Wildcards) } else { Ok(()) }
}

/// Whether `text` is of the form `pattern` describes. Takes at most the product of both lengths in steps.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Which beginnings of the text the pattern read so far may have taken.
    let mut taken = vec![false; text.len() + 1];
    taken[0] = true;
    let mut rest = pattern;
    while let Some((&first, tail)) = rest.split_first() {
        let mut next = vec![false; text.len() + 1];
        let crosses = first == b'*' && tail.first() == Some(&b'*');
        for at in 0..=text.len() {
            next[at] = match first {
                b'*' => taken[at] || (at > 0 && next[at - 1] && (crosses || text[at - 1] != b'/')),
                b'?' => at > 0 && taken[at - 1] && text[at - 1] != b'/',
                literal => at > 0 && taken[at - 1] && text[at - 1] == literal,
            };
        }
        rest = if crosses { &tail[1..] } else { tail };
        // `**/` matches no directory, too.
        if crosses && rest.first() == Some(&b'/') {
            let slash_taken: Vec<bool> = (0..=text.len())
                .map(|at| taken[at] || (at > 0 && next[at - 1] && text[at - 1] == b'/'))
                .collect();
            next = slash_taken;
            rest = &rest[1..];
        }
        taken = next;
    }
    taken[text.len()]
}

macro_rules! pattern {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $name(String);

        impl $name {
            /// The pattern as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it matches.
            #[must_use]
            pub fn matches(&self, text: &str) -> bool {
                matches(&self.0, text)
            }

            /// Whether it can match nothing but its own text.
            #[must_use]
            pub fn is_exact(&self) -> bool {
                !self.0.contains(['*', '?'])
            }
        }

        impl FromStr for $name {
            type Err = PatternError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = PatternError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(pattern: $name) -> Self {
                pattern.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

pattern!(
    /// Matches names of branches or tags, such as `release/*`.
    RefPattern
);
pattern!(
    /// Matches paths of files in a repository, such as `services/api/**`.
    PathPattern
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_what_they_say() {
        let cases = [
            ("main", "main", true),
            ("main", "main2", false),
            ("main", "amain", false),
            ("release/*", "release/1.2", true),
            ("release/*", "release/", true),
            ("release/*", "release/a/b", false),
            ("release/**", "release/a/b", true),
            ("v?.*", "v1.2.3", true),
            ("v?.*", "v10.2", false),
            ("*", "", true),
            ("?", "", false),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("api/**", "api/src/main.rs", true),
            ("api/**", "apis/src/main.rs", false),
            ("**/*.rs", "main.rs", true),
            ("**/*.rs", "a/b/main.rs", true),
            ("**/*.rs", "a/b/main.rsx", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "axb", false),
            ("{a}!", "{a}!", true),
            ("ä*", "äö", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_answered_in_time() {
        let pattern: RefPattern = "*a*a*a*a*a*a*a*b".parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(5_000)));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let long = "a".repeat(PATTERN_MAX_BYTES + 1);
        for (text, error) in [
            ("", PatternError::Empty),
            (long.as_str(), PatternError::TooLong),
            ("a\nb", PatternError::Character),
            ("a\\b", PatternError::Character),
            ("/a", PatternError::Absolute),
            ("*a*a*a*a*a*a*a*a*a", PatternError::Wildcards),
        ] {
            assert_eq!(text.parse::<PathPattern>(), Err(error), "{text:?}");
        }
        assert!("release/*".parse::<RefPattern>().is_ok_and(|pattern| !pattern.is_exact()));
        assert!("main".parse::<RefPattern>().is_ok_and(|pattern| pattern.is_exact()));
    }
}
