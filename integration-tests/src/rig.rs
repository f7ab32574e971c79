//! A Slipway of its own for one fault test: RabbitMQ, Redis, a Git host with a branch for each job, processes of the
//! API and workers, and the questions every such test ends with.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use slipway_common::model::{Event, EventKind};
use slipway_common::record::Record;
use tokio::time::Instant;

use crate::chaos::Site;
use crate::distributed::{ApiClient, DistributedOptions, DistributedSlipway, SlipwayPart, ended_as};
use crate::effects::{Ended, JobHistory, Violation, check};
use crate::line::Line;
use crate::pace;
use crate::rabbitmq::RabbitMq;
use crate::redis_server::{RedisOptions, RedisServer};

/// Requests under way at once.
const REQUESTS_AT_ONCE: usize = 8;
/// Pause between two looks at something that is waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Lines of each log that are shown with an error.
const LOG_LINES_SHOWN: usize = 60;
/// Longest wait for an answer of a worker's health address.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// A job the API accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Which request of the site.
    pub index: usize,
    /// Its deployment.
    pub deployment: String,
    /// The job.
    pub job: String,
}

impl Accepted {
    /// Reads the answer to a request of the site that was accepted.
    ///
    /// # Errors
    /// When there are no ids in it.
    pub fn read(index: usize, answer: &Value) -> anyhow::Result<Self> {
        let text = |field: &str| {
            answer[field].as_str().map(str::to_owned).with_context(|| format!("no {field} in {answer}"))
        };
        Ok(Self { index, deployment: text("id")?, job: text("job_id")? })
    }
}

/// A running Slipway with everything around it. All of it ends with this value.
#[derive(Debug)]
pub struct Rig {
    /// RabbitMQ, perhaps shared with other tests.
    pub broker: Arc<RabbitMq>,
    /// Redis.
    pub redis: RedisServer,
    /// The repositories.
    pub site: Site,
    /// The processes.
    pub slipway: DistributedSlipway,
    /// A line to the Git host, for jobs that are to hang.
    pub git_line: Line,
}

