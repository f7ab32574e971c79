//! The loads of the benchmark: parts of recorded traces and generated profiles, one half to tune on, the other to
//! report. A folder that lacks a trace file makes the suite smaller, not wrong.

use std::path::Path;

use super::load::Load;
use super::profile::{Form, Profile};
use super::trace::{Fit, Trace, TraceError};

/// Minutes of a day.
const DAY_MIN: f64 = 1_440.0;
/// Largest trace file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Why the suite could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A file could not be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is too large.
    #[error("{path} is larger than 64 MiB")]
    TooLarge {
        /// Which.
        path: String,
    },
    /// A file is no trace.
    #[error("{path}")]
    Trace {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: TraceError,
    },
}

/// One part of a trace: name, first unit, last unit, simulated seconds for a unit, peak in replicas.
type Part = (&'static str, f64, f64, f64, f64);

struct Source {
    file: &'static str,
    training: &'static [Part],
    held_out: &'static [Part],
}

const fn day(name: &'static str, day: f64, unit_s: f64, peak: f64) -> Part {
    (name, day * DAY_MIN, (day + 1.0) * DAY_MIN, unit_s, peak)
}

/// WorldCup98 by days at six times its speed (day 0 is 8 June 1998), NASA by days and half days at its own and twice
/// its speed, Wikipedia by blocks of days at sixty times.
const SOURCES: [Source; 3] = [
    Source {
        file: "worldcup98_per_minute_0608_0713.csv",
        training: &[
            day("wc98-d02", 2.0, 10.0, 24.0),
            day("wc98-d04", 4.0, 10.0, 20.0),
            day("wc98-d10", 10.0, 10.0, 34.0),
            day("wc98-d14", 14.0, 10.0, 14.0),
            day("wc98-d23", 23.0, 10.0, 12.0),
        ],
        held_out: &[
            day("wc98-d07", 7.0, 10.0, 30.0),
            day("wc98-d17", 17.0, 10.0, 18.0),
            day("wc98-d21", 21.0, 10.0, 24.0),
            day("wc98-d25", 25.0, 10.0, 10.0),
            day("wc98-d29", 29.0, 10.0, 40.0),
        ],
    },
    Source {
        file: "nasa_http_1995_per_minute.csv",
        training: &[
            ("nasa-d04", 4.0 * DAY_MIN + 480.0, 4.0 * DAY_MIN + 840.0, 30.0, 12.0),
            ("nasa-d06", 6.0 * DAY_MIN + 480.0, 6.0 * DAY_MIN + 840.0, 30.0, 18.0),
            ("nasa-d20", 20.0 * DAY_MIN + 480.0, 20.0 * DAY_MIN + 720.0, 60.0, 10.0),
            ("nasa-d45", 45.0 * DAY_MIN + 360.0, 45.0 * DAY_MIN + 840.0, 30.0, 16.0),
        ],
        held_out: &[
            ("nasa-d12", 12.0 * DAY_MIN + 360.0, 12.0 * DAY_MIN + 840.0, 30.0, 20.0),
            ("nasa-d33", 33.0 * DAY_MIN + 480.0, 33.0 * DAY_MIN + 840.0, 30.0, 8.0),
            ("nasa-d57", 57.0 * DAY_MIN + 480.0, 57.0 * DAY_MIN + 720.0, 60.0, 14.0),
        ],
    },
    Source {
        file: "wikipedia_limbo_hourly.txt",
        training: &[
            ("wiki-b0", 0.0, 200.0, 60.0, 20.0),
            ("wiki-b1", 240.0, 480.0, 60.0, 24.0),
            ("wiki-b3", 720.0, 960.0, 30.0, 16.0),
        ],
        held_out: &[
            ("wiki-b2", 480.0, 720.0, 60.0, 30.0),
            ("wiki-b4", 960.0, 1_200.0, 60.0, 12.0),
            ("wiki-b5", 1_200.0, 1_440.0, 30.0, 20.0),
        ],
    },
];

/// The loads of one half. Without a folder, or where it lacks files, there are fewer of them.
///
/// # Errors
/// When a file is there and cannot be used.
pub fn loads(traces: Option<&Path>, form: Form) -> Result<Vec<Load>, SuiteError> {
    let mut loads = Vec::new();
    for source in &SOURCES {
        let Some(path) = traces.map(|folder| folder.join(source.file)).filter(|path| path.exists()) else {
            continue;
        };
        let trace = read(&path)?;
        let parts = if form == Form::Training { source.training } else { source.held_out };
        for (name, from, to, unit_s, peak_replicas) in parts {
            let fit = Fit { from: *from, to: *to, unit_s: *unit_s, peak_replicas: *peak_replicas };
            let load = trace.fit(name, &fit);
            loads
                .push(load.map_err(|source| SuiteError::Trace { path: path.display().to_string(), source })?);
        }
    }
    loads.extend(Profile::ALL.map(|profile| profile.load(form)));
    Ok(loads)
}

/// Reads a trace file.
///
/// # Errors
/// When it cannot be read, is too large or is no trace.
pub fn read(path: &Path) -> Result<Trace, SuiteError> {
    let shown = || path.display().to_string();
    let size = std::fs::metadata(path).map_err(|source| SuiteError::Read { path: shown(), source })?.len();
    if size > FILE_MAX_BYTES {
        return Err(SuiteError::TooLarge { path: shown() });
    }
    let text = std::fs::read_to_string(path).map_err(|source| SuiteError::Read { path: shown(), source })?;
    Trace::parse(&text).map_err(|source| SuiteError::Trace { path: shown(), source })
}
