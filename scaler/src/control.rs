//! The controller: from demand evidence to a replica count, and why. Pure: no clock, no I/O; `now_s` is an argument,
//! in seconds since any fixed moment. Two laws: [`StandardLaw`], the default, and [`KabernetesLaw`], the law of
//! Kabernetes as it was. [`Controller`] holds whichever the settings name.

mod blind;
mod budget;
mod controller;
mod estimator;
mod fleet;
mod forward;
mod hold;
mod integrator;
mod kabernetes;
mod knowledge;
mod lead;
mod motion;
mod observation;
mod season;
mod shape;
mod standard;
mod tuning;

pub use controller::Controller;
pub use kabernetes::{KabernetesGains, KabernetesLaw};
pub use knowledge::Knowledge;
pub use observation::Observation;
pub use slipway_common::model::autoscaler::{Clamp, Clamps, Decision, Reason, Terms};
pub use standard::StandardLaw;
pub use tuning::Tuning;

#[cfg(test)]
mod tests;
