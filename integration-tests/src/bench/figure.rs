//! A figure and its goal, in the one form that is printed.

use std::fmt;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// This or less.
    AtMost(f64),
    /// Less than this.
    Below(f64),
    /// This or more.
    AtLeast(f64),
    /// The figure is only told.
    None,
}

impl Goal {
    /// Whether `value` meets the goal; `None` without a goal.
    #[must_use]
    pub fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(value <= most),
            Self::Below(limit) => Some(value < limit),
            Self::AtLeast(least) => Some(value >= least),
            Self::None => None,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(formatter, "<={most}"),
            Self::Below(limit) => write!(formatter, "<{limit}"),
            Self::AtLeast(least) => write!(formatter, ">={least}"),
            Self::None => formatter.write_str("-"),
        }
    }
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What was measured, without spaces.
    pub name: String,
    /// The value, as exact as it was measured.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be.
    pub goal: Goal,
}

impl Figure {
    /// A figure with a goal.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, goal: Goal) -> Self {
        Self { name: name.into(), value, unit, goal }
    }

    /// A figure without a goal.
    pub fn told(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self::new(name, value, unit, Goal::None)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, unit, goal } = self;
        write!(formatter, "bench {name} {value:.3} {unit} goal {goal}")?;
        match goal.is_met(*value) {
            Some(true) => formatter.write_str(" met"),
            Some(false) => formatter.write_str(" missed"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_judges_the_measured_value_and_not_the_printed_one() {
        let line = |value, goal| Figure::new("x", value, "ratio", goal).to_string();
        assert_eq!(line(1.1, Goal::AtMost(1.1)), "bench x 1.100 ratio goal <=1.1 met");
        assert_eq!(line(1.1001, Goal::AtMost(1.1)), "bench x 1.100 ratio goal <=1.1 missed");
        assert_eq!(line(1.0, Goal::Below(1.0)), "bench x 1.000 ratio goal <1 missed");
        assert_eq!(line(0.49996, Goal::AtLeast(0.5)), "bench x 0.500 ratio goal >=0.5 missed");
        assert_eq!(line(0.5, Goal::AtLeast(0.5)), "bench x 0.500 ratio goal >=0.5 met");
        assert_eq!(line(2.5, Goal::None), "bench x 2.500 ratio goal -");
    }
}
