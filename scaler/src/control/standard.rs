//! The law `standard`: a PID on the logarithm of estimated demand over capacity.
//!
//! With `D` the demand in replicas working flat out, `n` the replicas ordered and `T` the CPU target:
//!
//! ```text
//! e         = ln D - ln(n T)
//! command   = n exp(kp e + I + kd lead share max(0, d(ln D)/dt - gate) + S + bump)
//! share, gate as learned (`lead`)
//! S         = min(kd, 1) (ln(highest D foretold) - ln D) while the load repeats itself (`season`), in place of kd's term
//! lead      = learned start-up (which holds every delay from order to service) + one interval
//! ```
//!
//! `D` hardly depends on `n`, so the loop's gain is the same at 1 replica and at 1,000, which it is not for a PID on
//! CPU use. Replicas that start count as present (the dead time is known), the derivative acts on the measured demand
//! and not on the error (no kick from a change of the target), the integral is used up by what was applied, and at the
//! ceiling of the CPU another rule takes over (`blind`). Reported arrivals stand in for the measured demand
//! (`forward`). Sources: Astrom and Rundqwist 1989 (anti-windup); Smith 1957 (dead time); the comparison of laws that
//! BENCHMARKS.md repeats.

use std::sync::Arc;

use super::blind::{Blind, Outlook, Sight};
use super::estimator::{Estimate, Estimator};
use super::fleet::{Fleet, Standing};
use super::forward::{FeedForward, WAITING_SHARE};
use super::integrator::Integrator;
use super::knowledge::Knowledge;
use super::lead::Lead;
use super::motion::Motion;
use super::observation::Observation;
use super::season::{Foretold, Season};
use super::shape::{LN_COUNT_MAX, Shape, Wish};
use super::tuning::Tuning;
use crate::demand::Evidence;
use crate::settings::AutoscalerSettings;
use slipway_common::model::autoscaler::Clamp;
use slipway_common::model::autoscaler::{Decision, Reason, Terms};

/// Least demand that is computed with, in replicas: an idle deployment has a logarithm too.
const DEMAND_MIN: f64 = 1e-3;
/// Most demand that is believed, in replicas.
const DEMAND_MAX: f64 = 1e6;
/// A gap in the evidence of so many windows and intervals ends the filter's memory of level and trend.
const GAP_MAX_STEPS: f64 = 4.0;
/// Share of the interval after which a decision is due: events jitter.
const DUE_SHARE: f64 = 0.8;
/// Longest step that the filter and the integrator are told of, in seconds.
const DT_MAX_S: f64 = 120.0;
/// For so long after the ceiling was left, what was ordered on a guess goes back without a limit on the rate.
const RELEASE_S: f64 = 60.0;
/// Time constant with which the bump of a change of constants fades, in seconds.
const BUMP_S: f64 = 60.0;
/// A bump smaller than this, a logarithm, is none.
const BUMP_GONE: f64 = 0.02;
/// Most that a season adds, a logarithm.
const SEASON_MAX: f64 = 1.5;
/// A foreign count is left alone for so many intervals and windows.
const ADOPTED_PAUSE_STEPS: f64 = 2.0;
/// An order has so many intervals to show at the target, and at least so many seconds.
const ORDER_PATIENCE: (f64, f64) = (3.0, 10.0);

/// State of the law.
#[derive(Debug, Clone)]
pub struct StandardLaw {
    tuning: Arc<Tuning>,
    estimator: Estimator,
    integrator: Integrator,
    blind: Blind,
    forward: FeedForward,
    fleet: Fleet,
    lead: Lead,
    motion: Motion,
    season: Season,
    foretold: Option<Foretold>,
    shape: Shape,
    bump: f64,
    gentle: bool,
    pause_until_s: f64,
    last_now_s: f64,
    last_evidence_s: f64,
    last_ln_demand: Option<f64>,
    terms: Option<Terms>,
}

impl StandardLaw {
    /// The law at its start, with the constants of the settings' mode. Whatever count it finds first is what it
    /// remembers: a start never takes replicas away before the hold memory has run out.
    #[must_use]
    pub fn new(settings: &AutoscalerSettings) -> Self {
        Self::with_shared(Tuning::shared(settings.mode()))
    }

    /// The law with constants of its own, for the simulator.
    #[must_use]
    pub fn with_tuning(tuning: Tuning) -> Self {
        Self::with_shared(Arc::new(tuning))
    }

