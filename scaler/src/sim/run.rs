//! One run: a policy keeps a plant under a load, second by second.

use std::collections::VecDeque;

use super::load::Load;
use super::plant::{Plant, PlantSettings};
use super::policy::{Pod, PodMetric, Policy, View};
use super::score::{Scorer, Scores};
use crate::number::from_len;

/// So many seconds of total CPU are kept for policies that average over them.
const TOTALS_S: usize = 60;
/// Utilisation of the fleet a run starts with.
const START_UTILISATION: f64 = 0.6;

/// What a run showed over time, for plots: one point every few seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// Seconds since the start.
    pub at_s: f64,
    /// Work, in replicas it keeps busy.
    pub work_replicas: f64,
    /// Replicas ordered.
    pub ordered: u32,
    /// Replicas that serve.
    pub ready: u32,
}

/// Runs a policy; `curve` gets a point every 5 s.
pub fn run(
    policy: &mut dyn Policy,
    load: &Load,
    settings: &PlantSettings,
    seed: u64,
    mut curve: Option<&mut Vec<CurvePoint>>,
) -> Scores {
    let cadence = policy.cadence();
    let mut plant = Plant::new(*settings, Plant::replicas_at_start(load, START_UTILISATION), seed);
    let mut scorer = Scorer::from(settings.unscored_s);
    let mut due: VecDeque<(usize, Vec<PodMetric>)> = VecDeque::new();
    let mut totals: Vec<f64> = Vec::with_capacity(2 * TOTALS_S);
    let mut pods: Vec<Pod> = Vec::new();
    let mut arrived = 0.0;
    let mut arrivals_per_s = 0.0;
    for second in 0..load.duration_s() {
        let now_s = from_len(second);
        if second > 0 && second.is_multiple_of(cadence.period_s) {
            due.push_back((second + cadence.decide_after_s, plant.sample(now_s)));
            arrivals_per_s = arrived / from_len(cadence.period_s);
            arrived = 0.0;
        }
        let mut acted = false;
        if due.front().is_some_and(|(at, _)| *at <= second)
            && let Some((_, metrics)) = due.pop_front()
        {
            plant.list(now_s, &mut pods);
            let view = View {
                now_s,
                ordered: plant.ordered(),
                pods: &pods,
                metrics: &metrics,
                recent_total_cores: &totals,
                load,
                arrivals_per_s,
                inflight: plant.inflight(),
            };
            let wanted = policy.decide(&view);
            acted = plant.order(now_s, wanted);
        }
        let happened = plant.step(now_s, load.rate_per_s(second));
        arrived += happened.requests;
        if totals.len() == 2 * TOTALS_S {
            totals.drain(..TOTALS_S);
        }
        totals.push(happened.total_cores);
        if second >= settings.unscored_s {
            scorer.add(&happened, acted, load);
        }
        if let Some(points) = curve.as_deref_mut()
            && second.is_multiple_of(5)
        {
            points.push(CurvePoint {
                at_s: now_s,
                work_replicas: load.work_replicas(second),
                ordered: plant.ordered(),
                ready: happened.ready,
            });
        }
    }
    scorer.scores()
}
