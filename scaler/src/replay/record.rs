//! The record as it is played: observations in order, the demand that the ceiling hid put back, and what it shows of
//! start-up.

use jiff::Timestamp;
use slipway_common::model::autoscaler::{Evidence, Observed};

use super::RECORD_MAX;
use crate::control::Tuning;
use crate::demand::UTILISATION_MAX;
use crate::number::from_len;

/// One observation stands for at most so long, in seconds: what was between two that lie further apart is not known.
const LASTS_MAX_S: f64 = 60.0;
/// A demand is carried back over at most so long, in seconds.
const CARRY_MAX_S: f64 = 600.0;
/// So many measurements after the ceiling say what the demand was there.
const AFTER_CEILING: usize = 3;
/// Start-up time where the record shows none, in seconds.
const STARTUP_ASSUMED_S: f64 = 30.0;
/// Longest start-up that is looked for, in seconds.
const STARTUP_MAX_S: f64 = 600.0;
/// The order behind a larger count is at most so much older than the count's first sight, in seconds.
const ORDER_BEFORE_MAX_S: f64 = 10.0;
/// Measurements on both sides of one that are looked at when noise is taken out.
const SMOOTH_EACH_SIDE: usize = 2;

/// One observation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    /// The same in seconds, as the controller counts them.
    pub(super) now_s: f64,
    /// For how long it stands, in seconds.
    pub(super) lasts_s: f64,
    pub(super) replicas: u32,
    pub(super) ready: u32,
    pub(super) evidence: Option<Evidence>,
    /// Demand in replicas working flat out, with what the ceiling hid.
    pub(super) demand: Option<f64>,
    /// What was measured, as a multiple of the demand with its noise taken out; 1 while it is not taken out.
    pub(super) scatter: f64,
    /// Whether the CPU stood at its ceiling, so that the demand is a guess.
    pub(super) censored: bool,
    pub(super) arrivals_per_s: Option<f64>,
    pub(super) inflight: Option<f64>,
}

/// A whole record.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) moments: Vec<Moment>,
    /// Time from an order to its last replica serving, in seconds.
    pub(super) startup_s: f64,
    /// How many starts showed it.
    pub(super) starts_seen: u32,
}

impl Record {
    /// Reads observations; those that are not later than the one before are passed over. The ceiling is where `tuning`
    /// says.
    pub(super) fn of(observed: &[Observed], tuning: &Tuning) -> Self {
        let newest = &observed[observed.len().saturating_sub(RECORD_MAX)..];
        let mut moments: Vec<Moment> = Vec::with_capacity(newest.len());
        for one in newest {
            if moments.last().is_none_or(|before| before.at < one.at) {
                moments.push(moment(one, tuning));
            }
        }
        for index in 1..moments.len() {
            let lasts_s = moments[index].now_s - moments[index - 1].now_s;
            moments[index - 1].lasts_s = lasts_s.clamp(0.0, LASTS_MAX_S);
        }
        put_back(&mut moments);
        let (startup_s, starts_seen) = startup(&moments);
        Self { moments, startup_s, starts_seen }
    }

    /// From the first observation to the last, in seconds.
    pub(super) fn span_s(&self) -> f64 {
        match (self.moments.first(), self.moments.last()) {
            (Some(first), Some(last)) => last.now_s - first.now_s,
            (None, _) | (_, None) => 0.0,
        }
    }

    /// For how long something is known, in seconds.
    pub(super) fn measured_s(&self) -> f64 {
        self.seconds(|moment| moment.demand.is_some())
    }

    /// Share of what is known in which the CPU stood at its ceiling.
    pub(super) fn saturated_share(&self) -> f64 {
        self.seconds(|moment| moment.censored) / self.measured_s().max(1.0)
    }

    /// Share of the time in which the metrics said nothing.
    pub(super) fn silent_share(&self) -> f64 {
        let all_s = self.seconds(|_| true);
        if all_s > 0.0 { 1.0 - self.measured_s() / all_s } else { 0.0 }
    }

