//! Charts of text: bars, marks and curves over equal columns. Pure.

use slipway_scaler::number::{from_len, to_index};

/// Columns left of a chart for the numbers of its axis, and the axis itself.
pub(crate) const AXIS_COLUMNS: usize = 7;
/// Eighths of a full block, from none to all.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Bars with two heights: solid up to the first, shaded from there to the second. The newest column is the last.
pub(crate) fn bars(columns: &[(f64, f64)], rows: usize, highest: f64) -> Vec<String> {
    let unit = highest.max(f64::MIN_POSITIVE) / from_len(rows.max(1));
    let cell = |row: usize, (solid, shaded): (f64, f64)| {
        block(solid / unit - from_len(row), shaded / unit - from_len(row))
    };
    with_axis(rows, highest, |row| columns.iter().map(|column| cell(row, *column)).collect())
}

/// One mark a column, and a rule across at `rule`.
pub(crate) fn marks(values: &[Option<f64>], rule: f64, rows: usize, highest: f64) -> Vec<String> {
    let ruled = row_of(rule, rows, highest);
    with_axis(rows, highest, |row| {
        let cell = |value: &Option<f64>| match value {
            Some(value) if row_of(*value, rows, highest) == row => '●',
            Some(_) | None if row == ruled => '─',
            Some(_) | None => ' ',
        };
        values.iter().map(cell).collect()
    })
}

/// A shaded area below the first values, and the second as marks over it.
pub(crate) fn curves(area: &[f64], line: &[f64], rows: usize, highest: f64) -> Vec<String> {
    let unit = highest.max(f64::MIN_POSITIVE) / from_len(rows.max(1));
    with_axis(rows, highest, |row| {
        let cell = |(below, mark): (&f64, &f64)| {
            // On the highest row that an area of this value fills, so that equal values lie on its edge.
            if (mark / unit).ceil().max(1.0) == from_len(row + 1) {
                '●'
            } else if below / unit - from_len(row) >= 0.5 {
                '░'
            } else {
                ' '
            }
        };
        area.iter().zip(line).map(cell).collect()
    })
}

/// At most so many columns: each takes the largest of its share of the values.
pub(crate) fn squeezed(values: &[f64], columns: usize) -> Vec<f64> {
    if values.len() <= columns {
        return values.to_vec();
    }
    let share = from_len(values.len()) / from_len(columns.max(1));
    let edge = |column: usize| to_index(from_len(column) * share).min(values.len());
    (0..columns)
        .map(|column| values[edge(column)..edge(column + 1).max(edge(column) + 1).min(values.len())].iter())
        .map(|part| part.copied().fold(0.0, f64::max))
        .collect()
}

/// The lines from the highest row to the lowest, each after its number and the axis.
fn with_axis(rows: usize, highest: f64, cells: impl Fn(usize) -> String) -> Vec<String> {
    let label = |row: usize| {
        if row + 1 == rows {
            number(highest)
        } else if row == 0 {
            "0".to_owned()
        } else {
            String::new()
        }
    };
    (0..rows)
        .rev()
        .map(|row| format!("{:>width$} ┤{}", label(row), cells(row), width = AXIS_COLUMNS - 2))
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// The row that a value lies in; what lies above the chart is in its highest row.
fn row_of(value: f64, rows: usize, highest: f64) -> usize {
    let row = (value / highest.max(f64::MIN_POSITIVE) * from_len(rows)).floor();
    to_index(row.max(0.0)).min(rows.saturating_sub(1))
}

/// A cell that is filled so far from below, or, when it is not, shaded.
fn block(filled: f64, reached: f64) -> char {
    let eighths = to_index((filled.clamp(0.0, 1.0) * 8.0).round());
    if eighths == 0 && reached >= 0.5 { '░' } else { EIGHTHS[eighths.min(8)] }
}

fn number(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_solid_where_replicas_serve_and_shaded_where_they_start() {
        let lines = bars(&[(1.0, 1.0), (2.0, 4.0), (4.0, 4.0), (0.5, 0.5)], 4, 4.0);
        assert_eq!(lines, ["    4 ┤ ░█", "      ┤ ░█", "      ┤ ██", "    0 ┤███▄"]);
    }

    #[test]
    fn marks_lie_on_their_row_and_the_rule_runs_behind_them() {
        let lines = marks(&[Some(0.1), None, Some(0.6), Some(1.4)], 0.6, 5, 1.0);
        assert_eq!(lines, ["    1 ┤   ●", "      ┤──●─", "      ┤", "      ┤", "    0 ┤●"]);
    }

    #[test]
    fn curves_show_one_over_the_other() {
        let lines = curves(&[2.0, 2.0, 4.0], &[1.0, 2.5, 3.9], 4, 4.0);
        assert_eq!(lines, ["    4 ┤  ●", "      ┤ ●░", "      ┤░░░", "    0 ┤●░░"]);
    }

    #[test]
    fn many_values_become_few_columns_without_losing_peaks() {
        let mut values = vec![1.0; 1_000];
        values[537] = 9.0;
        let squeezed = squeezed(&values, 60);
        assert_eq!(squeezed.len(), 60);
        assert_eq!(squeezed.iter().copied().fold(0.0, f64::max), 9.0);
        assert_eq!(super::squeezed(&values[..10], 60).len(), 10);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(bars(&[], 2, 0.0), ["    0 ┤", "    0 ┤"]);
        assert!(squeezed(&[], 10).is_empty());
    }
}
