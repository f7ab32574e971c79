//! Slipway's autoscaler: from samples of CPU use to a replica count, and why; the service that does so for the
//! deployments of an installation; and the simulator that says how good that is. `control`, `demand`, `replay` and `sim`
//! are pure: no clock, no I/O; `now` is an argument.

pub mod control;
pub mod demand;
pub mod docker;
pub mod kubernetes;
pub mod number;
pub mod replay;
pub mod service;
pub mod sim;
pub mod target;

pub use service::{Scaler, ScalerHandle, ScalerSettings};
pub use slipway_common::model::autoscaler::settings;
pub use slipway_common::model::autoscaler::{AutoscalerSettings, Fraction, Gain, Replicas, SettingsError};
