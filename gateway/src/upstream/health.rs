//! Active health checks: one task per replica, from its arrival to its retirement.

use std::{sync::Arc, time::Duration};

use http::{Request, header};
use slipway_common::telemetry::chain;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::{
    proxy::body::RequestBody,
    route::HealthCheck,
    settings::ms,
    upstream::{Fitness, Upstream},
};

/// Checks `upstream` until it is retired.
pub(crate) async fn watch(upstream: Arc<Upstream>) {
    let mut ticks = interval(ms(upstream.settings.health_interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = upstream.retired.cancelled() => return,
            _ = ticks.tick() => check(&upstream).await,
        }
    }
}

async fn check(upstream: &Upstream) {
    let limit: Duration = ms(upstream.settings.health_timeout_ms);
    let outcome = timeout(limit, probe(upstream))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} ms", limit.as_millis())));
    let was_unhealthy = is_unhealthy(upstream);
    upstream.note_check(outcome);
    match (was_unhealthy, is_unhealthy(upstream)) {
        (false, true) => {
            let reason = upstream.condition().last_failure.unwrap_or_default();
            warn!(replica = upstream.replica.name, reason, "a replica is unhealthy and gets no requests");
        }
        (true, false) => info!(replica = upstream.replica.name, "a replica is healthy again"),
        (true, true) | (false, false) => {}
    }
}

fn is_unhealthy(upstream: &Upstream) -> bool {
    upstream.fitness(tokio::time::Instant::now()) == Fitness::Unhealthy
}

async fn probe(upstream: &Upstream) -> Result<(), String> {
    match &upstream.replica.health {
        HealthCheck::Tcp => upstream.dial().await.map(drop).map_err(|error| chain(&error)),
        HealthCheck::Http { path } => probe_http(upstream, path).await,
    }
}

async fn probe_http(upstream: &Upstream, path: &str) -> Result<(), String> {
    let mut sender = upstream.connect().await.map_err(|error| chain(&error))?;
    let request = Request::get(path)
        .header(header::HOST, upstream.replica.address.to_string())
        .header(header::USER_AGENT, concat!("slipway-gateway/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(RequestBody::Empty)
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
    match response.status().as_u16() {
        200..=399 => Ok(()),
        status => Err(format!("health check answered {status}")),
    }
}
