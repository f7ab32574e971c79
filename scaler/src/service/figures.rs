//! What the scaler counts, in the text form of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
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
    dropped: DroppedCounts,
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
            dropped: state.dropped,
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
            series(&mut text, name, kind, help, &[(String::new(), value)]);
        }
        for (name, help, of) in PLACE_SERIES {
            let lines: Vec<(String, String)> = counted
                .by_place
                .iter()
                .filter_map(|(place, shown)| Some((labels(place), of(shown)?)))
                .collect();
            series(&mut text, name, "gauge", help, &lines);
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
        let DroppedCounts { foreign, not_a_number, absurd, duplicate, out_of_order, stale, ahead, too_many } =
            shown.dropped;
        let all = [foreign, not_a_number, absurd, duplicate, out_of_order, stale, ahead, too_many];
        Some(all.iter().sum::<u64>().to_string())
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

fn series(text: &mut String, name: &str, kind: &str, help: &str, lines: &[(String, String)]) {
    // Writing to a String cannot fail.
    write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").unwrap_or_default();
    for (labels, value) in lines {
        writeln!(text, "{name}{labels} {value}").unwrap_or_default();
    }
}

/// Slugs and names of environments hold nothing that would have to be escaped.
fn labels(place: &Place) -> String {
    format!("{{project=\"{}\",environment=\"{}\"}}", place.project, place.environment)
}
