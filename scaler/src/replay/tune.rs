//! Constants proposed from a record: a search on the plant that the record shows, checked on what it was not searched
//! on. A proposal may not cost more than now (by 2 % at most) and may not change the count more often.
//!
//! The price of a course: how far use lies above the target (squared), demand that finds no replica, and a little for
//! replicas and for changes, so that of two that serve alike the cheaper and the calmer one is taken.

use serde::Serialize;
use slipway_common::model::autoscaler::{AutoscalerSettings, Observed, RawGains, RawSettings};

use super::axes::Axes;
use super::confidence::{Confidence, Trials, Verdict};
use super::figures::{self, Figures, Tally};
use super::fleet::{self, Noise};
use super::identify::{self, Identified};
use super::record::{Moment, Record};
use super::verify::{Checked, Simulator};
use crate::control::Tuning;
use crate::number::{from_len, to_count, to_index, to_u64};
use crate::sim::rng::Rng;

/// Seconds of measurements that a proposal takes at least.
pub const TUNE_NEEDS_S: u64 = 1_800;
/// Most decisions that are computed in the search: it bounds the time.
const DECISIONS_MAX: f64 = 400_000.0;
/// Fewest and most candidates.
const CANDIDATES: (f64, f64) = (24.0, 96.0);
/// Share of the candidates that lie anywhere; the rest are changes of the best.
const ANYWHERE_SHARE: f64 = 0.4;
/// How many of the best are kept: to start changes from, and to choose from in the end.
const KEPT: usize = 5;
/// Seed of the search.
const SEARCH_SEED: u64 = 4_711;
/// Seeds of the noise while searching, and for the check.
const SEARCH_SEEDS: [u64; 2] = [1, 2];
const CHECK_SEEDS: [u64; 4] = [101, 102, 103, 104];
/// A proposal costs at most so many times what is paid now.
const COST_MAX: f64 = 1.02;
/// Counts of changes are means over seeds: so much more is the same.
const ACTIONS_SLACK: f64 = 0.25;
/// On the half that was not searched on, cost and changes may be larger by this share and this much.
const HELD_OUT_SLACK: (f64, f64) = (0.05, 1.0);
/// A gain that is smaller than this share is none, and without a second opinion one that is smaller than that.
const GAIN_MIN: f64 = 0.05;
const GAIN_ALONE_MIN: f64 = 0.10;
/// Load changes that each half must have for one to check the other.
const HALF_CHANGES_MIN: u32 = 2;
/// Price of demand that finds no replica, of the present cost, and of the present number of changes.
const SHORT_PRICE: f64 = 4.0;
const COST_PRICE: f64 = 0.1;
const ACTIONS_PRICE: f64 = 0.01;

/// Why nothing is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TuneError {
    /// Too little was measured.
    #[error("{have_s} s were measured; constants can be proposed from {need_s} s on")]
    TooLittle {
        /// Seconds that were measured.
        have_s: u64,
        /// Seconds that it takes.
        need_s: u64,
    },
}

/// What may be proposed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Constants {
    /// Proportional gain.
    pub kp: f64,
    /// Integral gain.
    pub ki: f64,
    /// Derivative gain.
    pub kd: f64,
    /// For how long, at least, the highest demand is remembered, in seconds.
    pub hold_s: u32,
}

/// What is to be expected on the record, as means over several seeds of noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expected {
    /// With the constants in force.
    pub now: Figures,
    /// With those proposed.
    pub then: Figures,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// The constants in force.
    pub now: Constants,
    /// The constants proposed; the same when nothing better was found.
    pub constants: Constants,
    /// The target, which stays.
    pub cpu_target: f64,
    /// What is to be expected.
    pub expected: Expected,
    /// What the simulator says; nothing when the fleet is too large for it, or nothing is proposed.
    pub checked: Option<Checked>,
    /// How sure that is.
    pub confidence: Confidence,
    /// The plant that the record shows.
    pub model: Identified,
}

impl Proposal {
    /// Whether anything shall change.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.constants != self.now
    }
}

