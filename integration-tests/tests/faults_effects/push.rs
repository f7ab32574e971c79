//! Jobs that end with a real push: one branch for each, one commit on it, whatever was killed.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_common::plant::LAST_STAGE_VARIABLE;
use slipway_integration_tests::chaos::Site;
use slipway_integration_tests::distributed::{DistributedSlipway, Halt, ended_as};
use slipway_integration_tests::effects::{Ended, JobHistory, check};
use slipway_integration_tests::git_server::Fault;
use slipway_integration_tests::rabbitmq::RabbitMq;
use tokio::time::Instant;

use crate::services;

/// Longest time from a request to the armed point.
const HALT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time from a crash to the end of the job.
const END_TIMEOUT: Duration = Duration::from_secs(60);
const JOBS_MAX: usize = 64;
/// A format no build knows.
const FOREIGN_VERSION: u16 = 999;
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Slipway, the Git host, and every job it was given.
pub(crate) struct PushLane {
    pub(crate) slipway: DistributedSlipway,
    pub(crate) site: Site,
    jobs: Vec<JobHistory>,
    next: usize,
}

impl PushLane {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let site = Site::start(JOBS_MAX).await?;
        let options = services::options().await?.variable(LAST_STAGE_VARIABLE, "commit");
        let slipway = DistributedSlipway::start_apis(options).await?;
        services::store_credential(&slipway, "lane", "robot", "a-token-nobody-asks-for").await?;
        Ok(Self { slipway, site, jobs: Vec::new(), next: 0 })
    }

    /// Kills the worker that halts at `point`; the other one brings the job to its end.
    pub(crate) async fn crash_at(&mut self, point: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        let halt = self.slipway.arm_workers(point).await?;
        let armed = begun.elapsed();
        let (job, deployment) = self.accept().await?;
        self.kill_at(&halt).await?;
        let killed = begun.elapsed();
        self.ends_well(&job, &deployment).await?;
        println!(
            "{point}: armed after {armed:?}, killed after {killed:?}, ended after {:?}",
            begun.elapsed()
        );
        Ok(())
    }

    /// The same for a point that is only reached when the first attempt fails.
    pub(crate) async fn crash_while_parking(&mut self, point: &str) -> anyhow::Result<()> {
        let halt = self.slipway.arm_workers(point).await?;
        self.site.git().set_fault(Fault::ServerError);
        let (job, deployment) = self.accept().await?;
        let halted = halt.wait(&self.slipway, HALT_TIMEOUT).await;
        self.site.git().set_fault(Fault::None);
        halted?.kill().await?;
        self.ends_well(&job, &deployment).await
    }

    /// Kills the worker that halts while it sets a job aside. The job is kept once, and nothing is done for it.
    pub(crate) async fn crash_while_burying(&mut self, point: &str) -> anyhow::Result<()> {
        self.slipway.kill_workers().await?;
        let (job, _) = self.accept().await?;
        self.alter_message(&job).await?;
        let halt = self.slipway.arm_workers(point).await?;
        self.kill_at(&halt).await?;
        services::wait_drained(&self.slipway).await?;
        let deadline = Instant::now() + END_TIMEOUT;
        loop {
            let (status, dead) = self.slipway.api(0)?.get("/dead?limit=100").await?;
            let list = dead["data"].as_array().cloned().unwrap_or_default();
            let times = list.iter().filter(|dead| dead["id"] == job.as_str()).count();
            if times == 1 {
                break;
            }
            ensure!(
                times == 0 && Instant::now() < deadline,
                "{job} is set aside {times} times: {status} {dead:#}"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let effects = self.site.effects().await?;
        ensure!(
            effects.iter().all(|effect| effect.job != job),
            "a job nobody knows has effects: {effects:?}"
        );
        Ok(())
    }

    /// Every job ended well with one effect, and none is in the queue any more.
    pub(crate) async fn check_all(&self) -> anyhow::Result<()> {
        ensure!(!self.jobs.is_empty(), "there were jobs");
        let violations = check(&self.jobs, &self.site.effects().await?);
        ensure!(violations.is_empty(), "{violations:#?}");
        services::wait_drained(&self.slipway).await
    }

    /// Posts the next request; answers job and deployment.
    pub(crate) async fn accept(&mut self) -> anyhow::Result<(String, String)> {
        let mut request = self.site.request(self.next);
        request["credential"] = json!("lane");
        self.next += 1;
        ensure!(self.next <= JOBS_MAX, "the site has {JOBS_MAX} branches");
        let (deployment, job) = self.slipway.api(0)?.accept(&request, None).await?;
        Ok((job, deployment))
    }

    async fn kill_at(&self, halt: &Halt) -> anyhow::Result<()> {
        halt.wait(&self.slipway, HALT_TIMEOUT).await?.kill().await
    }

    /// The job accepted last succeeds, with its one commit.
    async fn ends_well(&mut self, job: &str, deployment: &str) -> anyhow::Result<()> {
        let told = self.slipway.api(0)?.wait_terminal(deployment, END_TIMEOUT).await;
        let told = told.with_context(|| self.slipway.logs())?;
        let ended = told["jobs"].as_array().into_iter().flatten().find(|it| it["id"] == job);
        let ended = ended.and_then(ended_as).with_context(|| format!("no job {job} in {told:#}"))?;
        ensure!(ended == Ended::Succeeded, "ended as {ended:?}: {told:#}\n{}", self.slipway.logs());
        let wanted = self.site.wanted(self.next - 1);
        let (job, deployment) = (job.to_owned(), deployment.to_owned());
        self.jobs.push(JobHistory { job, deployment, ended: Some(ended), wanted });
        let violations = check(&self.jobs, &self.site.effects().await?);
        ensure!(violations.is_empty(), "{violations:#?}\n{}", self.slipway.logs());
        Ok(())
    }

    /// Makes the message of `job`, which waits for a worker, one of a later format. A late copy of a job that has ended
    /// may wait there too; it is put back.
    async fn alter_message(&self, job: &str) -> anyhow::Result<()> {
        let broker = RabbitMq::shared().await?;
        let queue = format!("{}.jobs.front", self.slipway.prefix());
        let exchange = format!("{}.jobs", self.slipway.prefix());
        let deadline = Instant::now() + HALT_TIMEOUT;
        let message = loop {
            if let Some(message) = broker.take(&queue).await? {
                if String::from_utf8_lossy(&message.body).contains(job) {
                    break message;
                }
                broker.publish(&exchange, "front", message.properties, &message.body).await?;
            }
            ensure!(Instant::now() < deadline, "{queue} stays empty");
            tokio::time::sleep(POLL_INTERVAL).await;
        };
        let mut body: Value = serde_json::from_slice(&message.body)?;
        let version = version_in(&mut body).with_context(|| format!("no version in {message:?}"))?;
        *version = json!(FOREIGN_VERSION);
        broker.publish(&exchange, "front", message.properties, body.to_string().as_bytes()).await
    }
}

/// The version of the job, wherever it is in the record.
fn version_in(value: &mut Value) -> Option<&mut Value> {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("version") {
                return fields.get_mut("version");
            }
            fields.values_mut().find_map(version_in)
        }
        Value::Array(values) => values.iter_mut().find_map(version_in),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
