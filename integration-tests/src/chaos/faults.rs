//! The field: every part of a run, and the hands that kill, freeze, restart and empty them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::time::Instant;

use super::history::Happened;
use super::plan::{Fault, FaultKind, Part, Shape};
use crate::distributed::{DistributedSlipway, SlipwayPart};
use crate::rabbitmq::{RabbitCluster, RabbitMq};
use crate::redis_server::RedisServer;

/// Longest wait for a process to be ready again; others may be out of order at the same time.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(120);
/// A node of the broker catches up with the others before the next one is hit: a majority must live.
const BROKER_SETTLE: Duration = Duration::from_secs(6);
/// Longest time a store is rebuilt after `FLUSHALL`.
const REBUILD_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a rebuild that is late. Until it is done, the API says that it is not ready and why, so that work
/// which waits for it is no silent stall.
const REBUILD_AT_ALL_MAX: Duration = Duration::from_secs(180);
/// How often it is looked for processes that ended by themselves.
const SUPERVISE_INTERVAL: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// RabbitMQ.
#[derive(Debug)]
pub(super) enum Brokers {
    One(Box<RabbitMq>),
    Cluster(RabbitCluster),
}

impl Brokers {
    /// Starts so many nodes.
    pub(super) async fn start(nodes: usize) -> anyhow::Result<Self> {
        if nodes > 1 {
            return Ok(Self::Cluster(RabbitCluster::start(nodes).await?));
        }
        Ok(Self::One(Box::new(RabbitMq::start(crate::rabbitmq::RabbitOptions::default()).await?)))
    }

    pub(super) fn urls(&self) -> Vec<String> {
        match self {
            Self::One(broker) => vec![broker.url()],
            Self::Cluster(cluster) => cluster.urls(),
        }
    }

    async fn kill(&self, node: usize) -> anyhow::Result<()> {
        match self {
            Self::One(broker) => broker.kill().await,
            Self::Cluster(cluster) => cluster.kill(node).await,
        }
    }

    async fn stop(&self, node: usize) -> anyhow::Result<()> {
        match self {
            Self::One(broker) => broker.stop().await,
            Self::Cluster(cluster) => cluster.stop(node).await,
        }
    }

    async fn start_again(&self, node: usize) -> anyhow::Result<()> {
        match self {
            Self::One(broker) => broker.start_again().await,
            Self::Cluster(cluster) => cluster.start_again(node).await,
        }
    }

    async fn freeze(&self, node: usize) -> anyhow::Result<()> {
        match self {
            Self::One(broker) => broker.freeze().await,
            Self::Cluster(cluster) => cluster.freeze(node).await,
        }
    }

    fn thaw(&self, node: usize) -> anyhow::Result<()> {
        match self {
            Self::One(broker) => broker.thaw(),
            Self::Cluster(cluster) => cluster.thaw(node),
        }
    }

    /// What each node has logged, by its name.
    pub(super) fn logs(&self) -> Vec<(String, String)> {
        match self {
            Self::One(broker) => vec![("broker-0".to_owned(), broker.log())],
            Self::Cluster(cluster) => (0..cluster.urls().len())
                .map(|node| (format!("broker-{node}"), cluster.log(node).unwrap_or_default()))
                .collect(),
        }
    }
}

/// Every part, and what is done to each at this moment.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) slipway: DistributedSlipway,
    pub(super) brokers: Brokers,
    pub(super) redis: RedisServer,
    shape: Shape,
    /// One fault at a time for each part, and for all nodes of the broker together.
    turns: BTreeMap<Part, tokio::sync::Mutex<()>>,
    state: Mutex<FieldState>,
}

#[derive(Debug, Default)]
struct FieldState {
    under_fault: BTreeMap<Part, FaultKind>,
    happened: Vec<Happened>,
    ended_by_themselves: Vec<String>,
    troubles: Vec<String>,
}

impl Field {
    pub(super) fn new(
        slipway: DistributedSlipway,
        brokers: Brokers,
        redis: RedisServer,
        shape: Shape,
    ) -> Self {
        let parts = (0..shape.apis).map(Part::Api).chain((0..shape.workers).map(Part::Worker));
        let turns =
            parts.chain([Part::Broker(0), Part::Redis]).map(|part| (part, tokio::sync::Mutex::default()));
        let (turns, state) = (turns.collect(), Mutex::default());
        Self { slipway, brokers, redis, shape, turns, state }
    }

    fn state(&self) -> MutexGuard<'_, FieldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every fault so far.
    pub(super) fn happened(&self) -> Vec<Happened> {
        self.state().happened.clone()
    }

    /// Processes that ended without being told to, with the time; they were started again.
    pub(super) fn ended_by_themselves(&self) -> Vec<String> {
        self.state().ended_by_themselves.clone()
    }

    /// What did not go as the run itself needs it.
    pub(super) fn troubles(&self) -> Vec<String> {
        self.state().troubles.clone()
    }

    /// Whether at least one worker is whole, and everything that work needs: Redis, and a broker that answers. A
    /// cluster does while one node is down; while one is frozen its clients only notice by their heartbeat.
    pub(super) fn is_able(&self) -> bool {
        let state = self.state();
        let hit = |part: Part| state.under_fault.get(&part).copied();
        let one_worker = (0..self.shape.workers).any(|index| hit(Part::Worker(index)).is_none());
        let brokers =
            (0..self.shape.brokers).filter_map(|node| hit(Part::Broker(node))).all(|kind| match kind {
                FaultKind::Kill | FaultKind::Restart => self.shape.brokers > 2,
                FaultKind::Freeze | FaultKind::Flush => false,
            });
        one_worker && brokers && hit(Part::Redis).is_none()
    }