    fn with_shared(tuning: Arc<Tuning>) -> Self {
        Self {
            tuning,
            estimator: Estimator::new(),
            integrator: Integrator::default(),
            blind: Blind::new(),
            forward: FeedForward::new(),
            fleet: Fleet::new(),
            lead: Lead::new(),
            motion: Motion::default(),
            season: Season::new(),
            foretold: None,
            shape: Shape::new(),
            bump: 0.0,
            gentle: false,
            pause_until_s: f64::NEG_INFINITY,
            last_now_s: f64::NEG_INFINITY,
            last_evidence_s: f64::NEG_INFINITY,
            last_ln_demand: None,
            terms: None,
        }
    }

    /// The terms of the last decision that was computed, held ones included.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// The learned time from an order to its last replica serving, in seconds.
    #[must_use]
    pub fn startup_s(&self) -> f64 {
        self.fleet.startup_s()
    }

    /// What was learned until now.
    #[must_use]
    pub fn knowledge(&self) -> Knowledge {
        Knowledge::new(
            self.season.record(),
            self.shape.record(),
            self.lead.record(),
            self.fleet.record(),
            self.blind.hidden(),
        )
    }

    /// Takes over what a controller before this one has learned; what of it makes no sense is left out.
    pub fn recall(&mut self, known: &Knowledge) {
        self.season = Season::of(&known.season);
        self.shape.recall(&known.hold);
        self.lead.recall(&known.lead);
        self.fleet.recall(&known.start);
        self.blind.recall(known.hidden);
    }

    /// Constants change from `old` to `new`: the command stays what it was and moves to its new value within minutes;
    /// the first decision changes the count by at most one. Limits (minimum, maximum, budget) hold at once.
    pub fn retune(&mut self, old: &AutoscalerSettings, new: &AutoscalerSettings) {
        if old == new {
            return;
        }
        if old.mode() != new.mode() {
            self.tuning = Tuning::shared(new.mode());
        }
        if let (Some(ln_demand), Some(terms)) = (self.last_ln_demand, self.terms) {
            let error = |settings: &AutoscalerSettings| {
                ln_demand - terms.ln_replicas - settings.cpu_target().get().ln()
            };
            let proportional = |settings: &AutoscalerSettings| settings.gains().0.get() * error(settings);
            self.bump += proportional(old) - proportional(new);
            self.bump = if self.bump.is_finite() { self.bump.clamp(-5.0, 5.0) } else { 0.0 };
        }
        self.gentle = true;
    }

    /// One decision.
    pub fn step(&mut self, seen: &Observation, settings: &AutoscalerSettings) -> Decision {
        match self.try_step(seen, settings) {
            Ok(decision) => decision,
            Err(reason) => Decision::Hold(reason),
        }
    }

    fn try_step(&mut self, seen: &Observation, settings: &AutoscalerSettings) -> Result<Decision, Reason> {
        self.look_at_fleet(seen, settings)?;
        let evidence = seen.evidence.map_err(|silence| Reason::Silence { silence })?;
        let dt_s = self.dt(seen, &evidence, settings)?;
        self.shape.pass(dt_s, settings);
        self.bump *= (-dt_s / BUMP_S).exp();
        let (wish, mut terms) = self.command(seen, &evidence, settings, dt_s);
        if seen.now_s < self.pause_until_s {
            self.terms = Some(terms);
            return Err(Reason::MinInterval);
        }
        let shaped =
            self.shape.decide(seen.now_s, seen.replicas, &wish, (settings, &self.tuning), &mut terms.clamps);
        terms.held_replicas = self.shape.held(seen.now_s).exp();
        terms.hold_s = self.shape.hold_s(settings);
        self.terms = Some(terms);
        // A change that was held is not the first one yet; once the bump has faded there is nothing to soften.
        self.gentle = self.gentle && shaped.is_err() && self.bump.abs() > BUMP_GONE;
        let to = shaped?;
        self.integrator.used();
        self.fleet.order(seen.now_s, seen.replicas, to);
        Ok(Decision::Scale { from: seen.replicas, to, terms })
    }

