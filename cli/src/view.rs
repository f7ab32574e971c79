//! What is shown. Nothing here talks to a server; text that came from one is stripped of control characters, so that
//! a log line cannot steer the terminal.

pub(crate) mod autoscaler;
pub(crate) mod deployment;
pub(crate) mod error;
pub(crate) mod live;
pub(crate) mod progress;
pub(crate) mod project;
pub(crate) mod table;
pub(crate) mod text;

use std::io::Write as _;

use serde_json::Value;

/// Prints a line on standard output. A reader that has gone away (`slipway list | head -1`) is no error.
pub(crate) fn line(text: &str) {
    let written = writeln!(std::io::stdout().lock(), "{text}");
    drop(written);
}

/// Prints a document as JSON with indentation.
pub(crate) fn json(value: &Value) {
    line(&format!("{value:#}"));
}

/// Prints a document as JSON on one line.
pub(crate) fn json_line(value: &Value) {
    line(&value.to_string());
}
