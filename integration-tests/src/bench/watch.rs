//! Follows the event stream of a deployment and remembers when what arrived, so that no polling is measured.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::Instant;

use crate::slipway_process::SlipwayProcess;

/// Longest wait for a deployment to reach its end.
const TIMEOUT: Duration = Duration::from_secs(180);

/// One deployment as its client saw it; all times are from just before the POST.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its id.
    pub id: String,
    /// Until the 202 was read.
    pub accepted: Duration,
    /// Until the first event arrived over the stream that was opened then.
    pub first_event: Duration,
    /// Until the event arrived that says a worker has begun.
    pub first_stage: Duration,
    /// Until the event arrived that says it is in service.
    pub active: Duration,
}

/// Posts `request` and follows it until it is in service.
///
/// # Errors
/// When it does not end so within three minutes, with its state and the server's log.
pub async fn deploy(process: &SlipwayProcess, request: &Value) -> Result<Watched> {
    let started = Instant::now();
    let id = process.deploy(request).await?;
    let accepted = started.elapsed();
    let followed = tokio::time::timeout(TIMEOUT, follow(process, &id, started)).await;
    let (first_event, first_stage, active) = match followed {
        Ok(Ok(times)) => times,
        Ok(Err(error)) => return Err(failed(process, &id, &format!("{error:#}")).await),
        Err(_) => return Err(failed(process, &id, "it takes too long").await),
    };
    let deployment = process.deployment(&id).await?;
    if deployment["status"] != "active" {
        bail!("the events say that it is in service, and the API: {deployment:#}");
    }
    Ok(Watched { id, accepted, first_event, first_stage, active })
}

async fn follow(
    process: &SlipwayProcess,
    id: &str,
    started: Instant,
) -> Result<(Duration, Duration, Duration)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/deployments/{id}/events", process.address());
    let answer = client.get(url).bearer_auth(process.token()).send().await?.error_for_status()?;
    let mut chunks = answer.bytes_stream();
    let (mut pending, mut first_event, mut first_stage) = (Vec::new(), None, None);
    while let Some(chunk) = chunks.next().await {
        pending.extend_from_slice(&chunk?);
        let elapsed = started.elapsed();
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let Some(event) = line.strip_prefix("event:").map(str::trim) else { continue };
            first_event.get_or_insert(elapsed);
            match event {
                "stage_started" => {
                    first_stage.get_or_insert(elapsed);
                }
                "succeeded" => {
                    let first_event = first_event.context("no event before the last")?;
                    return Ok((first_event, first_stage.context("no stage was begun")?, elapsed));
                }
                "failed" | "cancelled" | "superseded" => bail!("it ended as {event}"),
                _ => {}
            }
        }
    }
    bail!("the event stream ended before the deployment did")
}

async fn failed(process: &SlipwayProcess, id: &str, reason: &str) -> anyhow::Error {
    let state = process.deployment(id).await.unwrap_or_default();
    anyhow::anyhow!("{reason}: {state:#}\n{}", process.log())
}
