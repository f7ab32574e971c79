//! What an operator may tune: the bind address, the intervals and every limit, with units in the names.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::GatewayError;

/// Settings of one gateway. [`GatewaySettings::validate`] checks those that depend on each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// Address every application port is bound on.
    pub bind: IpAddr,
    /// First application port this gateway opens. Ports outside are left to other gateways of the same engine.
    pub port_min: u16,
    /// Last application port this gateway opens.
    pub port_max: u16,
    /// Time between two full reads of the container list; events only shorten it.
    pub relist_interval_ms: u64,
    /// How long a burst of engine events is gathered before the list is read again.
    pub event_coalesce_ms: u64,
    /// Longest wait for one answer of the engine.
    pub engine_timeout_ms: u64,
    /// Longest pause between two tries to reach an engine that does not answer.
    pub engine_backoff_max_ms: u64,
    /// Time between two health checks of one replica.
    pub health_interval_ms: u64,
    /// Longest wait for one health check.
    pub health_timeout_ms: u64,
    /// Health checks that must fail in a row before a replica gets no requests.
    pub health_failures_max: u32,
    /// How long a replica that refused a connection is avoided.
    pub ejection_ms: u64,
    /// Longest wait for a connection to a replica.
    pub connect_timeout_ms: u64,
    /// Tries one request gets, the first included.
    pub attempts_max: u32,
    /// Longest wait for a replica's response head, counted from the last byte of the request.
    pub response_header_timeout_ms: u64,
    /// Longest silence within a response body or a tunnel, and longest stall of a reading client.
    pub stream_idle_timeout_ms: u64,
    /// Longest wait for a client's request head; an idle client connection is closed after it too.
    pub client_header_timeout_ms: u64,
    /// How long an unused replica connection is kept. Below 5 s, the point where common application
    /// servers close theirs: a request sent into a closing connection cannot always be repeated.
    pub upstream_idle_timeout_ms: u64,
    /// Unused connections kept per replica.
    pub upstream_idle_connections_max: usize,
    /// Largest head of a request or response.
    pub header_bytes_max: usize,
    /// Most header fields in a request or response.
    pub header_count_max: usize,
    /// Most client connections at once on one port; further ones wait in the accept queue.
    pub connections_per_listener_max: usize,
    /// Most requests at once on one replica; a request no replica has room for is answered 503.
    pub requests_per_upstream_max: usize,
    /// Most application ports.
    pub listeners_max: usize,
    /// How long a port stays open after the last container that declared it is gone.
    pub listener_grace_ms: u64,
    /// Time between two tries to bind a port that is in use.
    pub bind_retry_ms: u64,
    /// How long requests under way may go on after their replica, their port or the gateway leaves.
    pub drain_limit_ms: u64,
    /// Whether a proxy in front is trusted: `X-Forwarded-Proto`, `X-Forwarded-Host` and `Forwarded` of a
    /// request are kept when true, replaced when false.
    pub trust_forwarded: bool,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_min: 1,
            port_max: u16::MAX,
            relist_interval_ms: 2_000,
            event_coalesce_ms: 20,
            engine_timeout_ms: 5_000,
            engine_backoff_max_ms: 10_000,
            health_interval_ms: 2_000,
            health_timeout_ms: 1_000,
            health_failures_max: 2,
            ejection_ms: 2_000,
            connect_timeout_ms: 1_000,
            attempts_max: 3,
            response_header_timeout_ms: 60_000,
            stream_idle_timeout_ms: 900_000,
            client_header_timeout_ms: 30_000,
            upstream_idle_timeout_ms: 4_000,
            upstream_idle_connections_max: 32,
            header_bytes_max: 64 * 1024,
            header_count_max: 100,
            connections_per_listener_max: 4_096,
            requests_per_upstream_max: 1_024,
            listeners_max: 256,
            listener_grace_ms: 30_000,
            bind_retry_ms: 1_000,
            drain_limit_ms: 30_000,
            trust_forwarded: false,
        }
    }
}

impl GatewaySettings {
    /// Checks that no limit is zero and that dependent ones fit together.
    ///
    /// # Errors
    /// [`GatewayError::Settings`] names the first setting that cannot work.
    pub fn validate(&self) -> Result<(), GatewayError> {
        let refuse = |setting, reason| Err(GatewayError::Settings { setting, reason });
        if let Some(setting) = self.first_zero() {
            return refuse(setting, "must be above zero");
        }
        if self.port_min > self.port_max {
            return refuse("port_min", "must not exceed port_max");
        }
        if self.health_timeout_ms > self.health_interval_ms {
            return refuse("health_timeout_ms", "must not exceed health_interval_ms");
        }
        if self.engine_backoff_max_ms < self.relist_interval_ms {
            return refuse("engine_backoff_max_ms", "must not be below relist_interval_ms");
        }
        if self.header_bytes_max < HEADER_BYTES_LEAST {
            return refuse("header_bytes_max", "must be at least 8192");
        }
        Ok(())
    }

    fn first_zero(&self) -> Option<&'static str> {
        let durations = [
            ("relist_interval_ms", self.relist_interval_ms),
            ("engine_timeout_ms", self.engine_timeout_ms),
            ("health_interval_ms", self.health_interval_ms),
            ("health_timeout_ms", self.health_timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("response_header_timeout_ms", self.response_header_timeout_ms),
            ("stream_idle_timeout_ms", self.stream_idle_timeout_ms),
            ("client_header_timeout_ms", self.client_header_timeout_ms),
            ("upstream_idle_timeout_ms", self.upstream_idle_timeout_ms),
            ("bind_retry_ms", self.bind_retry_ms),
            ("health_failures_max", u64::from(self.health_failures_max)),
            ("attempts_max", u64::from(self.attempts_max)),
        ];
        let counts = [
            ("header_count_max", self.header_count_max),
            ("connections_per_listener_max", self.connections_per_listener_max),
            ("requests_per_upstream_max", self.requests_per_upstream_max),
            ("listeners_max", self.listeners_max),
        ];
        let zero_duration = durations.iter().find(|(_, value)| *value == 0).map(|(name, _)| *name);
        zero_duration.or_else(|| counts.iter().find(|(_, value)| *value == 0).map(|(name, _)| *name))
    }
}

/// The HTTP parser cannot work with a smaller buffer.
const HEADER_BYTES_LEAST: usize = 8_192;

/// Milliseconds of a setting as a duration.
pub(crate) const fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        GatewaySettings::default().validate().unwrap();
    }

    #[test]
    fn a_zero_limit_is_named() {
        let settings = GatewaySettings { listeners_max: 0, ..GatewaySettings::default() };
        let error = settings.validate().unwrap_err();
        assert!(error.to_string().contains("listeners_max"), "{error}");
    }

    #[test]
    fn a_health_check_must_fit_its_interval() {
        let settings = GatewaySettings { health_timeout_ms: 3_000, ..GatewaySettings::default() };
        assert!(settings.validate().is_err());
    }
}
