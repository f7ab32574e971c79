//! The second opinion on a proposal: the simulator, with queues and single replicas, under the recorded demand.

use serde::Serialize;
use slipway_common::model::autoscaler::{AutoscalerSettings, Law};

use super::identify::Identified;
use super::record::Record;
use crate::control::{KabernetesGains, Tuning};
use crate::number::{ceil_count, from_len, to_index};
use crate::sim::controllers::{KabernetesPolicy, StandardPolicy, StandardSetup};
use crate::sim::load::Load;
use crate::sim::plant::PlantSettings;
use crate::sim::policy::{Cadence, Policy};
use crate::sim::run::run;
use crate::sim::score;

/// Most replica-seconds that are simulated for one proposal: it bounds the time.
const REPLICA_S_MAX: f64 = 4_000_000.0;
/// Shortest part of a record that is worth it, in seconds.
const PART_MIN_S: f64 = 900.0;
/// Seeds of the plant.
const SEEDS: [u64; 2] = [11, 12];
/// Time from a measurement to its decision, in seconds.
const DECIDE_AFTER_S: usize = 2;
/// Longest interval that is simulated, in seconds.
const INTERVAL_MAX_S: f64 = 60.0;
/// The simulator agrees when violations do not grow beyond this factor and these percent points ...
const WORSE: (f64, f64) = (1.05, 0.1);
/// ... and the cost not beyond this factor.
const DEARER: f64 = 1.05;

/// What the simulator says of one choice of constants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Simulated {
    /// Requests answered late or not at all, in percent.
    pub violations_percent: f64,
    /// Replica-seconds, relative to those that the objective demands.
    pub cost: f64,
    /// Changes of the count in an hour.
    pub actions_per_hour: f64,
}

/// What the simulator says of present and proposed constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Checked {
    /// The constants in force.
    pub now: Simulated,
    /// The constants proposed.
    pub then: Simulated,
}

impl Checked {
    /// Whether the proposal is no worse.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.then.violations_percent <= WORSE.0 * self.now.violations_percent + WORSE.1
            && self.then.cost <= DEARER * self.now.cost
    }
}

/// The simulator under the recorded demand.
pub(super) struct Simulator {
    load: Load,
    cadence: Cadence,
    plant: PlantSettings,
}

impl Simulator {
    /// For so many different settings; nothing when the fleet is too large for the time there is.
    pub(super) fn of(
        smooth: &Record,
        model: &Identified,
        settings: &AutoscalerSettings,
        settings_max: usize,
    ) -> Option<Self> {
        let load = load(smooth, model, (settings.cpu_target().get(), settings_max))?;
        let interval_s = model.interval_s.clamp(1.0, INTERVAL_MAX_S);
        let period_s = to_index(interval_s.round());
        let cadence = Cadence { period_s, decide_after_s: DECIDE_AFTER_S.min(period_s) };
        let plant = PlantSettings {
            startup_s: model.startup_s,
            metric_noise: model.noise,
            replicas_max: settings.replicas().1.get(),
            ..PlantSettings::default()
        };
        Some(Self { load, cadence, plant })
    }

    pub(super) fn simulate(&self, settings: &AutoscalerSettings) -> Simulated {
        let scores: Vec<_> = SEEDS
            .iter()
            .map(|seed| run(&mut *policy(settings, self.cadence), &self.load, &self.plant, *seed, None))
            .collect();
        let mean = score::mean(&scores);
        Simulated {
            violations_percent: mean.violations_percent,
            cost: mean.cost,
            actions_per_hour: mean.actions_per_hour,
        }
    }
}

fn policy(settings: &AutoscalerSettings, cadence: Cadence) -> Box<dyn Policy> {
    match settings.law() {
        Law::Standard => {
            let setup = StandardSetup { settings: settings.clone(), tuning: Tuning::of(settings.mode()) };
            Box::new(StandardPolicy::new(setup, cadence, false))
        }
        Law::Kabernetes => {
            let (kp, ki, kd) = settings.gains();
            let gains = KabernetesGains { kp: kp.get(), ki: ki.get(), kd: kd.get(), band_replicas: None };
            Box::new(KabernetesPolicy::new(settings.cpu_target().get(), gains))
        }
    }
}

/// The newest part of the record that there is time for, second by second; a silence is bridged by what was before it.
fn load(smooth: &Record, model: &Identified, (target, settings_max): (f64, usize)) -> Option<Load> {
    let replicas = f64::from(ceil_count(model.demand_mean / target).max(1));
    let runs = from_len(settings_max * SEEDS.len());
    let part_s = (REPLICA_S_MAX / runs / replicas).min(smooth.span_s()).floor();
    let (first, last) = (smooth.moments.first()?, smooth.moments.last()?);
    if part_s < PART_MIN_S.min(smooth.span_s().floor()) || part_s < 1.0 {
        return None;
    }
    let from_s = (last.now_s - part_s).max(first.now_s);
    let mut work = Vec::with_capacity(to_index(part_s));
    let mut index = 0;
    let mut demand = smooth.moments.iter().find_map(|moment| moment.demand)?;
    for second in 0..to_index(part_s) {
        let now_s = from_s + from_len(second);
        while let Some(moment) = smooth.moments.get(index).filter(|moment| moment.now_s <= now_s) {
            demand = moment.demand.unwrap_or(demand);
            index += 1;
        }
        work.push(demand);
    }
    Some(Load::of_work("recorded", work))
}