    /// The clock, and what became of orders.
    fn look_at_fleet(&mut self, seen: &Observation, settings: &AutoscalerSettings) -> Result<(), Reason> {
        if !seen.now_s.is_finite() || seen.now_s < self.last_now_s {
            return Err(Reason::Clock);
        }
        if seen.now_s - self.last_now_s < interval_s(settings) * DUE_SHARE {
            return Err(Reason::NotDue);
        }
        if seen.replicas == 0 {
            return Err(Reason::Stopped);
        }
        self.last_now_s = seen.now_s;
        let patience_s = (ORDER_PATIENCE.0 * interval_s(settings)).max(ORDER_PATIENCE.1);
        match self.fleet.look(seen.now_s, seen.replicas, seen.ready, patience_s) {
            Standing::AsOrdered | Standing::Ignored => Ok(()),
            Standing::Awaiting => Err(Reason::AwaitingTarget),
            Standing::First => {
                self.shape.remember_count(seen.now_s, settings.hold_s(), seen.replicas);
                Ok(())
            }
            Standing::Foreign { expected } => {
                self.shape.remember_count(seen.now_s, settings.hold_s(), seen.replicas);
                self.integrator.used();
                self.blind.restart();
                self.bump = 0.0;
                self.pause_until_s = seen.now_s
                    + ADOPTED_PAUSE_STEPS * interval_s(settings).max(settings.window().as_secs_f64());
                Err(Reason::Adopted { expected, found: seen.replicas })
            }
        }
    }

    /// Time since the last evidence; after a long gap the filter starts anew, and the count that is there is what is
    /// remembered.
    fn dt(
        &mut self,
        seen: &Observation,
        evidence: &Evidence,
        settings: &AutoscalerSettings,
    ) -> Result<f64, Reason> {
        let dt_s = evidence.at_s - self.last_evidence_s;
        let shares = [evidence.utilisation, evidence.saturated_share, evidence.window_s, evidence.at_s];
        // Before the first evidence the time since it is endless.
        let numbers = shares.iter().all(|share| share.is_finite()) && !dt_s.is_nan();
        if dt_s <= 0.0 || !numbers || !(0.0..=DEMAND_MAX).contains(&evidence.demand_replicas) {
            return Err(Reason::NothingNew);
        }
        self.last_evidence_s = evidence.at_s;
        let step_s = interval_s(settings).max(evidence.window_s);
        if dt_s > GAP_MAX_STEPS * step_s {
            self.estimator.restart();
            self.lead.restart();
            self.foretold = None;
            self.blind.restart();
            self.shape.remember_count(seen.now_s, settings.hold_s(), seen.replicas);
            return Ok(step_s.min(DT_MAX_S));
        }
        Ok(dt_s.min(DT_MAX_S))
    }

    fn command(
        &mut self,
        seen: &Observation,
        evidence: &Evidence,
        settings: &AutoscalerSettings,
        dt_s: f64,
    ) -> (Wish, Terms) {
        let (kp, _, _) = settings.gains();
        let target = settings.cpu_target().get();
        let ln_measured = evidence.demand_replicas.max(DEMAND_MIN).ln();
        let mut terms = Terms {
            utilisation: evidence.utilisation,
            cpu_target: target,
            demand_replicas: evidence.demand_replicas,
            startup_s: self.fleet.startup_s(),
            ln_replicas: f64::from(seen.replicas.max(1)).ln(),
            bump: self.bump,
            ..Terms::default()
        };
        let saturated = self.saturated(evidence);
        if saturated {
            terms.clamps.add(Clamp::SensorCeiling);
        }
        let trusted = self.arriving(seen, evidence, ln_measured, dt_s);
        terms.feed_forward = trusted.is_some();
        let outlook = self.outlook(seen, evidence, settings, ln_measured);
        let lead_s = self.fleet.startup_s() + interval_s(settings);
        let exact = outlook == Outlook::Clear && !self.shape.is_distorted(seen.now_s);
        let ln_demand = trusted.unwrap_or(ln_measured);
        self.season.note(seen.now_s, ln_demand, exact || trusted.is_some(), lead_s);
        if let Some(ln_demand) = trusted {
            let waits = saturated || evidence.saturated_share >= WAITING_SHARE;
            return self.forwarded(seen, settings, dt_s, (ln_demand, saturated, waits, outlook), &mut terms);
        }
        match outlook {
            Outlook::Clear | Outlook::Cleared => {
                if outlook == Outlook::Cleared {
                    self.estimator.restart_warm();
                    self.shape.release(seen.now_s + RELEASE_S);
                }
                let estimate = self.estimate(ln_measured, seen.now_s, dt_s);
                self.blind.note_level(estimate.ln_level);
                self.measured(seen, settings, dt_s, (&estimate, saturated), &mut terms)
            }
            Outlook::Grow { boost, round } => {
                let ln_ready = f64::from(seen.ready.max(1)).ln();
                // What is foretold need not be guessed; when it was not enough, the next round guesses.
                let foretold = self.relied_on().filter(|_| round == 1);
                terms.integral = foretold.map_or(boost, |it| boost.min((it.ln_highest - ln_ready).max(0.0)));
                terms.blind_round = round;
                let ln_capacity = terms.ln_replicas;
                terms.proportional = kp.get().min(1.0) * (ln_ready - target.ln() - ln_capacity);
                self.wish(true, dt_s, &mut terms)
            }
            Outlook::Await { round } => {
                terms.blind_round = round;
                self.wish(true, dt_s, &mut terms)
            }
        }
    }

