//! Lines of a stage's log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest line kept; the rest of a longer one is cut off.
pub const LOG_LINE_MAX_BYTES: usize = 8 * 1024;
/// The last line of a log that reached its limit.
pub const LOG_CUT_MARKER: &str = "[log cut: the limit for one stage is reached]";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogLine {
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The text, without a line end, at most [`LOG_LINE_MAX_BYTES`].
    pub text: String,
}

impl LogLine {
    /// A line, cut to the limit at a character boundary.
    #[must_use]
    pub fn new(at: Timestamp, text: &str) -> Self {
        let mut end = text.len().min(LOG_LINE_MAX_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self { at, text: text[..end].to_owned() }
    }
}

/// Part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Lines with their numbers, in order.
    pub lines: Vec<(u64, LogLine)>,
    /// Whether there is more after them.
    pub more: bool,
}
