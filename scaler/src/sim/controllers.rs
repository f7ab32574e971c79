//! The controllers under comparison, each made from a kind and its target.

use super::hpa::{Hpa, HpaMetric, HpaPod, HpaSettings};
use super::kpa::Kpa;
use super::policy::{Cadence, Policy, View};
use crate::control::{KabernetesGains, KabernetesLaw, Observation, StandardLaw, Tuning};
use crate::demand::{ContainerSample, Cpu, DemandLimits, DemandWindow, Key};
use crate::number::{ceil_count, from_len, to_u64};
use crate::settings::{AutoscalerSettings, Law, Mode, RawGains, RawSettings, SettingsError};

/// Settings of the law `standard` in the simulator: what users set, and the constants of the mode.
#[derive(Debug, Clone, PartialEq)]
pub struct StandardSetup {
    /// What users set.
    pub settings: AutoscalerSettings,
    /// The constants.
    pub tuning: Tuning,
}

impl StandardSetup {
    /// The defaults of a mode, with events every so many seconds.
    ///
    /// # Errors
    /// When the target is out of range.
    pub fn of(
        mode: Mode,
        cpu_target: f64,
        interval_s: u32,
        replicas_max: u32,
    ) -> Result<Self, SettingsError> {
        let raw = RawSettings {
            law: Law::Standard,
            mode,
            cpu_target,
            constants: None,
            replicas_min: 1,
            replicas_max,
            interval_s,
            window_s: interval_s,
            stale_after_s: 30.max(interval_s),
            hold_s: None,
            down_percent_per_min: None,
            hysteresis: None,
            actions_per_hour_max: None,
        };
        Ok(Self { settings: AutoscalerSettings::try_from(raw)?, tuning: Tuning::of(mode) })
    }

    /// The same with another target.
    ///
    /// # Errors
    /// When the target is out of range.
    pub fn with_target(&self, cpu_target: f64) -> Result<Self, SettingsError> {
        let raw = RawSettings { cpu_target, ..self.settings.clone().into() };
        Ok(Self { settings: AutoscalerSettings::try_from(raw)?, tuning: self.tuning })
    }

    /// The same with other gains.
    ///
    /// # Errors
    /// When a gain is out of range.
    pub fn with_gains(&self, gains: RawGains) -> Result<Self, SettingsError> {
        let raw = RawSettings { constants: Some(gains), ..self.settings.clone().into() };
        Ok(Self { settings: AutoscalerSettings::try_from(raw)?, tuning: self.tuning })
    }
}

/// The law `standard` behind the product's own window, fed as the service feeds it.
#[derive(Debug)]
pub struct StandardPolicy {
    setup: StandardSetup,
    law: StandardLaw,
    window: DemandWindow,
    cadence: Cadence,
    arrivals: bool,
}

const OWNER: &str = "simulated";

impl StandardPolicy {
    /// A policy at its start; with `arrivals` it sees what a gateway counts.
    #[must_use]
    pub fn new(setup: StandardSetup, cadence: Cadence, arrivals: bool) -> Self {
        let limits = DemandLimits {
            window_s: setup.settings.window().as_secs_f64(),
            stale_after_s: setup.settings.stale_after().as_secs_f64(),
            ..DemandLimits::default()
        };
        let law = StandardLaw::with_tuning(setup.tuning);
        Self { setup, law, window: DemandWindow::new(Key::of(OWNER), limits), cadence, arrivals }
    }
}

impl Policy for StandardPolicy {
    fn cadence(&self) -> Cadence {
        self.cadence
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        for metric in view.metrics {
            let pod =
                view.pods.binary_search_by_key(&metric.id, |pod| pod.id).ok().map(|place| view.pods[place]);
            let ready_since_s = pod.filter(|pod| !pod.draining).and_then(|pod| pod.ready_since_s);
            let sample = ContainerSample {
                owner: Key::of(OWNER),
                container: Key::from_number(metric.id),
                at_s: metric.at_s,
                cpu: Cpu::Mean { used_cores: metric.used_cores, window_s: metric.window_s },
                allowed_cores: 1.0,
                ready_since_s,
            };
            // What is dropped is counted by the window; the simulator has no use for the count.
            self.window.push(&sample, view.now_s).ok();
        }
        let seen = Observation {
            now_s: view.now_s,
            replicas: view.ordered,
            ready: view.ready(),
            evidence: self.window.read(Some(view.ready()), view.now_s),
            arrivals_per_s: self.arrivals.then_some(view.arrivals_per_s),
            inflight: None,
        };
        self.law.step(&seen, &self.setup.settings).to().unwrap_or(view.ordered)
    }
}

