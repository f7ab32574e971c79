//! One broker process: its files, its environment, its start and its stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;
use tokio::time::Instant;

use super::amqp;
use super::client::RabbitClient;
use crate::process_control::ProcessControl;

/// A folder with another RabbitMQ's programs.
const PROGRAMS_VARIABLE: &str = "SLIPWAY_TEST_RABBITMQ";
/// Where the distribution keeps the scripts that do not change to another user first.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
/// What the nodes of a cluster know each other by; nothing but tests is behind it.
const COOKIE: &str = "slipway-harness";
const START_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const CTL_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What a node is made from.
#[derive(Debug)]
pub(super) struct NodePlan {
    /// Its own, empty.
    pub(super) folder: PathBuf,
    /// The part before `@localhost`.
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) distribution_port: u16,
    /// Where the names of nodes are resolved.
    pub(super) names_port: u16,
    pub(super) config: Vec<String>,
}

/// A broker process that may be up or down.
#[derive(Debug)]
pub(super) struct Node {
    plan: NodePlan,
    client: RabbitClient,
    process: Mutex<Option<Arc<ProcessControl>>>,
}

impl Node {
    /// Writes the files; starts nothing.
    pub(super) fn new(plan: NodePlan) -> anyhow::Result<Self> {
        write_files(&plan)?;
        let client = RabbitClient::new(url_at((Ipv4Addr::LOCALHOST, plan.port).into()));
        Ok(Self { plan, client, process: Mutex::new(None) })
    }

    pub(super) fn client(&self) -> &RabbitClient {
        &self.client
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.plan.port))
    }

    pub(super) fn url(&self) -> String {
        url_at(self.address())
    }

    /// The process, which must have been started; it may be gone.
    pub(super) fn process(&self) -> anyhow::Result<Arc<ProcessControl>> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.clone().context("the broker was never started")
    }

    pub(super) async fn start(&self) -> anyhow::Result<()> {
        self.launch().await?;
        self.wait_ready().await
    }

    /// Starts the process and does not wait for it.
    pub(super) async fn launch(&self) -> anyhow::Result<()> {
        if self.process().is_ok_and(|process| !process.has_ended()) {
            bail!("the broker still runs");
        }
        let program = program("rabbitmq-server");
        if !Path::new(&program).exists() {
            bail!("{program} is missing (Debian: rabbitmq-server)");
        }
        let log = self.plan.folder.join("output");
        let process = ProcessControl::spawn(&program, Vec::new(), self.environment(), &log).await?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(process));
        Ok(())
    }

    /// Waits until it shakes hands with a client.
    pub(super) async fn wait_ready(&self) -> anyhow::Result<()> {
        let process = self.process()?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if process.has_ended() {
                bail!("RabbitMQ ended instead of starting:\n{}", self.log());
            }
            // lapin makes a thread for each try, so the port is tried first.
            if tokio::net::TcpStream::connect(self.address()).await.is_ok()
                && amqp::handshake(&self.url()).await.is_ok()
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("RabbitMQ is not ready after {START_TIMEOUT:?}:\n{}", self.log());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        self.process()?.terminate(STOP_TIMEOUT).await
    }

    pub(super) async fn ctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let running = Command::new(program("rabbitmqctl"))
            .arg("--quiet")
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.environment())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output =
            tokio::time::timeout(CTL_TIMEOUT, running).await.context("rabbitmqctl takes too long")??;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("rabbitmqctl {arguments:?} ended with {}: {printed}{errors}", output.status);
        }
        Ok(printed)
    }

    /// Everything it has logged.
    pub(super) fn log(&self) -> String {
        let logs = self.plan.folder.join("log").join(format!("{}@localhost.log", self.plan.name));
        let output = std::fs::read_to_string(self.plan.folder.join("output")).unwrap_or_default();
        output + &std::fs::read_to_string(logs).unwrap_or_default()
    }

    fn environment(&self) -> Vec<(String, String)> {
        let plan = &self.plan;
        let path = |name: &str| plan.folder.join(name).display().to_string();
        let variables = [
            ("HOME", path("home")),
            ("LANG", "C.UTF-8".to_owned()),
            ("ERL_EPMD_PORT", plan.names_port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", format!("{}@localhost", plan.name)),
            ("RABBITMQ_DIST_PORT", plan.distribution_port.to_string()),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_CONF_ENV_FILE", path("env.conf")),
            ("RABBITMQ_MNESIA_BASE", path("mnesia")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_GENERATED_CONFIG_DIR", path("gen")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_PID_FILE", path("rabbit.pid")),
            // The script then becomes the broker instead of watching over it.
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
            // A daemon would outlive the test.
            ("RABBITMQ_CTL_ERL_ARGS", "-start_epmd false".to_owned()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-start_epmd false +sbwt none +sbwtdcpu none +sbwtdio none \
                 -kernel inet_dist_use_interface {127,0,0,1}"
                    .to_owned(),
            ),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn program(name: &str) -> String {
    let folder = std::env::var(PROGRAMS_VARIABLE).unwrap_or_else(|_| PROGRAMS.to_owned());
    format!("{folder}/{name}")
}

/// The address of a broker for clients.
pub(super) fn url_at(address: SocketAddr) -> String {
    format!("amqp://guest:guest@{address}/%2f")
}

fn write_files(plan: &NodePlan) -> anyhow::Result<()> {
    let home = plan.folder.join("home");
    std::fs::create_dir_all(&home)?;
    let cookie = home.join(".erlang.cookie");
    std::fs::write(&cookie, COOKIE)?;
    std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400))?;
    std::fs::write(plan.folder.join("env.conf"), "")?;
    std::fs::write(plan.folder.join("enabled_plugins"), "[].\n")?;
    let mut config = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\n\
         log.console = false\n\
         log.file.level = warning\n\
         total_memory_available_override_value = 2GB\n\
         disk_free_limit.absolute = 50MB\n",
        plan.port
    );
    if !plan.config.iter().any(|line| line.starts_with("vm_memory_high_watermark.")) {
        config += &format!("vm_memory_high_watermark.relative = {}\n", super::WATERMARK);
    }
    for line in &plan.config {
        config += line;
        config.push('\n');
    }
    std::fs::write(plan.folder.join("rabbitmq.conf"), config).context("writing rabbitmq.conf")
}
