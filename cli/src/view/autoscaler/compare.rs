//! What other settings would have done, and which constants are proposed, as text.

use slipway_scaler::replay::{Constants, Figures, Level, Proposal, WhatIf};

use super::chart::{self, AXIS_COLUMNS};
use super::{seconds, terminal};
use crate::view::line;
use crate::view::table::Table;

/// Rows of the chart of both curves.
const ROWS: usize = 8;

/// Prints both courses, figures first.
pub(crate) fn print_what_if(found: &WhatIf) {
    if found.points.is_empty() {
        line("nothing was observed in that time");
        return;
    }
    line(&basis(found));
    figures(["as it was", "what if"], &found.recorded, &found.replayed).print("");
    let columns = terminal::size().columns.saturating_sub(AXIS_COLUMNS + 1).max(1);
    curves(found, columns).iter().for_each(|text| line(text));
}

/// Prints a proposal: what, what for, and how sure that is.
pub(crate) fn print_tune(proposal: &Proposal, applied: bool) {
    constants(proposal).print("");
    line("the record, played again with its noise in other orders:");
    let expected = &proposal.expected;
    figures(["now", "proposed"], &expected.now, &expected.then).print("");
    said(proposal).iter().for_each(|text| line(text));
    line(match (proposal.changes(), applied) {
        (false, _) => "nothing to change",
        (true, true) => "the proposal is set",
        (true, false) => "nothing is changed; --apply sets the proposal",
    });
}

/// What was played.
fn basis(found: &WhatIf) -> String {
    let startup = match found.starts_seen {
        0 => format!("no start was seen, {:.0} s are assumed", found.startup_s),
        1 => format!("one start, of {:.0} s", found.startup_s),
        seen => format!("{seen} starts, of {:.0} s", found.startup_s),
    };
    let ceiling = 100.0 * found.saturated_share;
    let observations = if found.points.len() == 1 { "observation" } else { "observations" };
    format!(
        "{} {observations} over {}; {startup}; CPU at its ceiling {ceiling:.1} % of the time",
        found.points.len(),
        seconds(found.span_s)
    )
}

fn figures(headings: [&str; 2], before: &Figures, after: &Figures) -> Table {
    let mut table = Table::new(&["", headings[0], headings[1], "CHANGE"]);
    let mut row = |name: &str, before: String, after: String, change: String| {
        table.row([name.to_owned(), before, after, change]);
    };
    let hours = |figures: &Figures| format!("{:.1}", figures.replica_s / 3_600.0);
    let count = |value: f64| format!("{value:.0}");
    let percent = |value: f64| format!("{value:.0} %");
    let (a, b) = (before, after);
    row("replica-hours", hours(a), hours(b), relative(a.replica_s, b.replica_s));
    row("changes of the number", count(a.actions), count(b.actions), relative(a.actions, b.actions));
    row("too few replicas for", seconds(a.under_s), seconds(b.under_s), relative(a.under_s, b.under_s));
    let (use_a, use_b) = (100.0 * a.utilisation_mean, 100.0 * b.utilisation_mean);
    row("CPU use", percent(use_a), percent(use_b), String::new());
    row("above need", percent(a.over_percent), percent(b.over_percent), String::new());
    row("largest overshoot", percent(a.overshoot_percent), percent(b.overshoot_percent), String::new());
    table
}

/// `+12 %`; nothing where there is nothing to compare with.
fn relative(before: f64, after: f64) -> String {
    if before > 0.0 { format!("{:+.0} %", 100.0 * (after / before - 1.0)) } else { String::new() }
}

fn curves(found: &WhatIf, columns: usize) -> Vec<String> {
    let of = |which: fn(&slipway_scaler::replay::Point) -> u32| {
        let counts: Vec<f64> = found.points.iter().map(|point| f64::from(which(point))).collect();
        chart::squeezed(&counts, columns)
    };
    let (recorded, replayed) = (of(|point| point.recorded), of(|point| point.replayed));
    if recorded.is_empty() {
        return Vec::new();
    }
    let highest = recorded.iter().chain(&replayed).copied().fold(1.0, f64::max);
    let mut lines = vec!["replicas: ░ as it was, ● what if".to_owned()];
    lines.extend(chart::curves(&recorded, &replayed, ROWS, highest));
    lines
}

fn constants(proposal: &Proposal) -> Table {
    let mut table = Table::new(&["", "now", "proposed"]);
    let (now, then) = (&proposal.now, &proposal.constants);
    let mut row = |name: &str, of: fn(&Constants) -> String| {
        table.row([name.to_owned(), of(now), of(then)]);
    };
    row("kp", |constants| constants.kp.to_string());
    row("ki", |constants| constants.ki.to_string());
    row("kd", |constants| constants.kd.to_string());
    row("hold_s", |constants| constants.hold_s.to_string());
    let target = proposal.cpu_target.to_string();
    table.row(["cpu_target".to_owned(), target.clone(), target]);
    table
}

