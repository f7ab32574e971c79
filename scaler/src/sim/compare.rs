//! The comparison: every contender on every load with several seeds, at equal cost. The target of each is moved per
//! load until it costs no more replica-seconds than the reference, the HPA with Kubernetes' defaults; what it then
//! violates is its score.

use serde::Serialize;

use super::controllers::{
    FloorPolicy, HpaPolicy, KabernetesPolicy, KpaPolicy, StandardPolicy, StandardSetup,
};
use super::hpa::HpaSettings;
use super::load::Load;
use super::plant::PlantSettings;
use super::policy::{Cadence, Policy};
use super::run::run;
use super::score::{self, Scores};
use crate::control::KabernetesGains;
use crate::number::from_len;

/// Targets that are tried.
const TARGETS: (f64, f64) = (0.2, 0.98);
/// Halvings of the range of targets in a comparison.
const HALVINGS: u32 = 9;
/// A cost that exceeds the reference's by so little counts as equal.
const COST_SLACK: f64 = 1.001;
/// Added to both violations of a ratio, in percent: below it, differences are of no interest.
const RATIO_OFFSET_PERCENT: f64 = 0.02;
/// What a floor may hold, in seconds; the best per load counts.
const FLOOR_HOLDS_S: [usize; 3] = [10, 60, 240];

/// Who takes part.
#[derive(Debug, Clone, PartialEq)]
pub enum Contender {
    /// HPA rules at a cadence.
    Hpa {
        /// Everything but the target.
        settings: HpaSettings,
        /// When it measures and decides.
        cadence: Cadence,
    },
    /// KPA rules on CPU, with this `scale-down-delay`.
    Kpa {
        /// In seconds.
        down_delay_s: f64,
    },
    /// The law of Kabernetes.
    Kabernetes(KabernetesGains),
    /// The law `standard`.
    Standard {
        /// Settings and constants; the target is moved.
        setup: StandardSetup,
        /// When it measures and decides.
        cadence: Cadence,
        /// Whether it sees arrivals.
        arrivals: bool,
    },
    /// Knows the true load, so many seconds ahead; 0 is the present.
    Floor {
        /// In seconds.
        ahead_s: usize,
    },
}

impl Contender {
    /// How many variants there are, of which the best per load counts.
    fn variants(&self) -> usize {
        match self {
            Self::Floor { .. } => FLOOR_HOLDS_S.len(),
            Self::Hpa { .. } | Self::Kpa { .. } | Self::Kabernetes(_) | Self::Standard { .. } => 1,
        }
    }

    /// The policy with this target.
    #[must_use]
    pub fn policy(&self, target: f64, variant: usize) -> Box<dyn Policy> {
        match self {
            Self::Hpa { settings, cadence } => {
                let settings = HpaSettings { target_percent: 100.0 * target, ..settings.clone() };
                Box::new(HpaPolicy::new(settings, *cadence))
            }
            Self::Kpa { down_delay_s } => Box::new(KpaPolicy::new(target, *down_delay_s)),
            Self::Kabernetes(gains) => Box::new(KabernetesPolicy::new(target, *gains)),
            Self::Standard { setup, cadence, arrivals } => {
                // A target out of range cannot come from a search within it; the given one is kept then.
                let setup = setup.with_target(target).unwrap_or_else(|_| setup.clone());
                Box::new(StandardPolicy::new(setup, *cadence, *arrivals))
            }
            Self::Floor { ahead_s } => {
                let hold_s = FLOOR_HOLDS_S[variant.min(FLOOR_HOLDS_S.len() - 1)];
                Box::new(FloorPolicy::new(target, *ahead_s, hold_s))
            }
        }
    }
}

/// A contender and what it is called.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The name in tables.
    pub name: String,
    /// Who.
    pub contender: Contender,
}

/// The scores of one contender on one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// The load.
    pub load: String,
    /// The target that was used.
    pub target: f64,
    /// Means over the seeds.
    pub scores: Scores,
    /// Violations by seed, in percent.
    pub violations_by_seed_percent: Vec<f64>,
}

/// Scores of all seeds at one target.
pub fn at_target(
    contender: &Contender,
    (target, variant): (f64, usize),
    load: &Load,
    plant: &PlantSettings,
    seeds: &[u64],
) -> Vec<Scores> {
    seeds.iter().map(|seed| run(&mut *contender.policy(target, variant), load, plant, *seed, None)).collect()
}

/// The lowest target whose cost is at most `cost_max`, by so many halvings of the range, and the scores there.
pub fn at_cost(
    contender: &Contender,
    (cost_max, halvings): (f64, u32),
    load: &Load,
    plant: &PlantSettings,
    seeds: &[u64],
) -> (f64, Vec<Scores>) {
    let mut best: Option<(f64, Vec<Scores>)> = None;
    for variant in 0..contender.variants() {
        let found = at_cost_of(contender, variant, (cost_max, halvings), load, plant, seeds);
        let better = |old: &(f64, Vec<Scores>)| {
            score::mean(&found.1).violations_percent < score::mean(&old.1).violations_percent
        };
        if best.as_ref().is_none_or(better) {
            best = Some(found);
        }
    }
    best.unwrap_or_default()
}

