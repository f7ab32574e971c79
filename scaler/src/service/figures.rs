//! What the scaler counts, in the text form of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use slipway_common::model::autoscaler::{AutoscalerState, DroppedCounts, Place};

/// Figures of one scaler.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    totals: Totals,
    by_place: BTreeMap<Place, Shown>,
}

/// What only grows, and how many shards are held.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Events that were of use.
    pub(crate) events: u64,
    /// Events of deployments that another scaler keeps, or nobody.
    pub(crate) events_elsewhere: u64,
    /// Events that were not taken.
    pub(crate) events_dropped: u64,
    /// Messages that were no metric events.
    pub(crate) messages_refused: u64,
    /// Messages that were lost because they were not taken in time.
    pub(crate) messages_missed: u64,
    /// Steps of controllers.
    pub(crate) steps: u64,
    /// Decisions to change a count.
    pub(crate) scaled: u64,
    /// Orders that a target did not take.
    pub(crate) failed: u64,
    /// Notes given up because the store was away for long.
    pub(crate) notes_given_up: u64,
    /// Shards held now.
    pub(crate) shards: u64,
}

/// What is shown of one place.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    replicas: u32,
    ready: u32,
    utilisation: Option<f64>,
    demand_replicas: Option<f64>,
    cpu_target: f64,
    faulty: bool,
    dropped: u64,
}

impl Figures {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the totals.
    pub(crate) fn set_totals(&self, totals: Totals) {
        self.lock().totals = totals;
    }

    /// Replaces what is shown of a place.
    pub(crate) fn show(&self, place: &Place, state: &AutoscalerState, cpu_target: f64) {
        let shown = Shown {
            replicas: state.replicas,
            ready: state.ready,
            utilisation: state.evidence.map(|evidence| evidence.utilisation),
            demand_replicas: state.evidence.map(|evidence| evidence.demand_replicas),
            cpu_target,
            faulty: state.fault.is_some(),
            dropped: sum(&state.dropped),
        };
        self.lock().by_place.insert(place.clone(), shown);
    }

    /// Shows a place no more.
    pub(crate) fn forget(&self, place: &Place) {
        self.lock().by_place.remove(place);
    }

    /// All figures.
    pub(crate) fn text(&self) -> String {
        let counted = self.lock();
        let mut text = String::new();
        for (name, kind, help, value) in counted.totals.series() {
            head(&mut text, name, kind, help);
            line(&mut text, format_args!("{name} {value}"));
        }
        for (name, help, of) in PLACE_SERIES {
            head(&mut text, name, "gauge", help);
            for (Place { project, environment }, shown) in &counted.by_place {
                if let Some(value) = of(shown) {
                    // Slugs and names of environments hold nothing that would have to be escaped.
                    let place = format_args!("project=\"{project}\",environment=\"{environment}\"");
                    line(&mut text, format_args!("{name}{{{place}}} {value}"));
                }
            }
        }
        text
    }
}

type Of = fn(&Shown) -> Option<String>;

/// Series of each place: name, help, value.
const PLACE_SERIES: [(&str, &str, Of); 7] = [
    ("slipway_autoscaler_replicas", "Replicas ordered.", |shown| Some(shown.replicas.to_string())),
    ("slipway_autoscaler_replicas_ready", "Replicas that serve.", |shown| Some(shown.ready.to_string())),
    ("slipway_autoscaler_cpu_target_ratio", "CPU use that is aimed at.", |shown| {
        Some(shown.cpu_target.to_string())
    }),
    ("slipway_autoscaler_cpu_utilisation_ratio", "CPU use as measured.", |shown| {
        Some(shown.utilisation?.to_string())
    }),
    ("slipway_autoscaler_demand_replicas", "Demand, in replicas working flat out.", |shown| {
        Some(shown.demand_replicas?.to_string())
    }),
    ("slipway_autoscaler_fault", "Whether something keeps it from acting.", |shown| {
        Some(u8::from(shown.faulty).to_string())
    }),
    ("slipway_autoscaler_samples_dropped", "Samples not taken since it is kept.", |shown| {
        Some(shown.dropped.to_string())
    }),
];

impl Totals {
    fn series(&self) -> [(&'static str, &'static str, &'static str, String); 10] {
        let counter = |name, help, value: u64| (name, "counter", help, value.to_string());
        [
            counter("slipway_scaler_events_total", "Metric events that were of use.", self.events),
            counter(
                "slipway_scaler_events_elsewhere_total",
                "Metric events of deployments that this scaler does not keep.",
                self.events_elsewhere,
            ),
            counter("slipway_scaler_events_dropped_total", "Metric events not taken.", self.events_dropped),
            counter(
                "slipway_scaler_messages_refused_total",
                "Messages that were no metric events.",
                self.messages_refused,
            ),
            counter(
                "slipway_scaler_messages_missed_total",
                "Messages lost because they were not taken in time.",
                self.messages_missed,
            ),
            counter("slipway_scaler_steps_total", "Steps of controllers.", self.steps),
            counter("slipway_scaler_scaled_total", "Decisions to change a count.", self.scaled),
            counter("slipway_scaler_failed_total", "Orders that a target did not take.", self.failed),
            counter(
                "slipway_scaler_notes_given_up_total",
                "Decisions and observations not kept because the store was away.",
                self.notes_given_up,
            ),
            ("slipway_scaler_shards", "gauge", "Shards held.", self.shards.to_string()),
        ]
    }
}

fn sum(dropped: &DroppedCounts) -> u64 {
    let DroppedCounts { foreign, not_a_number, absurd, duplicate, out_of_order, stale, ahead, too_many } =
        dropped;
    [foreign, not_a_number, absurd, duplicate, out_of_order, stale, ahead, too_many].into_iter().sum()
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn line(text: &mut String, line: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_a_head_and_a_line_of_each_place_that_has_a_value() {
        let figures = Figures::default();
        figures.set_totals(Totals { events: 7, ..Totals::default() });
        let place =
            Place { project: "shop-1a2b3c".parse().unwrap(), environment: "default".parse().unwrap() };
        let shown = Shown { replicas: 4, utilisation: Some(0.5), ..Shown::default() };
        figures.lock().by_place.insert(place.clone(), shown);
        let text = figures.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("# TYPE ")).count(), 17);
        let of_place = "{project=\"shop-1a2b3c\",environment=\"default\"}";
        for line in [
            "# TYPE slipway_scaler_events_total counter".to_owned(),
            "slipway_scaler_events_total 7".to_owned(),
            "# TYPE slipway_autoscaler_replicas gauge".to_owned(),
            format!("slipway_autoscaler_replicas{of_place} 4"),
            format!("slipway_autoscaler_cpu_utilisation_ratio{of_place} 0.5"),
        ] {
            assert!(lines.contains(&line.as_str()), "{line}\n{text}");
        }
        assert!(!text.contains("slipway_autoscaler_demand_replicas{"), "{text}");
        figures.forget(&place);
        assert!(!figures.text().contains("shop-1a2b3c"));
    }
}
