//! A RabbitMQ of its own: Debian's broker as a private process, with the means to kill, freeze and starve it.

mod amqp;
mod client;
mod cluster;
mod names;
mod node;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::sync::OnceCell;

pub use amqp::RawMessage;
pub use client::RabbitClient;
pub use cluster::RabbitCluster;

use crate::process_control::{PrivateFolder, free_port};
use names::NameServer;
use node::{Node, NodePlan};

/// Tries to start a broker; another process may take one of its ports in between.
const START_TRIES_MAX: u32 = 3;
/// The watermark of a broker whose options name no other, as a share of the memory it believes to have.
const WATERMARK: &str = "0.4";

/// How a broker differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct RabbitOptions {
    /// Further lines of `rabbitmq.conf`, such as `consumer_timeout = 60000`.
    pub config: Vec<String>,
}

impl RabbitOptions {
    /// These further lines of `rabbitmq.conf`.
    #[must_use]
    pub fn with_config(lines: &[&str]) -> Self {
        Self { config: lines.iter().map(|line| (*line).to_owned()).collect() }
    }
}

/// A broker. It ends with this value, and with the test process in any case.
#[derive(Debug)]
pub struct RabbitMq {
    node: Node,
    _names: NameServer,
    folder: PrivateFolder,
}

impl RabbitMq {
    /// Starts it and waits until it takes connections, 4 to 8 seconds.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not come up; with its log.
    pub async fn start(options: RabbitOptions) -> anyhow::Result<Self> {
        let mut last = None;
        for _ in 0..START_TRIES_MAX {
            match Self::try_start(&options).await {
                Ok(broker) => return Ok(broker),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try was made")?)
    }

    async fn try_start(options: &RabbitOptions) -> anyhow::Result<Self> {
        let folder = PrivateFolder::new("rabbitmq").await?;
        let distribution_port = free_port()?;
        let names = NameServer::start([("t".to_owned(), distribution_port)].into()).await?;
        let node = Node::new(NodePlan {
            folder: folder.path().to_owned(),
            name: "t".to_owned(),
            port: free_port()?,
            distribution_port,
            names_port: names.port(),
            config: options.config.clone(),
        })?;
        node.start().await?;
        Ok(Self { node, _names: names, folder })
    }

    /// The broker all tests of this process share, started by the first one that asks. It ends with the process.
    /// Tests keep apart by a prefix of their own, and never stop it.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: OnceCell<Arc<RabbitMq>> = OnceCell::const_new();
        let started = SHARED.get_or_try_init(|| {
            crate::process_control::in_background(async {
                Ok(Arc::new(Self::start(RabbitOptions::default()).await?))
            })
        });
        started.await.cloned()
    }

    /// `amqp://guest:guest@127.0.0.1:<port>/%2f`.
    #[must_use]
    pub fn url(&self) -> String {
        self.node.url()
    }

    /// The same with another address, such as that of a line to the broker.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        node::url_at(address)
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.node.address().port()
    }

    /// The process id of the broker itself.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.node.process()?.pid())
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.node.log()
    }

    /// Where it keeps its files: queues, streams, logs, settings.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// `kill -9`. Not within a second after a declaration: a quorum queue may then stay without a leader for good.
    ///
    /// # Errors
    /// When it does not run or does not go.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.node.process()?.kill().await
    }

    /// `kill -TERM`: an orderly stop, about a second.
    ///
    /// # Errors
    /// When it does not run or does not go.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.node.stop().await
    }

    /// Starts it again on the same data and ports, about 3 seconds, and waits until it takes connections.
    ///
    /// # Errors
    /// When it still runs or does not come up.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        self.node.start().await
    }

    /// Stops it where it is: connections stay open, nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.node.process()?.freeze().await
    }

    /// Lets it go on after [`RabbitMq::freeze`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.node.process()?.thaw()
    }

    /// `rabbitmqctl` with these arguments; answers what it prints. About a second.
    ///
    /// # Errors
    /// When it fails; with what it printed.
    pub async fn ctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.node.ctl(arguments).await
    }

    /// Raises the memory alarm, which blocks every connection that publishes, or ends it. Ending it leaves the
    /// watermark at 0.4, whatever the options said.
    ///
    /// # Errors
    /// When `rabbitmqctl` fails or the alarm does not follow.
    pub async fn alarm(&self, on: bool) -> anyhow::Result<()> {
        let watermark = if on { "0" } else { WATERMARK };
        self.ctl(&["set_vm_memory_high_watermark", watermark]).await?;
        let alarms = self.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await?;
        if alarms.contains("memory") != on {
            bail!("the memory alarm was to be {on}, and the alarms are {alarms}");
        }
        Ok(())
    }
}

impl std::ops::Deref for RabbitMq {
    type Target = RabbitClient;

    /// A client of this broker.
    fn deref(&self) -> &RabbitClient {
        self.node.client()
    }
}
