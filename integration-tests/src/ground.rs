//! The ground the fault suites stand on: one Slipway of real processes, a broker that all tests of a process share,
//! everything else of its own, with a line in front of whatever is to fail.

mod answers;
mod bulk;
mod ledger;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

pub use answers::{Answer, Asker, percentile};
pub use bulk::publish_all;
pub use ledger::{Step, steps};

use crate::chaos::Site;
use crate::distributed::{DistributedOptions, DistributedSlipway, ended_as};
use crate::effects::{Effect, Ended, JobHistory, Violation, ViolationKind, check};
use crate::line::Line;
use crate::pace;
use crate::rabbitmq::RabbitMq;
use crate::redis_server::{RedisOptions, RedisServer};

const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// One test at a time: each of them needs the whole machine.
pub async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// What a ground is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Processes of the API.
    pub apis: usize,
    /// Worker processes.
    pub workers: usize,
    /// Branches in the Git repositories, one for each job.
    pub jobs: usize,
    /// Whether the way to broker and Redis leads over the lines.
    pub lined: bool,
    /// Whether the workers are left for the test to start.
    pub idle: bool,
    /// Environment variables of every process.
    pub variables: Vec<(String, String)>,
}

impl Plan {
    /// One API and one worker, whose jobs end with their commit.
    #[must_use]
    pub fn new(jobs: usize) -> Self {
        let variables = vec![("SLIPWAY_LAST_STAGE".to_owned(), "commit".to_owned())];
        Self { apis: 1, workers: 1, jobs, lined: false, idle: false, variables }
    }

    /// With so many of each.
    #[must_use]
    pub fn with(mut self, apis: usize, workers: usize) -> Self {
        (self.apis, self.workers) = (apis, workers);
        self
    }

    /// With lines to broker and Redis.
    #[must_use]
    pub fn lined(mut self) -> Self {
        self.lined = true;
        self
    }

    /// With the workers left for the test to start.
    #[must_use]
    pub fn idle(mut self) -> Self {
        self.idle = true;
        self
    }

    /// With an environment variable for every process.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its branch.
    pub index: usize,
    /// Its deployment.
    pub deployment: String,
    /// The job.
    pub job: String,
}

impl Accepted {
    /// What a 202 told.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        Self { index: answer.index, deployment: answer.field("id"), job: answer.field("job_id") }
    }
}

/// Everything a fault test needs. It ends with this value; the shared broker with the test process.
#[derive(Debug)]
pub struct Ground {
    /// RabbitMQ, shared by the tests of this process.
    pub broker: Arc<RabbitMq>,
    /// The way to it, if the plan says so.
    pub broker_line: Line,
    /// Redis.
    pub redis: RedisServer,
    /// The way to it, if the plan says so.
    pub redis_line: Line,
    /// The repositories.
    pub site: Site,
    /// The way to the repositories for jobs of [`Self::slow_request`].
    pub git_line: Line,
    /// The processes.
    pub slipway: DistributedSlipway,
}

