//! Recorded observations, played again: what other settings would have done, and which constants would do better.
//! Pure: no clock, no I/O; the same record and settings give the same answer everywhere.
//!
//! The recorded demand hardly depends on how many replicas there were, so it is what another controller would have met.
//! Its own orders decide how many replicas it has: each serves after the start-up time that the record shows. How
//! busy they are follows: `utilisation = min(1, demand / ready)`. What a replay leaves out: queues that build up while
//! there are too few replicas (what waits is work of a later moment), and counts that somebody asked for by hand.

mod axes;
mod confidence;
mod figures;
mod fleet;
mod identify;
mod record;
#[cfg(test)]
mod tests;
mod tune;
mod verify;

use jiff::Timestamp;
use serde::Serialize;

pub use confidence::{Confidence, Level};
pub use figures::Figures;
pub use identify::Identified;
pub use tune::{Constants, Expected, Proposal, TUNE_NEEDS_S, TuneError, tune};
pub use verify::{Checked, Simulated};

use self::record::Record;
use crate::control::Tuning;
use slipway_common::model::autoscaler::{AutoscalerSettings, Observed};

/// Both curves at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// Replicas that were ordered.
    pub recorded: u32,
    /// Replicas the other settings would have ordered.
    pub replayed: u32,
    /// Demand in replicas working flat out; nothing while the metrics were silent.
    pub demand: Option<f64>,
}

/// What other settings would have done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIf {
    /// For how long the record goes, in seconds.
    pub span_s: f64,
    /// Time from an order to its last replica serving, in seconds, as the record shows it.
    pub startup_s: f64,
    /// Starts that showed it; without any it is an assumption.
    pub starts_seen: u32,
    /// Share of the time in which the CPU stood at its ceiling, so that the demand is a guess.
    pub saturated_share: f64,
    /// What was done.
    pub recorded: Figures,
    /// What would have been done.
    pub replayed: Figures,
    /// The curves.
    pub points: Vec<Point>,
}

/// Plays a record to a controller with other settings. Of more than [`RECORD_MAX`] observations the newest count.
///
/// While the CPU stood at its ceiling the recorded demand is only a lower bound. Then the larger of the bound and of
/// what was measured next (the least of three, at most ten minutes later) stands for it.
#[must_use]
pub fn what_if(observed: &[Observed], settings: &AutoscalerSettings) -> WhatIf {
    let record = Record::of(observed, &Tuning::of(settings.mode()));
    let played = fleet::play(&record.moments, settings, record.startup_s, None);
    let recorded = record.moments.iter().map(|moment| (moment.replicas, moment.ready));
    WhatIf {
        span_s: record.span_s(),
        startup_s: record.startup_s,
        starts_seen: record.starts_seen,
        saturated_share: record.saturated_share(),
        recorded: figures::tally(&record.moments, recorded, settings).figures,
        replayed: figures::tally(&record.moments, played.iter().copied(), settings).figures,
        points: record
            .moments
            .iter()
            .zip(&played)
            .map(|(moment, (replayed, _))| Point {
                at: moment.at,
                recorded: moment.replicas,
                replayed: *replayed,
                demand: moment.demand,
            })
            .collect(),
    }
}

/// Most observations that are played.
pub const RECORD_MAX: usize = 20_000;
