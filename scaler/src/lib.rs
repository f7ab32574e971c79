//! Slipway's autoscaler: the window of metric samples a decision is made from, and the settings of one
//! autoscaler. Pure: no clock, no I/O; `now` is an argument. The controller itself is not part of this version.

pub mod settings;
pub mod window;

pub use settings::{AutoscalerSettings, Fraction, Gain, Replicas, SettingsError};
pub use window::{Hold, Reading, Refusal, Sample, SampleWindow, WindowLimits};