    /// The logarithm of the demand that arrivals make, where they can be believed; learns what one costs.
    fn arriving(
        &mut self,
        seen: &Observation,
        evidence: &Evidence,
        ln_measured: f64,
        dt_s: f64,
    ) -> Option<f64> {
        let ready = f64::from(seen.ready.max(1));
        let forward = self.forward.ln_demand(seen.arrivals_per_s);
        let measured = (evidence.demand_replicas, evidence.saturated_share);
        let trusted =
            forward.filter(|ln_demand| self.forward.explains(ln_demand.exp(), measured, (ready, dt_s)));
        if !self.saturated(evidence) {
            // Work that was late makes requests look dearer than they are.
            if evidence.saturated_share < WAITING_SHARE || trusted.is_none() {
                self.forward.learn(ln_measured, seen.arrivals_per_s, dt_s);
            }
            self.forward.learn_inflight(seen.inflight, ready, dt_s);
        }
        trusted
    }

    /// The terms while arrivals say what the demand is, at the ceiling too. The first order there is as large as
    /// without arrivals, if they do not ask for more: it is there sooner, works off what waits, and goes back after.
    fn forwarded(
        &mut self,
        seen: &Observation,
        settings: &AutoscalerSettings,
        dt_s: f64,
        (ln_demand, saturated, waits, outlook): (f64, bool, bool, Outlook),
        terms: &mut Terms,
    ) -> (Wish, Terms) {
        let estimate = self.estimate(ln_demand, seen.now_s, dt_s);
        if !saturated {
            self.blind.note_level(estimate.ln_level);
        }
        if outlook == Outlook::Cleared {
            self.shape.release(seen.now_s + RELEASE_S);
        }
        let (mut wish, mut terms) = self.measured(seen, settings, dt_s, (&estimate, saturated), terms);
        wish.forward = true;
        wish.keep = waits;
        let ln_ready = f64::from(seen.ready.max(1)).ln();
        if let Outlook::Grow { boost, round: 1 } = outlook
            && ln_demand > ln_ready
        {
            let kp = settings.gains().0.get().min(1.0);
            let first = kp * (ln_ready - terms.cpu_target.ln() - terms.ln_replicas) + boost;
            let more = first + terms.ln_replicas - wish.ln_command;
            terms.integral += more.min(boost - terms.integral.max(0.0)).max(0.0);
            terms.blind_round = 1;
            wish.ln_command = self.wish(false, dt_s, &mut terms).0.ln_command;
            wish.urgent = true;
        }
        (wish, terms)
    }

    fn estimate(&mut self, ln_demand: f64, now_s: f64, dt_s: f64) -> Estimate {
        let estimate = self.estimator.update(ln_demand, dt_s, self.motion.moves(), &self.tuning);
        self.motion.look(&estimate, self.shape.growths(now_s), dt_s, &self.tuning);
        estimate
    }

    /// The terms while the demand is known.
    fn measured(
        &mut self,
        seen: &Observation,
        settings: &AutoscalerSettings,
        dt_s: f64,
        (estimate, saturated): (&Estimate, bool),
        terms: &mut Terms,
    ) -> (Wish, Terms) {
        let (kp, ki, kd) = settings.gains();
        let error = estimate.ln_level - terms.ln_replicas - terms.cpu_target.ln();
        terms.level_replicas = estimate.ln_level.exp();
        terms.slope_per_s = estimate.slope_per_s;
        terms.noise = estimate.noise;
        terms.dead_band = estimate.dead_band(seen.replicas, self.motion.moves(), &self.tuning);
        terms.lead_s = self.fleet.startup_s() + interval_s(settings);
        terms.proportional = kp.get() * error;
        self.ahead(estimate, kd.get(), dt_s, terms);
        let serving = seen.ready >= seen.replicas && !saturated;
        let band = terms.dead_band.max((1.0 + settings.hysteresis()).ln());
        let left = (1.0 - kp.get()).max(0.0) * error;
        if serving && self.integrator.add(left, band, ki.get(), dt_s) {
            terms.clamps.add(Clamp::Integrator);
        }
        terms.integral = self.integrator.sum();
        self.last_ln_demand = Some(estimate.ln_level);
        let (mut wish, terms) = self.wish(false, dt_s, terms);
        wish.urgent = estimate.jump.is_some_and(|size| size > 0.0);
        wish.gentle = wish.gentle && !wish.urgent;
        (wish, terms)
    }

