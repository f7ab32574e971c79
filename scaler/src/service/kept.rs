//! One deployment that is kept at its size: what is measured of it becomes decisions, and decisions become orders. Pure:
//! the time is an argument, and whoever calls carries the orders out.

mod explain;
mod names;
mod orders;

use std::sync::Arc;

use jiff::Timestamp;
use slipway_common::autoscaler::Entry;
use slipway_common::metric::{ContainerMeasure, Measured, MetricEvent, TrafficMeasure};
use slipway_common::model::autoscaler::{
    AutoscalerFault, AutoscalerSettings, AutoscalerState, Clamp, Clamps, Decision, DecisionEntry, Evidence,
    Learned, Observed, Place, Reason, Terms,
};
use uuid::Uuid;

use self::names::Names;
pub(crate) use self::orders::Order;
use super::measure::{owner_of, sample, seconds};
use crate::control::{Controller, Knowledge, Observation};
use crate::demand::{DemandLimits, DemandWindow, Key, make_room};
use crate::number;
use crate::target::{Seen, Subject, TargetError};

/// Observations that are handed on together.
const OBSERVED_CHUNK: usize = 6;
/// A look at the target older than this is of no use.
const SEEN_MAX_S: f64 = 30.0;
/// After so long without events there is a step all the same, as a multiple of the interval: silence is a finding.
const SILENT_STEP: f64 = 2.0;
/// What was learned is handed on about this often, in seconds: a scaler that dies loses no more.
const LEARNED_PAUSE_S: f64 = 300.0;
/// The clock may go back by so much; by more, everything begins anew.
const CLOCK_BACK_MAX_S: f64 = 5.0;

/// One deployment that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    entry: Arc<Entry>,
    subject: Option<Subject>,
    fence: u64,
    controller: Controller,
    window: DemandWindow,
    names: Names,
    traffic: Option<(f64, TrafficMeasure)>,
    seen: Option<(f64, Seen)>,
    unfinished_since_s: Option<f64>,
    /// The count that was ordered last, of whichever deployment of the place: what a deploy makes run. While a job takes
    /// replicas away, fewer and fewer are seen, and none of that was ordered.
    ordered: Option<u32>,
    /// A count that shall be set, and is not being set yet.
    pending: Option<u32>,
    /// A count that is being set.
    acting: Option<u32>,
    wish_done: Option<Uuid>,
    wish_tried_s: f64,
    stepped_s: f64,
    touched: bool,
    decision: Option<Decision>,
    evidence: Option<Evidence>,
    fault: Option<AutoscalerFault>,
    observed: Vec<Observed>,
    is_news: bool,
    noted: Option<&'static str>,
    /// When what was learned is handed on again; before the first time is set, not a number.
    learned_due_s: f64,
}

/// What one step gave.
#[derive(Debug, Default)]
pub(crate) struct Stepped {
    /// A decision worth keeping.
    pub(crate) decision: Option<DecisionEntry>,
    /// Observations to keep, once there are enough of them.
    pub(crate) observed: Vec<Observed>,
}

impl Kept {
    /// Begins to keep a place. What is known of it from before are the wish that was fulfilled last and what was learned
    /// of its load, and nothing else: the count that is found is taken over.
    pub(crate) fn new(
        entry: Arc<Entry>,
        fence: u64,
        state: Option<&AutoscalerState>,
        learned: Option<&Learned>,
    ) -> Self {
        let mut controller = Controller::new(entry.autoscaler.settings.clone());
        if let Some(known) = learned.and_then(|learned| Knowledge::read(&learned.body)) {
            controller.recall(&known);
        }
        let limits = limits(&entry.autoscaler.settings);
        Self {
            entry,
            subject: None,
            fence,
            controller,
            window: DemandWindow::new(Key::from_number(0), limits),
            names: Names::default(),
            traffic: None,
            seen: None,
            unfinished_since_s: None,
            ordered: state.map(|state| state.replicas),
            pending: None,
            acting: None,
            wish_done: state.and_then(|state| state.wish),
            wish_tried_s: f64::NEG_INFINITY,
            stepped_s: f64::NEG_INFINITY,
            touched: false,
            decision: None,
            evidence: None,
            fault: None,
            observed: Vec::new(),
            is_news: true,
            noted: None,
            learned_due_s: f64::NAN,
        }
    }

