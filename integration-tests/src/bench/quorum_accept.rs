//! How fast deployments are accepted in the distributed form: `POST /deployments` to a `slipway-api`, which answers 202
//! when quorum queue and ledger have confirmed, at fixed rates and as fast as it goes. Each beside its floor: bare
//! publications of the same size, confirmed by a quorum queue of the same broker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

use super::figure::{Figure, Goal};
use super::floor::Publisher;
use super::installation::Installation;
use super::load::{Outcome, Schedule, closed_loop, open_loop};
use super::samples::millis;
use super::server::{FastClient, WorkerLoad, deployment_of};

/// Requests per second that are measured.
const RATES: [u32; 2] = [500, 1_000];
/// Requests sent before, so that connections and caches are as in a server that runs.
const WARM_UP: Schedule = Schedule { per_second: 100, requests: 200 };
/// Requests in flight when it goes as fast as it can.
const AT_ONCE: u32 = 64;
/// Least share of the floor.
const FLOOR_SHARE_LEAST: f64 = 0.5;

/// Measures for `seconds` at each rate.
///
/// # Errors
/// When something does not start or cannot be asked. Requests that fail are a figure, not an error.
pub async fn measure(seconds: u32) -> Result<Vec<Figure>> {
    let site = Installation::start(0, None).await?;
    let client = site.client()?;
    let warmed = open_loop(WARM_UP, |index| post(&client, "warm", index)).await;
    ensure!(warmed.errors == 0, "the warm-up failed: {:?}", warmed.first_error);
    let body_bytes = body_bytes(&site).await?;
    let floor = Arc::new(Publisher::open(&site.rabbit.url(), "floor.accept", body_bytes).await?);
    let bytes = f64::from(u32::try_from(body_bytes)?);
    let mut figures = vec![Figure::told("accept-quorum-message", bytes, "bytes")];
    let mut accepted = u64::from(WARM_UP.requests);
    for per_second in RATES {
        let schedule = Schedule { per_second, requests: per_second * seconds };
        let bare = open_loop(schedule, |_| Arc::clone(&floor).publish()).await;
        let name = format!("at-{per_second}");
        let ours = open_loop(schedule, |index| post(&client, &name, index)).await;
        accepted += answered(&ours);
        figures.extend(compared(&format!("accept-quorum-{per_second}"), &ours, &bare)?);
        figures.push(behind(&format!("accept-quorum-{per_second}"), &ours, &bare));
    }
    let span = Duration::from_secs(u64::from(seconds)) / 3;
    let bare = closed_loop(AT_ONCE, span, move |_| Arc::clone(&floor).publish()).await;
    let ours = closed_loop(AT_ONCE, span, move |index| post(&client, "most", index)).await;
    accepted += answered(&ours);
    figures.extend(compared("accept-quorum-most", &ours, &bare)?);
    let lost = u32::try_from(accepted.saturating_sub(site.deployments().await?))?;
    figures.push(Figure::new("accept-quorum-lost", f64::from(lost), "deployments", Goal::AtMost(0.0)));
    Ok(figures)
}

/// One request, for a project of its own.
fn post(
    client: &FastClient,
    phase: &str,
    index: u32,
) -> impl Future<Output = Result<(), String>> + Send + use<> {
    let mut body = deployment_of(index, WorkerLoad::Idle);
    body["repository_url"] = format!("https://git.example.com/{phase}/site-{index}").into();
    client.clone().send("POST", "/deployments", Bytes::from(body.to_string()), 202)
}

/// The size of an accepted job at the broker: the largest of the warm-up.
async fn body_bytes(site: &Installation) -> Result<usize> {
    let waiting = site.rabbit.peek_all(&format!("{}.jobs.front", site.slipway.prefix())).await?;
    waiting.iter().map(|message| message.body.len()).max().context("no accepted job waits at the broker")
}

fn answered(outcome: &Outcome) -> u64 {
    let all = outcome.latencies.as_ref().map_or(0, super::samples::Samples::count);
    u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(u64::from(outcome.errors))
}

/// Successful requests in one second.
fn rate(outcome: &Outcome) -> Result<f64> {
    Ok(f64::from(u32::try_from(answered(outcome))?) / outcome.took.as_secs_f64())
}

/// The figures of one measurement and its floor.
fn compared(name: &str, ours: &Outcome, bare: &Outcome) -> Result<Vec<Figure>> {
    for (who, outcome) in [("accept", ours), ("floor", bare)] {
        if let Some(error) = &outcome.first_error {
            eprintln!("{name}: {who}: the first that failed: {error}");
        }
    }
    let latencies = ours.latencies.as_ref().context("no request was answered")?;
    let floor = bare.latencies.as_ref().context("no publication was confirmed")?;
    let (p50, p99) = (latencies.median_ms(), latencies.per_mille_ms(990));
    let (floor_p50, floor_p99) = (floor.median_ms(), floor.per_mille_ms(990));
    let (rate, floor_rate) = (rate(ours)?, rate(bare)?);
    let named = |what: &str| format!("{name}-{what}");
    Ok(vec![
        Figure::told(named("floor-rate"), floor_rate, "messages/s"),
        Figure::told(named("floor-p50"), floor_p50, "ms"),
        Figure::told(named("floor-p99"), floor_p99, "ms"),
        Figure::told(named("floor-errors"), f64::from(bare.errors), "messages"),
        Figure::told(named("rate"), rate, "requests/s"),
        Figure::told(named("p50"), p50, "ms"),
        Figure::told(named("p99"), p99, "ms"),
        Figure::told(named("max"), latencies.max_ms(), "ms"),
        Figure::new(named("errors"), f64::from(ours.errors), "requests", Goal::AtMost(0.0)),
        Figure::told(named("p50-to-floor-p50"), p50 / floor_p50, "ratio"),
        Figure::told(named("p99-to-floor-p99"), p99 / floor_p99, "ratio"),
        Figure::new(named("rate-to-floor"), rate / floor_rate, "ratio", Goal::AtLeast(FLOOR_SHARE_LEAST)),
    ])
}

/// How late the generator itself was at worst, over both.
fn behind(name: &str, ours: &Outcome, bare: &Outcome) -> Figure {
    let behind = ours.behind_max.max(bare.behind_max);
    Figure::told(format!("{name}-generator-behind-max"), millis(behind), "ms")
}
