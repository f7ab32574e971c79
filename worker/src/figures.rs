//! What the worker counts, in the text form of Prometheus. Counters only grow; nothing is decided by them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use slipway_common::model::Stage;

/// Upper bounds of the buckets of stage durations, in seconds.
const BUCKETS_S: [f64; 10] = [0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];

/// What can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// A job reached its end well.
    Succeeded,
    /// A job failed.
    Failed,
    /// A job was cancelled.
    Cancelled,
    /// A job was overtaken.
    Superseded,
    /// A job was set aside.
    Buried,
    /// A job was parked.
    Parked,
    /// A job was handed back because something it needs was away.
    HandedBack,
    /// A claim turned out to be lost, while working or when settling.
    ClaimLost,
    /// A lease turned out to be lost.
    LeaseLost,
    /// A write was refused because a newer run has the job.
    Fenced,
    /// A run panicked.
    Panicked,
    /// A record reached the ledger while the store was away.
    Unprojected,
    /// A receiver was told of a result.
    ResultTold,
    /// A receiver could not be told of a result.
    ResultFailed,
    /// A receiver was given up.
    ResultGivenUp,
    /// A registered project was looked at.
    Swept,
    /// A look at a registered project came to nothing.
    SweepFailed,
    /// A look at a registered project was put off, for its host was busy or away.
    SweepPutOff,
    /// A deployment was made of a ref that moved.
    Triggered,
}

impl Count {
    const ALL: [Self; 19] = [
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Superseded,
        Self::Buried,
        Self::Parked,
        Self::HandedBack,
        Self::ClaimLost,
        Self::LeaseLost,
        Self::Fenced,
        Self::Panicked,
        Self::Unprojected,
        Self::ResultTold,
        Self::ResultFailed,
        Self::ResultGivenUp,
        Self::Swept,
        Self::SweepFailed,
        Self::SweepPutOff,
        Self::Triggered,
    ];

    /// Name of the series and its label, if it has one.
    fn series(self) -> (&'static str, &'static str) {
        match self {
            Self::Succeeded => ("slipway_worker_jobs_total", "{outcome=\"succeeded\"}"),
            Self::Failed => ("slipway_worker_jobs_total", "{outcome=\"failed\"}"),
            Self::Cancelled => ("slipway_worker_jobs_total", "{outcome=\"cancelled\"}"),
            Self::Superseded => ("slipway_worker_jobs_total", "{outcome=\"superseded\"}"),
            Self::Buried => ("slipway_worker_jobs_total", "{outcome=\"buried\"}"),
            Self::Parked => ("slipway_worker_jobs_total", "{outcome=\"parked\"}"),
            Self::HandedBack => ("slipway_worker_jobs_total", "{outcome=\"handed_back\"}"),
            Self::ClaimLost => ("slipway_worker_claims_lost_total", ""),
            Self::LeaseLost => ("slipway_worker_leases_lost_total", ""),
            Self::Fenced => ("slipway_worker_fenced_total", ""),
            Self::Panicked => ("slipway_worker_panics_total", ""),
            Self::Unprojected => ("slipway_worker_records_unprojected_total", ""),
            Self::ResultTold => ("slipway_worker_results_total", "{outcome=\"told\"}"),
            Self::ResultFailed => ("slipway_worker_results_total", "{outcome=\"failed\"}"),
            Self::ResultGivenUp => ("slipway_worker_results_total", "{outcome=\"given_up\"}"),
            Self::Swept => ("slipway_worker_sweeps_total", "{outcome=\"done\"}"),
            Self::SweepFailed => ("slipway_worker_sweeps_total", "{outcome=\"failed\"}"),
            Self::SweepPutOff => ("slipway_worker_sweeps_total", "{outcome=\"put_off\"}"),
            Self::Triggered => ("slipway_worker_triggered_deployments_total", ""),
        }
    }

    fn help(name: &str) -> &'static str {
        match name {
            "slipway_worker_jobs_total" => "Runs of jobs, by how they ended.",
            "slipway_worker_claims_lost_total" => "Claims another process took over or the broker withdrew.",
            "slipway_worker_leases_lost_total" => "Leases on project and environment that were lost.",
            "slipway_worker_fenced_total" => "Writes refused because a newer run has the job.",
            "slipway_worker_panics_total" => "Runs that panicked.",
            "slipway_worker_results_total" => "Results told to forges and those who listen, or not.",
            "slipway_worker_sweeps_total" => "Looks at registered projects, by how they ended.",
            "slipway_worker_triggered_deployments_total" => "Deployments made of refs that moved.",
            _ => "Records in the ledger that the store could not take at once.",
        }
    }
}

/// How long attempts at one stage took, or looks at projects.
#[derive(Debug, Default)]
struct Durations {
    buckets: [AtomicU64; BUCKETS_S.len()],
    count: AtomicU64,
    sum_ms: AtomicU64,
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    counts: [AtomicU64; Count::ALL.len()],
    stages: [Durations; Stage::ALL.len()],
    sweeps: Durations,
    at_work: AtomicU64,
}