/// Proposes constants for a deployment from what was observed of it.
///
/// # Errors
/// When too little was measured to say anything.
pub fn tune(observed: &[Observed], settings: &AutoscalerSettings) -> Result<Proposal, TuneError> {
    let record = Record::of(observed, &Tuning::of(settings.mode()));
    let have_s = to_u64(record.measured_s());
    if have_s < TUNE_NEEDS_S {
        return Err(TuneError::TooLittle { have_s, need_s: TUNE_NEEDS_S });
    }
    let smooth = record.smoothed();
    let model = Identified::of(&record, &smooth);
    let (searched, held_out) = halves(&smooth, &model);
    let bench = |part, seeds| Bench::new(part, &model, settings, seeds);
    let best = best(&bench(searched, &SEARCH_SEEDS), settings);
    let check = bench(held_out.unwrap_or(searched), &CHECK_SEEDS);
    let whole = bench(&smooth.moments, &CHECK_SEEDS);
    let good = good(&best, &check, &whole);
    let simulator = Simulator::of(&smooth, &model, settings, 1 + KEPT);
    let (chosen, checked) = second_opinion(&good, settings, simulator.as_ref());
    let then = chosen.map_or(&whole.base, |chosen| &chosen.whole);
    let proposed = chosen.map_or(settings, |chosen| &chosen.settings);
    let (gain, gain_spread) = whole.gain(then);
    let trials = Trials {
        halves: held_out.is_some(),
        held_out_gain: chosen.map_or(0.0, |chosen| chosen.held_out_gain),
        gain,
        gain_spread,
        replayed: whole.replayed(),
        verdict: match (chosen, good.is_empty()) {
            (Some(_), _) if checked.is_some() => Verdict::Simulated,
            (Some(_), _) => Verdict::NotSimulated,
            (None, false) if simulator.is_some() => Verdict::Refuted,
            (None, _) => Verdict::NothingBetter,
        },
    };
    Ok(Proposal {
        now: Constants::of(settings),
        constants: Constants::of(proposed),
        cpu_target: settings.cpu_target().get(),
        expected: Expected { now: figures::mean(&whole.base).figures, then: figures::mean(then).figures },
        checked,
        confidence: Confidence::of(&model, &trials),
        model,
    })
}

/// The first that the simulator finds no worse than what is in force; without a simulator, the first that gains more.
fn second_opinion<'a>(
    good: &'a [Good],
    settings: &AutoscalerSettings,
    simulator: Option<&Simulator>,
) -> (Option<&'a Good>, Option<Checked>) {
    let Some(simulator) = simulator else {
        return (good.iter().find(|candidate| candidate.gain >= GAIN_ALONE_MIN), None);
    };
    if good.is_empty() {
        return (None, None);
    }
    let now = simulator.simulate(settings);
    for candidate in good {
        let checked = Checked { now, then: simulator.simulate(&candidate.settings) };
        if checked.agrees() {
            return (Some(candidate), Some(checked));
        }
    }
    (None, None)
}

impl Constants {
    /// Those of settings.
    #[must_use]
    pub fn of(settings: &AutoscalerSettings) -> Self {
        let (kp, ki, kd) = settings.gains();
        Self { kp: kp.get(), ki: ki.get(), kd: kd.get(), hold_s: to_count(settings.hold_s()) }
    }

    /// The settings with these in place of theirs; nothing when they do not fit.
    fn within(self, settings: &AutoscalerSettings) -> Option<AutoscalerSettings> {
        let raw = RawSettings {
            constants: Some(RawGains { kp: self.kp, ki: self.ki, kd: self.kd }),
            hold_s: Some(self.hold_s),
            ..settings.clone().into()
        };
        AutoscalerSettings::try_from(raw).ok()
    }
}

/// The half to search on and the one to check on; the whole and nothing when one half has too few load changes.
fn halves<'a>(smooth: &'a Record, model: &Identified) -> (&'a [Moment], Option<&'a [Moment]>) {
    let moments = smooth.moments.as_slice();
    let middle_s = moments.first().map_or(0.0, |first| first.now_s) + 0.5 * smooth.span_s();
    let middle = moments.partition_point(|moment| moment.now_s < middle_s);
    let (first, second) = moments.split_at(middle);
    let enough = |half| identify::changes(half, model.noise) >= HALF_CHANGES_MIN;
    if enough(first) && enough(second) { (first, Some(second)) } else { (moments, None) }
}

/// A part of the record with seeds, and how the present constants do there.
struct Bench<'a> {
    moments: &'a [Moment],
    model: &'a Identified,
    seeds: &'a [u64],
    base: Vec<Tally>,
    base_mean: Tally,
}

impl<'a> Bench<'a> {
    fn new(
        moments: &'a [Moment],
        model: &'a Identified,
        settings: &AutoscalerSettings,
        seeds: &'a [u64],
    ) -> Self {
        let mut bench = Self { moments, model, seeds, base: Vec::new(), base_mean: Tally::default() };
        bench.base = bench.play(settings);
        bench.base_mean = figures::mean(&bench.base);
        bench
    }

