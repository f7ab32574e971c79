//! A cluster of brokers whose connections to each other run over lines that can be cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::names::NameServer;
use super::node::{Node, NodePlan};
use super::{RabbitClient, RabbitOptions};
use crate::line::Line;
use crate::process_control::{PrivateFolder, free_port};

/// Brokers that know each other. They end with this value, and with the test process in any case.
///
/// Nodes are named by their position, from 0. A node that is cut off from the majority pauses itself
/// (`cluster_partition_handling = pause_minority`) and comes back by itself.
#[derive(Debug)]
pub struct RabbitCluster {
    nodes: Vec<Arc<Node>>,
    /// The line over which one node reaches another.
    lines: BTreeMap<(usize, usize), Line>,
    _names: Vec<NameServer>,
    _folder: PrivateFolder,
}

impl RabbitCluster {
    /// Starts this many nodes and waits until all of them take connections and see each other.
    ///
    /// # Errors
    /// When one does not come up; with its log.
    pub async fn start(count: usize) -> anyhow::Result<Self> {
        Self::start_with(count, RabbitOptions::default()).await
    }

    /// The same with options for every node.
    ///
    /// # Errors
    /// When one does not come up; with its log.
    pub async fn start_with(count: usize, options: RabbitOptions) -> anyhow::Result<Self> {
        let folder = PrivateFolder::new("rabbitmq-cluster").await?;
        let ports = (0..count).map(|_| free_port()).collect::<anyhow::Result<Vec<u16>>>()?;
        let mut lines = BTreeMap::new();
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                lines.insert((from, to), Line::start(format!("127.0.0.1:{}", ports[to])).await?);
            }
        }
        let (mut nodes, mut names) = (Vec::new(), Vec::new());
        for (index, distribution_port) in ports.iter().copied().enumerate() {
            let mut routes = BTreeMap::from([(name(index), distribution_port)]);
            let peers = lines.iter().filter(|((from, _), _)| *from == index);
            routes.extend(peers.map(|((_, to), line)| (name(*to), line.address().port())));
            let server = NameServer::start(routes).await?;
            let folder = folder.path().join(name(index));
            std::fs::create_dir(&folder)?;
            nodes.push(Arc::new(Node::new(NodePlan {
                folder,
                name: name(index),
                port: free_port()?,
                distribution_port,
                names_port: server.port(),
                config: cluster_config(count, &options.config),
            })?));
            names.push(server);
        }
        let cluster = Self { nodes, lines, _names: names, _folder: folder };
        cluster.start_nodes().await?;
        Ok(cluster)
    }

    /// The first alone, so that the others find a cluster to join.
    async fn start_nodes(&self) -> anyhow::Result<()> {
        let (first, others) = self.nodes.split_first().context("a cluster has at least one node")?;
        first.start().await?;
        futures_util::future::try_join_all(others.iter().map(|node| node.start())).await?;
        let running = first.ctl(&["eval", "length(rabbit_nodes:all_running())."]).await?;
        if running.trim() != self.nodes.len().to_string() {
            bail!("{} of {} nodes are in the cluster", running.trim(), self.nodes.len());
        }
        Ok(())
    }

    /// The addresses of all nodes for clients, in their order.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url()).collect()
    }

    /// The address of one node for clients.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn url(&self, node: usize) -> anyhow::Result<String> {
        Ok(self.node(node)?.url())
    }

    /// A client of one node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn client(&self, node: usize) -> anyhow::Result<&RabbitClient> {
        Ok(self.node(node)?.client())
    }

    /// `127.0.0.1:<port>` of one node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn address(&self, node: usize) -> anyhow::Result<std::net::SocketAddr> {
        Ok(self.node(node)?.address())
    }

    /// `kill -9` of one node.
    ///
    /// # Errors
    /// When it does not run or does not go.
    pub async fn kill(&self, node: usize) -> anyhow::Result<()> {
        self.node(node)?.process()?.kill().await
    }

    /// An orderly stop of one node.
    ///
    /// # Errors
    /// When it does not run or does not go.
    pub async fn stop(&self, node: usize) -> anyhow::Result<()> {
        self.node(node)?.stop().await
    }

    /// Starts one node again and waits until it takes connections. When all were down, start those that went last
    /// first, or several at once with [`RabbitCluster::launch`]: a node waits for those that went after it.
    ///
    /// # Errors
    /// When it still runs or does not come up.
    pub async fn start_again(&self, node: usize) -> anyhow::Result<()> {
        self.node(node)?.start().await
    }

    /// Starts one node again and does not wait; see [`RabbitCluster::wait_ready`].
    ///
    /// # Errors
    /// When it still runs.
    pub async fn launch(&self, node: usize) -> anyhow::Result<()> {
        self.node(node)?.launch().await
    }

    /// Waits until one node takes connections.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_ready(&self, node: usize) -> anyhow::Result<()> {
        self.node(node)?.wait_ready().await
    }

    /// Stops one node where it is. The others notice after about a minute (`net_ticktime`); its clients by heartbeat.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn freeze(&self, node: usize) -> anyhow::Result<()> {
        self.node(node)?.process()?.freeze().await
    }

    /// Lets one node go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self, node: usize) -> anyhow::Result<()> {
        self.node(node)?.process()?.thaw()
    }

    /// Cuts two nodes off from each other; clients still reach both.
    ///
    /// # Errors
    /// When there are no such two nodes.
    pub async fn partition(&self, one: usize, other: usize) -> anyhow::Result<()> {
        self.line(one, other)?.cut().await?;
        self.line(other, one)?.cut().await
    }

    /// Cuts one node off from all others; clients still reach it.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn isolate(&self, node: usize) -> anyhow::Result<()> {
        self.node(node)?;
        for ((from, to), line) in &self.lines {
            if *from == node || *to == node {
                line.cut().await?;
            }
        }
        Ok(())
    }

    /// Joins again what was parted.
    ///
    /// # Errors
    /// When a line does not come back.
    pub async fn heal(&self) -> anyhow::Result<()> {
        for line in self.lines.values() {
            line.heal().await?;
        }
        Ok(())
    }

    /// The line over which one node reaches another, for other faults than a cut. Which of the two of a pair is in
    /// use is decided by who called first.
    ///
    /// # Errors
    /// When there are no such two nodes.
    pub fn line(&self, from: usize, to: usize) -> anyhow::Result<&Line> {
        self.lines.get(&(from, to)).with_context(|| format!("there is no line from {from} to {to}"))
    }

    /// `rabbitmqctl` at one node.
    ///
    /// # Errors
    /// When it fails; with what it printed.
    pub async fn ctl(&self, node: usize, arguments: &[&str]) -> anyhow::Result<String> {
        self.node(node)?.ctl(arguments).await
    }

    /// Everything one node has logged.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn log(&self, node: usize) -> anyhow::Result<String> {
        Ok(self.node(node)?.log())
    }

    fn node(&self, node: usize) -> anyhow::Result<&Node> {
        self.nodes.get(node).map(AsRef::as_ref).with_context(|| format!("there is no node {node}"))
    }
}

fn name(index: usize) -> String {
    format!("n{index}")
}

fn cluster_config(count: usize, further: &[String]) -> Vec<String> {
    let mut lines = vec![
        "cluster_formation.peer_discovery_backend = classic_config".to_owned(),
        "cluster_partition_handling = pause_minority".to_owned(),
    ];
    lines.extend((0..count).map(|index| {
        format!("cluster_formation.classic_config.nodes.{} = {}@localhost", index + 1, name(index))
    }));
    lines.extend(further.iter().cloned());
    lines
}
