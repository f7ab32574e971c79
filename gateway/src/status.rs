//! What the gateway says about itself.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use slipway_common::model::DeploymentId;
use tokio::time::Instant;

use crate::{
    manager::{PortView, Shared},
    route::{App, Conflict, Rejected},
    upstream::{Fitness, Upstream},
};

/// The routes in use, the health behind them, and what stands in the way.
#[derive(Debug, Clone, Serialize)]
pub struct GatewayStatus {
    /// Whether the routes were ever read.
    pub ready: bool,
    /// Milliseconds since the routes were last confirmed.
    pub route_age_ms: Option<u64>,
    /// Since when the routes cannot be confirmed; the last good ones stay in use.
    pub stale_since: Option<Timestamp>,
    /// Why they cannot.
    pub stale_reason: Option<String>,
    /// Every application port.
    pub routes: Vec<RouteStatus>,
    /// Ports two applications want.
    pub conflicts: Vec<Conflict>,
    /// Containers whose labels do not make a route.
    pub rejected: Vec<Rejected>,
}

/// One application port.
#[derive(Debug, Clone, Serialize)]
pub struct RouteStatus {
    /// The port.
    pub port: u16,
    /// Its owner.
    pub app: App,
    /// The deployment that requests are for.
    pub deployment: Option<DeploymentId>,
    /// Requests that have arrived for it.
    pub arrivals_total: u64,
    /// Whether clients can connect.
    pub listening: bool,
    /// Why they cannot.
    pub bind_error: Option<String>,
    /// The replicas in service.
    pub upstreams: Vec<UpstreamStatus>,
}

/// One replica in service.
#[derive(Debug, Clone, Serialize)]
pub struct UpstreamStatus {
    /// Name of its container when it was enlisted.
    pub name: String,
    /// Identifier of its container.
    pub container_id: String,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// What is known of its health.
    pub health: UpstreamHealth,
    /// Health checks failed in a row.
    pub failures_in_a_row: u32,
    /// What the last failed check or connection said.
    pub last_failure: Option<String>,
    /// Requests and tunnels under way.
    pub outstanding: usize,
}

/// Whether a replica gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamHealth {
    /// It does.
    Healthy,
    /// Only when there is no other: it refused a connection a moment ago.
    Ejected,
    /// It does not: its checks fail.
    Unhealthy,
}

impl From<Fitness> for UpstreamHealth {
    fn from(fitness: Fitness) -> Self {
        match fitness {
            Fitness::Good => Self::Healthy,
            Fitness::Ejected => Self::Ejected,
            Fitness::Unhealthy => Self::Unhealthy,
        }
    }
}

impl Shared {
    pub(crate) fn status(&self) -> GatewayStatus {
        let snapshot = self.feed.borrow().clone();
        let stale = snapshot.stale;
        GatewayStatus {
            ready: snapshot.read_at.is_some(),
            route_age_ms: snapshot.read_at.map(|read_at| whole_ms(read_at.elapsed())),
            stale_since: stale.as_ref().and_then(|stale| Timestamp::try_from(stale.since).ok()),
            stale_reason: stale.map(|stale| stale.reason),
            routes: self.ports().into_iter().map(|(port, view)| route(port, view)).collect(),
            conflicts: snapshot.table.conflicts.clone(),
            rejected: snapshot.table.rejected.clone(),
        }
    }
}

fn route(port: u16, view: PortView) -> RouteStatus {
    let backends = view.front.backends();
    RouteStatus {
        port,
        app: backends.app.clone(),
        deployment: backends.meter.deployment,
        arrivals_total: backends.meter.arrivals_total(),
        listening: view.bind_error.is_none(),
        bind_error: view.bind_error,
        upstreams: backends.upstreams.iter().map(|upstream| self::upstream(upstream)).collect(),
    }
}

fn upstream(upstream: &Upstream) -> UpstreamStatus {
    let condition = upstream.condition();
    UpstreamStatus {
        name: upstream.replica.name.clone(),
        container_id: upstream.replica.container_id.clone(),
        address: upstream.replica.address,
        health: upstream.fitness(Instant::now()).into(),
        failures_in_a_row: condition.failures_in_a_row,
        last_failure: condition.last_failure,
        outstanding: upstream.outstanding(),
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
