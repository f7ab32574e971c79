//! Autoscalers as text: what is set, how it is, what was decided and why.

mod chart;
mod compare;
mod explain;
pub(crate) mod live;
mod terminal;

use jiff::Timestamp;
use slipway_common::model::autoscaler::{Law, Mode, RawSettings};

pub(crate) use compare::{print_tune, print_what_if};

use self::explain::{Told, sentence};
use super::line;
use super::table::Table;
use super::text::{ago, clean, duration};
use crate::client::types::{AutoscalerDecisionView, AutoscalerStateView, AutoscalerView};

/// Containers that are named.
const CONTAINERS_SHOWN_MAX: usize = 16;

/// Prints an autoscaler in full.
pub(crate) fn print(view: &AutoscalerView, now: Timestamp) {
    print_rows(head(view, now).into_iter().chain(standing(view, now)));
    if !view.decisions.is_empty() {
        line("decisions");
        let mut table = Table::plain();
        for decision in &view.decisions {
            table.row(cells(decision, now));
        }
        table.print("  ");
    }
}

/// Prints what is set, and who has set it.
pub(crate) fn print_settings(view: &AutoscalerView, now: Timestamp) {
    print_rows(head(view, now).into_iter());
}

fn print_rows(rows: impl Iterator<Item = (&'static str, String)>) {
    let mut table = Table::plain();
    for (name, value) in rows {
        table.row([name.to_owned(), value]);
    }
    table.print("");
}

fn head(view: &AutoscalerView, now: Timestamp) -> Vec<(&'static str, String)> {
    let at = ago(view.updated_at, now);
    let text = format!("{}/{}, set {at} by {}", view.project, view.environment, view.updated_by);
    let mut rows = vec![("autoscaler", text)];
    rows.extend(set(&view.settings));
    rows
}

fn cells(decision: &AutoscalerDecisionView, now: Timestamp) -> [String; 3] {
    [format!("#{}", decision.number), ago(decision.at, now), live::told(decision)]
}

/// The settings, a line for each group.
fn set(settings: &RawSettings) -> Vec<(&'static str, String)> {
    let law = match settings.law {
        Law::Standard => "standard",
        Law::Kabernetes => "kabernetes",
    };
    let mode = match settings.mode {
        Mode::Tight => "tight",
        Mode::Calm => "calm",
    };
    let mut rows = vec![(
        "settings",
        format!(
            "CPU target {}, {} to {} replicas, mode {mode}, law {law}",
            settings.cpu_target, settings.replicas_min, settings.replicas_max
        ),
    )];
    rows.extend(
        settings
            .constants
            .as_ref()
            .map(|gains| ("constants", format!("kp {}, ki {}, kd {}", gains.kp, gains.ki, gains.kd))),
    );
    let hold = settings.hold_s.map(|hold_s| format!(", remembers {hold_s} s")).unwrap_or_default();
    let times = format!(
        "every {} s, over {} s, silent after {} s{hold}",
        settings.interval_s, settings.window_s, settings.stale_after_s
    );
    rows.push(("times", times));
    let limits = [
        settings.down_percent_per_min.map(|percent| format!("{percent} % fewer a minute")),
        settings.hysteresis.map(|share| format!("margin {share}")),
        settings.actions_per_hour_max.map(|changes| format!("{changes} changes an hour")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    rows.extend((!limits.is_empty()).then(|| ("limits", limits.join(", "))));
    rows
}

/// How it is, a line for each thing to know.
fn standing(view: &AutoscalerView, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    match &view.state {
        None if view.stale => rows.push(("state", "no scaler looks after it".to_owned())),
        None => rows.push(("state", "no scaler has said anything yet".to_owned())),
        Some(state) => rows.extend(of_state(state, view, now)),
    }
    rows.extend(view.wish.as_ref().map(|wish| {
        let done = if wish.fulfilled { "set" } else { "not set yet" };
        ("by hand", format!("{} asked for {} by {}, {done}", wish.replicas, ago(wish.at, now), wish.user))
    }));
    rows
}

fn of_state(
    state: &AutoscalerStateView,
    view: &AutoscalerView,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let seen = ago(state.at, now);
    let stale = if view.stale { "; no scaler has said anything since" } else { "" };
    let by = if state.scaler.is_empty() { String::new() } else { format!(" by {}", state.scaler) };
    let now_text = live::standing(state, view.settings.cpu_target);
    let mut rows = vec![("state", format!("{now_text}; seen {seen}{by}{stale}"))];
    let told = Told {
        decision: state.decision,
        replicas: state.replicas,
        terms: state.terms.as_ref(),
        evidence: state.evidence.as_ref(),
        fault: None,
    };
    rows.extend(state.decision.is_some().then(|| ("now", sentence(&told))));
    rows.extend(
        state.startup_s.map(|startup_s| ("start-up", format!("{startup_s:.0} s from order to service"))),
    );
    rows.extend(state.fault.as_ref().map(|fault| ("fault", format!("{} ({})", fault.reason, fault.code))));
    let named: Vec<String> = state
        .containers
        .iter()
        .take(CONTAINERS_SHOWN_MAX)
        .map(|one| format!("{} {:.2}", clean(&one.name), one.utilisation))
        .collect();
    let more = state.containers.len().saturating_sub(named.len());
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    rows.extend((!named.is_empty()).then(|| ("containers", format!("{}{more}", named.join(", ")))));
    rows
}

/// So many seconds as people say it.
fn seconds(seconds: f64) -> String {
    let millis = slipway_scaler::number::to_u64(1_000.0 * seconds);
    duration(i64::try_from(millis).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(change: impl FnOnce(&mut serde_json::Value)) -> AutoscalerView {
        let mut document = json!({
            "project": "shop", "environment": "default", "updated_by": "ann", "updated_at": "2026-01-01T00:00:00Z",
            "settings": {
                "law": "standard", "mode": "calm", "cpu_target": 0.6, "replicas_min": 1, "replicas_max": 9,
                "constants": { "kp": 1.0, "ki": 1.0, "kd": 0.5 }, "interval_s": 5, "window_s": 5,
                "stale_after_s": 30, "hold_s": 16, "down_percent_per_min": 9.0, "hysteresis": 0.05,
                "actions_per_hour_max": 60
            },
            "state": {
                "at": "2026-01-01T00:01:00Z", "scaler": "s1", "replicas": 3, "ready": 2, "busy": true,
                "startup_s": 31.4, "decision": { "decision": "hold", "reason": "awaiting_target" },
                "containers": [{ "name": "a", "utilisation": 0.5 }, { "name": "b", "utilisation": 0.71 }],
                "fault": { "code": "target_unavailable", "reason": "the target cannot be reached" }
            }
        });
        change(&mut document);
        serde_json::from_value(document).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn settings_are_told_by_group() {
        let rows = set(&view(|_| ()).settings);
        let texts: Vec<&str> = rows.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "CPU target 0.6, 1 to 9 replicas, mode calm, law standard",
                "kp 1, ki 1, kd 0.5",
                "every 5 s, over 5 s, silent after 30 s, remembers 16 s",
                "9 % fewer a minute, margin 0.05, 60 changes an hour",
            ]
        );
    }

    #[test]
    fn a_state_is_told_with_what_is_wrong() {
        let rows = standing(&view(|_| ()), at("2026-01-01T00:01:07Z"));
        assert_eq!(
            rows,
            [
                ("state", "2 of 3 replicas serve, changing, no metrics; seen 7 s ago by s1".to_owned()),
                ("now", "stays at 3: the target has not taken up the last order yet".to_owned()),
                ("start-up", "31 s from order to service".to_owned()),
                ("fault", "the target cannot be reached (target_unavailable)".to_owned()),
                ("containers", "a 0.50, b 0.71".to_owned()),
            ]
        );
    }

    #[test]
    fn silence_of_all_scalers_and_wishes_are_told() {
        let view = view(|document| {
            document["state"] = json!(null);
            document["stale"] = json!(true);
            document["wish"] = json!({ "replicas": 6, "user": "bob", "at": "2026-01-01T00:00:00Z" });
        });
        let rows = standing(&view, at("2026-01-01T00:02:00Z"));
        assert_eq!(rows[0], ("state", "no scaler looks after it".to_owned()));
        assert_eq!(rows[1].1, "6 asked for 2 min ago by bob, not set yet");
    }
}
