//! Whether memory grows with the jobs that passed: `VmRSS` of `slipway-api` and `slipway-worker` at ten points, each
//! when the queue is empty.
//!
//! Every job comes by `POST /deployments`, runs clone, template, commit and build, and fails for good at an engine
//! that has no image, so that it passes through everything but a container.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use slipway_common::model::DeploymentState;

use super::figure::{Figure, Goal};
use super::installation::{EmptyEngine, Installation, wait_until_all};
use super::memory::{Memory, mib};
use super::server::{FastClient, WorkerLoad, deployment_of};

/// Points at which memory is looked at; the trend is that of the second half.
const POINTS: u32 = 10;
/// Requests in flight.
const AT_ONCE: usize = 16;
/// Longest wait for the queue to be empty at one point.
const TIMEOUT: Duration = Duration::from_secs(1_800);
/// What counts as no growth, in KiB for 10,000 jobs: a quarter of a MiB, 2.5 MiB over 100,000.
const SLOPE_MOST_KIB: f64 = 256.0;
const SLOPE_JOBS: f64 = 10_000.0;

/// Measures over `jobs` jobs.
///
/// # Errors
/// When something does not start, a request is refused, or a job does not end.
pub async fn measure(jobs: u32) -> Result<Vec<Figure>> {
    ensure!(jobs >= POINTS, "{jobs} jobs are too few for {POINTS} points");
    let engine = EmptyEngine::start().await?;
    let site = Installation::start(1, Some(engine.address())).await?;
    let own = site.join().await?;
    let (backend, client) = (own.backend(), site.client()?);
    let pids =
        [("api", site.slipway.api_process(0)?.pid()?), ("worker", site.slipway.worker_process(0)?.pid()?)];
    let mut taken: [Vec<(f64, Memory)>; 2] = Default::default();
    for point in 0..POINTS {
        let (from, to) = (jobs / POINTS * point, jobs / POINTS * (point + 1));
        post_all(&client, from..to).await?;
        wait_until_all(&backend, DeploymentState::Failed, to, TIMEOUT).await?;
        for ((_, pid), taken) in pids.iter().zip(&mut taken) {
            taken.push((f64::from(to), Memory::of(*pid)?));
        }
    }
    own.close().await;
    let mut figures = vec![Figure::told("memory-jobs", f64::from(jobs / POINTS * POINTS), "jobs")];
    for ((part, _), taken) in pids.iter().zip(&taken) {
        figures.extend(told(part, taken)?);
    }
    Ok(figures)
}

async fn post_all(client: &FastClient, jobs: std::ops::Range<u32>) -> Result<()> {
    let posts = futures_util::stream::iter(jobs).map(|index| {
        let body = Bytes::from(deployment_of(index, WorkerLoad::Busy).to_string());
        client.clone().send("POST", "/deployments", body, 202)
    });
    let mut posts = posts.buffer_unordered(AT_ONCE);
    while let Some(answer) = posts.next().await {
        answer.map_err(anyhow::Error::msg).context("a request was refused")?;
    }
    Ok(())
}

fn told(part: &str, taken: &[(f64, Memory)]) -> Result<Vec<Figure>> {
    let resident: Vec<(f64, f64)> =
        taken.iter().map(|(jobs, memory)| (*jobs, f64::from(memory.resident_kib))).collect();
    let trend = slope(&resident[resident.len() / 2..]).context("too few points")?;
    let all = slope(&resident).context("too few points")?;
    let name = |what: &str| format!("memory-{part}-{what}");
    let mut figures: Vec<Figure> = taken
        .iter()
        .map(|(jobs, memory)| Figure::told(name(&format!("at-{jobs}-jobs")), mib(memory.resident_kib), "MiB"))
        .collect();
    let peak = taken.iter().map(|(_, memory)| memory.peak_kib).max().context("no point")?;
    let goal = Goal::AtMost(SLOPE_MOST_KIB);
    figures.extend([
        Figure::told(name("peak"), mib(peak), "MiB"),
        Figure::told(name("slope-all"), all * SLOPE_JOBS, "KiB/10000-jobs"),
        Figure::new(name("slope"), trend * SLOPE_JOBS, "KiB/10000-jobs", goal),
    ]);
    Ok(figures)
}

/// The slope of the straight line with the least squared distances; `None` for fewer than two places.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = f64::from(u32::try_from(points.len()).ok()?);
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let joint: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| joint / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line() {
        let near = |slope: Option<f64>, expected: f64| (slope.unwrap() - expected).abs() < 1e-9;
        assert!(near(slope(&[(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]), 2.0));
        assert!(near(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 1.0)]), 0.0));
        assert!(slope(&[(4.0, 1.0)]).is_none());
    }
}
