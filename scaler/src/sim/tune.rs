//! The search for constants: random at first, then by small changes of the best ones. Deterministic. Used to choose
//! the defaults of the modes, and with the same number of evaluations those of the HPA and KPA it is compared with.
//!
//! The objective is the study's, at equal cost per load: `mean ln(1 + violations / 0.1 %) + 0.1 mean violations`, plus
//! a price for changes beyond an allowance in the mode `calm`, and for a load that is served worse than by the HPA.

use std::fmt::Write as _;

use super::compare::{self, Contender};
use super::controllers::StandardSetup;
use super::hpa::{HpaSettings, RateAmount, RatePolicy};
use super::load::Load;
use super::plant::PlantSettings;
use super::policy::Cadence;
use super::rng::Rng;
use super::score;
use crate::control::Tuning;
use crate::number::{from_len, to_count};
use crate::settings::{AutoscalerSettings, Mode, RawGains, RawSettings};

/// One searched number: name, least, most, whether it is searched on a logarithmic scale.
type Axis = (&'static str, f64, f64, bool);

const STANDARD_AXES: [Axis; 25] = [
    ("level_time_s", 4.0, 60.0, true),
    ("trend_gain", 0.1, 2.0, true),
    ("jump_drift", 0.8, 1.5, false),
    ("jump_threshold", 6.5, 10.0, false),
    ("slope_gate", 3.5, 6.0, false),
    ("lead_max", 0.1, 1.2, false),
    ("band_noise_max", 0.05, 0.14, false),
    ("band_one", 0.005, 0.1, true),
    ("up_chunk", 0.0, 0.4, false),
    ("interval_min_s", 5.0, 90.0, true),
    ("boost_jump", 0.0, 3.0, false),
    ("boost_learned", 0.0, 1.2, false),
    ("boost_round", 0.0, 1.6, false),
    ("boost_max", 0.3, 2.2, false),
    ("round_wait_windows", 1.0, 4.0, false),
    ("round_complete", 0.5, 1.0, false),
    ("kd", 0.0, 2.0, false),
    ("late_power", 5.0, 12.0, false),
    ("hold_s", 15.0, 240.0, true),
    ("down_percent_per_min", 3.0, 99.0, true),
    ("hysteresis", 0.01, 0.3, true),
    ("band_moving_max", 0.0, 0.1, false),
    ("moving_growths", 1.0, 30.0, true),
    ("trend_time_s", 4.0, 60.0, true),
    ("level_moving_s", 3.0, 60.0, true),
];

const HPA_AXES: [Axis; 7] = [
    ("tolerance_up", 0.005, 0.2, true),
    ("tolerance_down", 0.005, 0.3, true),
    ("stabilization_up_s", 0.0, 30.0, false),
    ("stabilization_down_s", 15.0, 600.0, true),
    ("up_percent", 50.0, 900.0, true),
    ("up_pods", 1.0, 30.0, true),
    ("down_percent", 5.0, 100.0, true),
];

const KPA_AXES: [Axis; 1] = [("down_delay_s", 0.0, 400.0, false)];

/// Changes an hour that cost nothing in the mode `calm`, as a multiple of the HPA's.
const CALM_ALLOWANCE: f64 = 1.0;
/// Price of one change an hour beyond the allowance, relative to it.
const CALM_PRICE: f64 = 1.5;
/// Price of a load that is served worse than by the reference, per unit of the logarithm.
const WORSE_PRICE: f64 = 0.5;
/// Price of one change an hour on the load that is steady.
const STEADY_PRICE: f64 = 0.03;
/// Halvings of the range of targets: coarser than in a comparison, for time.
const HALVINGS: u32 = 7;
/// Share of the evaluations that are spent at random.
const RANDOM_SHARE: f64 = 0.15;
/// How many of the best are kept to start changes from.
const KEPT: usize = 8;

/// From a point of the space to who it is.
type Maker = Box<dyn Fn(&[f64]) -> Contender>;

/// What is searched.
struct Space {
    axes: &'static [Axis],
    calm: bool,
    make: Maker,
    start: Vec<f64>,
}

/// Cost and violations of the reference on each load.
struct Base {
    cost: Vec<f64>,
    violations: Vec<f64>,
    actions: f64,
}

/// Searches, and says what was found. The seeds are those of the plant; the search has its own, the first of them.
#[must_use]
pub fn tune(
    contender: &Contender,
    evaluations: u32,
    loads: &[Load],
    plant: &PlantSettings,
    seeds: &[u64],
) -> String {
    let Some(space) = space(contender) else {
        return "this controller has no constants to search\n".to_owned();
    };
    let base = base(loads, plant, seeds);
    let mut rng = Rng::new(seeds.first().copied().unwrap_or(1).wrapping_add(4_711));
    let mut best: Vec<(f64, Vec<f64>)> = Vec::new();
    for evaluation in 0..evaluations {
        let random_until = RANDOM_SHARE * f64::from(evaluations);
        let point = if evaluation == 0 {
            space.start.clone()
        } else if f64::from(evaluation) < random_until && rng.chance(0.7) {
            space.axes.iter().map(|axis| anywhere(axis, &mut rng)).collect()
        } else {
            changed(&best, space.axes, &mut rng)
        };
        let price = price(&space, &point, &base, loads, plant, seeds);
        if best.len() < KEPT || best.last().is_some_and(|worst| price < worst.0) {
            best.push((price, point));
            best.sort_by(|a, b| a.0.total_cmp(&b.0));
            best.truncate(KEPT);
        }
    }
    described(&space, &best)
}

fn described(space: &Space, best: &[(f64, Vec<f64>)]) -> String {
    let mut text = String::new();
    for (price, point) in best.iter().take(3) {
        writeln!(text, "price {price:.4}").ok();
        for ((name, ..), value) in space.axes.iter().zip(point) {
            writeln!(text, "  {name}: {value:.4}").ok();
        }
    }
    text
}

fn base(loads: &[Load], plant: &PlantSettings, seeds: &[u64]) -> Base {
    let hpa = Contender::Hpa { settings: HpaSettings::default(), cadence: Cadence::RESOURCE_METRICS };
    let target = HpaSettings::default().target_percent / 100.0;
    let scores: Vec<_> = loads
        .iter()
        .map(|load| score::mean(&compare::at_target(&hpa, (target, 0), load, plant, seeds)))
        .collect();
    Base {
        cost: scores.iter().map(|one| one.cost).collect(),
        violations: scores.iter().map(|one| one.violations_percent).collect(),
        actions: score::mean(&scores).actions_per_hour,
    }
}

fn price(
    space: &Space,
    point: &[f64],
    base: &Base,
    loads: &[Load],
    plant: &PlantSettings,
    seeds: &[u64],
) -> f64 {
    let contender = (space.make)(point);
    let (mut logarithms, mut violations, mut actions, mut worse, mut restless) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for ((load, cost), reference) in loads.iter().zip(&base.cost).zip(&base.violations) {
        let (_, scores) = compare::at_cost(&contender, (*cost, HALVINGS), load, plant, seeds);
        let mean = score::mean(&scores);
        logarithms += (1.0 + mean.violations_percent / 0.1).ln();
        violations += mean.violations_percent;
        actions += mean.actions_per_hour;
        restless += if load.name == "steady" { mean.actions_per_hour } else { 0.0 };
        worse += ((mean.violations_percent + 0.02) / (reference + 0.02)).ln().max(0.0);
    }
    let count = from_len(loads.len().max(1));
    let allowance = CALM_ALLOWANCE * base.actions;
    let excess = if space.calm { (actions / count / allowance - 1.0).max(0.0) } else { 0.0 };
    let served = (logarithms + 0.1 * violations + WORSE_PRICE * worse) / count;
    served + CALM_PRICE * excess + STEADY_PRICE * restless
}

fn anywhere(axis: &Axis, rng: &mut Rng) -> f64 {
    let (_, low, high, logarithmic) = *axis;
    if logarithmic { rng.between(low.ln(), high.ln()).exp() } else { rng.between(low, high) }
}

/// One of the best, with a few numbers moved, or two of the best mixed.
fn changed(best: &[(f64, Vec<f64>)], axes: &[Axis], rng: &mut Rng) -> Vec<f64> {
    let pick = |rng: &mut Rng| crate::number::to_index(rng.uniform().powi(2) * from_len(best.len()));
    let mut point = best[pick(rng).min(best.len() - 1)].1.clone();
    let other = best[pick(rng).min(best.len() - 1)].1.clone();
    let mix = rng.chance(0.3);
    let width = if rng.chance(0.5) { 0.25 } else { 0.08 };
    for (index, (_, low, high, logarithmic)) in axes.iter().enumerate() {
        if mix && rng.chance(0.5) {
            point[index] = other[index];
        }
        if rng.chance(0.25) {
            let moved = if *logarithmic {
                (point[index].max(*low).ln() + width * (high / low).ln() * rng.normal()).exp()
            } else {
                point[index] + width * (high - low) * rng.normal()
            };
            point[index] = moved.clamp(*low, *high);
        }
    }
    point
}

fn space(contender: &Contender) -> Option<Space> {
    match contender.clone() {
        Contender::Standard { setup, cadence, arrivals } => Some(Space {
            axes: &STANDARD_AXES,
            calm: setup.settings.mode() == Mode::Calm,
            start: standard_point(&setup),
            make: Box::new(move |point| Contender::Standard {
                setup: standard_setup(&setup, point),
                cadence,
                arrivals,
            }),
        }),
        Contender::Hpa { settings, cadence } => Some(Space {
            axes: &HPA_AXES,
            calm: false,
            start: vec![
                settings.tolerance_up,
                settings.tolerance_down,
                settings.stabilization_up_s,
                settings.stabilization_down_s,
                100.0,
                4.0,
                100.0,
            ],
            make: Box::new(move |point| Contender::Hpa { settings: hpa_settings(point), cadence }),
        }),
        Contender::Kpa { down_delay_s } => Some(Space {
            axes: &KPA_AXES,
            calm: false,
            start: vec![down_delay_s],
            make: Box::new(|point| Contender::Kpa { down_delay_s: point[0] }),
        }),
        Contender::Kabernetes(_) | Contender::Floor { .. } => None,
    }
}

fn standard_point(setup: &StandardSetup) -> Vec<f64> {
    let (t, s) = (&setup.tuning, &setup.settings);
    vec![
        t.level_time_s,
        t.trend_gain,
        t.jump_drift,
        t.jump_threshold,
        t.slope_gate,
        t.lead_max,
        t.band_noise_max,
        t.band_one,
        t.up_chunk,
        t.interval_min_s,
        t.boost_jump,
        t.boost_learned,
        t.boost_round,
        t.boost_max,
        t.round_wait_windows,
        t.round_complete,
        s.gains().2.get(),
        t.late_power,
        s.hold_s(),
        s.down_percent_per_min(),
        s.hysteresis(),
        t.band_moving_max,
        t.moving_growths,
        t.trend_time_s,
        t.level_moving_s,
    ]
}

fn standard_setup(setup: &StandardSetup, p: &[f64]) -> StandardSetup {
    let tuning = Tuning {
        level_time_s: p[0],
        trend_gain: p[1],
        jump_drift: p[2],
        jump_threshold: p[3],
        slope_gate: p[4],
        lead_max: p[5],
        band_noise_max: p[6],
        band_one: p[7],
        up_chunk: p[8],
        interval_min_s: p[9],
        boost_jump: p[10],
        boost_learned: p[11],
        boost_round: p[12],
        boost_max: p[13],
        round_wait_windows: p[14],
        round_complete: p[15],
        late_power: p[17],
        band_moving_max: p[21],
        moving_growths: p[22],
        trend_time_s: p[23],
        level_moving_s: p[24],
        ..setup.tuning
    };
    let (kp, ki, _) = setup.settings.gains();
    let raw = RawSettings {
        constants: Some(RawGains { kp: kp.get(), ki: ki.get(), kd: p[16] }),
        hold_s: Some(to_count(p[18])),
        down_percent_per_min: Some(p[19]),
        hysteresis: Some(p[20]),
        ..setup.settings.clone().into()
    };
    let settings = AutoscalerSettings::try_from(raw).unwrap_or_else(|_| setup.settings.clone());
    StandardSetup { settings, tuning }
}

fn hpa_settings(p: &[f64]) -> HpaSettings {
    let of = |amount| RatePolicy { amount, period_s: 15.0 };
    HpaSettings {
        tolerance_up: p[0],
        tolerance_down: p[1],
        stabilization_up_s: p[2],
        stabilization_down_s: p[3],
        policies_up: vec![of(RateAmount::Percent(p[4])), of(RateAmount::Pods(to_count(p[5])))],
        policies_down: vec![of(RateAmount::Percent(p[6]))],
        ..HpaSettings::default()
    }
}
