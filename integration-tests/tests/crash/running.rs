//! Slipway as one process or as many, with the one thing that matters here: it halts at a point and is killed there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use slipway_integration_tests::distributed::{DistributedOptions, DistributedSlipway, Halt};
use slipway_integration_tests::process_control::{PrivateFolder, ProcessControl, in_background};
use slipway_integration_tests::programs::Program;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};
use slipway_integration_tests::slipway_process::SlipwayProcess;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Longest wait for the armed point to be reached.
const HALT_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a deployment to reach its end.
const DEPLOYMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// States in which nothing more happens to a deployment by itself.
const RESTING: [&str; 5] = ["active", "failed", "stopped", "superseded", "degraded"];
/// Stable ports of the distributed form: the gateway's, and how many of them each fixture has.
const PORT_MIN: u16 = 16_600;
const PORT_MAX: u16 = 17_599;
const PORTS_EACH: u16 = 60;
const WORKERS: usize = 2;

/// How Slipway runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `slipway up`.
    Embedded,
    /// `slipway-api` and two `slipway-worker` over RabbitMQ and Redis, with `slipway-gateway` in front.
    Distributed,
}

/// A setting, as the sections of the configuration name it.
pub(crate) struct Setting {
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: String,
}

impl Setting {
    pub(crate) fn new(section: &'static str, key: &'static str, value: impl ToString) -> Self {
        Self { section, key, value: value.to_string() }
    }

    fn toml(&self) -> String {
        let number = self.value.parse::<u64>().is_ok();
        let value = if number { self.value.clone() } else { format!("{:?}", self.value) };
        format!("[{}]\n{} = {value}\n", self.section, self.key)
    }

    fn variable(&self) -> String {
        format!("SLIPWAY__{}__{}", self.section.replace('.', "__"), self.key).to_uppercase()
    }
}

/// Slipway, in one form or the other.
pub(crate) enum Running {
    /// One process.
    Embedded(Box<Embedded>),
    /// Many.
    Distributed(Box<Distributed>),
}

/// `slipway up`.
pub(crate) struct Embedded {
    process: Option<SlipwayProcess>,
    settings: String,
    markers: TempDir,
}

/// The processes of the distributed form; they are kept from one crash to the next, as is what they work on.
pub(crate) struct Distributed {
    slipway: DistributedSlipway,
    halt: Option<Halt>,
    _services: Arc<Services>,
}

/// What all distributed fixtures of this test process share.
struct Services {
    broker: Arc<RabbitMq>,
    redis: RedisServer,
    _gateway: ProcessControl,
    _folder: PrivateFolder,
}

impl Running {
    /// Prepares it; the embedded form starts with [`Self::begin`].
    pub(crate) async fn prepare(form: Form, host: &str, settings: &[Setting]) -> anyhow::Result<Self> {
        match form {
            Form::Embedded => {
                let settings = merged(settings);
                let markers = tempfile::tempdir()?;
                Ok(Self::Embedded(Box::new(Embedded { process: None, settings, markers })))
            }
            Form::Distributed => {
                let services = services(host).await?;
                let broker = vec![services.broker.url()];
                let mut options = DistributedOptions::new(broker, services.redis.url()).with(1, WORKERS);
                let (first, last) = own_ports()?;
                let ports =
                    [Setting::new("gateway", "port_min", first), Setting::new("gateway", "port_max", last)];
                for setting in settings.iter().filter(|it| it.section != "gateway").chain(&ports) {
                    options = options.variable(&setting.variable(), &setting.value);
                }
                let slipway = DistributedSlipway::start_apis(options).await?;
                Ok(Self::Distributed(Box::new(Distributed { slipway, halt: None, _services: services })))
            }
        }
    }

