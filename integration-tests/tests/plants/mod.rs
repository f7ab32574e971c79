//! One world for one scenario: a broker shared by all, everything else its own, and the checker as the judge.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use slipway_common::plant::{LAST_STAGE_VARIABLE, PLANT_VARIABLE, Plant};
use slipway_integration_tests::chaos::Site;
use slipway_integration_tests::distributed::{
    ApiClient, DistributedOptions, DistributedSlipway, SlipwayPart, ended_as,
};
use slipway_integration_tests::effects::{JobHistory, Violation, check};
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};
use slipway_worker::failpoint::FAILPOINT_VARIABLE;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const JOBS: usize = 4;
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const POST_TIMEOUT: Duration = Duration::from_secs(30);

/// A job that was accepted.
#[derive(Debug)]
pub(crate) struct Posted {
    index: usize,
    deployment: String,
    job: String,
}

/// Everything one scenario needs. Workers are not started.
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) rabbit: Arc<RabbitMq>,
    pub(crate) slipway: DistributedSlipway,
    api: ApiClient,
    _redis: RedisServer,
    markers: TempDir,
}

impl World {
    pub(crate) async fn start(
        plant: Option<Plant>,
        shape: impl FnOnce(DistributedOptions) -> DistributedOptions,
    ) -> anyhow::Result<Self> {
        let site = Site::start(JOBS).await?;
        let (rabbit, redis) = (RabbitMq::shared().await?, RedisServer::start(RedisOptions::default()).await?);
        let mut options = DistributedOptions::new(vec![rabbit.url()], redis.url())
            .variable(LAST_STAGE_VARIABLE, "commit")
            .variable("SLIPWAY__DOCKER__HOST", "unix:///nonexistent/docker.sock")
            .variable("SLIPWAY__LOG__FILTER", "info,slipway=debug");
        if let Some(plant) = plant {
            options = options.variable(PLANT_VARIABLE, plant.as_str());
        }
        let slipway = DistributedSlipway::start_apis(shape(options)).await?;
        let api = slipway.api(0)?;
        Ok(Self { site, rabbit, slipway, api, _redis: redis, markers: tempfile::tempdir()? })
    }

    /// Lets the worker halt once at this point; answers the file that says so.
    pub(crate) fn arm(&self, worker: &SlipwayPart, point: &str) -> PathBuf {
        let marker = self.markers.path().join("reached");
        worker.set_variable(FAILPOINT_VARIABLE, Some(&format!("{point}={}", marker.display())));
        marker
    }

    /// Asks for the job with this number until it is accepted.
    pub(crate) async fn post(&self, index: usize) -> anyhow::Result<Posted> {
        let (body, key) = (self.site.request(index), format!("plant-{index}"));
        let deadline = Instant::now() + POST_TIMEOUT;
        loop {
            match self.api.accept(&body, Some(&key)).await {
                Ok((deployment, job)) => return Ok(Posted { index, deployment, job }),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// What the API says of the job.
    async fn look(&self, posted: &Posted) -> Option<Value> {
        let (_, deployment) = self.api.deployment(&posted.deployment).await.ok()?;
        deployment["jobs"].as_array()?.iter().find(|job| job["id"] == posted.job.as_str()).cloned()
    }

    /// The job's status, empty when it cannot be had.
    pub(crate) async fn status(&self, posted: &Posted) -> String {
        let job = self.look(posted).await.unwrap_or_default();
        job["state"]["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the job has come to an end.
    pub(crate) async fn has_ended(&self, posted: &Posted) -> bool {
        self.look(posted).await.is_some_and(|job| ended_as(&job).is_some())
    }

    /// Waits for the ends of the jobs, at most until the deadline, and lets the checker compare them with the effects.
    pub(crate) async fn judge(&self, posted: &[Posted], longest: Duration) -> anyhow::Result<Vec<Violation>> {
        let deadline = Instant::now() + longest;
        let mut histories = Vec::new();
        for posted in posted {
            let ended = loop {
                let ended = self.look(posted).await.and_then(|job| ended_as(&job));
                if ended.is_some() || Instant::now() > deadline {
                    break ended;
                }
                sleep(POLL_INTERVAL).await;
            };
            histories.push(JobHistory {
                job: posted.job.clone(),
                deployment: posted.deployment.clone(),
                ended,
                wanted: self.site.wanted(posted.index),
            });
        }
        let places: Vec<_> = histories.iter().flat_map(|history| history.wanted.clone()).collect();
        let mut effects = self.site.effects().await?;
        // Other jobs of the scenario are judged by themselves.
        effects.retain(|effect| places.contains(&(effect.kind, effect.place.clone())));
        let violations = check(&histories, &effects);
        if !violations.is_empty() && std::env::var_os("CHAOS_LOGS").is_some() {
            eprintln!("{}", self.slipway.logs());
        }
        Ok(violations)
    }
}

/// Waits until it is so.
pub(crate) async fn until(
    what: &str,
    longest: Duration,
    is_so: impl AsyncFn() -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + longest;
    while !is_so().await {
        if Instant::now() > deadline {
            bail!("waited {longest:?} in vain: {what}");
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// The sum of all metrics of a worker with this word in their names.
pub(crate) async fn metric(worker: &SlipwayPart, word: &str) -> anyhow::Result<u64> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let text = client.get(format!("{}/metrics", worker.base_url())).send().await?.text().await?;
    let values = text.lines().filter(|line| !line.starts_with('#') && line.contains(word));
    let mut found: Option<u64> = None;
    for line in values {
        let value: u64 = line.rsplit(' ').next().context("no value")?.parse()?;
        found = Some(found.unwrap_or(0) + value);
    }
    found.with_context(|| format!("no metric has {word} in its name:\n{text}"))
}
