//! What is around the controller: settings, a load that wanders and jumps, a fleet that follows at once, late, partly
//! or not, a clock that jumps, and evidence that is right, late, missing or nonsense.

use super::super::*;
use crate::number::{from_len, to_count, to_index};
use crate::settings::{Law, Mode, RawGains};

const SILENCES: [Silence; 5] =
    [Silence::NeverHeard, Silence::Stale, Silence::NothingReady, Silence::TooYoung, Silence::TooFewReport];

/// Longest interval and window.
const LONGEST_S: f64 = 3_600.0;

/// How the fleet takes orders.
#[derive(Debug, Clone, Copy)]
enum Manner {
    AtOnce,
    Late { steps: u32 },
    Partly,
    Never,
}

/// The surroundings of one sequence.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: Rng,
    now_s: f64,
    demand: f64,
    noise: f64,
    roughness: f64,
    replicas: u32,
    ready: u32,
    manner: Manner,
    under_way: Option<(u32, u32)>,
    arrivals: bool,
    evidence_s: f64,
    /// The evidence of the last step, when it was taken: its time, and the count it left.
    taken: Option<(f64, f64)>,
    lost: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let replicas = rng_count(&mut rng, 1, 120);
        let now_s = if rng.chance(0.5) { 0.0 } else { 1.7e9 };
        Self {
            now_s,
            demand: f64::from(replicas) * rng.uniform(),
            noise: if rng.chance(0.3) { 0.0 } else { rng.between(0.0, 0.3) },
            roughness: if rng.chance(0.5) { 0.001 } else { 0.02 },
            replicas,
            ready: replicas,
            manner: any_manner(&mut rng),
            under_way: None,
            arrivals: rng.chance(0.3),
            evidence_s: now_s,
            taken: None,
            lost: false,
            rng,
        }
    }

    /// A length: short ones are as frequent as long ones.
    pub(super) fn length(&mut self, most: f64) -> u32 {
        rng_log(&mut self.rng, most)
    }

    /// Whether a clock ran away so far that nothing would be decided any more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn restarted(&mut self) {
        self.lost = false;
        self.taken = None;
    }

    /// Any settings that are valid, in both laws and both modes.
    pub(super) fn any_settings(&mut self) -> AutoscalerSettings {
        let rng = &mut self.rng;
        let law = if rng.chance(0.85) { Law::Standard } else { Law::Kabernetes };
        let kp_max = if law == Law::Standard { 2.0 } else { 1_000.0 };
        let gain_max = if law == Law::Standard { 10.0 } else { 1_000.0 };
        let interval_s = if rng.chance(0.6) { 5 } else { rng_log(rng, LONGEST_S) };
        let window_s = if rng.chance(0.6) { interval_s } else { rng_log(rng, LONGEST_S) };
        let (min, max) = any_limits(rng);
        settings(|raw| {
            raw.law = law;
            raw.mode = if rng.chance(0.5) { Mode::Tight } else { Mode::Calm };
            raw.cpu_target = if rng.chance(0.02) { f64::MIN_POSITIVE } else { rng.between(0.02, 1.0) };
            raw.constants = rng.chance(0.5).then(|| RawGains {
                kp: edge(rng, kp_max),
                ki: edge(rng, gain_max),
                kd: edge(rng, gain_max),
            });
            raw.replicas_min = min;
            raw.replicas_max = max;
            raw.interval_s = interval_s;
            raw.window_s = window_s;
            raw.stale_after_s = 30.max(interval_s).max(window_s);
            raw.hold_s = rng.chance(0.6).then(|| rng_log(rng, 3_600.0));
            raw.down_percent_per_min = rng.chance(0.6).then(|| rng.between(1.0, 100.0));
            raw.hysteresis = rng.chance(0.6).then(|| edge(rng, 0.5));
            raw.actions_per_hour_max = rng.chance(0.6).then(|| rng_log(rng, 3_600.0));
        })
    }

    /// Settings to change to: all of them anew, or the same but for gains, target and mode.
    pub(super) fn other_settings(&mut self, now: &AutoscalerSettings) -> AutoscalerSettings {
        let any = self.any_settings();
        if self.rng.chance(0.4) || any.law() != now.law() {
            return any;
        }
        let raw = RawSettings::from(any);
        let mut changed = RawSettings::from(now.clone());
        (changed.mode, changed.cpu_target, changed.constants) = (raw.mode, raw.cpu_target, raw.constants);
        AutoscalerSettings::try_from(changed).unwrap()
    }

    /// Evidence right where the filter expects it, at the time of the last step; nothing when its evidence was not
    /// taken.
    pub(super) fn quiet_after(
        &self,
        terms: Option<&Terms>,
        settings: &AutoscalerSettings,
    ) -> Option<Observation> {
        let (at_s, now_s) = self.taken?;
        let terms = terms?;
        let dt_s = settings.interval().as_secs_f64();
        let level =
            if terms.blind_round == 0 { terms.level_replicas } else { 0.5 * f64::from(self.replicas) };
        let demand = level * (terms.slope_per_s * dt_s.min(120.0)).exp();
        let possible = (2e-3..1e5).contains(&demand) && self.under_way.is_none() && self.replicas > 0;
        possible.then(|| Observation {
            now_s,
            replicas: self.replicas,
            ready: self.replicas,
            evidence: Ok(Evidence {
                at_s: at_s + dt_s,
                window_s: settings.window().as_secs_f64(),
                utilisation: 0.5,
                saturated_share: 0.0,
                demand_replicas: demand,
                counting: self.replicas,
                young: 0,
            }),
            arrivals_per_s: None,
            inflight: None,
        })
    }

    /// The next step.
    pub(super) fn observe(&mut self, settings: &AutoscalerSettings) -> Observation {
        self.follow();
        self.load(settings);
        let now_s = self.clock(settings.interval().as_secs_f64());
        let (arrivals_per_s, inflight) = self.reported();
        Observation {
            now_s,
            replicas: self.replicas,
            ready: self.ready,
            evidence: self.evidence(settings),
            arrivals_per_s,
            inflight,
        }
    }

    /// What the decision leads to.
    pub(super) fn happened(&mut self, seen: &Observation, decision: &Decision) {
        self.now_s = self.now_s.max(if seen.now_s < 1e15 { seen.now_s } else { self.now_s });
        self.taken = match (decision, &seen.evidence) {
            (Decision::Scale { .. }, Ok(evidence)) => Some((evidence.at_s, seen.now_s)),
            (Decision::Hold(reason), Ok(evidence)) if computed(reason) => Some((evidence.at_s, seen.now_s)),
            (Decision::Scale { .. } | Decision::Hold(_), _) => None,
        };
        if let Ok(evidence) = seen.evidence
            && evidence.at_s < 1e15
        {
            self.evidence_s = self.evidence_s.max(evidence.at_s);
        }
        let Some(to) = decision.to() else { return };
        if self.rng.chance(0.05) {
            self.manner = any_manner(&mut self.rng);
        }
        match self.manner {
            Manner::AtOnce => (self.replicas, self.under_way) = (to, None),
            Manner::Late { steps } => self.under_way = Some((steps, to)),
            Manner::Partly => self.under_way = Some((0, to)),
            Manner::Never => self.under_way = None,
        }
    }

    fn follow(&mut self) {
        match (self.manner, self.under_way) {
            (_, None) => {}
            (Manner::Partly, Some((_, to))) if self.replicas.abs_diff(to) > 1 => {
                self.replicas = self.replicas.midpoint(to);
            }
            (_, Some((0, to))) => (self.replicas, self.under_way) = (to, None),
            (_, Some((steps, to))) => self.under_way = Some((steps - 1, to)),
        }
        if self.rng.chance(0.006) {
            self.replicas = rng_count(&mut self.rng, 0, 300);
            self.under_way = None;
        }
        self.ready = match self.rng.uniform() {
            share if share < 0.02 => rng_count(&mut self.rng, 0, self.replicas),
            share if share < 0.03 => self.replicas + self.replicas / 4 + 1,
            share if share < 0.3 => self.replicas,
            _ => self.replicas.min(self.ready + rng_count(&mut self.rng, 0, 3)),
        };
    }

    fn load(&mut self, settings: &AutoscalerSettings) {
        self.demand *= (self.roughness * self.rng.normal()).exp();
        if self.rng.chance(0.01) {
            self.demand *= self.rng.normal().exp();
        }
        let most = 2.0 * f64::from(settings.replicas().1.get());
        self.demand = self.demand.clamp(0.01, most.max(0.01));
        if self.rng.chance(0.001) {
            self.demand = 0.0;
        }
    }

    fn clock(&mut self, interval_s: f64) -> f64 {
        let rng = &mut self.rng;
        let kind = rng.uniform();
        let later_s = match kind {
            kind if kind < 0.90 => interval_s * rng.between(0.8, 1.5),
            kind if kind < 0.93 => 0.0,
            kind if kind < 0.95 => rng.between(0.0, interval_s),
            kind if kind < 0.98 => rng.between(0.0, 10.0 * interval_s),
            kind if kind < 0.985 => rng.between(0.0, 1e6),
            kind if kind < 0.992 => return self.now_s - rng.between(0.0, 4_000.0),
            kind if kind < 0.997 => return pick(rng, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e308]),
            kind if kind < 0.9975 => {
                self.lost = true;
                return 1e308;
            }
            _ => 0.5,
        };
        self.now_s += later_s;
        self.now_s
    }

    fn evidence(&mut self, settings: &AutoscalerSettings) -> Result<Evidence, Silence> {
        if self.rng.chance(0.05) {
            return Err(pick(&mut self.rng, &SILENCES));
        }
        let ready = f64::from(self.ready.max(1));
        let noise = 1.0 + self.noise * self.rng.normal();
        let utilisation = ((self.demand / ready).min(1.0) * noise).clamp(0.0, 16.0);
        let young = rng_count(&mut self.rng, 0, self.ready / 4);
        let mut evidence = Evidence {
            at_s: self.now_s - self.rng.between(0.0, 0.2 * settings.interval().as_secs_f64()),
            window_s: settings.window().as_secs_f64(),
            utilisation,
            saturated_share: if utilisation >= 0.95 { self.rng.uniform() } else { 0.0 },
            demand_replicas: utilisation * ready,
            counting: self.ready - young,
            young,
        };
        if self.rng.chance(0.05) {
            self.spoil(&mut evidence);
        }
        Ok(evidence)
    }

    fn spoil(&mut self, evidence: &mut Evidence) {
        let any = hostile(&mut self.rng);
        match to_count(self.rng.between(0.0, 7.0)) {
            0 => evidence.at_s = self.evidence_s,
            1 => evidence.at_s = self.evidence_s - self.rng.between(0.0, 1_000.0),
            2 => {
                evidence.at_s = any;
                self.lost |= any > 1e15;
            }
            3 => evidence.window_s = any,
            4 => evidence.utilisation = any,
            5 => evidence.saturated_share = any,
            _ => evidence.demand_replicas = any,
        }
    }

    fn reported(&mut self) -> (Option<f64>, Option<f64>) {
        if !self.arrivals {
            return (None, None);
        }
        if self.rng.chance(0.05) {
            return (Some(hostile(&mut self.rng)), Some(hostile(&mut self.rng)));
        }
        let arrivals = 20.0 * self.demand;
        (Some(arrivals), self.rng.chance(0.5).then_some(arrivals * self.rng.between(0.1, 3.0)))
    }
}

