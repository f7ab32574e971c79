//! From samples of one deployment's containers to evidence of demand.
//!
//! A sample counts for a deployment because it names it as its owner, never because a label matches. What is no
//! sample (foreign, stale, repeated, out of order, not finite, absurd) is refused and counted by reason. A container
//! is evidence only after it was ready for one whole window, so that a start's CPU never looks like demand; those that
//! do not report are taken to be like those that do; where too few report, and in silence, there is no evidence.

mod container;

use serde::{Deserialize, Serialize};
pub use slipway_common::model::autoscaler::{Dropped, DroppedCounts, Evidence, Silence};

use self::container::Container;
use crate::number::from_len;

#[cfg(test)]
mod tests;

/// Utilisation from which one container stands at the ceiling of its CPU.
pub const CEILING_ONE: f64 = 0.95;
/// Share of the ready containers that must report.
const REPORTING_MIN: f64 = 0.3;
/// A measurement counts until others are newer by so many windows.
const BEHIND_WINDOWS_MAX: f64 = 2.5;
/// A young container warms up when it uses more than the others by this share of theirs and by this much.
const WARMING: (f64, f64) = (0.3, 0.15);
/// What mature containers said is remembered for so many times the warm-up, for when a roll-out replaces all of them.
const MATURE_MEMORY: f64 = 2.0;
/// Use beyond so many times the allowance is a broken counter, not a measurement.
pub(crate) const UTILISATION_MAX: f64 = 16.0;
/// Most cores a container may be said to have.
pub(crate) const CORES_MAX: f64 = 1e5;

/// A name of a container, or of a deployment that owns containers, as a number: 64-bit FNV-1a of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(u64);

impl Key {
    /// The key of a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// The key as a number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// A key that is a number already.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// CPU use as a source knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cpu {
    /// CPU time used since the container began; a lost sample costs nothing but detail.
    Counter {
        /// In seconds.
        used_total_s: f64,
    },
    /// Mean use over a window that ends at the sample's time.
    Mean {
        /// In cores.
        used_cores: f64,
        /// Length of the window, in seconds.
        window_s: f64,
    },
}

/// One measurement of one container.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ContainerSample {
    /// The deployment it belongs to.
    pub owner: Key,
    /// The container.
    pub container: Key,
    /// When it was taken, by the source's clock, in seconds.
    pub at_s: f64,
    /// CPU use.
    pub cpu: Cpu,
    /// What the container may use, in cores.
    pub allowed_cores: f64,
    /// Since when it serves, in seconds; nothing when it does not (starting, not ready, draining).
    pub ready_since_s: Option<f64>,
}

/// What a window believes and keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DemandLimits {
    /// Shortest span a counter is averaged over, and the age from which a ready container counts, in seconds.
    pub window_s: f64,
    /// Samples older than this are of no use, in seconds.
    pub stale_after_s: f64,
    /// A container that serves for less than this is young: if it uses far more CPU than the others, it warms up, and
    /// is no evidence, in seconds.
    pub warm_s: f64,
    /// How far ahead of `now_s` a source's clock may be, in seconds.
    pub ahead_max_s: f64,
    /// Most containers that are kept.
    pub containers_max: usize,
}

impl Default for DemandLimits {
    fn default() -> Self {
        Self { window_s: 5.0, stale_after_s: 30.0, warm_s: 90.0, ahead_max_s: 5.0, containers_max: 10_000 }
    }
}

/// The containers of one deployment, as their samples tell of them.
#[derive(Debug, Clone)]
pub struct DemandWindow {
    owner: Key,
    limits: DemandLimits,
    containers: Vec<Container>,
    dropped: DroppedCounts,
    /// When mature containers last were evidence, and of which demand.
    mature: Option<(f64, f64)>,
}

impl DemandWindow {
    /// A window that has heard nothing.
    #[must_use]
    pub fn new(owner: Key, limits: DemandLimits) -> Self {
        Self { owner, limits, containers: Vec::new(), dropped: DroppedCounts::default(), mature: None }
    }