    /// The deployment in service, if there is one.
    pub(crate) fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// Its place.
    pub(crate) fn place(&self) -> &Place {
        &self.entry.autoscaler.place
    }

    /// Which of so many turns is its own: what is the same for all of them need not be done for all of them at once.
    pub(crate) fn turn(&self, turns: u32) -> u32 {
        number::to_count(turn_of(self.place()) * f64::from(turns))
    }

    /// Whether it is kept under this fencing token.
    pub(crate) fn is_under(&self, fence: u64) -> bool {
        self.fence == fence
    }

    /// The CPU use that is aimed at, a share.
    pub(crate) fn cpu_target(&self) -> f64 {
        self.entry.autoscaler.settings.cpu_target().get()
    }

    /// Takes over what was read of it: settings without a bump, another deployment with an empty window.
    pub(crate) fn update(&mut self, entry: Arc<Entry>, subject: Option<Subject>, fence: u64) {
        if entry.autoscaler.settings != self.entry.autoscaler.settings {
            self.controller.set_settings(entry.autoscaler.settings.clone());
            self.window.set_limits(limits(&entry.autoscaler.settings));
            self.is_news = true;
        }
        if subject != self.subject {
            let owner = subject.as_ref().map_or(Key::from_number(0), |subject| owner_of(subject.deployment));
            self.window = DemandWindow::new(owner, limits(&entry.autoscaler.settings));
            self.names = Names::default();
            (self.seen, self.pending, self.evidence, self.traffic) = (None, None, None, None);
            self.unfinished_since_s = None;
            self.is_news = true;
        }
        (self.entry, self.subject, self.fence) = (entry, subject, fence);
    }

    /// Takes an event that names this deployment. Answers whether it was of use.
    pub(crate) fn take(&mut self, event: &MetricEvent, now_s: f64) -> bool {
        match &event.measured {
            Measured::Container(container) => self.take_container(event, container, now_s),
            Measured::Traffic(traffic) => self.take_traffic(event, traffic, now_s),
        }
    }

    fn take_container(&mut self, event: &MetricEvent, container: &ContainerMeasure, now_s: f64) -> bool {
        let key = Key::of(&container.container);
        if container.gone {
            self.window.remove(key);
            self.names.forget(key);
            return true;
        }
        if self.window.push(&sample(event, container), now_s).is_err() {
            return false;
        }
        self.names.keep(key, &container.container);
        if self.names.len() > 2 * self.window.len() + 16 {
            let window = &self.window;
            self.names.retain(|key| window.uses().any(|(known, _)| known == key));
        }
        self.touched = true;
        true
    }

    fn take_traffic(&mut self, event: &MetricEvent, traffic: &TrafficMeasure, now_s: f64) -> bool {
        let at_s = seconds(event.at);
        let sound = |value: Option<f64>| value.is_none_or(|value| value.is_finite() && value >= 0.0);
        let is_newest = self.traffic.as_ref().is_none_or(|(known_s, _)| at_s > *known_s);
        let limits = DemandLimits::default();
        let in_time = at_s <= now_s + limits.ahead_max_s && at_s >= now_s - self.stale_after_s();
        if !(sound(traffic.arrivals_per_s) && sound(traffic.inflight) && is_newest && in_time) {
            return false;
        }
        self.traffic = Some((at_s, traffic.clone()));
        true
    }

    /// What the target says; nothing when nothing of the deployment is there.
    pub(crate) fn see(&mut self, seen: Option<Seen>, now_s: f64) {
        let Some(seen) = seen else {
            self.fault_is(Some(TargetError::Absent.fault()));
            return;
        };
        let is_unfinished = seen.unfinished > 0 && self.acting.is_none();
        self.unfinished_since_s = is_unfinished.then(|| self.unfinished_since_s.unwrap_or(now_s));
        self.fault_is(seen.hands_off.clone());
        if seen.unfinished == 0 && self.acting.is_none() {
            self.ordered = Some(seen.replicas);
        }
        self.is_news |= self.seen.as_ref().is_none_or(|(_, known)| *known != seen);
        self.seen = Some((now_s, seen));
    }

