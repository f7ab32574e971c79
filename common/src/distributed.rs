//! The distributed adapter: queue and ledger on RabbitMQ, store on Redis, for any number of processes.
//!
//! The ledger (a stream) is the record, the queue (quorum queues) is the promise to try, Redis is a projection of
//! the ledger with leases and hints beside it. What Redis has lost costs work, never correctness: no message is
//! dropped on its word unless that word proves that the job is done or that another copy carries the promise.

mod broker;
mod inquiry;
mod ledger;
mod metric;
mod projector;
mod queue;
mod redis;
mod settings;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod topic;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Backend;
use crate::store::{Store as _, StoreError};
use broker::{Broker, BrokerState};
use inquiry::RedisInquiries;
use ledger::StreamLedger;
use metric::RabbitMetrics;
use projector::Projector;
use queue::Queue;
use redis::{Redis, RedisState};
pub use settings::{BrokerSettings, DistributedSettings, RedisSettings, SettingsError};
use store::{RedisAgenda, RedisAutoscalers, RedisProjects, RedisStore};
use topic::RabbitTopic;

/// Longest time a rebuild of the store is waited for; it goes on afterwards.
const REBUILD_MAX: Duration = Duration::from_secs(15 * 60);

/// One process's part in a distributed installation. Clones are the same one. It ends with [`Self::close`].
#[derive(Debug, Clone)]
pub struct Distributed {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    broker: Broker,
    redis: Redis,
    queue: Arc<Queue>,
    ledger: Arc<StreamLedger>,
    store: RedisStore,
    projector: Projector,
    stop: CancellationToken,
}

/// One figure of this process for its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Name, without the prefix of the metrics.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// The number.
    pub value: u64,
    /// Whether it only grows.
    pub is_counter: bool,
}

impl Distributed {
    /// Connects in the background, and never fails: what is absent is waited for. Takes jobs when there are slots;
    /// does its share of projecting and sweeping in any case. Must be called within a Tokio runtime.
    #[must_use]
    pub fn open(settings: &DistributedSettings) -> Self {
        let stop = CancellationToken::new();
        let broker = Broker::start(settings.broker.clone());
        let redis = Redis::new(settings.redis.clone());
        let ledger = Arc::new(StreamLedger::new(broker.clone()));
        let store = RedisStore::start(redis.clone(), settings.keep_finished, stop.clone());
        let projector = Projector::start(store.clone(), ledger.clone(), stop.clone());
        let queue = Queue::start(settings, broker.clone(), redis.clone(), store.clone(), ledger.clone());
        Self { parts: Arc::new(Parts { broker, redis, queue, ledger, store, projector, stop }) }
    }

    /// The seams.
    #[must_use]
    pub fn backend(&self) -> Backend {
        Backend {
            queue: self.parts.queue.clone(),
            ledger: self.parts.ledger.clone(),
            store: Arc::new(self.parts.store.clone()),
            inquiries: Arc::new(RedisInquiries::new(self.parts.redis.clone())),
            autoscalers: Arc::new(RedisAutoscalers::new(self.parts.store.clone())),
            metrics: Arc::new(RabbitMetrics::new(self.parts.broker.clone())),
            projects: Arc::new(RedisProjects::new(self.parts.store.clone())),
            agenda: Arc::new(RedisAgenda::new(self.parts.store.clone())),
            topic: Arc::new(RabbitTopic::new(self.parts.broker.clone())),
        }
    }

    /// What is not ready, and why: part (`queue`, `ledger` or `store`) and reason. Empty when all is well.
    pub async fn readiness(&self) -> Vec<(&'static str, String)> {
        let mut missing = Vec::new();
        match self.parts.broker.state() {
            BrokerState::Ready => {}
            BrokerState::Away { reason }
            | BrokerState::Blocked { reason }
            | BrokerState::Misfit { reason } => {
                missing.push(("queue", reason.clone()));
                missing.push(("ledger", reason));
            }
        }
        if let Err(error) = self.parts.store.check().await {
            // The state knows the setting by name; the error may only say that the connection was refused.
            let reason = match self.parts.redis.state() {
                RedisState::Ready => error.to_string(),
                RedisState::Away { reason } | RedisState::Misfit { reason } => reason,
            };
            missing.push(("store", reason));
        }
        missing
    }

    /// Makes the store anew from the ledger, and waits until that is done (15 minutes at most).
    ///
    /// # Errors
    /// When Redis cannot be used, or it takes longer; then it goes on.
    pub async fn rebuild_store(&self) -> Result<(), StoreError> {
        self.parts.projector.rebuild(REBUILD_MAX).await
    }

    /// Takes no further jobs, and leaves what was only fetched to others; claims go on. For a graceful end.
    pub async fn stop_taking(&self) {
        self.parts.queue.stop_taking().await;
    }

    /// Ends this process's part: tasks end, connections close, deliveries that were only fetched go back at once.
    pub async fn close(&self) {
        self.parts.queue.close().await;
        self.parts.stop.cancel();
        self.parts.projector.ended().await;
        self.parts.broker.close().await;
    }

    /// Ends it as a crash would: nothing is given back, nothing is said. For tests.
    pub fn abandon(&self) {
        self.parts.broker.abandon();
        self.parts.queue.abandon();
        self.parts.stop.cancel();
    }

    /// What was counted in this process.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let broker = self.parts.broker.figures();
        let projector = self.parts.projector.figures();
        let counter = |name, help, value| Figure { name, help, value, is_counter: true };
        let gauge = |name, help, value| Figure { name, help, value, is_counter: false };
        let buffered = u64::try_from(self.parts.queue.buffered()).unwrap_or(u64::MAX);
        vec![
            counter("broker_reconnects", "Connections to the broker made again.", broker.reconnects),
            counter("broker_confirmed", "Publications the broker confirmed.", broker.confirmed),
            counter("broker_returned", "Publications no queue took.", broker.returned),
            counter("broker_refused", "Publications a full queue refused.", broker.refused),
            counter("broker_unknown", "Publications whose outcome is not known.", broker.unknown),
            counter("broker_lost_acks", "Acknowledgements that did not reach the broker.", broker.lost_acks),
            counter("broker_resubscribed", "Consumers made again.", broker.resubscribed),
            counter("broker_repaired", "Queues and exchanges made again.", broker.repaired),
            gauge("queue_buffered", "Deliveries that wait in this process for a slot.", buffered),
            gauge("projector_active", "Whether this process projects.", u64::from(projector.active)),
            gauge("projector_offset", "Last record of the ledger in the store.", projector.projected),
            gauge(
                "projector_lag_ms",
                "Age of the newest projected record while there are more.",
                projector.lag_ms,
            ),
            counter("projector_rebuilt", "Stores made anew from the ledger.", projector.rebuilt),
            counter("projector_corrupt", "Records of the ledger that could not be read.", projector.corrupt),
        ]
    }
}