/// Whether a step that was held has taken its evidence.
fn computed(reason: &Reason) -> bool {
    match reason {
        Reason::OnTarget
        | Reason::DeadBand
        | Reason::HoldingDown
        | Reason::DownRate
        | Reason::MinInterval
        | Reason::ActionBudget
        | Reason::AwaitingReplicas
        | Reason::AtLimit => true,
        Reason::Adopted { .. }
        | Reason::AwaitingTarget
        | Reason::Silence { .. }
        | Reason::NothingNew
        | Reason::NotDue
        | Reason::Clock
        | Reason::Stopped => false,
    }
}

fn any_manner(rng: &mut Rng) -> Manner {
    match rng.uniform() {
        share if share < 0.6 => Manner::AtOnce,
        share if share < 0.8 => Manner::Late { steps: rng_count(rng, 0, 8) },
        share if share < 0.9 => Manner::Partly,
        _ => Manner::Never,
    }
}

fn any_limits(rng: &mut Rng) -> (u32, u32) {
    let most = if rng.chance(0.1) { 10_000.0 } else { 300.0 };
    let (one, other) = (rng_log(rng, most), rng_log(rng, most));
    if rng.chance(0.5) { (1, one.max(other)) } else { (one.min(other), one.max(other)) }
}

/// A number that no honest source sends, or one at the edge.
pub(super) fn hostile(rng: &mut Rng) -> f64 {
    let all = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e308,
        -1e308,
        f64::MAX,
        f64::MIN_POSITIVE,
        -1.0,
        -0.0,
        0.0,
        1.0,
        1e6,
    ];
    pick(rng, &all)
}

pub(super) fn pick<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    all[to_index(rng.uniform() * from_len(all.len()))]
}

/// A whole number from `low` to `high`, both included.
pub(super) fn rng_count(rng: &mut Rng, low: u32, high: u32) -> u32 {
    low + to_count(rng.uniform() * (f64::from(high - low) + 1.0))
}

/// A whole number from 1 to `most`, small ones as frequent as large ones.
fn rng_log(rng: &mut Rng, most: f64) -> u32 {
    to_count((rng.uniform() * most.ln()).exp()).max(1)
}

/// From 0 to `most`, the ends among them.
fn edge(rng: &mut Rng, most: f64) -> f64 {
    match rng.uniform() {
        share if share < 0.1 => 0.0,
        share if share < 0.2 => most,
        share if share < 0.6 => rng.uniform() * most.min(1.0),
        _ => rng.uniform() * most,
    }
}
