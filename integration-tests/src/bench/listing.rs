//! How fast `GET /deployments` answers when there are many.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use tokio::time::Instant;

use super::figure::Figure;
use super::samples::Samples;
use super::server::{FastClient, Server, WorkerLoad, deployment_of};

const DEPLOYMENTS: u32 = 1_000;
const READS: u32 = 500;

/// Reads the first page of a thousand deployments, one request after another.
///
/// # Errors
/// When the server does not start or a request fails.
pub async fn measure() -> Result<Vec<Figure>> {
    let server = Server::start(WorkerLoad::Idle).await?;
    let client = FastClient::of(&server.process);
    for index in 0..DEPLOYMENTS {
        let body = Bytes::from(deployment_of(index, WorkerLoad::Idle).to_string());
        if let Err(error) = client.clone().send("POST", "/deployments", body, 202).await {
            bail!("filling the list: {error}");
        }
    }
    ensure!(server.deployments().await? == u64::from(DEPLOYMENTS) + server.before, "not all are listed");
    let mut taken = Vec::new();
    for _ in 0..READS {
        let started = Instant::now();
        if let Err(error) = client.clone().send("GET", "/deployments", Bytes::new(), 200).await {
            bail!("reading the list: {error}");
        }
        taken.push(started.elapsed());
    }
    let taken = Samples::new(taken).context("nothing was read")?;
    Ok(vec![
        Figure::told("list-1000-p50", taken.median_ms(), "ms"),
        Figure::told("list-1000-p99", taken.per_mille_ms(990), "ms"),
    ])
}