    /// Other limits, from now on.
    pub fn set_limits(&mut self, limits: DemandLimits) {
        self.limits = limits;
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// When it is no sample of this deployment; it is counted and changes nothing.
    pub fn push(&mut self, sample: &ContainerSample, now_s: f64) -> Result<(), Dropped> {
        let taken = self.check(sample, now_s).and_then(|()| self.take(sample, now_s));
        if let Err(dropped) = taken {
            *self.dropped.slot(dropped) += 1;
        }
        taken
    }

    /// A container is gone for good.
    pub fn remove(&mut self, container: Key) {
        self.containers.retain(|known| known.key != container);
    }

    /// How many samples were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> DroppedCounts {
        self.dropped
    }

    /// How many containers are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether no container is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// The containers that are kept, and what each uses, as a share of what it may; nothing until it is known.
    pub fn uses(&self) -> impl Iterator<Item = (Key, Option<f64>)> {
        self.containers.iter().map(|one| (one.key, (one.window_s > 0.0).then_some(one.utilisation)))
    }

    /// How many containers said lately that they serve.
    #[must_use]
    pub fn ready(&self, now_s: f64) -> usize {
        self.fresh(now_s).filter(|container| container.ready_since_s.is_some()).count()
    }

    /// The evidence of now. `ready` is how many replicas serve by what the target says; without it, those count that
    /// said so themselves.
    ///
    /// `D = mean(u) / mean(1 / ready(t))`: with the load spread evenly, each container's use is `D / ready(t)`, so
    /// this holds also when replicas came to serve in the middle of the window.
    ///
    /// # Errors
    /// When the samples allow no judgement.
    pub fn read(&mut self, ready: Option<u32>, now_s: f64) -> Result<Evidence, Silence> {
        if self.containers.is_empty() {
            return Err(Silence::NeverHeard);
        }
        if self.fresh(now_s).next().is_none() {
            return Err(Silence::Stale);
        }
        let ready = ready.map_or_else(|| from_len(self.ready(now_s)), f64::from);
        if ready < 1.0 {
            return Err(Silence::NothingReady);
        }
        let mature = self.sums(now_s, |container| container.age_s() >= self.limits.warm_s);
        let warming_from = self.warming_from(ready, now_s, mature.as_ref());
        let sums = self.sums(now_s, |container| {
            container.age_s() >= self.limits.warm_s || container.utilisation <= warming_from
        });
        let sums = sums.ok_or(Silence::TooYoung)?;
        let young = self.not_counting(now_s, warming_from);
        if sums.counting + young < REPORTING_MIN * ready {
            return Err(Silence::TooFewReport);
        }
        let utilisation = sums.utilisation / sums.counting;
        let demand_replicas = utilisation * self.serving(ready, &sums);
        if mature.is_some() {
            // At the ceiling they said less than there was.
            let measured = utilisation < CEILING_ONE;
            self.mature = measured.then_some((now_s, demand_replicas));
        }
        Ok(Evidence {
            at_s: sums.newest_s,
            window_s: sums.window_s,
            utilisation,
            saturated_share: sums.saturated / sums.counting,
            demand_replicas,
            counting: crate::number::to_count(sums.counting),
            young: crate::number::to_count(young),
        })
    }

    /// The utilisation above which a young container warms up: what the mature ones use, or would use by what they
    /// said last, and a margin. Without either there is nothing to compare with, and all count.
    fn warming_from(&self, ready: f64, now_s: f64, mature: Option<&Sums>) -> f64 {
        let remembered = self
            .mature
            .filter(|(at_s, _)| now_s - at_s <= MATURE_MEMORY * self.limits.warm_s)
            .map(|(_, demand_replicas)| demand_replicas / ready);
        let usual = mature.map(|sums| sums.utilisation / sums.counting).or(remembered);
        usual.map_or(f64::INFINITY, |usual| usual + (WARMING.0 * usual).max(WARMING.1))
    }

    fn fresh(&self, now_s: f64) -> impl Iterator<Item = &Container> {
        let oldest_s = now_s - self.limits.stale_after_s;
        self.containers.iter().filter(move |container| container.heard_s >= oldest_s)
    }

    /// Ready containers that report and are no evidence, being too young: they are not missing.
    fn not_counting(&self, now_s: f64, warming_from: f64) -> f64 {
        let young = |known: &&Container| {
            let warming = known.age_s() < self.limits.warm_s && known.utilisation > warming_from;
            known.ready_since_s.is_some() && (!known.counts() || warming)
        };
        from_len(self.fresh(now_s).filter(young).count())
    }

