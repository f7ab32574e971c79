//! What is kept of one container: the newest use, over which window, and the counter it is reckoned from.

use super::{ContainerSample, Cpu, DemandLimits, Dropped, Key, UTILISATION_MAX};

/// A counter's clock and the sample's may differ by so much: a window that is short by no more than this is whole.
const WINDOW_SLACK_S: f64 = 0.25;

/// One container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container {
    pub(super) key: Key,
    /// Time of the newest sample.
    pub(super) heard_s: f64,
    pub(super) ready_since_s: Option<f64>,
    /// Use as a share of the allowance, over the window that ends at `measured_s`; without a window, nothing yet.
    pub(super) utilisation: f64,
    pub(super) window_s: f64,
    pub(super) measured_s: f64,
    /// The counter at the end of the last window.
    base: Option<(f64, f64)>,
}

impl Container {
    pub(super) fn new(sample: &ContainerSample) -> Self {
        let mut container = Self {
            key: sample.container,
            heard_s: sample.at_s,
            ready_since_s: sample.ready_since_s,
            utilisation: 0.0,
            window_s: 0.0,
            measured_s: f64::NEG_INFINITY,
            base: None,
        };
        match sample.cpu {
            Cpu::Counter { used_total_s } => container.base = Some((sample.at_s, used_total_s)),
            Cpu::Mean { used_cores, window_s } => {
                container.measured(sample.at_s, used_cores / sample.allowed_cores, window_s);
            }
        }
        container
    }

    /// Whether it is evidence: it served during the whole of its window.
    pub(super) fn counts(&self) -> bool {
        self.window_s > 0.0
            && self
                .ready_since_s
                .is_some_and(|since| since <= self.measured_s - self.window_s + WINDOW_SLACK_S)
    }

    /// For how long it serves, at its newest measurement; a container that does not serve has no age.
    pub(super) fn age_s(&self) -> f64 {
        self.ready_since_s.map_or(0.0, |since| self.measured_s - since)
    }

    pub(super) fn take(&mut self, sample: &ContainerSample, limits: &DemandLimits) -> Result<(), Dropped> {
        if sample.at_s <= self.heard_s {
            return Err(if sample.at_s < self.heard_s { Dropped::OutOfOrder } else { Dropped::Duplicate });
        }
        match sample.cpu {
            Cpu::Mean { used_cores, window_s } => {
                self.measured(sample.at_s, used_cores / sample.allowed_cores, window_s);
            }
            Cpu::Counter { used_total_s } => self.count(sample, used_total_s, limits)?,
        }
        self.heard_s = sample.at_s;
        self.ready_since_s = sample.ready_since_s;
        Ok(())
    }

    /// A counter that went back began anew; one that was silent for long tells nothing of the time between.
    fn count(
        &mut self,
        sample: &ContainerSample,
        used_total_s: f64,
        limits: &DemandLimits,
    ) -> Result<(), Dropped> {
        let Some((base_s, base_used_s)) = self.base else {
            self.base = Some((sample.at_s, used_total_s));
            return Ok(());
        };
        let span_s = sample.at_s - base_s;
        if used_total_s < base_used_s || span_s > limits.stale_after_s {
            self.base = Some((sample.at_s, used_total_s));
            self.window_s = 0.0;
            return Ok(());
        }
        let share = (used_total_s - base_used_s) / span_s / sample.allowed_cores;
        if share > UTILISATION_MAX {
            return Err(Dropped::Absurd);
        }
        if span_s + WINDOW_SLACK_S >= limits.window_s {
            self.measured(sample.at_s, share, span_s);
            self.base = Some((sample.at_s, used_total_s));
        }
        Ok(())
    }

    fn measured(&mut self, at_s: f64, utilisation: f64, window_s: f64) {
        self.measured_s = at_s;
        self.utilisation = utilisation;
        self.window_s = window_s;
    }
}