fn at_cost_of(
    contender: &Contender,
    variant: usize,
    (cost_max, halvings): (f64, u32),
    load: &Load,
    plant: &PlantSettings,
    seeds: &[u64],
) -> (f64, Vec<Scores>) {
    let (mut low, mut high) = TARGETS;
    let mut found = None;
    for _ in 0..halvings {
        let target = 0.5 * (low + high);
        let scores = at_target(contender, (target, variant), load, plant, seeds);
        if score::mean(&scores).cost <= cost_max * COST_SLACK {
            found = Some((target, scores));
            high = target;
        } else {
            low = target;
        }
    }
    found.unwrap_or_else(|| (high, at_target(contender, (high, variant), load, plant, seeds)))
}

/// One row of the table: a contender over all loads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Who.
    pub name: String,
    /// Means over the loads.
    pub mean: Scores,
    /// Geometric mean of the violations, each plus 0.02, less 0.02, in percent.
    pub violations_geometric_percent: f64,
    /// Geometric mean of `(reference + 0.02) / (own + 0.02)`.
    pub times_fewer: f64,
    /// Half of the 95 % interval of that over the seeds; nothing with one seed.
    pub times_fewer_half_interval: Option<f64>,
    /// Smallest of these ratios, and its load.
    pub worst_ratio: f64,
    /// Where.
    pub worst_load: String,
    /// The loads.
    pub cells: Vec<Cell>,
}

/// Compares contenders; the first is the reference, at the target it is given.
pub fn compare(
    contenders: &[Named],
    reference_target: f64,
    loads: &[Load],
    plant: &PlantSettings,
    seeds: &[u64],
) -> Vec<Row> {
    let Some(reference) = contenders.first() else { return Vec::new() };
    let cell = |load: &Load, (target, scores): (f64, Vec<Scores>)| Cell {
        load: load.name.clone(),
        target,
        scores: score::mean(&scores),
        violations_by_seed_percent: scores.iter().map(|one| one.violations_percent).collect(),
    };
    let base: Vec<Cell> = loads
        .iter()
        .map(|load| {
            let scores = at_target(&reference.contender, (reference_target, 0), load, plant, seeds);
            cell(load, (reference_target, scores))
        })
        .collect();
    let mut rows = vec![row(&reference.name, base.clone(), &base)];
    for named in &contenders[1..] {
        let cells = loads
            .iter()
            .zip(&base)
            .map(|(load, base)| {
                cell(load, at_cost(&named.contender, (base.scores.cost, HALVINGS), load, plant, seeds))
            })
            .collect();
        rows.push(row(&named.name, cells, &base));
    }
    rows
}

/// Runs contenders at one target each, without moving it.
pub fn as_they_are(
    contenders: &[Named],
    target: f64,
    loads: &[Load],
    plant: &PlantSettings,
    seeds: &[u64],
) -> Vec<Row> {
    let mut base: Vec<Cell> = Vec::new();
    let mut rows = Vec::new();
    for named in contenders {
        let cells: Vec<Cell> = loads
            .iter()
            .map(|load| {
                let scores = at_target(&named.contender, (target, 0), load, plant, seeds);
                Cell {
                    load: load.name.clone(),
                    target,
                    scores: score::mean(&scores),
                    violations_by_seed_percent: scores.iter().map(|one| one.violations_percent).collect(),
                }
            })
            .collect();
        if base.is_empty() {
            base.clone_from(&cells);
        }
        rows.push(row(&named.name, cells, &base));
    }
    rows
}

fn ratio(base_percent: f64, own_percent: f64) -> f64 {
    (base_percent + RATIO_OFFSET_PERCENT) / (own_percent + RATIO_OFFSET_PERCENT)
}

fn geometric(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value.ln(), count + 1.0));
    if count > 0.0 { f64::exp(sum / count) } else { 1.0 }
}

fn row(name: &str, cells: Vec<Cell>, base: &[Cell]) -> Row {
    let ratios: Vec<f64> = cells
        .iter()
        .zip(base)
        .map(|(own, base)| ratio(base.scores.violations_percent, own.scores.violations_percent))
        .collect();
    let worst = ratios.iter().zip(&cells).min_by(|a, b| a.0.total_cmp(b.0));
    let seeds = cells.first().map_or(0, |cell| cell.violations_by_seed_percent.len());
    let by_seed: Vec<f64> = (0..seeds)
        .map(|seed| {
            geometric(cells.iter().zip(base).map(|(own, base)| {
                ratio(base.violations_by_seed_percent[seed], own.violations_by_seed_percent[seed])
            }))
        })
        .collect();
    let offset = |cell: &Cell| cell.scores.violations_percent + RATIO_OFFSET_PERCENT;
    Row {
        name: name.to_owned(),
        mean: score::mean(&cells.iter().map(|cell| cell.scores).collect::<Vec<_>>()),
        violations_geometric_percent: geometric(cells.iter().map(offset)) - RATIO_OFFSET_PERCENT,
        times_fewer: geometric(ratios.iter().copied()),
        times_fewer_half_interval: half_interval(&by_seed),
        worst_ratio: worst.as_ref().map_or(1.0, |worst| *worst.0),
        worst_load: worst.map_or_else(String::new, |worst| worst.1.load.clone()),
        cells,
    }
}

/// Half of the 95 % confidence interval of the mean (Student's t).
fn half_interval(values: &[f64]) -> Option<f64> {
    const T: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    let count = values.len();
    if count < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / from_len(count);
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / from_len(count - 1);
    let t = T.get(count - 2).copied().unwrap_or(1.96);
    Some(t * (variance / from_len(count)).sqrt())
}
