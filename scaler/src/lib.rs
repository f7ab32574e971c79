//! Slipway's autoscaler: from samples of CPU use to a replica count, and why; and the simulator that says how good
//! that is. Pure: no clock, no I/O; `now` is an argument.

pub mod control;
pub mod demand;
pub mod number;
pub mod settings;
pub mod sim;

pub use settings::{AutoscalerSettings, Fraction, Gain, Replicas, SettingsError};
