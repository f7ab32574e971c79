//! What can go wrong at the gateway's two boundaries: its start, and the reading of routes.

use std::error::Error;

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A setting cannot work.
    #[error("gateway setting `{setting}` {reason}")]
    Settings {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Why the containers could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The list could not be read.
    #[error("cannot list the containers")]
    List(#[source] Box<dyn Error + Send + Sync>),
    /// The list did not arrive in time.
    #[error("the container list did not arrive within {limit_ms} ms")]
    ListTimeout {
        /// The deadline that passed.
        limit_ms: u64,
    },
    /// The stream of changes broke.
    #[error("the stream of container events broke")]
    Events(#[source] Box<dyn Error + Send + Sync>),
}