/// The law of Kabernetes: it averages over all containers, whatever they do.
#[derive(Debug)]
pub struct KabernetesPolicy {
    law: KabernetesLaw,
    gains: KabernetesGains,
}

impl KabernetesPolicy {
    /// A policy at its start, with gains per percent point.
    #[must_use]
    pub fn new(target: f64, gains: KabernetesGains) -> Self {
        Self { law: KabernetesLaw::new(100.0 * target), gains }
    }
}

impl Policy for KabernetesPolicy {
    fn cadence(&self) -> Cadence {
        Cadence::EVENTS_5_S
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        if view.metrics.is_empty() {
            return view.ordered;
        }
        let sum: f64 = view.metrics.iter().map(|metric| metric.used_cores).sum();
        let mean_percent = 100.0 * sum / from_len(view.metrics.len());
        self.law.step(&self.gains, mean_percent, view.ordered).1
    }
}

/// The rules of the HPA, at a cadence.
#[derive(Debug)]
pub struct HpaPolicy {
    hpa: Hpa,
    cadence: Cadence,
}

impl HpaPolicy {
    /// A policy at its start.
    #[must_use]
    pub fn new(settings: HpaSettings, cadence: Cadence) -> Self {
        Self { hpa: Hpa::new(settings), cadence }
    }
}

impl Policy for HpaPolicy {
    fn cadence(&self) -> Cadence {
        self.cadence
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        let metric_of = |id: u64| {
            let place = view.metrics.binary_search_by_key(&id, |metric| metric.id).ok()?;
            let metric = view.metrics[place];
            Some(HpaMetric {
                usage_milli: to_u64(metric.used_cores * 1_000.0),
                at_s: metric.at_s,
                window_s: metric.window_s,
            })
        };
        let pods: Vec<HpaPod> = view
            .pods
            .iter()
            .map(|pod| HpaPod {
                gone: pod.draining,
                pending: false,
                ready: Some((pod.ready_since_s.is_some(), pod.ready_since_s.unwrap_or(pod.started_s))),
                started_s: Some(pod.started_s),
                metric: metric_of(pod.id),
                request_milli: 1_000,
            })
            .collect();
        self.hpa.sync(view.now_s, view.ordered, &pods)
    }
}

/// The rules of the KPA.
#[derive(Debug)]
pub struct KpaPolicy {
    kpa: Kpa,
}

impl KpaPolicy {
    /// A policy at its start.
    #[must_use]
    pub fn new(target: f64, down_delay_s: f64) -> Self {
        Self { kpa: Kpa::new(target, down_delay_s) }
    }
}

impl Policy for KpaPolicy {
    fn cadence(&self) -> Cadence {
        Cadence { period_s: 2, decide_after_s: 0 }
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        self.kpa.tick(view.now_s, view.recent_total_cores, view.ready())
    }
}

/// A floor: knows the true load, now or some seconds ahead, and holds the highest count for a while.
#[derive(Debug)]
pub struct FloorPolicy {
    target: f64,
    ahead_s: usize,
    hold_s: usize,
}

impl FloorPolicy {
    /// A floor that looks so far ahead.
    #[must_use]
    pub fn new(target: f64, ahead_s: usize, hold_s: usize) -> Self {
        Self { target, ahead_s, hold_s }
    }
}

impl Policy for FloorPolicy {
    fn cadence(&self) -> Cadence {
        Cadence::INSTANT
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        let now = crate::number::to_index(view.now_s);
        let peak = view.load.peak_replicas(now.saturating_sub(self.hold_s), now + self.ahead_s);
        ceil_count(peak / self.target).max(1)
    }
}
