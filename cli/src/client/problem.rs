//! Problem documents (RFC 9457), as the server sends them when it refuses a request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest part of an answer that is no problem document which is shown.
const EXCERPT_MAX_CHARS: usize = 200;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// HTTP status.
    #[serde(default)]
    pub(crate) status: u16,
    /// Stable code to program against.
    #[serde(default)]
    pub(crate) code: String,
    /// One short line.
    #[serde(default)]
    pub(crate) title: String,
    /// What happened.
    #[serde(default)]
    pub(crate) detail: String,
    /// The fields that are at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<FieldError>,
}

/// One field that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FieldError {
    /// Its path in the request.
    #[serde(default)]
    pub(crate) field: String,
    /// What is wrong with it.
    #[serde(default)]
    pub(crate) reason: String,
}

impl Problem {
    /// Reads an answer of status `status`, whatever its body is.
    pub(crate) fn parse(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Self>(body) {
            Ok(problem) if !problem.detail.is_empty() || !problem.title.is_empty() => {
                Self { status, ..problem }
            }
            Ok(_) | Err(_) => Self {
                status,
                code: String::new(),
                title: format!("the server answered {status}"),
                detail: String::from_utf8_lossy(body)
                    .chars()
                    .filter(|character| !character.is_control())
                    .take(EXCERPT_MAX_CHARS)
                    .collect(),
                errors: Vec::new(),
            },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.detail.is_empty() { &self.title } else { &self.detail };
        formatter.write_str(said)?;
        if self.code.is_empty() {
            write!(formatter, " ({})", self.status)
        } else {
            write!(formatter, " ({} {})", self.status, self.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_is_read_with_its_fields() {
        let body = br#"{"type":"about:blank","title":"Unprocessable","status":422,"code":"invalid_field",
            "detail":"a field is invalid","message":"x","errors":[{"field":"replicas","reason":"at most 32"}]}"#;
        let problem = Problem::parse(422, body);
        assert_eq!(problem.to_string(), "a field is invalid (422 invalid_field)");
        assert_eq!(problem.errors[0].field, "replicas");
    }

    #[test]
    fn an_answer_of_something_else_in_between_is_shown_in_part() {
        let problem = Problem::parse(502, format!("<html>\u{1b}[31m{}", "x".repeat(1_000)).as_bytes());
        assert_eq!(problem.status, 502);
        assert!(problem.detail.starts_with("<html>[31m"), "no control characters");
        assert_eq!(problem.detail.chars().count(), EXCERPT_MAX_CHARS);
    }
}
