//! The connection to the engine: made when it is first needed, every call under a deadline, every error with its
//! operation.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use slipway_common::telemetry::chain;

use crate::target::TargetError;

/// Deadline of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Time `bollard` itself gives a request. The deadlines here are shorter and count.
const TRANSPORT_TIMEOUT_S: u64 = 24 * 3600;

/// A connection to one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    host: Arc<str>,
    connection: Arc<OnceLock<Docker>>,
}

/// Why a call to the engine failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// The address has another form.
    #[error(
        "the engine's address must be unix:///path, an absolute path, tcp://host:port or http://host:port"
    )]
    Address,
    /// No connection, or one that broke.
    #[error("{operation}: the Docker engine cannot be reached")]
    Unreachable {
        /// What was being done.
        operation: &'static str,
        /// The connection's error.
        #[source]
        source: Box<Error>,
    },
    /// No answer in time.
    #[error("{operation}: no answer from the Docker engine within {limit_s} s")]
    TimedOut {
        /// What was being done.
        operation: &'static str,
        /// The deadline that passed.
        limit_s: u64,
    },
    /// The engine answered with an error, or with something that cannot be read.
    #[error("{operation}: the Docker engine answered {status}: {reason}")]
    Answer {
        /// What was being done.
        operation: &'static str,
        /// HTTP status; 0 for an answer that cannot be read.
        status: u16,
        /// The engine's words.
        reason: String,
    },
    /// A name is taken by something Slipway did not make.
    #[error("the container {name} exists already and was not made by Slipway")]
    Foreign {
        /// The name.
        name: String,
    },
}

impl Engine {
    pub(super) fn at(host: &str) -> Self {
        Self { host: Arc::from(host), connection: Arc::default() }
    }

    /// The client. That there is one does not mean that the engine answers.
    pub(super) fn docker(&self) -> Result<&Docker, EngineError> {
        if let Some(docker) = self.connection.get() {
            return Ok(docker);
        }
        let docker = connect(&self.host)?;
        Ok(self.connection.get_or_init(|| docker))
    }
}

fn connect(host: &str) -> Result<Docker, EngineError> {
    let connected = if host.starts_with("unix://") || host.starts_with('/') {
        Docker::connect_with_unix(host, TRANSPORT_TIMEOUT_S, API_DEFAULT_VERSION)
    } else if host.starts_with("tcp://") || host.starts_with("http://") {
        Docker::connect_with_http(host, TRANSPORT_TIMEOUT_S, API_DEFAULT_VERSION)
    } else {
        return Err(EngineError::Address);
    };
    connected.map_err(|error| EngineError::of("connect", error))
}

/// Runs one call under its deadline.
pub(super) async fn call<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    call_longer(operation, Duration::ZERO, call).await
}

/// Runs one call that may take `extra` longer than others.
pub(super) async fn call_longer<T>(
    operation: &'static str,
    extra: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    let limit = CALL_TIMEOUT.saturating_add(extra);
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| EngineError::of(operation, error)),
        Err(_elapsed) => Err(EngineError::TimedOut { operation, limit_s: limit.as_secs() }),
    }
}

impl EngineError {
    fn of(operation: &'static str, error: Error) -> Self {
        if let Error::DockerResponseServerError { status_code, message } = error {
            Self::Answer { operation, status: status_code, reason: message }
        } else if let Error::JsonDataError { message, .. } = error {
            Self::Answer { operation, status: 0, reason: message }
        } else {
            Self::Unreachable { operation, source: Box::new(error) }
        }
    }

    fn status(&self) -> Option<u16> {
        if let Self::Answer { status, .. } = self { Some(*status) } else { None }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    pub(super) fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }
}

impl From<EngineError> for TargetError {
    fn from(error: EngineError) -> Self {
        let told = chain(&error);
        match error {
            EngineError::Address | EngineError::Unreachable { .. } | EngineError::TimedOut { .. } => {
                Self::Unavailable { reason: told }
            }
            EngineError::Answer { status: 503, .. } => Self::Unavailable { reason: told },
            // Somebody has removed or renamed it, or does so at this moment.
            EngineError::Answer { status: 404 | 409, .. } => Self::Changed,
            EngineError::Answer { reason, .. } if reason.contains("no space left on device") => {
                Self::Refused { code: "disk_full", reason: told }
            }
            EngineError::Answer { .. } => Self::Refused { code: "engine_error", reason: told },
            EngineError::Foreign { .. } => Self::Refused { code: "name_conflict", reason: told },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16, message: &str) -> TargetError {
        let error = Error::DockerResponseServerError { status_code, message: message.to_owned() };
        EngineError::of("start container", error).into()
    }

    #[test]
    fn what_the_engine_answers_decides_whether_it_is_away_has_moved_on_or_refuses() {
        assert!(matches!(answer(503, "busy"), TargetError::Unavailable { .. }));
        assert_eq!(answer(404, "no such container"), TargetError::Changed);
        assert_eq!(answer(409, "name in use"), TargetError::Changed);
        assert_eq!(answer(500, "write /x: no space left on device").fault().code, "disk_full");
        assert_eq!(answer(500, "exec format error").fault().code, "engine_error");
    }

    #[test]
    fn an_engine_that_is_not_there_is_unavailable_and_the_reason_says_why() {
        let away = Engine::at("unix:///nonexistent/docker.sock");
        let error = TargetError::from(away.docker().unwrap_err());
        assert_eq!(error.fault().code, "target_unavailable");
        assert!(error.to_string().contains("/nonexistent/docker.sock"), "{error}");
        let error = TargetError::from(Engine::at("ftp://engine").docker().unwrap_err());
        assert!(error.to_string().contains("address"), "{error}");
    }
}
