//! The fleet of a scenario: replicas of one core with a queue each, as in `sim::plant`, and roll-outs that replace
//! every one of them, a surge at a time.

use serde::Deserialize;

use super::OWNER;
use super::expect::Outcome;
use crate::demand::{ContainerSample, Cpu, Key};
use crate::number::{ceil_count, from_len, to_count};
use crate::sim::load::REQUEST_CPU_S;
use crate::sim::rng::Rng;

/// Longest wait, in seconds of queue.
const WAIT_MAX_S: f64 = 10.0;
/// An answer within this is in time, in seconds.
const OBJECTIVE_S: f64 = 0.5;
/// Spread of the load between replicas (standard deviation of the weights).
const WEIGHT_SPREAD: f64 = 0.05;

/// How the fleet and its metrics behave.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlantFile {
    /// Replicas that serve at the start.
    pub(super) replicas: u32,
    /// Time from order to service, in seconds; log-normal around it, with a spread of 0.15.
    pub(super) startup_s: f64,
    /// CPU that a start burns until it serves, in cores.
    #[serde(default)]
    pub(super) startup_cores: f64,
    /// CPU is at 100 % for so long after the start, whether the replica serves or not, in seconds.
    #[serde(default)]
    pub(super) burn_s: f64,
    /// Noise of one measurement of one replica, relative.
    pub(super) noise: f64,
    /// Noise that all measurements of one moment share, relative.
    #[serde(default)]
    pub(super) common_noise: f64,
    /// Share of measurements that are lost.
    pub(super) loss: f64,
}

#[derive(Debug, Clone, Copy)]
struct Replica {
    id: u64,
    started_s: f64,
    ready_at_s: f64,
    weight: f64,
    backlog_s: f64,
    used_s: f64,
    sampled_s: f64,
    old: bool,
}

/// The replicas.
#[derive(Debug)]
pub(super) struct Fleet {
    plant: PlantFile,
    replicas: Vec<Replica>,
    ordered: u32,
    surge: u32,
    next_id: u64,
    rng: Rng,
}

impl Fleet {
    pub(super) fn new(plant: &PlantFile, seed: u64) -> Self {
        let mut fleet = Self {
            plant: *plant,
            replicas: Vec::new(),
            ordered: plant.replicas,
            surge: 0,
            next_id: 0,
            rng: Rng::new(seed),
        };
        for _ in 0..plant.replicas {
            fleet.start(0.0);
        }
        for replica in &mut fleet.replicas {
            (replica.started_s, replica.ready_at_s) = (-3_600.0, -3_000.0);
        }
        fleet
    }

    pub(super) fn ordered(&self) -> u32 {
        self.ordered
    }

    pub(super) fn order(&mut self, count: u32) {
        self.ordered = count;
    }

    pub(super) fn ready(&self, now_s: f64) -> u32 {
        to_count(from_len(self.replicas.iter().filter(|replica| replica.ready_at_s <= now_s).count()))
    }

    /// All that are there are to be replaced, with so many more at a time.
    pub(super) fn roll_out(&mut self, surge_share: f64) {
        self.surge = ceil_count(surge_share * f64::from(self.ordered));
        for replica in &mut self.replicas {
            replica.old = true;
        }
    }

    /// Starts what is missing and takes away what is too many: the old ones of a roll-out once others serve for them,
    /// else those that do not serve yet, else the youngest.
    pub(super) fn reconcile(&mut self, now_s: f64) {
        let old = self.replicas.iter().filter(|replica| replica.old).count();
        let surge = if old > 0 { self.surge } else { 0 };
        let ordered = usize::try_from(self.ordered).unwrap();
        let most = ordered + usize::try_from(surge).unwrap();
        let mut young = self.replicas.len() - old;
        while self.replicas.len() < most && (young < ordered || self.replicas.len() < ordered) {
            self.start(now_s);
            young += 1;
        }
        while self.ready(now_s) > self.ordered
            && let Some(place) = self.replicas.iter().position(|replica| replica.old)
        {
            self.replicas.remove(place);
        }
        while self.replicas.len() > most {
            let unready = self.replicas.iter().rposition(|replica| replica.ready_at_s > now_s);
            self.replicas.remove(unready.unwrap_or(self.replicas.len() - 1));
        }
    }

    fn start(&mut self, now_s: f64) {
        let spread = (0.15 * self.rng.normal()).exp();
        self.replicas.push(Replica {
            id: self.next_id,
            started_s: now_s,
            ready_at_s: now_s + self.plant.startup_s * spread,
            weight: (1.0 + WEIGHT_SPREAD * self.rng.normal()).max(0.5),
            backlog_s: 0.0,
            used_s: 0.0,
            sampled_s: now_s,
            old: false,
        });
        self.next_id += 1;
    }

    /// One second under this many requests per second.
    pub(super) fn serve(&mut self, now_s: f64, rate_per_s: f64, outcome: &mut Outcome) {
        let serves = |replica: &&Replica| replica.ready_at_s <= now_s;
        let weights: f64 = self.replicas.iter().filter(serves).map(|replica| replica.weight).sum();
        if weights <= 0.0 {
            outcome.requests += rate_per_s;
            outcome.late += rate_per_s;
        }
        for replica in &mut self.replicas {
            let burns = now_s - replica.started_s < self.plant.burn_s;
            if replica.ready_at_s > now_s {
                replica.used_s += if burns { 1.0 } else { self.plant.startup_cores };
                continue;
            }
            // As in the simulator: the sum of exponential costs over a second is drawn as gamma.
            let requests = 2.0 * self.rng.gamma(rate_per_s * replica.weight / weights / 2.0);
            let work_s = replica.backlog_s + requests * REQUEST_CPU_S;
            replica.backlog_s = (work_s - 1.0).clamp(0.0, WAIT_MAX_S);
            replica.used_s += if burns { 1.0 } else { work_s.min(1.0) };
            outcome.requests += requests;
            outcome.late += requests * late_share(replica.backlog_s);
        }
    }

    /// Measures every replica over the time since it was measured last.
    pub(super) fn sample(&mut self, now_s: f64) -> Vec<ContainerSample> {
        let common = 1.0 + self.plant.common_noise * self.rng.normal();
        let mut samples = Vec::new();
        for replica in &mut self.replicas {
            let window_s = now_s - replica.sampled_s;
            let noise = common + self.plant.noise * self.rng.normal();
            let used_cores = (replica.used_s / window_s.max(1.0) * noise).max(0.0);
            (replica.used_s, replica.sampled_s) = (0.0, now_s);
            if self.rng.chance(self.plant.loss) || window_s <= 0.0 {
                continue;
            }
            samples.push(ContainerSample {
                owner: Key::of(OWNER),
                container: Key::from_number(replica.id),
                at_s: now_s,
                cpu: Cpu::Mean { used_cores, window_s },
                allowed_cores: 1.0,
                ready_since_s: (replica.ready_at_s <= now_s).then_some(replica.ready_at_s),
            });
        }
        samples
    }
}

/// Share of the requests behind such a queue that are not answered in time, with an exponential service.
fn late_share(wait_s: f64) -> f64 {
    if wait_s >= OBJECTIVE_S { 1.0 } else { (-(OBJECTIVE_S - wait_s) / REQUEST_CPU_S).exp() }
}
