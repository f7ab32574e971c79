//! One controller per deployment: the law that its settings name, and what happens when they change.

use super::kabernetes::{KabernetesGains, KabernetesLaw};
use super::knowledge::Knowledge;
use super::observation::Observation;
use super::standard::StandardLaw;
use crate::demand::{Evidence, UTILISATION_MAX};
use crate::settings::{AutoscalerSettings, Law};
use slipway_common::model::autoscaler::{Clamp, Clamps};
use slipway_common::model::autoscaler::{Decision, Reason, Terms};

/// The controller of one deployment.
#[derive(Debug, Clone)]
pub struct Controller {
    settings: AutoscalerSettings,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Standard(Box<StandardLaw>),
    Kabernetes(Box<KabernetesState>),
}

#[derive(Debug, Clone)]
struct KabernetesState {
    law: KabernetesLaw,
    last_now_s: f64,
    last_evidence_s: f64,
    terms: Option<Terms>,
}

impl Controller {
    /// A controller that has seen nothing yet. The count it finds first is taken over.
    #[must_use]
    pub fn new(settings: AutoscalerSettings) -> Self {
        let state = State::new(&settings);
        Self { settings, state }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &AutoscalerSettings {
        &self.settings
    }

    /// Other settings, without a bump: see [`StandardLaw::retune`]. Another law starts anew, with the count it finds.
    pub fn set_settings(&mut self, settings: AutoscalerSettings) {
        if settings.law() != self.settings.law() {
            self.state = State::new(&settings);
        } else {
            match &mut self.state {
                State::Standard(law) => law.retune(&self.settings, &settings),
                State::Kabernetes(state) => state.law.set_target_percent(target_percent(&settings)),
            }
        }
        self.settings = settings;
    }

    /// What was learned until now; the law `kabernetes` learns nothing.
    #[must_use]
    pub fn knowledge(&self) -> Option<Knowledge> {
        match &self.state {
            State::Standard(law) => Some(law.knowledge()),
            State::Kabernetes(_) => None,
        }
    }

    /// Takes over what a controller before this one has learned.
    pub fn recall(&mut self, known: &Knowledge) {
        if let State::Standard(law) = &mut self.state {
            law.recall(known);
        }
    }

    /// One decision. Neither refused nor repeated input does harm: the answer is then [`Decision::Hold`].
    pub fn step(&mut self, seen: &Observation) -> Decision {
        match &mut self.state {
            State::Standard(law) => law.step(seen, &self.settings),
            State::Kabernetes(state) => state.step(seen, &self.settings).unwrap_or_else(Decision::Hold),
        }
    }

    /// The terms of the last decision that was computed, held ones included.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        match &self.state {
            State::Standard(law) => law.terms(),
            State::Kabernetes(state) => state.terms.as_ref(),
        }
    }

    /// The learned time from an order to its last replica serving, in seconds; the law `kabernetes` learns none.
    #[must_use]
    pub fn startup_s(&self) -> Option<f64> {
        match &self.state {
            State::Standard(law) => Some(law.startup_s()),
            State::Kabernetes(_) => None,
        }
    }
}

impl State {
    fn new(settings: &AutoscalerSettings) -> Self {
        match settings.law() {
            Law::Standard => Self::Standard(Box::new(StandardLaw::new(settings))),
            Law::Kabernetes => Self::Kabernetes(Box::new(KabernetesState {
                law: KabernetesLaw::new(target_percent(settings)),
                last_now_s: f64::NEG_INFINITY,
                last_evidence_s: f64::NEG_INFINITY,
                terms: None,
            })),
        }
    }
}

impl KabernetesState {
    /// The old law acts on the mean CPU use of what reports; silence holds, which it did not, for it then failed.
    fn step(&mut self, seen: &Observation, settings: &AutoscalerSettings) -> Result<Decision, Reason> {
        if !seen.now_s.is_finite() || seen.now_s < self.last_now_s {
            return Err(Reason::Clock);
        }
        if seen.replicas == 0 {
            return Err(Reason::Stopped);
        }
        self.last_now_s = seen.now_s;
        let evidence = seen.evidence.map_err(|silence| Reason::Silence { silence })?;
        let is_sound =
            (0.0..=UTILISATION_MAX).contains(&evidence.utilisation) && evidence.demand_replicas.is_finite();
        if evidence.at_s <= self.last_evidence_s || !is_sound {
            return Err(Reason::NothingNew);
        }
        self.last_evidence_s = evidence.at_s;
        let (command, to, terms) = self.compute(seen, &evidence, settings);
        self.terms = Some(terms);
        if to != seen.replicas {
            return Ok(Decision::Scale { from: seen.replicas, to, terms });
        }
        Err(if command > 0.0 || command <= -1.0 { Reason::AtLimit } else { Reason::OnTarget })
    }

    fn compute(
        &mut self,
        seen: &Observation,
        evidence: &Evidence,
        settings: &AutoscalerSettings,
    ) -> (f64, u32, Terms) {
        let (kp, ki, kd) = settings.gains();
        let gains = KabernetesGains { kp: kp.get(), ki: ki.get(), kd: kd.get(), band_replicas: None };
        let before = self.law.errors_percent().0;
        let (command, wanted) = self.law.step(&gains, evidence.utilisation * 100.0, seen.replicas);
        let (error, error_sum) = self.law.errors_percent();
        let (min, max) = settings.replicas();
        let mut clamps = Clamps::default();
        if wanted > max.get() {
            clamps.add(Clamp::Max);
        }
        if wanted < min.get() || (wanted == 1 && f64::from(seen.replicas) + command.ceil() < 1.0) {
            clamps.add(Clamp::Min);
        }
        let terms = Terms {
            utilisation: evidence.utilisation,
            cpu_target: settings.cpu_target().get(),
            demand_replicas: evidence.demand_replicas,
            ln_replicas: f64::from(seen.replicas).ln(),
            proportional: gains.kp * error,
            integral: gains.ki * error_sum,
            derivative: gains.kd * (before - error),
            command_replicas: command,
            clamps,
            ..Terms::default()
        };
        (command, wanted.clamp(min.get(), max.get()), terms)
    }
}

fn target_percent(settings: &AutoscalerSettings) -> f64 {
    settings.cpu_target().get() * 100.0
}