    /// The terms for what comes: what is foretold of a load that repeats itself, else the rise carried on. Without `kd`
    /// there are none.
    fn ahead(&mut self, estimate: &Estimate, kd: f64, dt_s: f64, terms: &mut Terms) {
        let ln_measured = terms.demand_replicas.max(DEMAND_MIN).ln();
        let more_s = self.tuning.season_more_s;
        let foretold = self.season.foretold(self.last_now_s, estimate.ln_level, terms.lead_s, more_s);
        self.foretold = foretold.filter(|_| kd > 0.0);
        let ln_then = self.foretold.map(|foretold| foretold.ln_then);
        self.lead.learn(ln_measured, (estimate, ln_then), (terms.lead_s, dt_s), &self.tuning);
        let (term, most) = if let Some(foretold) = self.relied_on() {
            terms.season = kd.min(1.0) * (foretold.ln_highest - estimate.ln_level).max(0.0);
            terms.period_s = foretold.period_s;
            (&mut terms.season, SEASON_MAX)
        } else {
            let rise = self.lead.rise(self.motion.moves(), estimate, terms.lead_s, &self.tuning);
            terms.derivative = kd * rise;
            (&mut terms.derivative, self.tuning.lead_max)
        };
        if *term > most {
            *term = most;
            terms.clamps.add(Clamp::Lead);
        }
    }

    /// What is foretold, while it is relied on.
    fn relied_on(&self) -> Option<Foretold> {
        let trusts = self.lead.trusts_season();
        self.foretold.filter(|foretold| trusts || foretold.ratio < self.tuning.season_sure)
    }

    fn wish(&self, censored: bool, dt_s: f64, terms: &mut Terms) -> (Wish, Terms) {
        let sum = terms.proportional + terms.integral + terms.derivative + terms.season + terms.bump;
        let sum = if sum.is_finite() { sum } else { 0.0 };
        let ln_command = (terms.ln_replicas + sum).clamp(-LN_COUNT_MAX, LN_COUNT_MAX);
        terms.command_replicas = ln_command.exp();
        let ln_needed = terms.demand_replicas.max(DEMAND_MIN).ln() - terms.cpu_target.ln();
        let wish = Wish {
            ln_command,
            dead_band: terms.dead_band,
            urgent: censored,
            ln_needed: ln_needed.clamp(-LN_COUNT_MAX, LN_COUNT_MAX),
            ln_foretold: self.foretold.map(|foretold| {
                (foretold.ln_highest - terms.cpu_target.ln()).clamp(-LN_COUNT_MAX, LN_COUNT_MAX)
            }),
            lasting: (!censored).then_some(ln_command),
            keep: censored,
            forward: false,
            gentle: self.gentle && !censored,
            lead_s: terms.lead_s,
            dt_s,
        };
        (wish, *terms)
    }

    fn outlook(
        &mut self,
        seen: &Observation,
        evidence: &Evidence,
        settings: &AutoscalerSettings,
        ln_measured: f64,
    ) -> Outlook {
        let ready = f64::from(seen.ready.max(1));
        let sight = Sight {
            now_s: seen.now_s,
            measured_s: evidence.at_s,
            window_s: evidence.window_s,
            saturated: self.saturated(evidence),
            full: evidence.utilisation >= self.tuning.ceiling_mean,
            ln_measured,
            ln_ready: ready.ln(),
            served: served(seen, evidence),
            ordered: f64::from(seen.replicas),
            ki: settings.gains().1.get(),
            startup_s: self.fleet.startup_s(),
            hint: self.forward.hint(seen.inflight, ready),
        };
        self.blind.look(&sight, &self.tuning)
    }

    fn saturated(&self, evidence: &Evidence) -> bool {
        evidence.utilisation >= self.tuning.ceiling_mean
            || evidence.saturated_share >= self.tuning.ceiling_share
    }
}

/// Replicas that served for the whole window; those that do not report are like those that do.
fn served(seen: &Observation, evidence: &Evidence) -> f64 {
    let reporting = f64::from(evidence.counting.saturating_add(evidence.young)).max(1.0);
    let whole = f64::from(evidence.counting) / reporting;
    whole * f64::from(seen.ready.min(seen.replicas))
}

fn interval_s(settings: &AutoscalerSettings) -> f64 {
    settings.interval().as_secs_f64()
}