    /// The target could not be looked at; what was seen before stays, and grows old.
    pub(crate) fn see_nothing(&mut self, error: &TargetError) {
        self.fault_is(Some(error.fault()));
    }

    fn fault_is(&mut self, fault: Option<AutoscalerFault>) {
        self.is_news |= self.fault != fault;
        self.fault = fault;
    }

    /// Whether there is something to decide: new evidence and the interval over, or silence for longer.
    pub(crate) fn is_due(&self, now_s: f64) -> bool {
        let interval_s = self.interval_s();
        let since_s = now_s - self.stepped_s;
        // A little early counts: events come at about the interval.
        (self.touched && since_s >= 0.8 * interval_s) || since_s >= SILENT_STEP * interval_s
    }

    /// One step: observes, decides, and remembers what has to be ordered.
    pub(crate) fn step(&mut self, now_s: f64, at: Timestamp) -> Stepped {
        if now_s < self.stepped_s - CLOCK_BACK_MAX_S {
            self.begin_anew();
        }
        self.stepped_s = now_s.max(self.stepped_s);
        self.touched = false;
        let Some((replicas, ready)) = self.counts(now_s) else { return Stepped::default() };
        let evidence = self.window.read(Some(ready), now_s);
        self.evidence = evidence.ok();
        let (arrivals_per_s, inflight) = self.traffic(now_s);
        let seen = Observation { now_s, replicas, ready, evidence, arrivals_per_s, inflight };
        let decision = self.decide(&seen);
        self.note_observed(&seen, at);
        self.is_news = true;
        let is_new = self.is_worth_keeping(&decision);
        if !matches!(decision, Decision::Hold(Reason::NothingNew | Reason::NotDue)) {
            self.decision = Some(decision);
        }
        if let Decision::Scale { to, .. } = decision {
            self.pending = Some(to);
        }
        Stepped {
            decision: is_new.then(|| self.decision_entry(&seen, at, None)),
            observed: self.chunk(false),
        }
    }

    /// The count is brought into the limits at once; the rest is the controller's.
    fn decide(&mut self, seen: &Observation) -> Decision {
        let (min, max) = self.limits();
        let to = seen.replicas.clamp(min, max);
        if seen.replicas == 0 || to == seen.replicas {
            return self.controller.step(seen);
        }
        let mut clamps = Clamps::default();
        clamps.add(if to > seen.replicas { Clamp::Min } else { Clamp::Max });
        let cpu_target = self.entry.autoscaler.settings.cpu_target().get();
        let terms =
            Terms { cpu_target, command_replicas: f64::from(seen.replicas), clamps, ..Terms::default() };
        Decision::Scale { from: seen.replicas, to, terms }
    }

    /// Its state, if anything about it is new.
    pub(crate) fn news(&mut self, scaler: &str, at: Timestamp) -> Option<AutoscalerState> {
        let subject = self.subject.as_ref()?;
        if !std::mem::take(&mut self.is_news) {
            return None;
        }
        let seen = self.seen.as_ref().map(|(_, seen)| seen);
        Some(AutoscalerState {
            deployment: subject.deployment,
            at,
            fence: self.fence,
            scaler: scaler.to_owned(),
            replicas: self.pending.or(self.acting).or(self.ordered)?,
            ready: seen.map_or(0, |seen| seen.ready),
            evidence: self.evidence,
            decision: self.decision,
            terms: self.controller.terms().copied(),
            startup_s: self.controller.startup_s(),
            wish: self.wish_done,
            busy: self.acting.is_some() || self.pending.is_some() || self.open_wish().is_some(),
            containers: explain::uses(&self.window, &self.names),
            dropped: self.window.dropped(),
            fault: self.fault.clone(),
        })
    }

    /// Its state was not kept; it is tried again.
    pub(crate) fn is_news_again(&mut self) {
        self.is_news = true;
    }

    /// What was learned, if it is time to hand it on or `at_once` asks for it. Places take turns.
    pub(crate) fn learned(&mut self, now_s: f64, at_once: bool) -> Option<Learned> {
        if self.learned_due_s.is_nan() {
            self.learned_due_s = now_s + LEARNED_PAUSE_S * (1.0 + turn_of(self.place()));
        }
        if now_s < self.learned_due_s && !at_once {
            return None;
        }
        self.learned_due_s = now_s + LEARNED_PAUSE_S;
        let body = self.controller.knowledge()?.text()?;
        Some(Learned { fence: self.fence, body })
    }

