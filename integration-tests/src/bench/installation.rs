//! The distributed form as the measurements need it: a private RabbitMQ and Redis, `slipway-api` and `slipway-worker`
//! as processes over them, and this process's own way to queue and store.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::config::Config;
use slipway_common::distributed::{Distributed, DistributedSettings};
use slipway_common::model::DeploymentState;
use slipway_common::store::{DeploymentFilter, Page};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::cpu;
use super::server::FastClient;
use crate::distributed::{DistributedOptions, DistributedSlipway};
use crate::rabbitmq::{RabbitMq, RabbitOptions};
use crate::redis_server::{RedisOptions, RedisServer};

/// No engine answers there.
const NO_ENGINE: &str = "unix:///nonexistent/docker.sock";
/// What is published here in a minute is more than the harness's brokers may keep in memory.
const MEMORY_LIMIT: &str = "vm_memory_high_watermark.absolute = 4GB";
/// Longest wait for this process's own connections.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longest wait for what a worker says of itself.
const METRICS_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that runs. It ends with this value.
#[derive(Debug)]
pub struct Installation {
    /// The processes.
    pub slipway: DistributedSlipway,
    /// The broker.
    pub rabbit: RabbitMq,
    redis: RedisServer,
}

impl Installation {
    /// One API and so many workers, all of them ready; the engine is at `engine`, by default nowhere.
    ///
    /// # Errors
    /// When RabbitMQ or Redis is not installed, or something does not become ready.
    pub async fn start(workers: usize, engine: Option<&str>) -> Result<Self> {
        Self::start_with(|options| {
            options
                .with(1, workers)
                .variable("SLIPWAY__DOCKER__HOST", engine.unwrap_or(NO_ENGINE))
                // There is nothing to look at.
                .variable("SLIPWAY__WORKER__OBSERVE_INTERVAL_MS", "600000")
        })
        .await
    }

    /// What `tune` makes of one API and one worker.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(tune: impl FnOnce(DistributedOptions) -> DistributedOptions) -> Result<Self> {
        let rabbit = RabbitMq::start(RabbitOptions::with_config(&[MEMORY_LIMIT])).await?;
        let redis = RedisServer::start(RedisOptions::default()).await?;
        let options = DistributedOptions::new(vec![rabbit.url()], redis.url());
        let slipway = DistributedSlipway::start(tune(options)).await?;
        Ok(Self { slipway, rabbit, redis })
    }

    /// A client of the API that costs little.
    ///
    /// # Errors
    /// When there is no API.
    pub fn client(&self) -> Result<FastClient> {
        Ok(FastClient::new(self.slipway.api_process(0)?.base_url(), self.slipway.token()))
    }

    /// Processor time used by now: by RabbitMQ, Redis, the API, all workers, and this process.
    ///
    /// # Errors
    /// When one of them does not run.
    pub fn processor_time(&self, workers: usize) -> Result<[(&'static str, Duration); 5]> {
        let mut at_work = Duration::ZERO;
        for index in 0..workers {
            at_work += cpu::used(self.slipway.worker_process(index)?.pid()?)?;
        }
        Ok([
            ("rabbitmq", cpu::used(self.rabbit.pid()?)?),
            ("redis", cpu::used(self.redis.pid())?),
            ("api", cpu::used(self.slipway.api_process(0)?.pid()?)?),
            ("workers", at_work),
            ("bench", cpu::used(std::process::id())?),
        ])
    }

    /// The process id of Redis.
    #[must_use]
    pub fn redis_pid(&self) -> u32 {
        self.redis.pid()
    }

    /// What a worker says of itself: the series whose names begin so, with their labels.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn worker_series(&self, index: usize, name: &str) -> Result<Vec<(String, u64)>> {
        let url = format!("{}/metrics", self.slipway.worker_process(index)?.base_url());
        let client = reqwest::Client::builder().no_proxy().timeout(METRICS_TIMEOUT).build()?;
        let text = client.get(url).send().await?.error_for_status()?.text().await?;
        let series = text.lines().filter(|line| line.starts_with(name));
        let series = series.filter_map(|line| line.rsplit_once(' '));
        series.map(|(name, value)| Ok((name.to_owned(), value.parse().context("no whole number")?))).collect()
    }

    /// How many deployments the API knows.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn deployments(&self) -> Result<u64> {
        let (status, body) = self.slipway.api(0)?.get("/deployments?limit=1").await?;
        ensure!(status == 200, "GET /deployments answered {status}: {body}");
        body["total"].as_u64().context("the list has no total")
    }

    /// This process's own part in the installation, which takes no jobs.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn join(&self) -> Result<Distributed> {
        let mut file = tempfile::NamedTempFile::new()?;
        write!(
            file,
            "[broker]\nurls = [{:?}]\nprefix = {:?}\n[redis]\nurl = {:?}\n",
            self.rabbit.url(),
            self.slipway.prefix(),
            self.redis.url()
        )?;
        let config = Config::load(Some(file.path()), [])?;
        let distributed = Distributed::open(&DistributedSettings::from_config(&config, 0)?);
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let missing = distributed.readiness().await;
            if missing.is_empty() {
                return Ok(distributed);
            }
            ensure!(Instant::now() < deadline, "not ready: {missing:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Waits until no job is ready, parked or claimed, and `expected` deployments are in `state`.
///
/// # Errors
/// When that is not so after `longest`, or jobs were set aside.
pub async fn wait_until_all(
    backend: &Backend,
    state: DeploymentState,
    expected: u32,
    longest: Duration,
) -> Result<()> {
    let deadline = Instant::now() + longest;
    let filter = DeploymentFilter { state: Some(state), ..DeploymentFilter::default() };
    loop {
        let depth = backend.queue.depth(Timestamp::now()).await?;
        ensure!(depth.buried == 0, "{} jobs were set aside", depth.buried);
        let mut reached = None;
        // A job on its way from the broker to a worker is in no count, so an empty queue alone proves nothing.
        if depth.ready + depth.parked + depth.claimed == 0 {
            let total = backend.store.deployments(&filter, &Page::default()).await?.total;
            if total == u64::from(expected) {
                return Ok(());
            }
            reached = Some(total);
        }
        ensure!(
            Instant::now() < deadline,
            "the jobs do not end: {depth:?}, {reached:?} of {expected} are {state:?}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// An engine that has no image and gets none: jobs that need one fail at once and for good.
#[derive(Debug)]
pub struct EmptyEngine {
    address: String,
    serving: JoinHandle<()>,
}

impl EmptyEngine {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(say_not_found(connection));
            }
        });
        Ok(Self { address, serving })
    }

    /// `tcp://127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for EmptyEngine {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers every request that comes on this connection; none has a body that matters.
async fn say_not_found(mut connection: TcpStream) {
    const BODY: &str = r#"{"message":"manifest unknown: there is no such image"}"#;
    let answer = format!(
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut head = Vec::new();
    let mut chunk = [0; 4_096];
    while let Ok(read) = connection.read(&mut chunk).await {
        if read == 0 {
            return;
        }
        head.extend_from_slice(&chunk[..read]);
        while let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            head.drain(..end + 4);
            if connection.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
