//! Tables of a comparison, for people and for programs.

use std::fmt::Write as _;

use super::compare::Row;

/// The table of all rows, in Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| controller | violations % | geo-mean % | rejected % | too few, % of time | too few % | too many % | \
         unstable % | replica-s (rel.) | changes/h | x fewer | worst load |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let s = &row.mean;
        let interval = row.times_fewer_half_interval.map_or_else(String::new, |half| format!(" ±{half:.2}"));
        // Writing to a String cannot fail.
        writeln!(
            text,
            "| {} | {:.2} | {:.3} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.3} | {:.1} | {:.2}{interval} | {:.2} ({}) |",
            row.name,
            s.violations_percent,
            row.violations_geometric_percent,
            s.rejected_percent,
            s.under_time_percent,
            s.under_percent,
            s.over_percent,
            s.instability_percent,
            s.cost,
            s.actions_per_hour,
            row.times_fewer,
            row.worst_ratio,
            row.worst_load,
        ).ok();
    }
    text
}

/// Violations by load, in Markdown: percent, and changes in an hour.
#[must_use]
pub fn by_load(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut text = String::from("| load |");
    for row in rows {
        write!(text, " {} |", row.name).ok();
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(rows.len()));
    text.push('\n');
    for (index, cell) in first.cells.iter().enumerate() {
        write!(text, "| {} |", cell.load).ok();
        for row in rows {
            let scores = row.cells[index].scores;
            write!(text, " {:.3} ({:.0}/h) |", scores.violations_percent, scores.actions_per_hour).ok();
        }
        text.push('\n');
    }
    text
}
