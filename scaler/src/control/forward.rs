//! Feed-forward: reported arrivals say what the CPU cannot say while it stands at its ceiling, and say the rest with
//! less noise. The cost of one request is learned from both while the CPU can be measured; until it is known well,
//! arrivals are not used. While queues are worked off, more is measured than arrives: that is no new load, and does not
//! teach the cost. Requests in flight, where reported, size the growth at the ceiling.

/// Measurements until the cost may be used.
const SEEN_MIN: u32 = 12;
/// The cost is used while its scatter (standard deviation, logarithmic) is below this.
const SCATTER_MAX: f64 = 0.35;
/// Time constant of the learning, in seconds.
const LEARN_S: f64 = 120.0;
/// Share of a logarithmic excess of requests in flight that becomes a boost. An estimate without theory behind it:
/// the queue says that there is overload, and only roughly how much.
const INFLIGHT_SHARE: f64 = 0.25;

/// Share of containers at their ceiling from which on work may be waiting.
pub(crate) const WAITING_SHARE: f64 = 0.1;
/// What is measured may exceed what arrives by noise, up to so many times.
const EXCESS: f64 = 1.25;
/// So many times the backlog that was added up may be worked off: it is an estimate.
const BACKLOG_SLACK: f64 = 4.0;
/// Queues are worked off within so long; what is measured in excess after that is dearer requests, in seconds.
const WORKING_OFF_MAX_S: f64 = 60.0;
/// What would wait for longer than this is taken to have gone away, in seconds.
const QUEUE_MAX_S: f64 = 10.0;

/// What was learned of arrivals and queues.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeedForward {
    ln_cost: f64,
    scatter: f64,
    seen: u32,
    backlog_s: f64,
    /// For how long more was measured than arrived.
    excess_s: f64,
    inflight_each: f64,
    inflight_seen: u32,
}

impl FeedForward {
    pub(crate) fn new() -> Self {
        Self {
            ln_cost: 0.0,
            scatter: 0.0,
            seen: 0,
            backlog_s: 0.0,
            excess_s: 0.0,
            inflight_each: 0.0,
            inflight_seen: 0,
        }
    }

    /// Learns from a measurement in which no work waits: `ln cost = mean of ln(demand / arrivals)`.
    pub(crate) fn learn(&mut self, ln_measured: f64, arrivals_per_s: Option<f64>, dt_s: f64) {
        let Some(arrivals) = usable(arrivals_per_s) else { return };
        let cost = ln_measured - arrivals.ln();
        self.seen = self.seen.saturating_add(1);
        let weight = (1.0 - (-dt_s / LEARN_S).exp()).max(1.0 / f64::from(self.seen));
        let off = cost - self.ln_cost;
        self.ln_cost += weight * off;
        if self.seen > 1 {
            self.scatter += weight * (off * off - self.scatter);
        }
    }

    /// The logarithm of the demand that arrivals make, when their cost is known.
    pub(crate) fn ln_demand(&self, arrivals_per_s: Option<f64>) -> Option<f64> {
        let arrivals = usable(arrivals_per_s)?;
        let known = self.seen >= SEEN_MIN && self.scatter.sqrt() <= SCATTER_MAX;
        known.then(|| self.ln_cost + arrivals.ln())
    }

    /// Whether arrivals agree with what was measured: those that claim less than what serves are wrong, unless work
    /// that waited before is worked off. That work is added up here, in seconds of one replica: what arrived and was
    /// not done while containers stood at their ceiling.
    pub(crate) fn explains(
        &mut self,
        arriving: f64,
        (measured, saturated_share): (f64, f64),
        (ready, dt_s): (f64, f64),
    ) -> bool {
        if saturated_share < WAITING_SHARE {
            (self.backlog_s, self.excess_s) = (0.0, 0.0);
            return true;
        }
        self.excess_s += if arriving < measured { dt_s } else { 0.0 };
        let done_most = EXCESS * arriving + BACKLOG_SLACK * self.backlog_s / dt_s;
        let explained = arriving > measured || (self.excess_s <= WORKING_OFF_MAX_S && done_most >= measured);
        let backlog_s = self.backlog_s + (arriving - measured) * dt_s;
        self.backlog_s = backlog_s.clamp(0.0, QUEUE_MAX_S * ready);
        explained
    }

    /// Learns how many requests are usually in flight in one replica.
    pub(crate) fn learn_inflight(&mut self, inflight: Option<f64>, ready: f64, dt_s: f64) {
        let Some(inflight) = usable(inflight) else { return };
        self.inflight_seen = self.inflight_seen.saturating_add(1);
        let weight = (1.0 - (-dt_s / LEARN_S).exp()).max(1.0 / f64::from(self.inflight_seen));
        self.inflight_each += weight * (inflight / ready.max(1.0) - self.inflight_each);
    }

    /// The boost that a queue suggests: a share of `ln(in flight / usual)`.
    pub(crate) fn hint(&self, inflight: Option<f64>, ready: f64) -> f64 {
        match usable(inflight) {
            Some(inflight) if self.inflight_seen >= SEEN_MIN && self.inflight_each > 0.0 => {
                (INFLIGHT_SHARE * (inflight / (self.inflight_each * ready.max(1.0))).ln()).max(0.0)
            }
            Some(_) | None => 0.0,
        }
    }
}

fn usable(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite() && *value > 0.0)
}
