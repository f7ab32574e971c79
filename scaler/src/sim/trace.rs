//! Recorded loads: text of time and rate, cut, sped up and scaled to the plant.

use super::load::{Load, REQUEST_CPU_S};
use crate::number::{from_len, to_index};

/// Most points a trace may have.
const POINTS_MAX: usize = 2_000_000;
/// Longest simulated time, in seconds: a week.
const DURATION_MAX_S: f64 = 604_800.0;

/// Why a trace could not be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// A line is not a pair of numbers.
    #[error("line {line} of the trace is not `time,rate`: {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line, cut short.
        text: String,
    },
    /// Nothing in it.
    #[error("the trace has fewer than two points in the part asked for")]
    Empty,
    /// Time does not move forward.
    #[error("line {line} of the trace is not later than the one before")]
    Order {
        /// Counted from 1.
        line: usize,
    },
    /// Too much of it.
    #[error("the trace is longer than {0}")]
    TooLong(&'static str),
}

/// Time (in any unit) and count, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    points: Vec<(f64, f64)>,
}

/// How a trace becomes a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// From this time of the trace, in its unit.
    pub from: f64,
    /// To this time, in its unit.
    pub to: f64,
    /// Simulated seconds for one unit of the trace's time.
    pub unit_s: f64,
    /// The highest point keeps so many replicas busy.
    pub peak_replicas: f64,
}

impl Trace {
    /// Reads lines of `time,rate`; a first line of words is a heading; a `;` at a line's end is ignored.
    ///
    /// # Errors
    /// When a line is no pair of numbers, time goes back, or there is too much.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (index, raw) in text.lines().enumerate() {
            let line = raw.trim().trim_end_matches(';');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some(point) = parse_line(line) else {
                if points.is_empty() && index == 0 {
                    continue;
                }
                return Err(TraceError::Line { line: index + 1, text: raw.chars().take(60).collect() });
            };
            if points.last().is_some_and(|(time, _)| *time >= point.0) {
                return Err(TraceError::Order { line: index + 1 });
            }
            points.push(point);
            if points.len() > POINTS_MAX {
                return Err(TraceError::TooLong("2,000,000 points"));
            }
        }
        if points.len() < 2 { Err(TraceError::Empty) } else { Ok(Self { points }) }
    }

    /// First and last time.
    #[must_use]
    pub fn span(&self) -> (f64, f64) {
        let first = self.points.first().map_or(0.0, |point| point.0);
        let last = self.points.last().map_or(0.0, |point| point.0);
        (first, last)
    }

    /// The load of a part: straight lines between the points, the highest point scaled to the fit's peak.
    ///
    /// # Errors
    /// When the part has fewer than two points or becomes too long.
    pub fn fit(&self, name: &str, fit: &Fit) -> Result<Load, TraceError> {
        let part: Vec<(f64, f64)> =
            self.points.iter().copied().filter(|(time, _)| (fit.from..=fit.to).contains(time)).collect();
        let (Some(first), Some(last)) = (part.first(), part.last()) else { return Err(TraceError::Empty) };
        let duration_s = (last.0 - first.0) * fit.unit_s;
        if part.len() < 2 || duration_s.is_nan() || duration_s < 1.0 {
            return Err(TraceError::Empty);
        }
        if duration_s > DURATION_MAX_S {
            return Err(TraceError::TooLong("a week of simulated time"));
        }
        let peak = part.iter().map(|point| point.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let scale = fit.peak_replicas / peak / REQUEST_CPU_S;
        let mut rates = Vec::with_capacity(to_index(duration_s));
        let mut after = 1;
        for second in 0..to_index(duration_s) {
            let time = first.0 + from_len(second) / fit.unit_s;
            while after + 1 < part.len() && part[after].0 < time {
                after += 1;
            }
            let ((t0, r0), (t1, r1)) = (part[after - 1], part[after]);
            let share = ((time - t0) / (t1 - t0)).clamp(0.0, 1.0);
            rates.push((r0 + (r1 - r0) * share) * scale);
        }
        Ok(Load::new(name, rates))
    }
}

fn parse_line(line: &str) -> Option<(f64, f64)> {
    let (time, rate) = line.split_once([',', ';', '\t'])?;
    let time: f64 = time.trim().parse().ok()?;
    let rate: f64 = rate.trim().parse().ok()?;
    (time.is_finite() && rate.is_finite() && rate >= 0.0).then_some((time, rate))
}
