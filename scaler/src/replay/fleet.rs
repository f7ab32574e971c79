//! A controller, and the replicas it would have had under the recorded demand.

use slipway_common::model::autoscaler::{AutoscalerSettings, Evidence, Silence};

use super::record::Moment;
use crate::control::{Controller, Observation};
use crate::demand::CEILING_ONE;
use crate::number::{from_len, to_index};
use crate::sim::rng::Rng;

/// Replicas are not equally busy: at a mean use within so much of the ceiling, some stand at it and some do not.
const SPREAD: f64 = 0.05;
/// Spread of start-up times where noise is asked for (standard deviation of the logarithm).
const STARTUP_SPREAD: f64 = 0.15;
/// Noise is taken from at most so many measurements before or after.
const NEAR: usize = 40;
/// A replica that serves for so long is like all others, in seconds.
const OLD_S: f64 = 3_600.0;

/// Noise that is put on a smoothed demand: what was taken out nearby, in another order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    /// Standard deviation of one measurement, relative; what lies beyond three of them is something else.
    pub(super) share: f64,
    /// Its seed.
    pub(super) seed: u64,
}

/// Plays moments to a controller that has seen nothing yet; answers the replicas ordered and those that serve, as each
/// moment would have shown them. Without noise, what was measured is used as it is; with it, the moments' demand and
/// the noise are.
pub(super) fn play(
    moments: &[Moment],
    settings: &AutoscalerSettings,
    startup_s: f64,
    noise: Option<Noise>,
) -> Vec<(u32, u32)> {
    let mut controller = Controller::new(settings.clone());
    let mut fleet = Fleet::default();
    let mut rng = noise.map(|noise| Rng::new(noise.seed));
    let mut played = Vec::with_capacity(moments.len());
    for (index, moment) in moments.iter().enumerate() {
        let now_s = moment.now_s;
        if moment.replicas == 0 || fleet.ordered == 0 {
            // Stopped, or begun: that is not the autoscaler's doing.
            fleet = Fleet::found(moment, startup_s);
        }
        let ready = fleet.ready(now_s);
        played.push((fleet.ordered, ready));
        let scatter = noise.zip(rng.as_mut()).map(|(noise, rng)| scatter(moments, index, noise.share, rng));
        let as_recorded = (fleet.ordered, ready) == (moment.replicas, moment.ready);
        let seen = Observation {
            now_s,
            replicas: fleet.ordered,
            ready,
            evidence: evidence(moment, &fleet, ready, scatter),
            arrivals_per_s: moment.arrivals_per_s,
            // What waits is known only of the fleet that was there.
            inflight: moment.inflight.filter(|_| as_recorded),
        };
        if let Some(to) = controller.step(&seen).to() {
            let spread = rng.as_mut().map_or(1.0, |rng| (STARTUP_SPREAD * rng.normal()).exp());
            fleet.order(now_s, to, startup_s * spread);
        }
    }
    played
}

/// The noise of one measurement near this one.
fn scatter(moments: &[Moment], index: usize, share: f64, rng: &mut Rng) -> f64 {
    let first = index.saturating_sub(NEAR);
    let last = (index + NEAR).min(moments.len() - 1);
    let chosen = first + to_index(rng.uniform() * from_len(last - first + 1)).min(last - first);
    let bound = 3.0 * share;
    moments[chosen].scatter.clamp((-bound).exp(), bound.exp())
}

fn evidence(moment: &Moment, fleet: &Fleet, ready: u32, scatter: Option<f64>) -> Result<Evidence, Silence> {
    let (Some(recorded), Some(demand)) = (moment.evidence, moment.demand) else {
        return Err(Silence::Stale);
    };
    if ready == 0 {
        return Err(Silence::NothingReady);
    }
    if scatter.is_none() && ready == moment.ready {
        return Ok(recorded);
    }
    let counting = fleet.ready(moment.now_s - recorded.window_s);
    if counting == 0 {
        return Err(Silence::TooYoung);
    }
    let utilisation = (demand * scatter.unwrap_or(1.0) / f64::from(ready)).min(1.0);
    Ok(Evidence {
        at_s: recorded.at_s,
        window_s: recorded.window_s,
        utilisation,
        saturated_share: ((utilisation - CEILING_ONE + SPREAD) / (2.0 * SPREAD)).clamp(0.0, 1.0),
        demand_replicas: utilisation * f64::from(ready),
        counting: counting.min(ready),
        young: ready.saturating_sub(counting),
    })
}

/// Replicas by when they serve, in the order they were ordered.
#[derive(Debug, Clone, Default)]
struct Fleet {
    ordered: u32,
    batches: Vec<Batch>,
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    serves_at_s: f64,
    count: u32,
}

impl Fleet {
    /// What was there; those that do not serve yet have just been started.
    fn found(moment: &Moment, startup_s: f64) -> Self {
        let ready = moment.ready.min(moment.replicas);
        let serving = Batch { serves_at_s: f64::NEG_INFINITY, count: ready };
        let starting = Batch { serves_at_s: moment.now_s + startup_s, count: moment.replicas - ready };
        Self { ordered: moment.replicas, batches: vec![serving, starting] }
    }

    fn ready(&self, now_s: f64) -> u32 {
        self.batches.iter().filter(|batch| batch.serves_at_s <= now_s).map(|batch| batch.count).sum()
    }

    /// The newest go first: those that do not serve yet, then the youngest.
    fn order(&mut self, now_s: f64, to: u32, startup_s: f64) {
        if to > self.ordered {
            self.batches.push(Batch { serves_at_s: now_s + startup_s, count: to - self.ordered });
        }
        let mut surplus = self.ordered.saturating_sub(to);
        while surplus > 0 {
            let Some(newest) = self.batches.last_mut() else { break };
            let gone = newest.count.min(surplus);
            newest.count -= gone;
            surplus -= gone;
            if newest.count == 0 {
                self.batches.pop();
            }
        }
        self.ordered = to;
        self.forget_ages(now_s);
    }

    fn forget_ages(&mut self, now_s: f64) {
        let is_old = |batch: &Batch| batch.serves_at_s <= now_s - OLD_S;
        let old: u32 = self.batches.iter().filter(|batch| is_old(batch)).map(|batch| batch.count).sum();
        self.batches.retain(|batch| !is_old(batch));
        self.batches.insert(0, Batch { serves_at_s: f64::NEG_INFINITY, count: old });
    }
}