impl Ground {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When something cannot be started.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let broker = RabbitMq::shared().await?;
        heal(&broker).await?;
        let redis = RedisServer::start(RedisOptions::default()).await?;
        Self::over(plan, broker, redis, Vec::new()).await
    }

    /// The same over this broker and this Redis; `extra` are further variables, such as the Sentinels'.
    ///
    /// # Errors
    /// When something cannot be started.
    pub async fn over(
        plan: Plan,
        broker: Arc<RabbitMq>,
        redis: RedisServer,
        extra: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        pace::watch();
        let broker_line = Line::start(broker.address().to_string()).await?;
        let redis_line = Line::start(redis.address().to_string()).await?;
        let site = Site::start(plan.jobs).await?;
        let host = site.git().base_url();
        let git_line = Line::start(host.trim_start_matches("http://").to_owned()).await?;
        let (broker_url, redis_url) = if plan.lined {
            (broker.url_at(broker_line.address()), redis.url_at(redis_line.address()))
        } else {
            (broker.url(), redis.url())
        };
        let mut options = DistributedOptions::new(vec![broker_url], redis_url).with(plan.apis, plan.workers);
        options.variables.extend(plan.variables);
        options.variables.extend(extra);
        let slipway = if plan.idle {
            DistributedSlipway::start_apis(options).await?
        } else {
            DistributedSlipway::start(options).await?
        };
        Ok(Self { broker, broker_line, redis, redis_line, site, git_line, slipway })
    }

    /// The request for one job.
    #[must_use]
    pub fn request(&self, job: usize) -> Value {
        self.site.request(job)
    }

    /// The same over [`Self::git_line`], so that the test decides how long its clone lasts.
    #[must_use]
    pub fn slow_request(&self, job: usize) -> Value {
        let mut request = self.site.request(job);
        let direct = request["repository_url"].as_str().unwrap_or_default();
        let lined =
            direct.replace(&self.site.git().base_url(), &format!("http://{}", self.git_line.address()));
        request["repository_url"] = Value::String(lined);
        request
    }

    /// Who asks one process of the API, measures, and keeps what was answered.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn asker(&self, api: usize) -> anyhow::Result<Asker> {
        Asker::new(&self.slipway.api_process(api)?.base_url(), self.slipway.token())
    }

    /// Has a request accepted.
    ///
    /// # Errors
    /// When it is not.
    pub async fn accept(&self, index: usize, body: &Value) -> anyhow::Result<Accepted> {
        let (deployment, job) = self.slipway.api(0)?.accept(body, None).await?;
        Ok(Accepted { index, deployment, job })
    }

    /// The same, asked for again under one key for as long as the answer is to come back later, as a client does.
    ///
    /// # Errors
    /// When it is refused for another reason, or not accepted in time.
    pub async fn accept_patiently(
        &self,
        index: usize,
        body: &Value,
        longest: Duration,
    ) -> anyhow::Result<Accepted> {
        let (asker, key) = (self.asker(0)?, format!("patient-{}-{index}", uuid::Uuid::now_v7()));
        let begun = Instant::now();
        loop {
            let answer = asker.post("/deployments", body, Some(&key)).await;
            if answer.status == 202 {
                return Ok(Accepted::of(&Answer { index, ..answer }));
            }
            if !answer.is_polite_refusal() || begun.elapsed() > longest {
                bail!("{answer:?}\n{}", self.slipway.logs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Has all these jobs accepted, a few at a time.
    ///
    /// # Errors
    /// When one is not.
    pub async fn accept_all(&self, jobs: Range<usize>) -> anyhow::Result<Vec<Accepted>> {
        const AT_ONCE: usize = 8;
        let (mut accepted, mut next) = (Vec::new(), jobs.start);
        while next < jobs.end {
            let batch = next..(next + AT_ONCE).min(jobs.end);
            next = batch.end;
            accepted.extend(
                try_join_all(batch.map(|job| async move { self.accept(job, &self.request(job)).await }))
                    .await?,
            );
        }
        Ok(accepted)
    }

    /// How each job has ended; waits for it until `longest` is over, and counts from the last one that ended.
    ///
    /// # Errors
    /// When the API cannot be asked.
    pub async fn ends(&self, jobs: &[Accepted], longest: Duration) -> anyhow::Result<Vec<JobHistory>> {
        let api = self.slipway.api(0)?;
        let mut histories: Vec<JobHistory> = jobs
            .iter()
            .map(|job| JobHistory {
                job: job.job.clone(),
                deployment: job.deployment.clone(),
                ended: None,
                wanted: self.site.wanted(job.index),
            })
            .collect();
        let mut progress = Instant::now();
        while histories.iter().any(|history| history.ended.is_none()) && progress.elapsed() < longest {
            for history in histories.iter_mut().filter(|history| history.ended.is_none()) {
                let Ok((200, job)) = api.get(&format!("/jobs/{}", history.job)).await else { continue };
                history.ended = ended_as(&job);
                if history.ended.is_some() {
                    progress = Instant::now();
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(histories)
    }

    /// Waits for the end of all jobs and compares what was said with what happened.
    ///
    /// # Errors
    /// When something cannot be asked.
    pub async fn judge(
        &self,
        jobs: &[Accepted],
        longest: Duration,
    ) -> anyhow::Result<(Vec<JobHistory>, Vec<Violation>)> {
        let histories = self.ends(jobs, longest).await?;
        let violations = check(&histories, &self.site.effects().await?);
        Ok((histories, violations))
    }

    /// The same, and every one of them must have succeeded with exactly its effect.
    ///
    /// # Errors
    /// When that is not so; with everything the processes have logged.
    pub async fn expect_all_good(&self, jobs: &[Accepted], longest: Duration) -> anyhow::Result<()> {
        let (histories, violations) = self.judge(jobs, longest).await?;
        let unfinished = |history: &&JobHistory| history.ended != Some(Ended::Succeeded);
        let bad: Vec<&JobHistory> = histories.iter().filter(unfinished).collect();
        if !violations.is_empty() || !bad.is_empty() {
            bail!("violations: {violations:?}\nnot succeeded: {bad:?}\n{}", self.slipway.logs());
        }
        Ok(())
    }

    /// The same where other requests were refused without it being known whether they are carried out: their effects
    /// are nobody's concern as long as each is made once.
    ///
    /// # Errors
    /// As [`Self::expect_all_good`].
    pub async fn expect_good_among(&self, jobs: &[Accepted], longest: Duration) -> anyhow::Result<()> {
        let histories = self.ends(jobs, longest).await?;
        let effects = self.site.effects().await?;
        let places: Vec<_> = histories.iter().flat_map(|history| history.wanted.clone()).collect();
        let (told, untold): (Vec<Effect>, Vec<Effect>) =
            effects.into_iter().partition(|effect| places.contains(&(effect.kind, effect.place.clone())));
        let mut violations = check(&histories, &told);
        let mut once = std::collections::BTreeSet::new();
        violations.extend(untold.iter().filter(|effect| !once.insert((effect.kind, &effect.place))).map(
            |effect| {
                Violation::new(ViolationKind::Duplicated, &effect.job, format!("twice at {}", effect.place))
            },
        ));
        let unfinished = |history: &&JobHistory| history.ended != Some(Ended::Succeeded);
        let bad: Vec<&JobHistory> = histories.iter().filter(unfinished).collect();
        if !violations.is_empty() || !bad.is_empty() {
            bail!("violations: {violations:?}\nnot succeeded: {bad:?}\n{}", self.slipway.logs());
        }
        Ok(())
    }

    /// What one job of a deployment says of itself.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn job(&self, job: &str) -> anyhow::Result<Value> {
        let (status, body) = self.slipway.api(0)?.get(&format!("/jobs/{job}")).await?;
        if status != 200 {
            bail!("job {job}: {status} {body}");
        }
        Ok(body)
    }

    /// Waits until the job is at work on a stage.
    ///
    /// # Errors
    /// When it does not begin in time.
    pub async fn wait_running(&self, job: &str, longest: Duration) -> anyhow::Result<Duration> {
        self.wait("a job to run", longest, || async {
            self.job(job).await.is_ok_and(|found| found["state"]["status"] == "running")
        })
        .await
    }

    /// The full name of a queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.slipway.prefix())
    }

    /// Consumers of the queue workers take from, as the broker counts them; none while it does not exist.
    pub async fn consumers(&self) -> u32 {
        self.broker.consumers(&self.queue("jobs.front")).await.unwrap_or(0)
    }

    /// Messages that wait in a queue; none while it does not exist.
    pub async fn ready(&self, queue: &str) -> u32 {
        self.broker.messages(&self.queue(queue)).await.unwrap_or(0)
    }

    /// Waits until this is so; answers how long it took.
    ///
    /// # Errors
    /// When it takes longer; with everything the processes have logged.
    pub async fn wait<Asking>(
        &self,
        what: &str,
        longest: Duration,
        mut is_so: impl FnMut() -> Asking,
    ) -> anyhow::Result<Duration>
    where
        Asking: Future<Output = bool>,
    {
        let begun = Instant::now();
        while !is_so().await {
            if begun.elapsed() > longest {
                bail!("waited {longest:?} for {what}\n{}", self.slipway.logs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(begun.elapsed())
    }

    /// The sum of a worker's counters that begin with this name (and may go on with labels).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn worker_count(&self, worker: usize, name: &str) -> anyhow::Result<u64> {
        let address = self.slipway.worker_process(worker)?.base_url();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let text = client.get(format!("{address}/metrics")).send().await?.text().await?;
        count_of(&text, name)
    }
}

/// The sum of all series of a metric.
fn count_of(text: &str, name: &str) -> anyhow::Result<u64> {
    let of_name = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
    };
    let mut lines = text.lines().filter(of_name).peekable();
    lines.peek().with_context(|| format!("there is no metric {name} in:\n{text}"))?;
    let values = lines.map(|line| {
        let value = line.rsplit(' ').next().unwrap_or_default();
        value.parse::<u64>().with_context(|| line.to_owned())
    });
    values.sum()
}

/// Undoes what a test that failed may have left of its faults.
async fn heal(broker: &RabbitMq) -> anyhow::Result<()> {
    if broker.thaw().is_err() {
        broker.start_again().await?;
    }
    Ok(())
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// When it is gone.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}

/// A process and all its descendants, parents first.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn family(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // After the name in parentheses come the state and the parent.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(one) = found.get(next).copied() {
        found.extend(children.remove(&one).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let text =
            "# HELP a b\njobs_total{outcome=\"x\"} 2\njobs_total{outcome=\"y\"} 3\njobs_total_more 9\n";
        assert_eq!(count_of(text, "jobs_total").unwrap(), 5);
        assert!(count_of(text, "jobs").is_err());
    }

    #[tokio::test]
    async fn a_family_holds_children() {
        let mut child = tokio::process::Command::new("sleep")
            .arg("30")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let family = family(std::process::id()).unwrap();
        assert_eq!(family.first(), Some(&std::process::id()));
        assert!(family.contains(&child.id().unwrap()));
        child.kill().await.unwrap();
    }
}