    /// The observations that were not handed on yet, if there are enough of them or `all` are asked for.
    pub(crate) fn chunk(&mut self, all: bool) -> Vec<Observed> {
        if self.observed.len() >= OBSERVED_CHUNK || all {
            std::mem::take(&mut self.observed)
        } else {
            Vec::new()
        }
    }

    /// Replicas ordered, and those that serve, by the newest look that is of use.
    fn counts(&self, now_s: f64) -> Option<(u32, u32)> {
        let (_, seen) = self.seen.as_ref().filter(|(seen_s, _)| now_s - seen_s <= SEEN_MAX_S)?;
        if seen.hands_off.is_some() {
            return None;
        }
        Some((self.pending.or(self.acting).unwrap_or(seen.replicas), seen.ready))
    }

    fn traffic(&self, now_s: f64) -> (Option<f64>, Option<f64>) {
        let fresh = self.traffic.as_ref().filter(|(at_s, _)| now_s - at_s <= self.stale_after_s());
        fresh.map_or((None, None), |(_, traffic)| (traffic.arrivals_per_s, traffic.inflight))
    }

    fn limits(&self) -> (u32, u32) {
        let (min, max) = self.entry.autoscaler.settings.replicas();
        (min.get(), max.get())
    }

    fn interval_s(&self) -> f64 {
        self.entry.autoscaler.settings.interval().as_secs_f64()
    }

    fn stale_after_s(&self) -> f64 {
        self.entry.autoscaler.settings.stale_after().as_secs_f64()
    }

    /// The clock went back: nothing that was measured before has a place in the order of time.
    fn begin_anew(&mut self) {
        let settings = self.entry.autoscaler.settings.clone();
        let owner = self.subject.as_ref().map_or(Key::from_number(0), |one| owner_of(one.deployment));
        self.window = DemandWindow::new(owner, limits(&settings));
        self.controller = Controller::new(settings);
        (self.traffic, self.stepped_s, self.wish_tried_s) = (None, f64::NEG_INFINITY, f64::NEG_INFINITY);
    }

    fn note_observed(&mut self, seen: &Observation, at: Timestamp) {
        make_room(&mut self.observed);
        self.observed.push(Observed {
            at,
            replicas: seen.replicas,
            ready: seen.ready,
            evidence: seen.evidence.ok(),
            arrivals_per_s: seen.arrivals_per_s,
            inflight: seen.inflight,
        });
    }

    /// Changes always; a reason to hold when it is another one than before.
    fn is_worth_keeping(&mut self, decision: &Decision) -> bool {
        let name = match decision {
            Decision::Scale { .. } => None,
            Decision::Hold(Reason::NothingNew | Reason::NotDue) => return false,
            Decision::Hold(reason) => Some(explain::name(reason)),
        };
        let is_new = name.is_none() || name != self.noted;
        self.noted = name;
        is_new
    }

    fn decision_entry(
        &self,
        seen: &Observation,
        at: Timestamp,
        fault: Option<AutoscalerFault>,
    ) -> DecisionEntry {
        let deployment = self.subject.as_ref().map(|subject| subject.deployment);
        DecisionEntry {
            at,
            deployment: deployment.unwrap_or_else(|| uuid::Uuid::nil().into()),
            replicas: seen.replicas,
            ready: seen.ready,
            evidence: seen.evidence.ok(),
            decision: self.decision.unwrap_or(Decision::Hold(Reason::NotDue)),
            terms: self.controller.terms().copied(),
            fault,
        }
    }
}

/// When in a common round a place has its turn, from 0 to 1.
fn turn_of(Place { project, environment }: &Place) -> f64 {
    let bytes = project.as_str().bytes().chain(environment.as_str().bytes());
    let number = bytes.fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    f64::from(number) / (f64::from(u16::MAX) + 1.0)
}

fn limits(settings: &AutoscalerSettings) -> DemandLimits {
    DemandLimits {
        window_s: settings.window().as_secs_f64(),
        stale_after_s: settings.stale_after().as_secs_f64(),
        ..DemandLimits::default()
    }
}

#[cfg(test)]
mod tests;
