//! The highest command of the last while: replicas are taken away only down to it. How long the while is, is learned:
//! a load that keeps coming back is remembered for longer than one that goes for good.
//!
//! Several lengths are tried at once, each one twice the one before. For each is kept what it costs (how far the
//! remembered command lies above the present one) and what it saves (how far the present command lies above what was
//! remembered one lead time ago, which is when it would have had to be ordered). The cheapest sum is used.

use crate::number::{from_len, to_index};

/// Lengths that are tried, as multiples of the setting.
const LENGTHS: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];
/// Buckets of the memory; they cover the longest length and the lead.
const BUCKETS: usize = 96;
/// Until so many seconds were learned from, this multiple is used.
const LENGTH_AT_FIRST: f64 = 8.0;
/// The so many seconds.
const LEARNED_MIN_S: f64 = 300.0;
/// Time constant of what is kept of cost and saving, in seconds.
const LEARN_S: f64 = 1_800.0;

/// Memory of logarithmic commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HoldMemory {
    highest: [f64; BUCKETS],
    newest: usize,
    newest_began_s: f64,
    above: [f64; LENGTHS.len()],
    short: [f64; LENGTHS.len()],
    learned_s: f64,
}

impl HoldMemory {
    pub(crate) fn new() -> Self {
        Self {
            highest: [f64::NEG_INFINITY; BUCKETS],
            newest: 0,
            newest_began_s: f64::NEG_INFINITY,
            above: [0.0; LENGTHS.len()],
            short: [0.0; LENGTHS.len()],
            learned_s: 0.0,
        }
    }

    /// Forgets every command before and remembers one, as if it had been given now, for the length that is used first.
    pub(crate) fn seed(&mut self, now_s: f64, ln_command: f64) {
        self.learned_s = 0.0;
        self.highest = [f64::NEG_INFINITY; BUCKETS];
        self.newest_began_s = now_s;
        self.highest[self.newest] = ln_command;
    }

    /// Remembers a command; `hold_s` is the shortest length.
    pub(crate) fn note(&mut self, now_s: f64, hold_s: f64, ln_command: f64) {
        let bucket_s = bucket_s(hold_s);
        let passed = ((now_s - self.newest_began_s) / bucket_s).floor();
        if passed >= from_len(BUCKETS) {
            self.seed(now_s, f64::NEG_INFINITY);
        } else if passed >= 1.0 {
            for _ in 0..to_index(passed) {
                self.newest = (self.newest + 1) % BUCKETS;
                self.highest[self.newest] = f64::NEG_INFINITY;
            }
            self.newest_began_s += passed * bucket_s;
        }
        let slot = &mut self.highest[self.newest];
        *slot = slot.max(ln_command);
    }

    /// Learns what each length costs and saves.
    pub(crate) fn learn(&mut self, hold_s: f64, lead_s: f64, dt_s: f64, ln_command: f64) {
        let bucket_s = bucket_s(hold_s);
        self.learned_s = (self.learned_s + dt_s).min(LEARN_S);
        let weight = (dt_s / self.learned_s.max(dt_s)).min(1.0);
        for (index, factor) in LENGTHS.into_iter().enumerate() {
            let now = self.highest_between(0.0, factor * hold_s, bucket_s);
            let then = self.highest_between(lead_s, lead_s + factor * hold_s, bucket_s);
            let above = (now - ln_command).max(0.0);
            let short = if then.is_finite() { (ln_command - then).max(0.0) } else { 0.0 };
            self.above[index] += weight * (above - self.above[index]);
            self.short[index] += weight * (short - self.short[index]);
        }
    }

    /// The length in use, in seconds: the one with the least cost, with `price` for each part that was short.
    pub(crate) fn length_s(&self, hold_s: f64, price: f64) -> f64 {
        let mut best = (f64::INFINITY, LENGTH_AT_FIRST);
        if self.learned_s < LEARNED_MIN_S {
            return best.1 * hold_s;
        }
        for ((above, short), factor) in self.above.iter().zip(&self.short).zip(LENGTHS) {
            let cost = above + price * short;
            if cost < best.0 {
                best = (cost, factor);
            }
        }
        best.1 * hold_s
    }

    /// The highest command of the length in use.
    pub(crate) fn highest(&self, hold_s: f64, price: f64) -> f64 {
        self.highest_between(0.0, self.length_s(hold_s, price), bucket_s(hold_s))
    }

    /// The highest command that is at least `from_s` and at most `to_s` old, to a bucket.
    fn highest_between(&self, from_s: f64, to_s: f64, bucket_s: f64) -> f64 {
        let first = to_index((from_s / bucket_s).floor()).min(BUCKETS - 1);
        let last = to_index((to_s / bucket_s).ceil()).min(BUCKETS - 1);
        (first..=last)
            .map(|age| self.highest[(self.newest + BUCKETS - age) % BUCKETS])
            .fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The longest length takes five sixths of the buckets, the lead has the rest.
fn bucket_s(hold_s: f64) -> f64 {
    (LENGTHS[LENGTHS.len() - 1] * hold_s / (from_len(BUCKETS) * 5.0 / 6.0)).max(1e-3)
}