impl Rig {
    /// Starts everything for so many jobs; jobs end after the commit. `tune` changes the options of the processes.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(
        jobs: usize,
        broker: Arc<RabbitMq>,
        tune: impl FnOnce(DistributedOptions) -> DistributedOptions,
    ) -> anyhow::Result<Self> {
        pace::watch();
        let site = Site::start(jobs).await.context("making the repositories")?;
        let redis = RedisServer::start(RedisOptions::default()).await.context("starting Redis")?;
        let host = site.git().base_url();
        let git_line = Line::start(host.trim_start_matches("http://")).await?;
        let options = DistributedOptions::new(vec![broker.url()], redis.url())
            .variable("SLIPWAY_LAST_STAGE", "commit")
            // No job gets as far as an engine; whatever engine this machine has is left alone.
            .variable("SLIPWAY__DOCKER__HOST", "unix:///nonexistent/docker.sock")
            .variable("SLIPWAY__LOG__FILTER", "info,slipway=debug,actix_server=warn");
        let slipway = DistributedSlipway::start(tune(options)).await.context("starting Slipway")?;
        Ok(Self { broker, redis, site, slipway, git_line })
    }

    /// A client of the first process of the API.
    ///
    /// # Errors
    /// When there is none.
    pub fn api(&self) -> anyhow::Result<ApiClient> {
        self.slipway.api(0)
    }

    /// A worker process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn worker(&self, index: usize) -> anyhow::Result<&SlipwayPart> {
        self.slipway.worker_process(index)
    }

    /// The name of a queue, such as `jobs.front`.
    #[must_use]
    pub fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.slipway.prefix())
    }

    /// The request for one job, whose traffic with the Git host takes the line.
    ///
    /// # Errors
    /// When the request of the site has another form.
    pub fn request_by_line(&self, job: usize) -> anyhow::Result<Value> {
        let mut request = self.site.request(job);
        let url = request["repository_url"].as_str().context("no repository_url")?;
        let by_line =
            url.replace(&self.site.git().base_url(), &format!("http://{}", self.git_line.address()));
        request["repository_url"] = Value::String(by_line);
        Ok(request)
    }

    /// Asks for one job; it must be accepted.
    ///
    /// # Errors
    /// When it is not.
    pub async fn accept(&self, job: usize) -> anyhow::Result<Accepted> {
        self.accept_as(job, &self.site.request(job)).await
    }

    /// The same, by the line.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn accept_by_line(&self, job: usize) -> anyhow::Result<Accepted> {
        self.accept_as(job, &self.request_by_line(job)?).await
    }

    async fn accept_as(&self, index: usize, request: &Value) -> anyhow::Result<Accepted> {
        let (deployment, job) = self.api()?.accept(request, Some(&key_of(index))).await?;
        Ok(Accepted { index, deployment, job })
    }

    /// Asks for these jobs, several at once; all must be accepted.
    ///
    /// # Errors
    /// When one is not.
    pub async fn accept_all(&self, jobs: Range<usize>) -> anyhow::Result<Vec<Accepted>> {
        stream::iter(jobs.map(|job| self.accept(job))).buffered(REQUESTS_AT_ONCE).try_collect().await
    }

    /// How the jobs have ended, each as it is seen first; `None` for those that have not after `longest`.
    ///
    /// # Errors
    /// When there is no API.
    pub async fn ends(&self, accepted: &[Accepted], longest: Duration) -> anyhow::Result<Vec<JobHistory>> {
        let api = self.api()?;
        let deadline = Instant::now() + longest;
        let mut histories: Vec<JobHistory> = accepted.iter().map(|accepted| self.open(accepted)).collect();
        loop {
            let open = histories.iter_mut().filter(|history| history.ended.is_none());
            let looks = open.map(|history| {
                let api = &api;
                async move { history.ended = look(api, history).await }
            });
            let () = stream::iter(looks).buffer_unordered(REQUESTS_AT_ONCE).collect().await;
            if histories.iter().all(|history| history.ended.is_some()) || Instant::now() > deadline {
                return Ok(histories);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    fn open(&self, accepted: &Accepted) -> JobHistory {
        JobHistory {
            job: accepted.job.clone(),
            deployment: accepted.deployment.clone(),
            ended: None,
            wanted: self.site.wanted(accepted.index),
        }
    }

    /// What was promised and not kept, by the effects at the Git host.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn violations(&self, histories: &[JobHistory]) -> anyhow::Result<Vec<Violation>> {
        Ok(check(histories, &self.site.effects().await?))
    }

    /// Waits until all of these jobs have succeeded, each with exactly its one effect; answers how long that took.
    ///
    /// # Errors
    /// When they do not, or an effect is missing, there twice or nobody's.
    pub async fn all_succeed(&self, accepted: &[Accepted], longest: Duration) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let histories = self.ends(accepted, longest).await?;
        let took = begun.elapsed();
        let violations = self.violations(&histories).await?;
        ensure!(violations.is_empty(), "after {took:?}: {violations:#?}");
        let others: Vec<&JobHistory> =
            histories.iter().filter(|history| history.ended != Some(Ended::Succeeded)).collect();
        ensure!(others.is_empty(), "not succeeded: {others:#?}");
        Ok(took)
    }

    /// Every event in the ledger, in its order, read from the broker's stream and not through Slipway.
    ///
    /// # Errors
    /// When the stream cannot be read, or holds something that is no record.
    pub async fn events(&self) -> anyhow::Result<Vec<Event>> {
        let messages = self.broker.read_stream(&self.queue("ledger")).await?;
        let mut events = Vec::new();
        for message in messages {
            let record: Record = serde_json::from_slice(&message.body).context("reading the ledger")?;
            if let Record::Event(event) = record {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Waits until the store has the job at this status.
    ///
    /// # Errors
    /// When it has not after `longest`.
    pub async fn wait_status(
        &self,
        accepted: &Accepted,
        status: &str,
        longest: Duration,
    ) -> anyhow::Result<()> {
        let (api, deadline) = (self.api()?, Instant::now() + longest);
        loop {
            let answer = api.deployment(&accepted.deployment).await;
            if let Ok((200, deployment)) = &answer
                && job_in(deployment, &accepted.job).is_some_and(|job| job["state"]["status"] == status)
            {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no {status} after {longest:?}: {answer:?}");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// The running worker that works on a job now; there must be one soon.
    ///
    /// # Errors
    /// When there is none after `longest`.
    pub async fn worker_at_work(&self, longest: Duration) -> anyhow::Result<&SlipwayPart> {
        let deadline = Instant::now() + longest;
        loop {
            for part in self.slipway.parts().filter(|part| part.is_running() && is_worker(part)) {
                if metric(part, "slipway_worker_jobs_at_work").await.is_some_and(|jobs| jobs > 0.0) {
                    return Ok(part);
                }
            }
            ensure!(Instant::now() < deadline, "no worker works after {longest:?}");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// `kill -9` of every process of Slipway, and of Redis, at once; and of RabbitMQ if `with_broker`.
    ///
    /// # Errors
    /// When one does not go.
    pub async fn kill_everything(&self, with_broker: bool) -> anyhow::Result<()> {
        let broker = async { if with_broker { self.broker.kill().await } else { Ok(()) } };
        let (parts, broker, redis) =
            tokio::join!(join_all(self.slipway.parts().map(SlipwayPart::kill)), broker, self.redis.kill(),);
        parts.into_iter().collect::<anyhow::Result<()>>()?;
        broker?;
        redis
    }

    /// Ends every process of Slipway in good order.
    ///
    /// # Errors
    /// When one does not go.
    pub async fn end_processes(&self) -> anyhow::Result<()> {
        try_join_all(self.slipway.parts().map(SlipwayPart::terminate)).await.map(drop)
    }

    /// Starts every process of Slipway again; does not wait for them.
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn start_processes(&self) -> anyhow::Result<()> {
        try_join_all(self.slipway.parts().map(SlipwayPart::start)).await.map(drop)
    }

    /// The result; an error first in its own words, then with the ends of all logs.
    ///
    /// # Errors
    /// Those of the result.
    pub fn explained<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.map_err(|error| {
            let tail = |part: &SlipwayPart| {
                let log = part.log();
                let lines: Vec<&str> = log.lines().collect();
                let shown = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
                format!("---- {}\n{shown}\n", part.name())
            };
            let logs: String = self.slipway.parts().map(tail).collect();
            anyhow::anyhow!("{error:#}\n{logs}")
        })
    }
}

/// The idempotency key of a request of the site.
#[must_use]
pub fn key_of(index: usize) -> String {
    format!("job-{index}")
}

/// Whether the process is a worker.
#[must_use]
pub fn is_worker(part: &SlipwayPart) -> bool {
    part.name().starts_with("worker")
}

/// A job in an answer of the API.
#[must_use]
pub fn job_in<'a>(deployment: &'a Value, job: &str) -> Option<&'a Value> {
    deployment["jobs"].as_array()?.iter().find(|found| found["id"] == job)
}

async fn look(api: &ApiClient, history: &JobHistory) -> Option<Ended> {
    let Ok((200, deployment)) = api.deployment(&history.deployment).await else { return None };
    ended_as(job_in(&deployment, &history.job)?)
}

/// Status and body of an answer of a process's health address.
///
/// # Errors
/// When there is no answer.
pub async fn health(part: &SlipwayPart, path: &str) -> anyhow::Result<(u16, String)> {
    let client = reqwest::Client::builder().no_proxy().timeout(HEALTH_TIMEOUT).build()?;
    let answer = client.get(format!("{}{path}", part.base_url())).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// The sum of a series over its labels, from a worker's metrics; `None` when there is no such series or no answer.
pub async fn metric(part: &SlipwayPart, name: &str) -> Option<f64> {
    let (_, text) = health(part, "/metrics").await.ok()?;
    let of_series = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
    });
    let values: Vec<f64> = of_series.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Waits until the process says why it is not ready, in words that contain all of these; answers what it says.
///
/// # Errors
/// When it is ready, ends, or says something else after `longest`.
pub async fn wait_unready(part: &SlipwayPart, words: &[&str], longest: Duration) -> anyhow::Result<String> {
    let deadline = Instant::now() + longest;
    loop {
        ensure!(part.is_running(), "{} ended:\n{}", part.name(), part.log());
        let told = health(part, "/readyz").await;
        if let Ok((503, body)) = &told
            && words.iter().all(|word| body.contains(word))
        {
            return Ok(body.clone());
        }
        ensure!(Instant::now() < deadline, "{} says {told:?} and not {words:?}", part.name());
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// The greatest of the smallest 99 of 100; of fewer than 100 the greatest of all.
#[must_use]
pub fn p99(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let rank = (sorted.len() * 99).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The events of one job, in the order of the ledger, each once.
#[must_use]
pub fn events_of(events: &[Event], job: &str) -> Vec<Event> {
    let mut seen = std::collections::HashSet::new();
    let own = events.iter().filter(|event| event.job.to_string() == job);
    own.filter(|event| seen.insert(event.id)).cloned().collect()
}

/// Whether the event begins a stage.
#[must_use]
pub fn begins_stage(event: &Event) -> bool {
    matches!(event.kind, EventKind::StageStarted { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p99_is_the_greatest_of_few_and_leaves_one_of_a_hundred_out() {
        let few: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(p99(&few), Duration::from_millis(20));
        let many: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(p99(&many), Duration::from_millis(198));
        assert_eq!(p99(&[]), Duration::ZERO);
    }
}
