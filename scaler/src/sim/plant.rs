//! The plant: replicas of one core with a queue each, in steps of one second.
//!
//! Work arrives at a replica as a compound Poisson process of requests with exponential cost (mean 50 ms); its sum over
//! a second is drawn from the gamma distribution with the same mean and variance. The load is spread at random, with
//! weights that differ by 5 % between replicas and stay. The CPU stands at 100 % while there is a queue; who would wait
//! 10 s is rejected. The objective is an answer within 500 ms. Rules and figures: the study that BENCHMARKS.md names.

use super::load::{Load, REQUEST_CPU_S};
use super::policy::{Pod, PodMetric};
use super::rng::Rng;
use crate::number::{from_len, to_count};

/// Longest wait, in seconds of queue.
const WAIT_MAX_S: f64 = 10.0;
/// The objective: an answer within this, in seconds.
const OBJECTIVE_S: f64 = 0.5;
/// Longest time a replica is given to finish what it has.
const DRAIN_MAX_S: f64 = 30.0;
/// Spread of the load between replicas (standard deviation of the weights).
const WEIGHT_SPREAD: f64 = 0.05;

/// How the plant and its metrics behave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlantSettings {
    /// Time from order to service, in seconds; log-normal around it.
    pub startup_s: f64,
    /// Spread of that (standard deviation of the logarithm).
    pub startup_spread: f64,
    /// CPU that a start burns, in cores.
    pub startup_cores: f64,
    /// After the start, requests cost so many times as much ...
    pub warmup_factor: f64,
    /// ... for so long, in seconds.
    pub warmup_s: f64,
    /// Noise of one measurement, relative.
    pub metric_noise: f64,
    /// Share of measurements that are lost.
    pub metric_loss: f64,
    /// Metrics are silent for 60 s every so many seconds; 0 is never.
    pub silence_every_s: usize,
    /// Most replicas.
    pub replicas_max: u32,
    /// So many seconds at the beginning are not scored: what a controller does once it knows the load.
    pub unscored_s: usize,
}

impl Default for PlantSettings {
    fn default() -> Self {
        Self {
            startup_s: 30.0,
            startup_spread: 0.15,
            startup_cores: 0.8,
            warmup_factor: 1.0,
            warmup_s: 0.0,
            metric_noise: 0.03,
            metric_loss: 0.005,
            silence_every_s: 0,
            replicas_max: 200,
            unscored_s: 0,
        }
    }
}

/// What one second brought.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Second {
    /// Requests that arrived.
    pub requests: f64,
    /// Those that are answered too late, or not at all.
    pub violations: f64,
    /// Those that are rejected.
    pub rejected: f64,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that are paid for.
    pub billed: u32,
    /// CPU of the serving replicas, in cores.
    pub total_cores: f64,
}

#[derive(Debug, Clone)]
struct Replica {
    id: u64,
    started_s: f64,
    ready_at_s: f64,
    draining_since_s: Option<f64>,
    weight: f64,
    backlog_s: f64,
    used_total_s: f64,
    used_at_sample_s: f64,
    sampled_s: f64,
}

/// The replicas.
#[derive(Debug, Clone)]
pub struct Plant {
    settings: PlantSettings,
    replicas: Vec<Replica>,
    ordered: u32,
    next_id: u64,
    rng: Rng,
    metric_rng: Rng,
}

impl Plant {
    /// A plant with so many replicas that serve.
    #[must_use]
    pub fn new(settings: PlantSettings, replicas: u32, seed: u64) -> Self {
        let mut plant = Self {
            settings,
            replicas: Vec::new(),
            ordered: 0,
            next_id: 0,
            rng: Rng::new(seed),
            metric_rng: Rng::new(seed ^ 0x5eed_0f0e_7a1c_5000),
        };
        plant.order(0.0, replicas.max(1));
        for replica in &mut plant.replicas {
            replica.started_s = -3_600.0;
            replica.ready_at_s = -3_000.0;
            replica.sampled_s = 0.0;
        }
        plant
    }

    /// Replicas that are ordered.
    #[must_use]
    pub fn ordered(&self) -> u32 {
        self.ordered
    }

    /// Orders a count, at least 1 and at most the plant's; says whether it changed anything. Of those that go, the
    /// ones that do not serve yet go first, then the youngest.
    pub fn order(&mut self, now_s: f64, count: u32) -> bool {
        let count = count.clamp(1, self.settings.replicas_max);
        let changed = count != self.ordered;
        for _ in self.ordered..count {
            let spread = (self.settings.startup_spread * self.rng.normal()).exp();
            let weight = (1.0 + WEIGHT_SPREAD * self.rng.normal()).max(0.5);
            self.replicas.push(Replica {
                id: self.next_id,
                started_s: now_s,
                ready_at_s: now_s + self.settings.startup_s * spread,
                draining_since_s: None,
                weight,
                backlog_s: 0.0,
                used_total_s: 0.0,
                used_at_sample_s: 0.0,
                sampled_s: now_s,
            });
            self.next_id += 1;
        }
        for _ in count..self.ordered {
            self.remove_one(now_s);
        }
        self.ordered = count;
        changed
    }