    /// The same with the noise of its demand taken out: the middle one of five measurements each, which leaves steps
    /// where they are.
    pub(super) fn smoothed(&self) -> Self {
        let demands: Vec<Option<f64>> = self.moments.iter().map(|moment| moment.demand).collect();
        let mut smooth = self.clone();
        for (index, moment) in smooth.moments.iter_mut().enumerate() {
            let Some(measured) = moment.demand else { continue };
            let from = index.saturating_sub(SMOOTH_EACH_SIDE);
            let to = (index + SMOOTH_EACH_SIDE + 1).min(demands.len());
            let near: Vec<f64> = demands[from..to].iter().copied().flatten().collect();
            let middle = median(near).unwrap_or(measured);
            moment.demand = Some(middle);
            moment.scatter = if middle > 0.0 && !moment.censored { measured / middle } else { 1.0 };
        }
        smooth
    }

    fn seconds(&self, which: impl Fn(&Moment) -> bool) -> f64 {
        self.moments.iter().filter(|moment| which(moment)).fold(0.0, |sum, moment| sum + moment.lasts_s)
    }
}

fn moment(one: &Observed, tuning: &Tuning) -> Moment {
    let evidence = one.evidence.filter(usable);
    let at_ceiling = |evidence: &Evidence| {
        evidence.utilisation >= tuning.ceiling_mean || evidence.saturated_share >= tuning.ceiling_share
    };
    let censored = evidence.as_ref().is_some_and(at_ceiling);
    Moment {
        at: one.at,
        now_s: one.at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64(),
        lasts_s: 0.0,
        replicas: one.replicas,
        ready: one.ready,
        evidence,
        demand: evidence.map(|evidence| if censored { bound(&evidence) } else { evidence.demand_replicas }),
        scatter: 1.0,
        censored,
        arrivals_per_s: one.arrivals_per_s,
        inflight: one.inflight,
    }
}

/// What certainly was asked for at the ceiling: those that have just come say nothing yet, and may have nothing to do.
fn bound(evidence: &Evidence) -> f64 {
    let counting = f64::from(evidence.counting.max(1));
    evidence.demand_replicas * counting / (counting + f64::from(evidence.young))
}

fn usable(evidence: &Evidence) -> bool {
    let numbers = [evidence.at_s, evidence.saturated_share, evidence.demand_replicas, evidence.window_s];
    (0.0..=UTILISATION_MAX).contains(&evidence.utilisation)
        && numbers.iter().all(|number| number.is_finite())
        && evidence.demand_replicas >= 0.0
        && evidence.window_s > 0.0
}

/// What the ceiling hid: where the CPU stood there, the larger of the bound and of what is known next. What is known
/// is the least of the three measurements that follow the ceiling, for queues that are worked off look like demand.
fn put_back(moments: &mut [Moment]) {
    let mut next: Option<(f64, f64)> = None;
    let mut following = [f64::INFINITY; AFTER_CEILING];
    for moment in moments.iter_mut().rev() {
        let Some(demand) = moment.demand else { continue };
        if !moment.censored {
            following.rotate_right(1);
            following[0] = demand;
            next = Some((moment.now_s, following.iter().copied().fold(f64::INFINITY, f64::min)));
            continue;
        }
        let carried =
            next.filter(|(known_s, known)| known_s - moment.now_s <= CARRY_MAX_S && *known > demand);
        match carried {
            Some((_, known)) => moment.demand = Some(known),
            None => next = Some((moment.now_s, demand)),
        }
    }
}

/// The middle one of the times from an order to its last replica serving, and how many there were.
fn startup(moments: &[Moment]) -> (f64, u32) {
    let mut took_s: Vec<f64> = Vec::new();
    for index in 1..moments.len() {
        let (before, grown) = (&moments[index - 1], &moments[index]);
        if before.replicas > 0 && grown.replicas > before.replicas && grown.ready < grown.replicas {
            let ordered_s = before.now_s.max(grown.now_s - ORDER_BEFORE_MAX_S);
            took_s.extend(caught_up(&moments[index..]).map(|served_s| served_s - ordered_s));
        }
    }
    let seen = crate::number::to_count(from_len(took_s.len()));
    (median(took_s).unwrap_or(STARTUP_ASSUMED_S), seen)
}

/// When as many replicas served as the first of these moments has ordered; nothing if fewer were ordered before.
fn caught_up(moments: &[Moment]) -> Option<f64> {
    let first = moments.first()?;
    moments
        .iter()
        .take_while(|moment| moment.replicas >= first.replicas && moment.now_s - first.now_s <= STARTUP_MAX_S)
        .find(|moment| moment.ready >= first.replicas)
        .map(|moment| moment.now_s)
}

/// The middle one; of an even number the upper of the two.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
