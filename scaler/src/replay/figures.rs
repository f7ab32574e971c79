//! How well a course of counts served the demand, and what it cost.

use std::collections::VecDeque;

use serde::Serialize;
use slipway_common::model::autoscaler::AutoscalerSettings;

use super::record::Moment;
use crate::number::ceil_count;

/// An overshoot is measured against the highest need of so long, in seconds.
const NEED_MEMORY_S: f64 = 300.0;

/// Figures of one course.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Replicas ordered, times seconds: what is paid for.
    pub replica_s: f64,
    /// Changes of the count.
    pub actions: f64,
    /// Seconds in which the demand exceeded what served.
    pub under_s: f64,
    /// Mean use of the replicas that serve, as a share.
    pub utilisation_mean: f64,
    /// How far the count lay above the need (demand at the CPU target), on average, in percent of the need.
    pub over_percent: f64,
    /// How far the count went beyond the highest need of five minutes, at most, in percent of it.
    pub overshoot_percent: f64,
}

/// Figures, and what the search for constants looks at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) figures: Figures,
    /// Mean square of how far the use lay above the target, relative.
    pub(super) strain: f64,
    /// Mean share of the demand that found no replica.
    pub(super) short: f64,
}

/// Adds up a course of (ordered, serving) replicas. The need is reckoned with the target and limits of `settings`.
pub(super) fn tally(
    moments: &[Moment],
    course: impl Iterator<Item = (u32, u32)>,
    settings: &AutoscalerSettings,
) -> Tally {
    let target = settings.cpu_target().get();
    let (min, max) = settings.replicas();
    let mut tally = Tally::default();
    let mut known_s = 0.0;
    let mut before: Option<u32> = None;
    let mut needs = HighestNeed::default();
    for (moment, (replicas, ready)) in moments.iter().zip(course) {
        let lasts_s = moment.lasts_s;
        let figures = &mut tally.figures;
        figures.replica_s += f64::from(replicas) * lasts_s;
        figures.actions += if before.is_some_and(|before| before != replicas) { 1.0 } else { 0.0 };
        before = Some(replicas);
        let Some(demand) = moment.demand else { continue };
        known_s += lasts_s;
        let serving = f64::from(ready.max(1));
        figures.under_s += if demand > f64::from(ready) { lasts_s } else { 0.0 };
        figures.utilisation_mean += (demand / serving).min(1.0) * lasts_s;
        let need = f64::from(ceil_count(demand / target).clamp(min.get(), max.get()));
        figures.over_percent += 100.0 * (f64::from(replicas) - need).max(0.0) / need * lasts_s;
        let highest = needs.note(moment.now_s, need);
        let beyond = 100.0 * (f64::from(replicas) / highest - 1.0);
        figures.overshoot_percent = figures.overshoot_percent.max(beyond);
        tally.strain += (demand / serving / target - 1.0).max(0.0).powi(2) * lasts_s;
        tally.short += ((demand - f64::from(ready)) / demand.max(f64::MIN_POSITIVE)).max(0.0) * lasts_s;
    }
    let known_s = f64::max(known_s, 1.0);
    tally.figures.utilisation_mean /= known_s;
    tally.figures.over_percent /= known_s;
    tally.strain /= known_s;
    tally.short /= known_s;
    tally
}

/// The mean of several, field by field.
pub(super) fn mean(tallies: &[Tally]) -> Tally {
    let count = crate::number::from_len(tallies.len().max(1));
    let of = |field: fn(&Tally) -> f64| tallies.iter().map(field).sum::<f64>() / count;
    Tally {
        figures: Figures {
            replica_s: of(|t| t.figures.replica_s),
            actions: of(|t| t.figures.actions),
            under_s: of(|t| t.figures.under_s),
            utilisation_mean: of(|t| t.figures.utilisation_mean),
            over_percent: of(|t| t.figures.over_percent),
            overshoot_percent: of(|t| t.figures.overshoot_percent),
        },
        strain: of(|t| t.strain),
        short: of(|t| t.short),
    }
}

/// The highest need of the last while: needs that a later, larger one makes irrelevant are dropped.
#[derive(Debug, Default)]
struct HighestNeed {
    needs: VecDeque<(f64, f64)>,
}

impl HighestNeed {
    fn note(&mut self, now_s: f64, need: f64) -> f64 {
        while self.needs.back().is_some_and(|(_, earlier)| *earlier <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((now_s, need));
        while self.needs.front().is_some_and(|(at_s, _)| *at_s < now_s - NEED_MEMORY_S) {
            self.needs.pop_front();
        }
        self.needs.front().map_or(need, |(_, highest)| *highest)
    }
}
