//! The laws: the old one by its vectors, ours by scenarios and properties. `Rig` closes the loop around a controller
//! with a fleet of its own, so that no scenario depends on the simulator.

mod faults;
mod generated;
mod laws;
mod properties;
mod scenarios;
mod seasons;

use super::*;
use crate::demand::{Evidence, Silence};
use crate::settings::{AutoscalerSettings, RawSettings};
use crate::sim::rng::Rng;

fn raw() -> RawSettings {
    serde_json::from_str(r#"{"cpu_target": 0.6, "replicas_max": 1000}"#).unwrap()
}

fn settings(change: impl FnOnce(&mut RawSettings)) -> AutoscalerSettings {
    let mut raw = raw();
    change(&mut raw);
    AutoscalerSettings::try_from(raw).unwrap()
}

fn evidence(at_s: f64, utilisation: f64, ready: u32) -> Evidence {
    Evidence {
        at_s,
        window_s: 5.0,
        utilisation,
        saturated_share: if utilisation >= 0.95 { 1.0 } else { 0.0 },
        demand_replicas: utilisation * f64::from(ready),
        counting: ready,
        young: 0,
    }
}

/// A controller, a fleet that starts replicas in `startup_s`, and a load.
struct Rig {
    controller: Controller,
    now_s: f64,
    demand: f64,
    noise: f64,
    startup_s: f64,
    silent: bool,
    replicas: u32,
    starting: Vec<f64>,
    rng: Rng,
    actions: u32,
    most: u32,
}

impl Rig {
    fn new(settings: AutoscalerSettings, replicas: u32, demand: f64) -> Self {
        Self {
            controller: Controller::new(settings),
            now_s: 1_000.0,
            demand,
            noise: 0.0,
            startup_s: 0.0,
            silent: false,
            replicas,
            starting: Vec::new(),
            rng: Rng::new(1),
            actions: 0,
            most: replicas,
        }
    }

    fn ready(&self) -> u32 {
        self.replicas - u32::try_from(self.starting.len()).unwrap()
    }

    fn observe(&mut self) -> Observation {
        let now_s = self.now_s;
        self.starting.retain(|ready_at_s| *ready_at_s > now_s);
        let ready = self.ready();
        let used = (self.demand / f64::from(ready)).min(1.0) * (1.0 + self.noise * self.rng.normal());
        Observation {
            now_s,
            replicas: self.replicas,
            ready,
            evidence: if self.silent {
                Err(Silence::Stale)
            } else {
                Ok(evidence(now_s, used.max(0.0), ready))
            },
            arrivals_per_s: None,
            inflight: None,
        }
    }

    fn tick(&mut self) -> Decision {
        self.now_s += 5.0;
        let seen = self.observe();
        let decision = self.controller.step(&seen);
        if let Decision::Scale { from, to, .. } = decision {
            assert_eq!(from, self.replicas);
            assert_ne!(from, to);
            self.actions += 1;
            self.scale(to);
        }
        decision
    }

    fn scale(&mut self, to: u32) {
        for _ in self.replicas..to {
            self.starting.push(self.now_s + self.startup_s);
        }
        let fewer = usize::try_from(self.replicas.saturating_sub(to)).unwrap();
        let left = self.starting.len().saturating_sub(fewer);
        self.starting.truncate(left);
        self.replicas = to;
        self.most = self.most.max(to);
    }

    fn run(&mut self, seconds: u32) -> &mut Self {
        for _ in 0..seconds / 5 {
            self.tick();
        }
        self
    }
}
