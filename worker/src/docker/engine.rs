//! The connection to one Docker engine: every call under its own deadline, every error with its operation.

use std::future::Future;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use serde::{Deserialize, Serialize};

use super::error::DockerError;

/// Time `bollard` itself gives a request. The deadlines of [`EngineSettings`] are shorter and count.
const TRANSPORT_TIMEOUT_S: u64 = 24 * 3600;

/// Where the engine is and how long it may take.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// `unix:///path`, an absolute path of a socket, `tcp://host:port` or `http://host:port`.
    pub host: String,
    /// Deadline of one ordinary call.
    pub call_timeout_ms: u64,
    /// Deadline of one pull or push.
    pub transfer_timeout_ms: u64,
}

impl EngineSettings {
    /// Settings for the engine at `host`, with the usual deadlines.
    #[must_use]
    pub fn at(host: impl Into<String>) -> Self {
        Self { host: host.into(), call_timeout_ms: 30_000, transfer_timeout_ms: 600_000 }
    }
}

/// What the engine says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineVersion {
    /// The engine's version, e.g. `20.10.24`.
    pub engine: String,
    /// The newest API it speaks, e.g. `1.41`.
    pub api: String,
}

/// A connection to one Docker engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    call_timeout: Duration,
    transfer_timeout: Duration,
}

impl Engine {
    /// Prepares the connection; only [`Engine::ping`] and the other calls use it.
    ///
    /// # Errors
    /// [`DockerError::Invalid`] for an address of another form, [`DockerError::Unreachable`] when the socket
    /// does not exist.
    pub fn connect(settings: &EngineSettings) -> Result<Self, DockerError> {
        let host = settings.host.as_str();
        let connected = if host.starts_with("unix://") || host.starts_with('/') {
            Docker::connect_with_unix(host, TRANSPORT_TIMEOUT_S, API_DEFAULT_VERSION)
        } else if host.starts_with("tcp://") || host.starts_with("http://") {
            Docker::connect_with_http(host, TRANSPORT_TIMEOUT_S, API_DEFAULT_VERSION)
        } else {
            return Err(DockerError::Invalid {
                what: "the engine's address",
                rule: "unix:///path, an absolute path, tcp://host:port or http://host:port",
            });
        };
        let docker = connected
            .map_err(|error| DockerError::Unreachable { operation: "connect", source: Box::new(error) })?;
        Ok(Self {
            docker,
            call_timeout: Duration::from_millis(settings.call_timeout_ms),
            transfer_timeout: Duration::from_millis(settings.transfer_timeout_ms),
        })
    }

    /// Asks the engine for its version.
    ///
    /// # Errors
    /// When the engine cannot be reached or does not answer in time.
    pub async fn ping(&self) -> Result<EngineVersion, DockerError> {
        let version = self.call("ping", self.docker.version()).await?;
        Ok(EngineVersion {
            engine: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
        })
    }

    /// The client behind it, for readers of their own such as the gateway.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(super) fn transfer_timeout(&self) -> Duration {
        self.transfer_timeout
    }

    /// Runs one ordinary call under its deadline.
    pub(super) async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, DockerError> {
        self.call_within(operation, self.call_timeout, call).await
    }

    /// Runs one call that may take `extra` longer than an ordinary one.
    pub(super) async fn call_longer<T>(
        &self,
        operation: &'static str,
        extra: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, DockerError> {
        self.call_within(operation, self.call_timeout.saturating_add(extra), call).await
    }

    async fn call_within<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, DockerError> {
        let limit_ms = millis(limit);
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(DockerError::of_engine(operation, limit_ms, error)),
            Err(_elapsed) => Err(DockerError::TimedOut { operation, limit_ms }),
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