    /// Begins anew, with `point` armed: the embedded form without any history, the distributed one with new workers.
    pub(crate) async fn begin(&mut self, point: Option<&str>) -> anyhow::Result<()> {
        match self {
            Self::Embedded(embedded) => {
                embedded.markers = tempfile::tempdir()?;
                let failpoint = point.map(|point| embedded.failpoint(point));
                let variables = variables(failpoint.as_deref());
                embedded.process = Some(SlipwayProcess::start(&embedded.settings, &variables).await?);
                Ok(())
            }
            Self::Distributed(distributed) => distributed.arm(point).await,
        }
    }

    /// Starts what was killed, or still runs, again with `point` armed, on the data it had.
    pub(crate) async fn restart(&mut self, point: Option<&str>) -> anyhow::Result<()> {
        match self {
            Self::Embedded(embedded) => {
                let failpoint = point.map(|point| embedded.failpoint(point));
                let running = embedded.process.take().context("not running")?;
                let variables = variables(failpoint.as_deref());
                embedded.process = Some(running.restart(&embedded.settings, &variables).await?);
                Ok(())
            }
            Self::Distributed(distributed) => {
                for part in distributed.slipway.parts().filter(|part| !part.is_running()) {
                    part.start().await?;
                }
                distributed.arm(point).await?;
                distributed.slipway.wait_ready(DEPLOYMENT_TIMEOUT).await
            }
        }
    }

    /// Waits until the armed point is reached, and kills who stands there. The distributed form then goes on with the
    /// other worker; the embedded one is started again.
    pub(crate) async fn crash_at_the_point(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Embedded(embedded) => {
                embedded.wait_halted().await?;
                self.restart(None).await
            }
            Self::Distributed(distributed) => {
                let halt = distributed.halt.as_ref().context("nothing is armed")?;
                halt.wait(&distributed.slipway, HALT_TIMEOUT).await?.kill().await
            }
        }
    }

    /// Waits until the armed point is reached, and kills everything that could go on.
    pub(crate) async fn crash_all_at_the_point(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Embedded(embedded) => embedded.wait_halted().await?,
            Self::Distributed(distributed) => {
                let halt = distributed.halt.as_ref().context("nothing is armed")?;
                halt.wait(&distributed.slipway, HALT_TIMEOUT).await?;
            }
        }
        self.kill().await
    }

    /// `kill -9` of every process of Slipway but the gateway.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Embedded(embedded) => match &mut embedded.process {
                Some(process) => process.kill().await,
                None => Ok(()),
            },
            Self::Distributed(distributed) => {
                for part in distributed.slipway.parts().filter(|part| part.is_running()) {
                    part.kill().await?;
                }
                Ok(())
            }
        }
    }

    /// `kill -9` of every process that works on jobs.
    pub(crate) async fn kill_work(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Embedded(_) => self.kill().await,
            Self::Distributed(distributed) => distributed.slipway.kill_workers().await,
        }
    }

    /// One request with the first token; answers status and body.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        match self {
            Self::Embedded(embedded) => embedded.process()?.request(method, path, body).await,
            Self::Distributed(distributed) => distributed.request(method, path, body).await,
        }
    }

    /// Posts a deployment; answers its id.
    pub(crate) async fn deploy(&self, request: &Value) -> anyhow::Result<String> {
        let (status, body) = self.request("POST", "/deployments", Some(request)).await?;
        ensure!(status == 202, "POST /deployments answered {status}: {body}");
        Ok(body["id"].as_str().context("no id")?.to_owned())
    }

    /// The deployment now.
    pub(crate) async fn deployment(&self, id: &str) -> anyhow::Result<Value> {
        let (status, body) = self.request("GET", &format!("/deployments/{id}"), None).await?;
        ensure!(status == 200, "GET /deployments/{id} answered {status}: {body}");
        Ok(body)
    }

    /// Waits until nothing more happens to the deployment; answers its last state.
    pub(crate) async fn wait_resting(&self, id: &str) -> anyhow::Result<Value> {
        self.wait_for(id, |deployment| RESTING.iter().any(|state| deployment["status"] == *state)).await
    }

    /// Waits until the deployment is as `condition` says.
    pub(crate) async fn wait_for(
        &self,
        id: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + DEPLOYMENT_TIMEOUT;
        loop {
            let deployment = self.deployment(id).await?;
            if condition(&deployment) {
                return Ok(deployment);
            }
            if Instant::now() > deadline {
                bail!("waited in vain; the deployment is {deployment:#}\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything logged.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::Embedded(embedded) => {
                embedded.process.as_ref().map(SlipwayProcess::log).unwrap_or_default()
            }
            Self::Distributed(distributed) => distributed.slipway.logs(),
        }
    }
}

