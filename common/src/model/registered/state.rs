//! What the last look at a registered project has shown: written by whoever looked, as the memo of its entry on the agenda,
//! and shown by the API.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a look came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SweepError {
    /// Stable code.
    pub code: String,
    /// One sentence. Holds no secrets.
    pub reason: String,
}

/// How the last look at a project went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SweepState {
    /// When it was.
    #[schema(value_type = String, format = DateTime)]
    pub swept_at: Timestamp,
    /// How many refs the host named.
    #[serde(default)]
    pub refs: u64,
    /// How many requests it took.
    #[serde(default)]
    pub requests: u64,
    /// How many deployments it made.
    #[serde(default)]
    pub deployments: u64,
    /// Looks in a row that came to nothing; 0 when this one did not.
    #[serde(default)]
    pub failures: u32,
    /// Why it came to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<SweepError>,
    /// What a person should know, such as a rule that could not be read. Hold no secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl SweepState {
    /// A look in which nothing was found yet.
    #[must_use]
    pub fn at(swept_at: Timestamp) -> Self {
        Self { swept_at, refs: 0, requests: 0, deployments: 0, failures: 0, error: None, notes: Vec::new() }
    }

    /// Reads a memo of the agenda. What somebody else has added to it is left out.
    #[must_use]
    pub fn from_memo(memo: &str) -> Option<Self> {
        serde_json::from_str(memo).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_may_hold_more_or_less() {
        let read = SweepState::from_memo(r#"{"swept_at":"2026-11-20T10:00:00Z","refs":3,"more":{"a":1}}"#);
        let expected = SweepState { refs: 3, ..SweepState::at("2026-11-20T10:00:00Z".parse().unwrap()) };
        assert_eq!(read, Some(expected));
        for bad in ["", "{}", "[]", r#"{"swept_at":"yesterday"}"#] {
            assert_eq!(SweepState::from_memo(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let error = SweepError { code: "unreachable".to_owned(), reason: "It was not reached.".to_owned() };
        let state = SweepState {
            failures: 2,
            error: Some(error),
            notes: vec!["a".to_owned()],
            ..SweepState::at(Timestamp::UNIX_EPOCH)
        };
        assert_eq!(SweepState::from_memo(&serde_json::to_string(&state).unwrap()), Some(state));
    }
}