    /// Does one fault from its beginning until the part is whole again.
    pub(super) async fn hit(&self, fault: Fault) {
        let turn = if let Part::Broker(_) = fault.part { Part::Broker(0) } else { fault.part };
        let Some(turn) = self.turns.get(&turn) else { return };
        let _turn = turn.lock().await;
        let from = Timestamp::now();
        self.state().under_fault.insert(fault.part, fault.kind);
        let done = match fault.part {
            Part::Api(index) => self.hit_process(self.slipway.api_process(index), fault).await,
            Part::Worker(index) => self.hit_process(self.slipway.worker_process(index), fault).await,
            Part::Broker(node) => self.hit_broker(node, fault).await,
            Part::Redis => self.hit_redis(fault).await,
        };
        self.note(fault, from, done);
        if let Part::Broker(_) = fault.part {
            tokio::time::sleep(BROKER_SETTLE).await;
        }
    }

    fn note(&self, fault: Fault, from: Timestamp, done: anyhow::Result<()>) {
        let mut state = self.state();
        state.under_fault.remove(&fault.part);
        let to = Timestamp::now();
        state.happened.push(Happened { kind: fault.kind, part: fault.part, from, to });
        if let Err(error) = done {
            state.troubles.push(format!("{} of {}: {error:#}", fault.kind.as_str(), fault.part));
        }
    }

    async fn hit_process(&self, process: anyhow::Result<&SlipwayPart>, fault: Fault) -> anyhow::Result<()> {
        let process = process?;
        match fault.kind {
            FaultKind::Freeze => {
                process.freeze().await?;
                tokio::time::sleep(fault.lasts).await;
                return process.thaw();
            }
            FaultKind::Kill => process.kill().await?,
            FaultKind::Restart | FaultKind::Flush => process.terminate().await?,
        }
        tokio::time::sleep(fault.lasts).await;
        process.start().await?;
        self.wait_whole(process).await
    }

    /// Waits until the process is ready. One that ends meanwhile is started again, as its supervisor would.
    async fn wait_whole(&self, process: &SlipwayPart) -> anyhow::Result<()> {
        let deadline = Instant::now() + WHOLE_TIMEOUT;
        while !process.is_ready().await {
            if !process.is_running() {
                self.revive(process).await?;
            }
            anyhow::ensure!(Instant::now() < deadline, "it is not ready after {WHOLE_TIMEOUT:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    async fn revive(&self, process: &SlipwayPart) -> anyhow::Result<()> {
        self.state().ended_by_themselves.push(format!("{} at {}", process.name(), Timestamp::now()));
        tokio::time::sleep(SUPERVISE_INTERVAL).await;
        process.start().await
    }

    async fn hit_broker(&self, node: usize, fault: Fault) -> anyhow::Result<()> {
        match fault.kind {
            FaultKind::Freeze => {
                self.brokers.freeze(node).await?;
                tokio::time::sleep(fault.lasts).await;
                return self.brokers.thaw(node);
            }
            FaultKind::Kill => self.brokers.kill(node).await?,
            FaultKind::Restart | FaultKind::Flush => self.brokers.stop(node).await?,
        }
        tokio::time::sleep(fault.lasts).await;
        self.brokers.start_again(node).await
    }

    async fn hit_redis(&self, fault: Fault) -> anyhow::Result<()> {
        match fault.kind {
            FaultKind::Freeze => {
                self.redis.freeze().await?;
                tokio::time::sleep(fault.lasts).await;
                return self.redis.thaw();
            }
            FaultKind::Flush => {
                self.redis.flush_all().await?;
                return self.wait_rebuilt().await;
            }
            FaultKind::Kill => self.redis.kill().await?,
            FaultKind::Restart => self.redis.stop().await?,
        }
        tokio::time::sleep(fault.lasts).await;
        self.redis.start_again().await
    }

    /// Waits until the store is whole again: a process of the API that is not under a fault itself says so.
    async fn wait_rebuilt(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        // The first answers may come from before the flush was noticed.
        tokio::time::sleep(POLL_INTERVAL).await;
        loop {
            let whole: Vec<usize> = {
                let state = self.state();
                (0..self.shape.apis)
                    .filter(|index| !state.under_fault.contains_key(&Part::Api(*index)))
                    .collect()
            };
            for index in whole {
                if self.slipway.api_process(index)?.is_ready().await {
                    let took = begun.elapsed();
                    anyhow::ensure!(took <= REBUILD_MAX, "the store was whole again only after {took:?}");
                    return Ok(());
                }
            }
            anyhow::ensure!(
                begun.elapsed() < REBUILD_AT_ALL_MAX,
                "the store is not whole after {REBUILD_AT_ALL_MAX:?}"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// For ever: starts processes again that ended by themselves.
    pub(super) async fn supervise(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SUPERVISE_INTERVAL).await;
            for part in (0..self.shape.apis).map(Part::Api).chain((0..self.shape.workers).map(Part::Worker)) {
                // A part under a fault is looked after by the one who does it.
                let Some(Ok(_turn)) = self.turns.get(&part).map(tokio::sync::Mutex::try_lock) else {
                    continue;
                };
                let Ok(process) = self.process(part) else { continue };
                if !process.is_running()
                    && let Err(error) = self.revive(process).await
                {
                    self.state().troubles.push(format!("{part} could not be started again: {error:#}"));
                }
            }
        }
    }

    fn process(&self, part: Part) -> anyhow::Result<&SlipwayPart> {
        match part {
            Part::Api(index) => self.slipway.api_process(index),
            Part::Worker(index) => self.slipway.worker_process(index),
            Part::Broker(_) | Part::Redis => None.context("not a process of Slipway"),
        }
    }
}
