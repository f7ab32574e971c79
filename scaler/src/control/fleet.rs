//! What the target does with orders: taken up, ignored, or overruled by somebody else; and how long a start takes.

use serde::{Deserialize, Serialize};

/// Start-up time before any was seen, in seconds.
const STARTUP_START_S: f64 = 30.0;
/// Shortest and longest start-up time that is believed, in seconds.
const STARTUP_RANGE_S: (f64, f64) = (1.0, 600.0);
/// Weight of one start in what is learned.
const LEARN_WEIGHT: f64 = 0.3;
/// Growth orders that are followed at a time.
const ORDERS: usize = 4;

/// How the count found stands to the count ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    AsOrdered,
    /// The order is under way.
    Awaiting,
    /// The target did not follow; the count of before still stands.
    Ignored,
    /// Somebody else set the count.
    Foreign {
        expected: u32,
    },
    /// The first look.
    First,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    at_s: f64,
    to: u32,
}

/// What is learned of starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartRecord {
    startup_s: f64,
    starts_seen: u32,
}

/// What is known of the fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fleet {
    expected: Option<u32>,
    before: u32,
    ordered_at_s: f64,
    growing: [Option<Order>; ORDERS],
    startup_s: f64,
    starts_seen: u32,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            expected: None,
            before: 0,
            ordered_at_s: f64::NEG_INFINITY,
            growing: [None; ORDERS],
            startup_s: STARTUP_START_S,
            starts_seen: 0,
        }
    }

    /// What was learned.
    pub(crate) fn record(&self) -> StartRecord {
        StartRecord { startup_s: self.startup_s, starts_seen: self.starts_seen }
    }

    /// Takes over what was learned before; not a time that no start takes.
    pub(crate) fn recall(&mut self, record: &StartRecord) {
        let (shortest, longest) = STARTUP_RANGE_S;
        if record.starts_seen > 0 && (shortest..=longest).contains(&record.startup_s) {
            (self.startup_s, self.starts_seen) = (record.startup_s, record.starts_seen);
        }
    }

    pub(crate) fn startup_s(&self) -> f64 {
        self.startup_s
    }

    /// Compares what is there with what was ordered; an order has `patience_s` to show.
    pub(crate) fn look(&mut self, now_s: f64, replicas: u32, ready: u32, patience_s: f64) -> Standing {
        self.learn(now_s, replicas, ready);
        let Some(expected) = self.expected else {
            self.expected = Some(replicas);
            return Standing::First;
        };
        if replicas == expected {
            return Standing::AsOrdered;
        }
        if replicas == self.before && now_s - self.ordered_at_s <= patience_s {
            return Standing::Awaiting;
        }
        let ignored = replicas == self.before;
        self.expected = Some(replicas);
        self.before = replicas;
        self.growing = [None; ORDERS];
        if ignored { Standing::Ignored } else { Standing::Foreign { expected } }
    }

    /// Notes an order.
    pub(crate) fn order(&mut self, now_s: f64, from: u32, to: u32) {
        self.expected = Some(to);
        self.before = from;
        self.ordered_at_s = now_s;
        for slot in &mut self.growing {
            if slot.is_some_and(|order| order.to > to) {
                *slot = None;
            }
        }
        if to > from
            && let Some(free) = self.growing.iter_mut().find(|slot| slot.is_none())
        {
            *free = Some(Order { at_s: now_s, to });
        }
    }

    fn learn(&mut self, now_s: f64, replicas: u32, ready: u32) {
        for index in 0..ORDERS {
            let Some(order) = self.growing[index] else { continue };
            if ready >= order.to && replicas >= order.to {
                self.growing[index] = None;
                self.learn_start(now_s - order.at_s);
            } else if now_s - order.at_s > STARTUP_RANGE_S.1 {
                self.growing[index] = None;
            }
        }
    }

    fn learn_start(&mut self, took_s: f64) {
        let took_s = took_s.clamp(STARTUP_RANGE_S.0, STARTUP_RANGE_S.1);
        self.starts_seen = self.starts_seen.saturating_add(1);
        let weight = LEARN_WEIGHT.max(1.0 / (f64::from(self.starts_seen) + 0.5)).min(1.0);
        self.startup_s += weight * (took_s - self.startup_s);
    }
}
