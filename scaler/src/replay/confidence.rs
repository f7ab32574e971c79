//! How sure a proposal is, and why.

use serde::{Deserialize, Serialize};

use super::identify::Identified;

/// From so much on, a replay does not reproduce its record.
const REPLAYED_APART_MAX_PERCENT: f64 = 10.0;

/// How sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A hint at best.
    Low,
    /// Worth a try under watch.
    Medium,
    /// As sure as a record can make it.
    High,
}

/// How sure a proposal is: as sure as its weakest reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confidence {
    /// How sure.
    pub level: Level,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

/// What was tried to shake the proposal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trials {
    /// Whether each half of the record had load changes, so that one could check what was found on the other.
    pub(super) halves: bool,
    /// Gain on the half that was not searched on, relative.
    pub(super) held_out_gain: f64,
    /// Mean gain over other seeds of the noise, relative.
    pub(super) gain: f64,
    /// Standard deviation of that.
    pub(super) gain_spread: f64,
    /// Replica-seconds of the constants in force, played again, relative to those recorded.
    pub(super) replayed: f64,
    /// What came of it.
    pub(super) verdict: Verdict,
}

/// What came of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Other constants are proposed, and the simulator agrees.
    Simulated,
    /// Other constants are proposed; the fleet is too large for the simulator.
    NotSimulated,
    /// Nothing is better by enough.
    NothingBetter,
    /// What looked better on the record is worse in the simulator.
    Refuted,
}

impl Confidence {
    pub(super) fn of(model: &Identified, trials: &Trials) -> Self {
        let mut grounds = of_the_record(model);
        grounds.push(of_the_replay(trials.replayed));
        match trials.verdict {
            Verdict::Simulated => {
                grounds.extend(of_the_trials(trials));
                grounds.push((Level::High, "the simulator, which has queues, finds it no worse".to_owned()));
            }
            Verdict::NotSimulated => {
                grounds.extend(of_the_trials(trials));
                let large = "the fleet is too large for the simulator, which was not asked";
                grounds.push((Level::Medium, large.to_owned()));
            }
            Verdict::NothingBetter => {
                let none = "no constants were found that do better without more replicas or changes";
                grounds.push((Level::Medium, none.to_owned()));
            }
            Verdict::Refuted => {
                let refuted = "what looked better on the record was worse in the simulator, which has queues";
                grounds.push((Level::Low, refuted.to_owned()));
            }
        }
        let level = grounds.iter().map(|(level, _)| *level).min().unwrap_or(Level::Low);
        Self { level, reasons: grounds.into_iter().map(|(_, reason)| reason).collect() }
    }
}

/// High from the larger bound on, low below the smaller.
fn grade(value: f64, (low, high): (f64, f64)) -> Level {
    if value >= high {
        Level::High
    } else if value >= low {
        Level::Medium
    } else {
        Level::Low
    }
}

fn of_the_record(model: &Identified) -> Vec<(Level, String)> {
    let hours = model.measured_s / 3_600.0;
    let percent = |share: f64| 100.0 * share;
    let mut grounds = vec![
        (grade(hours, (1.0, 3.0)), format!("{hours:.1} h were measured")),
        (
            grade(f64::from(model.changes_seen), (3.0, 8.0)),
            format!("the load changed by a quarter or more {} times", model.changes_seen),
        ),
        (
            grade(-model.saturated_share, (-0.2, -0.05)),
            format!(
                "the CPU stood at its ceiling for {:.1} % of the time, where the demand is a guess",
                percent(model.saturated_share)
            ),
        ),
        match model.starts_seen {
            0 => {
                let assumed = format!("no start was seen; {:.0} s are assumed for one", model.startup_s);
                (Level::Medium, assumed)
            }
            seen => {
                let took = format!("{seen} starts were seen; one takes {:.0} s", model.startup_s);
                (grade(f64::from(seen), (1.0, 3.0)), took)
            }
        },
    ];
    if model.silent_share > 0.0 {
        let silent = format!("the metrics were silent for {:.1} % of the time", percent(model.silent_share));
        grounds.push((grade(-model.silent_share, (-0.3, -0.1)), silent));
    }
    grounds
}

/// What is in force now need not have been in force all the time, so a difference is no more than a warning.
fn of_the_replay(replayed: f64) -> (Level, String) {
    let apart = 100.0 * (replayed - 1.0).abs();
    let direction = if replayed >= 1.0 { "more" } else { "fewer" };
    let level = if apart <= REPLAYED_APART_MAX_PERCENT { Level::High } else { Level::Medium };
    (
        level,
        format!(
            "played again, the constants in force take {apart:.0} % {direction} replicas than were recorded"
        ),
    )
}

fn of_the_trials(trials: &Trials) -> Vec<(Level, String)> {
    let percent = |share: f64| 100.0 * share;
    let gain = percent(trials.held_out_gain);
    let mut grounds = vec![if trials.halves {
        let level = if trials.held_out_gain > 0.0 { Level::High } else { Level::Low };
        (level, format!("on the half of the record that was not searched on, the gain is {gain:.0} %"))
    } else {
        (
            Level::Medium,
            "the load changed in one half of the record only: nothing was kept for a check".to_owned(),
        )
    }];
    let level = if trials.gain > 2.0 * trials.gain_spread {
        Level::High
    } else if trials.gain > trials.gain_spread {
        Level::Medium
    } else {
        Level::Low
    };
    let (gain, spread) = (percent(trials.gain), percent(trials.gain_spread));
    grounds.push((
        level,
        format!("over seeds of the noise the gain is {gain:.0} %, give or take {spread:.0} %"),
    ));
    grounds
}
