//! Logs: one line per event on standard error, as text or JSON.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Form of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Libraries that log requests, headers or bodies below `info`, and so could log a secret. No filter opens them.
const QUIET_TARGETS: [&str; 7] =
    ["bollard", "hyper", "hyper_util", "actix_http", "reqwest", "rustls", "redis"];
/// Libraries that log bodies even as warnings; what matters of it is logged here, without the body.
const MUTE_TARGETS: [&str; 1] = ["lapin"];

/// Starts logging with `filter` (as in `info,slipway_worker=debug`). A second call changes nothing.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn start(filter: &str, format: LogFormat) -> Result<(), tracing_subscriber::filter::ParseError> {
    let mut filter = EnvFilter::try_new(filter)?;
    for target in QUIET_TARGETS {
        filter = filter.add_directive(format!("{target}=info").parse()?);
    }
    for target in MUTE_TARGETS {
        filter = filter.add_directive(format!("{target}=error").parse()?);
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    drop(started);
    Ok(())
}

/// An error and its causes in one line, each saying only its own layer.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        cause = inner.source();
    }
    line
}