/// What the simulator says, how sure the proposal is, and of which plant.
fn said(proposal: &Proposal) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(proposal.checked.as_ref().map(|checked| {
        format!(
            "simulator: {:.1} -> {:.1} % late, {:.0} -> {:.0} changes an hour, cost {:.2} -> {:.2}",
            checked.now.violations_percent,
            checked.then.violations_percent,
            checked.now.actions_per_hour,
            checked.then.actions_per_hour,
            checked.now.cost,
            checked.then.cost
        )
    }));
    let level = match proposal.confidence.level {
        Level::Low => "low",
        Level::Medium => "medium",
        Level::High => "high",
    };
    lines.push(format!("confidence: {level}"));
    lines.extend(proposal.confidence.reasons.iter().map(|reason| format!("  {reason}")));
    let model = &proposal.model;
    lines.push(format!(
        "plant: start-up {:.0} s, noise {:.1} %, demand {:.1} to {:.1} replicas, {:.1} on average",
        model.startup_s,
        100.0 * model.noise,
        model.demand_min,
        model.demand_max,
        model.demand_mean
    ));
    lines
}

#[cfg(test)]
mod tests {
    use slipway_scaler::replay::{Confidence, Expected, Identified, Point, Simulated};

    use super::*;

    fn found() -> WhatIf {
        let point = |second: i64, recorded: u32, replayed: u32| Point {
            at: jiff::Timestamp::from_second(second).unwrap(),
            recorded,
            replayed,
            demand: Some(1.0),
        };
        WhatIf {
            span_s: 5_400.0,
            startup_s: 31.0,
            starts_seen: 4,
            saturated_share: 0.021,
            recorded: Figures { replica_s: 7_200.0, actions: 10.0, under_s: 65.0, ..Figures::default() },
            replayed: Figures { replica_s: 5_400.0, actions: 4.0, ..Figures::default() },
            points: vec![point(0, 2, 2), point(5, 2, 4), point(10, 4, 4)],
        }
    }

    #[test]
    fn both_courses_are_told_side_by_side() {
        let found = found();
        assert_eq!(
            basis(&found),
            "3 observations over 1 h 30 min; 4 starts, of 31 s; CPU at its ceiling 2.1 % of the time"
        );
        let lines = figures(["as it was", "what if"], &found.recorded, &found.replayed).lines();
        assert_eq!(lines[0], "                       as it was   what if  CHANGE");
        assert_eq!(lines[1], "replica-hours          2.0         1.5      -25 %");
        assert_eq!(lines[2], "changes of the number  10          4        -60 %");
        assert_eq!(lines[3], "too few replicas for   1 min 05 s  0 ms     -100 %");
    }

    #[test]
    fn both_curves_are_drawn_in_one_chart() {
        let lines = curves(&found(), 40);
        assert_eq!(lines.len(), 1 + ROWS);
        assert_eq!(lines[1], "    4 ┤ ●●");
        assert_eq!(lines[4], "      ┤  ░");
        assert_eq!(lines[5], "      ┤●░░", "two of four lie on the edge of the lower half");
        assert_eq!(lines[8], "    0 ┤░░░");
        assert!(curves(&WhatIf { points: Vec::new(), ..found() }, 40).is_empty());
    }

    #[test]
    fn a_proposal_says_how_sure_it_is() {
        let now = Constants { kp: 2.0, ki: 1.0, kd: 1.0, hold_s: 24 };
        let proposal = Proposal {
            now,
            constants: Constants { kp: 0.97, hold_s: 60, ..now },
            cpu_target: 0.6,
            expected: Expected { now: Figures::default(), then: Figures::default() },
            checked: Some(slipway_scaler::replay::Checked {
                now: Simulated { violations_percent: 9.47, cost: 1.26, actions_per_hour: 37.3 },
                then: Simulated { violations_percent: 7.0, cost: 1.28, actions_per_hour: 20.4 },
            }),
            confidence: Confidence { level: Level::Medium, reasons: vec!["2.0 h were measured".to_owned()] },
            model: Identified { startup_s: 35.0, noise: 0.055, demand_max: 12.5, ..Identified::default() },
        };
        let lines = said(&proposal);
        assert_eq!(
            lines,
            [
                "simulator: 9.5 -> 7.0 % late, 37 -> 20 changes an hour, cost 1.26 -> 1.28",
                "confidence: medium",
                "  2.0 h were measured",
                "plant: start-up 35 s, noise 5.5 %, demand 0.0 to 12.5 replicas, 0.0 on average",
            ]
        );
        assert!(constants(&proposal).lines().contains(&"kp          2    0.97".to_owned()));
    }
}
