//! What the API needs to be told: addresses, limits and deadlines.

use std::net::SocketAddr;
use std::time::Duration;

use slipway_common::config::Config;
use slipway_common::model::request::RequestLimits;
use slipway_common::model::{AddressPolicy, ServerAddress, TargetName};

/// Settings of the API. Every wait and every size has a limit here.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Threads that serve requests.
    pub workers: usize,
    /// Most connections per worker thread.
    pub connections_per_worker_max: usize,
    /// Largest request body.
    pub request_body_max_bytes: usize,
    /// Longest wait for the head of a request.
    pub request_head_timeout: Duration,
    /// Longest wait for the whole body of a request.
    pub request_body_timeout: Duration,
    /// Longest time from a whole request to the head of its answer.
    pub answer_timeout: Duration,
    /// Longest a connection without a request is kept.
    pub idle_timeout: Duration,
    /// Most event and log streams open at once.
    pub streams_max: usize,
    /// Pause between two keep-alive comments of an event stream.
    pub stream_keep_alive: Duration,
    /// A stream whose client takes nothing for this long is ended.
    pub stream_send_timeout: Duration,
    /// Longest wait for running requests when the server stops.
    pub stop_timeout: Duration,
    /// Accept requests from this machine without a token. A request that came through a proxy never counts
    /// as one from this machine.
    pub open_loopback: bool,
    /// The configured targets; the first is the default.
    pub targets: Vec<TargetName>,
    /// Those of them that are Kubernetes clusters.
    pub clusters: Vec<TargetName>,
    /// Those of them whose API server has a configured address, with this address.
    pub servers: Vec<(TargetName, ServerAddress)>,
    /// Which repository addresses are accepted.
    pub addresses: AddressPolicy,
    /// How much one request may ask for.
    pub limits: RequestLimits,
    /// Address under which forges reach the API, without a slash at its end; empty for the one a client has asked.
    pub public_url: String,
    /// Largest delivery of a forge.
    pub delivery_max_bytes: usize,
    /// How far the time of a signed delivery may be off.
    pub signature_tolerance: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_keep: Duration,
    /// Version shown in `/healthz` and `/openapi.json`.
    pub version: String,
}

impl ApiSettings {
    /// The settings that follow from `config`.
    #[must_use]
    pub fn from_config(config: &Config, version: impl Into<String>) -> Self {
        Self {
            listen: config.server.listen,
            workers: 2,
            connections_per_worker_max: 4_096,
            request_body_max_bytes: config.server.request_body_max_bytes,
            request_head_timeout: Duration::from_millis(config.server.request_head_timeout_ms),
            request_body_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_millis(config.server.answer_timeout_ms),
            idle_timeout: Duration::from_secs(15),
            streams_max: config.server.streams_max,
            stream_keep_alive: Duration::from_secs(config.server.stream_keep_alive_s),
            stream_send_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
            open_loopback: config.auth.open_loopback,
            targets: config.targets(),
            clusters: config.clusters(),
            servers: config.servers(),
            addresses: AddressPolicy { http: config.git.http },
            limits: config.limits.clone(),
            public_url: config.server.public_url.trim_end_matches('/').to_owned(),
            delivery_max_bytes: config.inbox.delivery_max_bytes,
            signature_tolerance: Duration::from_secs(config.inbox.signature_tolerance_s),
            idempotency_keep: Duration::from_secs(u64::from(config.data.keep_finished_days) * 24 * 3600),
            version: version.into(),
        }
    }
}