    /// By seed.
    fn play(&self, settings: &AutoscalerSettings) -> Vec<Tally> {
        let one = |seed: &u64| {
            let noise = Noise { share: self.model.noise, seed: *seed };
            let course = fleet::play(self.moments, settings, self.model.startup_s, Some(noise));
            figures::tally(self.moments, course.into_iter(), settings)
        };
        self.seeds.iter().map(one).collect()
    }

    /// Replica-seconds of the constants in force here, relative to those recorded.
    fn replayed(&self) -> f64 {
        let recorded: f64 =
            self.moments.iter().map(|moment| f64::from(moment.replicas) * moment.lasts_s).sum();
        self.base_mean.figures.replica_s / recorded.max(1.0)
    }

    fn price(&self, tally: &Tally) -> f64 {
        let (own, base) = (&tally.figures, &self.base_mean.figures);
        let cost = own.replica_s / base.replica_s.max(1.0);
        let actions = own.actions / base.actions.max(1.0);
        tally.strain + SHORT_PRICE * tally.short + COST_PRICE * cost + ACTIONS_PRICE * actions
    }

    /// Whether it costs no more and changes the count no more often, give or take (relative, changes).
    fn allows(&self, tally: &Tally, (share, changes): (f64, f64)) -> bool {
        let (own, base) = (&tally.figures, &self.base_mean.figures);
        own.replica_s <= (COST_MAX + share) * base.replica_s
            && own.actions <= (1.0 + share) * base.actions + ACTIONS_SLACK + changes
    }

    /// Mean and standard deviation over the seeds of how much lower the price is than now, relative.
    fn gain(&self, tallies: &[Tally]) -> (f64, f64) {
        let pairs = self.base.iter().zip(tallies);
        let gains: Vec<f64> = pairs.map(|(base, own)| 1.0 - self.price(own) / self.price(base)).collect();
        let count = from_len(gains.len().max(1));
        let mean = gains.iter().sum::<f64>() / count;
        let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        (mean, variance.sqrt())
    }
}

/// A point of the search: its price there, and what it is.
type Candidate = (f64, Constants, AutoscalerSettings);

/// The best candidates that are allowed, the best first; the present constants are not among them.
fn best(search: &Bench<'_>, settings: &AutoscalerSettings) -> Vec<Candidate> {
    let axes = Axes::of(settings);
    let mut rng = Rng::new(SEARCH_SEED);
    let now = Constants::of(settings);
    let each = from_len(search.moments.len() * search.seeds.len()).max(1.0);
    let candidates = to_count((DECISIONS_MAX / each).clamp(CANDIDATES.0, CANDIDATES.1));
    let mut best: Vec<Candidate> = Vec::new();
    for index in 0..candidates {
        let from = best.get(to_index(rng.uniform().powi(2) * from_len(best.len())));
        let constants = match (index, from) {
            (0, _) => axes.usual,
            (_, Some((_, from, _))) if f64::from(index) >= ANYWHERE_SHARE * f64::from(candidates) => {
                axes.changed(from, &mut rng)
            }
            (_, Some(_) | None) if rng.chance(0.5) => axes.anywhere(&mut rng),
            (_, Some(_) | None) => axes.changed(&now, &mut rng),
        };
        let Some(tried) = constants.within(settings) else { continue };
        let tally = figures::mean(&search.play(&tried));
        if constants != now && search.allows(&tally, (0.0, 0.0)) {
            best.push((search.price(&tally), constants, tried));
            best.sort_by(|a, b| a.0.total_cmp(&b.0));
            best.truncate(KEPT);
        }
    }
    best
}

/// A candidate that stands the checks on the record, and how it did.
struct Good {
    settings: AutoscalerSettings,
    held_out_gain: f64,
    gain: f64,
    whole: Vec<Tally>,
}

/// Those of the best that gain something on the whole record and are allowed everywhere, the one with the largest gain
/// where it was not searched first.
fn good(best: &[Candidate], check: &Bench<'_>, whole: &Bench<'_>) -> Vec<Good> {
    let mut good: Vec<Good> = Vec::new();
    for (_, _, settings) in best {
        let held_out = check.play(settings);
        let (held_out_gain, _) = check.gain(&held_out);
        let tallies = whole.play(settings);
        let (gain, _) = whole.gain(&tallies);
        if check.allows(&figures::mean(&held_out), HELD_OUT_SLACK)
            && whole.allows(&figures::mean(&tallies), (0.0, 0.0))
            && held_out_gain > 0.0
            && gain >= GAIN_MIN
        {
            good.push(Good { settings: settings.clone(), held_out_gain, gain, whole: tallies });
        }
    }
    good.sort_by(|a, b| b.held_out_gain.total_cmp(&a.held_out_gain));
    good
}