impl Embedded {
    fn marker(&self) -> PathBuf {
        self.markers.path().join("reached")
    }

    fn failpoint(&self, point: &str) -> String {
        format!("{point}={}", self.marker().display())
    }

    fn process(&self) -> anyhow::Result<&SlipwayProcess> {
        self.process.as_ref().context("slipway is not running")
    }

    async fn wait_halted(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + HALT_TIMEOUT;
        while !self.marker().exists() {
            ensure!(Instant::now() < deadline, "the point was never reached:\n{}", self.process()?.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Distributed {
    async fn arm(&mut self, point: Option<&str>) -> anyhow::Result<()> {
        self.halt = match point {
            Some(point) => Some(self.slipway.arm_workers(point).await?),
            None => {
                self.slipway.disarm_workers().await?;
                None
            }
        };
        Ok(())
    }

    async fn request(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let address = format!("{}{path}", self.slipway.api_process(0)?.base_url());
        let mut request = client.request(method, address);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.slipway.api(0)?.request(request).await
    }
}

fn variables(failpoint: Option<&str>) -> Vec<(&str, &str)> {
    failpoint.map(|value| ("SLIPWAY_FAILPOINT", value)).into_iter().collect()
}

/// One configuration file; a section may be named once only.
fn merged(settings: &[Setting]) -> String {
    let mut sections: Vec<&str> = settings.iter().map(|setting| setting.section).collect();
    sections.sort_unstable();
    sections.dedup();
    let lines = |section: &str| -> String {
        let own = settings.iter().filter(|setting| setting.section == section);
        own.filter_map(|setting| setting.toml().split_once('\n').map(|(_, line)| line.to_owned())).collect()
    };
    sections.into_iter().map(|section| format!("[{section}]\n{}", lines(section))).collect()
}

/// The next fixture's share of the gateway's ports: each has reservations of its own, and all have one engine.
fn own_ports() -> anyhow::Result<(u16, u16)> {
    static NEXT: AtomicU16 = AtomicU16::new(PORT_MIN);
    let first = NEXT.fetch_add(PORTS_EACH, Ordering::Relaxed);
    let last = first + PORTS_EACH - 1;
    ensure!(last <= PORT_MAX, "there are more fixtures than the gateway has ports");
    Ok((first, last))
}

async fn services(host: &str) -> anyhow::Result<Arc<Services>> {
    static SHARED: OnceCell<Arc<Services>> = OnceCell::const_new();
    let started = SHARED.get_or_try_init(|| async {
        let (broker, program, host) =
            (RabbitMq::shared().await?, Program::Gateway.path().await?, host.to_owned());
        let program = program.to_str().context("the program's path is no UTF-8")?.to_owned();
        in_background(async move {
            let redis = RedisServer::start(RedisOptions::default()).await?;
            let folder = PrivateFolder::new("gateway").await?;
            let variables = [
                ("DOCKER_HOST", host),
                ("SLIPWAY_GATEWAY_PORT_MIN", PORT_MIN.to_string()),
                ("SLIPWAY_GATEWAY_PORT_MAX", PORT_MAX.to_string()),
            ];
            let environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let log = folder.path().join("log");
            let gateway = ProcessControl::spawn(&program, Vec::new(), environment, &log).await?;
            Ok(Arc::new(Services { broker, redis, _gateway: gateway, _folder: folder }))
        })
        .await
    });
    started.await.cloned()
}