impl Figures {
    /// Counts one more.
    pub(crate) fn count(&self, what: Count) {
        if let Some(place) = Count::ALL.iter().position(|one| *one == what) {
            self.counts[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were.
    #[cfg(test)]
    pub(crate) fn counted(&self, what: Count) -> u64 {
        let place = Count::ALL.iter().position(|one| *one == what);
        place.map_or(0, |place| self.counts[place].load(Ordering::Relaxed))
    }

    /// A job is worked on until the guard is dropped.
    pub(crate) fn at_work(&self) -> AtWork<'_> {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(self)
    }

    /// An attempt at `stage` took this long.
    pub(crate) fn stage_took(&self, stage: Stage, took: Duration) {
        let Some(place) = Stage::ALL.iter().position(|one| *one == stage) else { return };
        self.stages[place].add(took);
    }

    /// A look at a registered project took this long.
    pub(crate) fn sweep_took(&self, took: Duration) {
        self.sweeps.add(took);
    }

    /// All of it as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for (what, count) in Count::ALL.iter().zip(&self.counts) {
            let (name, label) = what.series();
            if name != last {
                head(&mut text, name, Count::help(name), "counter");
                last = name;
            }
            line(&mut text, name, label, count.load(Ordering::Relaxed));
        }
        let name = "slipway_worker_jobs_at_work";
        head(&mut text, name, "Jobs worked on now.", "gauge");
        line(&mut text, name, "", self.at_work.load(Ordering::Relaxed));
        let name = "slipway_worker_stage_seconds";
        head(&mut text, name, "How long attempts at a stage took.", "histogram");
        for (stage, durations) in Stage::ALL.iter().zip(&self.stages) {
            durations.write(&mut text, name, &format!("stage=\"{stage}\""));
        }
        let name = "slipway_worker_sweep_seconds";
        head(&mut text, name, "How long looks at registered projects took.", "histogram");
        self.sweeps.write(&mut text, name, "");
        text
    }
}

impl Durations {
    fn add(&self, took: Duration) {
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS_S) {
            if took.as_secs_f64() <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_ms.fetch_add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Writes the histogram; `label` says of what it is, if there are several.
    fn write(&self, text: &mut String, name: &str, label: &str) {
        let count = self.count.load(Ordering::Relaxed);
        let comma = if label.is_empty() { "" } else { "," };
        let of = |bound: &str| format!("{{{label}{comma}le=\"{bound}\"}}");
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS_S) {
            let within = bucket.load(Ordering::Relaxed).min(count);
            line(text, &format!("{name}_bucket"), &of(&bound.to_string()), within);
        }
        line(text, &format!("{name}_bucket"), &of("+Inf"), count);
        let label = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let sum = Duration::from_millis(self.sum_ms.load(Ordering::Relaxed)).as_secs_f64();
        line(text, &format!("{name}_sum"), &label, sum);
        line(text, &format!("{name}_count"), &label, count);
    }
}

/// A job that is being worked on.
#[derive(Debug)]
pub(crate) struct AtWork<'a>(&'a Figures);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn line(text: &mut String, name: &str, label: &str, value: impl std::fmt::Display) {
    text.push_str(&format!("{name}{label} {value}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let figures = Figures::default();
        figures.count(Count::Fenced);
        figures.count(Count::Fenced);
        figures.count(Count::Succeeded);
        figures.stage_took(Stage::Build, Duration::from_millis(1_500));
        figures.count(Count::SweepPutOff);
        figures.sweep_took(Duration::from_millis(100));
        let at_work = figures.at_work();
        let text = figures.text();
        for expected in [
            "slipway_worker_fenced_total 2\n",
            "slipway_worker_jobs_total{outcome=\"succeeded\"} 1\n",
            "slipway_worker_jobs_total{outcome=\"failed\"} 0\n",
            "slipway_worker_jobs_at_work 1\n",
            "slipway_worker_stage_seconds_bucket{stage=\"build\",le=\"1\"} 0\n",
            "slipway_worker_stage_seconds_bucket{stage=\"build\",le=\"2.5\"} 1\n",
            "slipway_worker_stage_seconds_sum{stage=\"build\"} 1.5\n",
            "slipway_worker_sweeps_total{outcome=\"put_off\"} 1\n",
            "slipway_worker_sweep_seconds_bucket{le=\"0.05\"} 0\n",
            "slipway_worker_sweep_seconds_bucket{le=\"0.25\"} 1\n",
            "slipway_worker_sweep_seconds_count 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        for name in ["slipway_worker_jobs_total", "slipway_worker_stage_seconds"] {
            assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name} is introduced once");
        }
        drop(at_work);
        assert!(figures.text().contains("slipway_worker_jobs_at_work 0\n"));
    }
}
