//! Jobs that do nothing through worker processes over RabbitMQ and Redis: what queue, leases, ledger and store cost,
//! beside what the broker alone does with as many consumers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use slipway_common::Backend;
use slipway_common::model::{DeploymentState, Event};
use slipway_common::record::Record;
use slipway_common::submit::submit;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::figure::{Figure, Goal};
use super::floor::{Cycle, cycle_rate};
use super::installation::{Installation, wait_until_all};
use super::null_pipeline::job;
use super::samples::millis;

/// Numbers of worker processes that are measured.
const WORKERS: [usize; 3] = [1, 2, 4];
/// Jobs each of them works on at once: the default.
const SLOTS: u16 = 2;
/// Jobs before, so that connections and scripts are there.
const WARM_UP_JOBS: u32 = 50;
const TIMEOUT: Duration = Duration::from_secs(600);
/// Least share of the floor.
const FLOOR_SHARE_LEAST: f64 = 0.5;

/// Measures `jobs` jobs with each number of workers.
///
/// # Errors
/// When something does not start, or a job does not end as a success.
pub async fn measure(jobs: u32) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for workers in WORKERS {
        figures.extend(measure_with(workers, jobs).await?);
    }
    Ok(figures)
}

async fn measure_with(workers: usize, jobs: u32) -> Result<Vec<Figure>> {
    let site = Installation::start(workers, None).await?;
    let own = site.join().await?;
    let backend = own.backend();
    run(&backend, workers, 0..WARM_UP_JOBS).await?;
    let records = records(&site).await?;
    let body = serde_json::to_vec(&Record::Event(Event::accepted(&job(0)?)))?;
    let bare = Cycle {
        messages: jobs,
        body_bytes: body.len(),
        consumers: workers,
        at_once: SLOTS,
        records: 0,
        record_bytes: records.mean_bytes,
    };
    let with_records = Cycle { records: records.per_job, ..bare };
    let url = site.rabbit.url();
    let floor = cycle_rate(&url, "floor.bare", bare).await?;
    let floor_records = cycle_rate(&url, "floor.records", with_records).await?;
    let before = site.processor_time(workers)?;
    let took = run(&backend, workers, WARM_UP_JOBS..WARM_UP_JOBS + jobs).await?;
    let rate = f64::from(jobs) / took.as_secs_f64();
    let after = site.processor_time(workers)?;
    own.close().await;
    let name = |what: &str| format!("workers-{workers}-{what}");
    let bytes = f64::from(u32::try_from(body.len())?);
    let mut figures = vec![
        Figure::told(name("message"), bytes, "bytes"),
        Figure::told(name("records-per-job"), f64::from(records.per_job), "messages"),
        Figure::told(name("floor-rate"), floor, "messages/s"),
        Figure::told(name("floor-with-records-rate"), floor_records, "messages/s"),
        Figure::told(name("rate"), rate, "jobs/s"),
        Figure::told(name("rate-to-floor-with-records"), rate / floor_records, "ratio"),
        Figure::new(name("rate-to-floor"), rate / floor, "ratio", Goal::AtLeast(FLOOR_SHARE_LEAST)),
    ];
    for ((part, before), (_, after)) in before.into_iter().zip(after) {
        let spent_ms = millis(after.saturating_sub(before)) / f64::from(jobs);
        figures.push(Figure::told(name(&format!("processor-{part}")), spent_ms, "ms/job"));
    }
    Ok(figures)
}

/// What the workers add to the ledger.
struct Records {
    per_job: u32,
    mean_bytes: usize,
}

/// Looks at the ledger after the warm-up.
async fn records(site: &Installation) -> Result<Records> {
    let ledger = site.rabbit.read_stream(&format!("{}.ledger", site.slipway.prefix())).await?;
    let added: Vec<usize> = ledger
        .iter()
        .filter(|message| message.routing_key == "record")
        .map(|message| message.body.len())
        .collect();
    let jobs = usize::try_from(WARM_UP_JOBS)?;
    ensure!(added.len() >= jobs, "the ledger has only {} records", added.len());
    // Rounded down: a record that is not a job's, such as a token's, counts for none.
    let per_job = u32::try_from(added.len() / jobs)?;
    Ok(Records { per_job, mean_bytes: added.iter().sum::<usize>() / added.len() })
}

/// Submits the jobs, as many at once as there are slots, and waits until all have succeeded.
async fn run(backend: &Backend, workers: usize, jobs: std::ops::Range<u32>) -> Result<Duration> {
    let total = jobs.end;
    let messages = jobs.map(job).collect::<Result<Vec<_>>>()?;
    let submitters = workers * usize::from(SLOTS);
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for share in messages.chunks(messages.len().div_ceil(submitters).max(1)) {
        let (backend, share) = (backend.clone(), share.to_vec());
        tasks.spawn(async move {
            for message in share {
                submit(&backend, &message).await.context("submitting")?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    wait_until_all(backend, DeploymentState::Active, total, TIMEOUT).await?;
    Ok(begun.elapsed())
}