    fn sums(&self, now_s: f64, which: impl Fn(&Container) -> bool) -> Option<Sums> {
        let counts = |container: &&Container| container.counts() && which(container);
        let newest_s = self.fresh(now_s).filter(counts).map(|one| one.measured_s).fold(f64::MIN, f64::max);
        let mut sums: Option<Sums> = None;
        for container in self.fresh(now_s).filter(counts) {
            // One that says no more while others do is gone, or its samples are lost: like one that does not report.
            if container.measured_s < newest_s - BEHIND_WINDOWS_MAX * container.window_s {
                continue;
            }
            let sums = sums.get_or_insert_default();
            sums.counting += 1.0;
            sums.utilisation += container.utilisation;
            sums.saturated += if container.utilisation >= CEILING_ONE { 1.0 } else { 0.0 };
            sums.newest_s = sums.newest_s.max(container.measured_s);
            sums.window_s = sums.window_s.max(container.window_s);
        }
        sums
    }

    /// Harmonic mean over the window of the replicas that served.
    fn serving(&self, ready: f64, sums: &Sums) -> f64 {
        let start_s = sums.newest_s - sums.window_s;
        let mut came: Vec<f64> = self
            .containers
            .iter()
            .filter_map(|container| container.ready_since_s)
            .filter(|since_s| *since_s > start_s && *since_s <= sums.newest_s)
            .collect();
        came.sort_by(f64::total_cmp);
        // Those that came in the window are at most all but one of the ready ones.
        let mut serving = (ready - from_len(came.len())).max(1.0);
        let mut inverse = 0.0;
        let mut from_s = start_s;
        for since_s in came {
            inverse += (since_s - from_s) / serving;
            serving = (serving + 1.0).min(ready);
            from_s = since_s;
        }
        inverse += (sums.newest_s - from_s) / ready;
        if inverse > 0.0 { sums.window_s / inverse } else { ready }
    }

    fn check(&self, sample: &ContainerSample, now_s: f64) -> Result<(), Dropped> {
        if sample.owner != self.owner {
            return Err(Dropped::Foreign);
        }
        let (used, window_s) = match sample.cpu {
            Cpu::Counter { used_total_s } => (used_total_s, 1.0),
            Cpu::Mean { used_cores, window_s } => (used_cores, window_s),
        };
        let finite = [used, sample.allowed_cores, window_s, sample.at_s, sample.ready_since_s.unwrap_or(0.0)]
            .into_iter()
            .all(f64::is_finite);
        if !finite || used < 0.0 || sample.allowed_cores <= 0.0 || window_s <= 0.0 {
            return Err(Dropped::NotANumber);
        }
        if sample.at_s > now_s + self.limits.ahead_max_s {
            return Err(Dropped::Ahead);
        }
        if sample.at_s < now_s - self.limits.stale_after_s {
            return Err(Dropped::Stale);
        }
        let too_much = matches!(sample.cpu, Cpu::Mean { used_cores, .. } if used_cores > UTILISATION_MAX * sample.allowed_cores);
        if too_much || sample.allowed_cores > CORES_MAX || window_s > self.limits.stale_after_s.max(120.0) {
            return Err(Dropped::Absurd);
        }
        Ok(())
    }

    fn take(&mut self, sample: &ContainerSample, now_s: f64) -> Result<(), Dropped> {
        match self.containers.binary_search_by_key(&sample.container, |known| known.key) {
            Ok(place) => self.containers[place].take(sample, &self.limits),
            Err(_) => {
                self.forget(now_s);
                if self.containers.len() >= self.limits.containers_max {
                    return Err(Dropped::TooMany);
                }
                let place = self.containers.partition_point(|known| known.key < sample.container);
                make_room(&mut self.containers);
                self.containers.insert(place, Container::new(sample));
                Ok(())
            }
        }
    }

    fn forget(&mut self, now_s: f64) {
        let oldest_s = now_s - self.limits.stale_after_s;
        self.containers.retain(|known| known.heard_s >= oldest_s);
    }
}

/// Makes room for one more, and for little more than that: most deployments have few containers, and there are thousands of
/// deployments.
pub(crate) fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 4);
    }
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    counting: f64,
    utilisation: f64,
    saturated: f64,
    newest_s: f64,
    window_s: f64,
}

impl Default for Sums {
    fn default() -> Self {
        Self { counting: 0.0, utilisation: 0.0, saturated: 0.0, newest_s: f64::NEG_INFINITY, window_s: 0.0 }
    }
}
