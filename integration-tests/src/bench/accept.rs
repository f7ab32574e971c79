//! How fast deployments are accepted: `POST /deployments` at a fixed rate, each durable before its 202.

use anyhow::{Context as _, Result};
use bytes::Bytes;

use super::figure::{Figure, Goal};
use super::load::{Schedule, open_loop};
use super::samples::{Samples, millis};
use super::server::{FastClient, Server, WorkerLoad, deployment_of};

/// 500 requests per second for 30 s.
const SCHEDULE: Schedule = Schedule { per_second: 500, requests: 15_000 };
/// Requests sent before, so that connections and caches are as in a server that runs.
const WARM_UP: Schedule = Schedule { per_second: 100, requests: 200 };
const P99_MOST_MS: f64 = 25.0;

/// Measures under `load`; `disk` is the floor measured just before.
///
/// # Errors
/// When the server does not start or cannot be asked. Requests that fail are a figure, not an error.
pub async fn measure(load: WorkerLoad, disk: &Samples) -> Result<Vec<Figure>> {
    let server = Server::start(load).await?;
    let client = FastClient::of(&server.process);
    let post = |index: u32| {
        let body = Bytes::from(deployment_of(index, load).to_string());
        client.clone().send("POST", "/deployments", body, 202)
    };
    let warmed = open_loop(WARM_UP, |index| post(SCHEDULE.requests + index)).await;
    let outcome = open_loop(SCHEDULE, post).await;
    server.check_worker().await?;
    let sent = WARM_UP.requests + SCHEDULE.requests;
    let accepted = u64::from(sent - warmed.errors - outcome.errors);
    let known = server.deployments().await? - server.before;
    if let Some(error) = &outcome.first_error {
        eprintln!("accept: the first request that failed: {error}");
    }
    let latencies = outcome.latencies.context("no request was answered")?;
    let lost = u32::try_from(accepted.saturating_sub(known)).unwrap_or(u32::MAX);
    let name = |what: &str| match load {
        WorkerLoad::Idle => format!("accept-{what}"),
        WorkerLoad::Busy => format!("accept-busy-{what}"),
    };
    let (p50, p99) = (latencies.median_ms(), latencies.per_mille_ms(990));
    let rate = f64::from(SCHEDULE.requests - outcome.errors) / outcome.took.as_secs_f64();
    Ok(vec![
        Figure::told(name("rate"), rate, "requests/s"),
        Figure::told(name("p50"), p50, "ms"),
        Figure::new(name("p99"), p99, "ms", Goal::AtMost(P99_MOST_MS)),
        Figure::told(name("max"), latencies.max_ms(), "ms"),
        Figure::new(name("errors"), f64::from(outcome.errors), "requests", Goal::AtMost(0.0)),
        Figure::new(name("lost"), f64::from(lost), "deployments", Goal::AtMost(0.0)),
        Figure::told(name("p50-to-disk-p50"), p50 / disk.median_ms(), "ratio"),
        Figure::told(name("p99-to-disk-p99"), p99 / disk.per_mille_ms(990), "ratio"),
        Figure::told(name("generator-behind-max"), millis(outcome.behind_max), "ms"),
    ])
}