    fn remove_one(&mut self, now_s: f64) {
        let unready =
            |replica: &&mut Replica| replica.ready_at_s > now_s && replica.draining_since_s.is_none();
        if let Some(starting) = self.replicas.iter_mut().rev().find(unready) {
            // It has no queue: gone at the end of this second.
            starting.draining_since_s = Some(f64::NEG_INFINITY);
        } else if let Some(youngest) =
            self.replicas.iter_mut().rev().find(|replica| replica.draining_since_s.is_none())
        {
            youngest.draining_since_s = Some(now_s);
        }
    }

    /// One second under this many requests per second.
    pub fn step(&mut self, now_s: f64, rate_per_s: f64) -> Second {
        let mut second = Second { billed: to_count(from_len(self.replicas.len())), ..Second::default() };
        let serving = |replica: &Replica| replica.ready_at_s <= now_s && replica.draining_since_s.is_none();
        let weights: f64 =
            self.replicas.iter().filter(|replica| serving(replica)).map(|replica| replica.weight).sum();
        if weights <= 0.0 {
            second.requests = rate_per_s;
            second.violations = rate_per_s;
            second.rejected = rate_per_s;
        }
        for replica in &mut self.replicas {
            if serving(replica) {
                let rate = rate_per_s * replica.weight / weights;
                let shape = rate / 2.0;
                let requests = 2.0 * self.rng.gamma(shape);
                let warm = now_s - replica.ready_at_s >= self.settings.warmup_s;
                let factor = if warm { 1.0 } else { self.settings.warmup_factor };
                let busy = serve(replica, requests, factor, &mut second);
                second.total_cores += busy;
                second.ready += 1;
            } else if replica.draining_since_s.is_some() {
                let busy = replica.backlog_s.min(1.0);
                replica.backlog_s -= busy;
                replica.used_total_s += busy;
            } else {
                replica.used_total_s += self.settings.startup_cores;
            }
        }
        self.replicas.retain(|replica| {
            let gone = replica
                .draining_since_s
                .is_some_and(|since| replica.backlog_s <= 0.0 || now_s + 1.0 - since >= DRAIN_MAX_S);
            !gone
        });
        second
    }

    /// All containers, as the target lists them.
    pub fn list(&self, now_s: f64, pods: &mut Vec<Pod>) {
        pods.clear();
        pods.extend(self.replicas.iter().map(|replica| Pod {
            id: replica.id,
            started_s: replica.started_s,
            ready_since_s: (replica.ready_at_s <= now_s).then_some(replica.ready_at_s),
            draining: replica.draining_since_s.is_some(),
        }));
    }

    /// Measures every container over the time since it was measured last.
    pub fn sample(&mut self, now_s: f64) -> Vec<PodMetric> {
        let silent_every_s = from_len(self.settings.silence_every_s);
        let silent = silent_every_s > 0.0 && now_s.rem_euclid(silent_every_s) >= silent_every_s - 60.0;
        let mut metrics = Vec::with_capacity(self.replicas.len());
        for replica in &mut self.replicas {
            let window_s = now_s - replica.sampled_s;
            if window_s <= 0.0 {
                continue;
            }
            let used_cores = (replica.used_total_s - replica.used_at_sample_s) / window_s;
            replica.used_at_sample_s = replica.used_total_s;
            replica.sampled_s = now_s;
            let noise = 1.0 + self.settings.metric_noise * self.metric_rng.normal();
            let lost = self.metric_rng.chance(self.settings.metric_loss);
            if !lost && !silent {
                let used_cores = (used_cores * noise).max(0.0);
                metrics.push(PodMetric { id: replica.id, at_s: now_s, window_s, used_cores });
            }
        }
        metrics
    }

    /// Requests in the queues.
    #[must_use]
    pub fn inflight(&self) -> f64 {
        self.replicas.iter().map(|replica| replica.backlog_s / REQUEST_CPU_S).sum()
    }

    /// The work of a load at its start, in replicas at this utilisation.
    #[must_use]
    pub fn replicas_at_start(load: &Load, utilisation: f64) -> u32 {
        crate::number::ceil_count(load.work_replicas(0) / utilisation).max(1)
    }
}

/// One second of one replica: the queue, and what it means for those who arrive; returns the CPU used, in cores.
fn serve(replica: &mut Replica, requests: f64, cost_factor: f64, second: &mut Second) -> f64 {
    let work_s = requests * REQUEST_CPU_S * cost_factor;
    let before_s = replica.backlog_s;
    let unbounded_s = before_s + work_s - 1.0;
    let middle_s = (before_s + 0.5 * (work_s - 1.0)).max(0.0);
    let after_s = unbounded_s.max(0.0);
    let late = (late_share(before_s) + 4.0 * late_share(middle_s) + late_share(after_s)) / 6.0;
    let rejected_s = (after_s - WAIT_MAX_S).max(0.0);
    replica.backlog_s = after_s.min(WAIT_MAX_S);
    let busy = (before_s + work_s).min(1.0);
    replica.used_total_s += busy;
    second.requests += requests;
    second.violations += requests * late;
    second.rejected += rejected_s / (REQUEST_CPU_S * cost_factor);
    busy
}

/// Share of the requests that wait this long and are not answered within the objective: the wait and an exponential
/// service of 50 ms.
fn late_share(wait_s: f64) -> f64 {
    if wait_s >= OBJECTIVE_S {
        1.0
    } else if wait_s <= 0.0 {
        4.54e-5
    } else {
        (-(OBJECTIVE_S - wait_s) / REQUEST_CPU_S).exp()
    }
}
