//! One replica at run time: how busy it is, whether it is fit for requests, and its connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    GatewaySettings,
    metrics::{FailureKind, PortMetrics},
    route::Replica,
    settings::ms,
    upstream::pool::Pool,
};

pub(crate) mod health;
pub(crate) mod pool;

/// What makes a replica the same one: a restarted container has a new address and starts afresh.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamKey {
    container_id: String,
    address: SocketAddr,
}

impl From<&Replica> for UpstreamKey {
    fn from(replica: &Replica) -> Self {
        Self { container_id: replica.container_id.clone(), address: replica.address }
    }
}

/// One replica, its load, its health and its connections.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) key: UpstreamKey,
    pub(crate) replica: Replica,
    pub(crate) settings: Arc<GatewaySettings>,
    pub(crate) metrics: PortMetrics,
    outstanding: AtomicUsize,
    condition: Mutex<Condition>,
    pool: Pool,
    /// Cancelled when the replica leaves: no new requests, checks end.
    pub(crate) retired: CancellationToken,
    /// Cancelled when what is still under way must end.
    pub(crate) cut: CancellationToken,
}

/// What checks and connections have shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    pub(crate) failures_in_a_row: u32,
    pub(crate) last_failure: Option<String>,
    pub(crate) ejected_until: Option<Instant>,
}

/// How willingly a replica is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fitness {
    /// Nothing speaks against it.
    Good,
    /// It refused a connection a moment ago: only when there is no other.
    Ejected,
    /// Its health checks fail.
    Unhealthy,
}

impl Upstream {
    pub(crate) fn new(replica: Replica, settings: Arc<GatewaySettings>, metrics: PortMetrics) -> Arc<Self> {
        Arc::new(Self {
            key: UpstreamKey::from(&replica),
            replica,
            settings,
            metrics,
            outstanding: AtomicUsize::new(0),
            condition: Mutex::default(),
            pool: Pool::default(),
            retired: CancellationToken::new(),
            cut: CancellationToken::new(),
        })
    }

    /// Whether this is the replica the routes mean, whatever its container is called by now.
    pub(crate) fn stands_for(&self, replica: &Replica) -> bool {
        self.key == UpstreamKey::from(replica) && self.replica.health == replica.health
    }

    /// Requests under way.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Acquire)
    }

    /// Takes a place for one request; `None` when the replica is at its limit.
    pub(crate) fn lease(self: &Arc<Self>) -> Option<Lease> {
        let before = self.outstanding.fetch_add(1, Ordering::AcqRel);
        let lease = Lease { upstream: Arc::clone(self) };
        (before < self.settings.requests_per_upstream_max).then_some(lease)
    }

    pub(crate) fn fitness(&self, now: Instant) -> Fitness {
        let condition = self.condition_mut();
        if condition.failures_in_a_row >= self.settings.health_failures_max {
            Fitness::Unhealthy
        } else if condition.ejected_until.is_some_and(|until| until > now) {
            Fitness::Ejected
        } else {
            Fitness::Good
        }
    }

    /// What is known of its health, for the status page.
    pub(crate) fn condition(&self) -> Condition {
        self.condition_mut().clone()
    }

    /// Counts a health check.
    pub(crate) fn note_check(&self, outcome: Result<(), String>) {
        let mut condition = self.condition_mut();
        match outcome {
            Ok(()) => {
                *condition = Condition { ejected_until: condition.ejected_until, ..Condition::default() }
            }
            Err(reason) => {
                condition.failures_in_a_row = condition.failures_in_a_row.saturating_add(1);
                condition.last_failure = Some(reason);
                self.metrics.upstream_failed(FailureKind::Health);
            }
        }
    }

    /// Avoids the replica for a while after it refused a connection.
    pub(crate) fn eject(&self, reason: String) {
        let mut condition = self.condition_mut();
        condition.ejected_until = Some(Instant::now() + ms(self.settings.ejection_ms));
        condition.last_failure = Some(reason);
    }

    /// Ends the replica's part: checks stop and idle connections close; requests under way go on.
    pub(crate) fn retire(&self) {
        self.retired.cancel();
        self.pool.clear();
    }

    fn condition_mut(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for one request on a replica, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) upstream: Arc<Upstream>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.outstanding.fetch_sub(1, Ordering::AcqRel);
    }
}
