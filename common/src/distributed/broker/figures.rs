//! Counters of the connection, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was counted since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BrokerFigures {
    /// Connections made after the first.
    pub(crate) reconnects: u64,
    /// Publications confirmed.
    pub(crate) confirmed: u64,
    /// Publications no queue took.
    pub(crate) returned: u64,
    /// Publications refused by a full queue.
    pub(crate) refused: u64,
    /// Publications whose outcome is unknown.
    pub(crate) unknown: u64,
    /// Acknowledgements that did not reach the broker.
    pub(crate) lost_acks: u64,
    /// Subscriptions made again.
    pub(crate) resubscribed: u64,
    /// Queues and exchanges made again.
    pub(crate) repaired: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(super) struct Meters {
    pub(super) reconnects: AtomicU64,
    pub(super) confirmed: AtomicU64,
    pub(super) returned: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) lost_acks: AtomicU64,
    pub(super) resubscribed: AtomicU64,
    pub(super) repaired: AtomicU64,
}

impl Meters {
    pub(super) fn read(&self) -> BrokerFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BrokerFigures {
            reconnects: read(&self.reconnects),
            confirmed: read(&self.confirmed),
            returned: read(&self.returned),
            refused: read(&self.refused),
            unknown: read(&self.unknown),
            lost_acks: read(&self.lost_acks),
            resubscribed: read(&self.resubscribed),
            repaired: read(&self.repaired),
        }
    }
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
