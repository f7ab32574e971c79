//! An autoscaler while it is watched: a chart that is drawn again in place on a terminal, lines elsewhere, JSON for
//! programs.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_common::model::autoscaler::Observed;
use tokio::time::Instant;

use super::chart::{self, AXIS_COLUMNS};
use super::explain::{Told, sentence};
use super::terminal;
use crate::client::types::{AutoscalerDecisionView, AutoscalerStateView, AutoscalerView};
use crate::view::text::{clean, duration};

/// Shortest pause between two drawings.
const REDRAW: Duration = Duration::from_millis(500);
/// Most moments that are kept: more than any terminal has columns.
const MOMENTS_MAX: usize = 1_000;
/// Decisions below the chart.
const DECISIONS_SHOWN: usize = 4;
/// Rows of the two panels, on a terminal that has room.
const REPLICA_ROWS: usize = 8;
const CPU_ROWS: usize = 5;
/// Lines of a frame that are neither panel nor decision: headings, time axis, a note, and the cursor's.
const OTHER_ROWS: usize = 6;

/// How a watched autoscaler is shown.
#[derive(Debug)]
pub(crate) enum Watching {
    /// On a terminal.
    Chart(Box<Screen>),
    /// Elsewhere.
    Lines,
    /// For programs.
    Json,
}

impl Watching {
    /// Whether a chart will be drawn, for which it helps to know what was before.
    pub(crate) fn is_chart(json: bool) -> bool {
        !json && std::io::stdout().is_terminal()
    }

    /// Begins to show an autoscaler, with what is known of the time before.
    pub(crate) fn start(json: bool, view: &AutoscalerView, before: &[Observed]) -> Self {
        if json {
            return Self::Json;
        }
        if Self::is_chart(json) {
            return Self::Chart(Box::new(Screen::new(Picture::new(view, before))));
        }
        if let Some(state) = &view.state {
            crate::view::line(&state_line(state, view.settings.cpu_target));
        }
        Self::Lines
    }

    /// Shows a decision.
    pub(crate) fn decision(&mut self, decision: &AutoscalerDecisionView, document: &Value) {
        match self {
            Self::Json => crate::view::json_line(&json!({ "event": "decision", "data": document })),
            Self::Lines => crate::view::line(&decision_line(decision)),
            Self::Chart(screen) => {
                screen.picture.decided(decision);
                screen.draw_if_due(Instant::now());
            }
        }
    }

    /// Shows a state.
    pub(crate) fn state(&mut self, state: &AutoscalerStateView, cpu_target: f64, document: &Value) {
        match self {
            Self::Json => crate::view::json_line(&json!({ "event": "state", "data": document })),
            Self::Lines => crate::view::line(&state_line(state, cpu_target)),
            Self::Chart(screen) => {
                screen.picture.is(state, cpu_target);
                screen.draw_if_due(Instant::now());
            }
        }
    }

    /// Says that the connection is gone and a new one is tried.
    pub(crate) fn reconnecting(&mut self) {
        match self {
            Self::Json => {}
            Self::Lines => crate::view::line("connection lost, trying again"),
            Self::Chart(screen) => {
                screen.picture.note = Some("connection lost, trying again");
                screen.draw_if_due(Instant::now());
            }
        }
    }

    /// Says that the autoscaler was deleted.
    pub(crate) fn deleted(&mut self, document: &Value) {
        match self {
            Self::Json => crate::view::json_line(&json!({ "event": "end", "data": document })),
            Self::Lines => crate::view::line("the autoscaler was deleted"),
            Self::Chart(screen) => screen.picture.note = Some("the autoscaler was deleted"),
        }
    }

    /// When something waits to be drawn.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Self::Json | Self::Lines => None,
            Self::Chart(screen) => screen.due(),
        }
    }

    /// Draws what waits.
    pub(crate) fn draw(&mut self) {
        match self {
            Self::Json | Self::Lines => {}
            Self::Chart(screen) => screen.draw(Instant::now()),
        }
    }
}

fn state_line(state: &AutoscalerStateView, cpu_target: f64) -> String {
    let at = state.at.strftime("%H:%M:%SZ");
    let fault = state.fault.as_ref().map(|fault| format!("; {}", fault.reason)).unwrap_or_default();
    clean(&format!("{at}  {}{fault}", standing(state, cpu_target)))
}

/// `3 of 4 replicas serve, CPU 0.58 of 0.60, demand 2.3 replicas`
pub(super) fn standing(state: &AutoscalerStateView, cpu_target: f64) -> String {
    let busy = if state.busy { ", changing" } else { "" };
    let metrics = state.evidence.map_or_else(
        || ", no metrics".to_owned(),
        |evidence| {
            format!(
                ", CPU {:.2} of {cpu_target:.2}, demand {:.1} replicas",
                evidence.utilisation, evidence.demand_replicas
            )
        },
    );
    format!("{} of {} replicas serve{busy}{metrics}", state.ready, state.replicas)
}

fn decision_line(decision: &AutoscalerDecisionView) -> String {
    clean(&format!("{}  #{} {}", decision.at.strftime("%H:%M:%SZ"), decision.number, told(decision)))
}

/// A decision in a sentence.
pub(super) fn told(decision: &AutoscalerDecisionView) -> String {
    sentence(&Told {
        decision: decision.decision,
        replicas: decision.replicas,
        terms: decision.terms.as_ref(),
        evidence: decision.evidence.as_ref(),
        fault: decision.fault.as_ref(),
    })
}

/// What the chart shows.
#[derive(Debug)]
pub(crate) struct Picture {
    place: String,
    cpu_target: f64,
    standing: String,
    moments: VecDeque<Moment>,
    decisions: VecDeque<String>,
    note: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Timestamp,
    replicas: f64,
    ready: f64,
    utilisation: Option<f64>,
}

impl Picture {
    fn new(view: &AutoscalerView, before: &[Observed]) -> Self {
        let moment = |one: &Observed| Moment {
            at: one.at,
            replicas: f64::from(one.replicas),
            ready: f64::from(one.ready),
            utilisation: one.evidence.map(|evidence| evidence.utilisation),
        };
        let newest = before.len().saturating_sub(MOMENTS_MAX);
        let mut picture = Self {
            place: clean(&format!("{}/{}", view.project, view.environment)),
            cpu_target: view.settings.cpu_target,
            standing: "no scaler has said anything yet".to_owned(),
            moments: before[newest..].iter().map(moment).collect(),
            decisions: VecDeque::new(),
            note: None,
        };
        view.decisions.iter().for_each(|decision| picture.decided(decision));
        if let Some(state) = &view.state {
            picture.is(state, view.settings.cpu_target);
        }
        picture
    }

    fn decided(&mut self, decision: &AutoscalerDecisionView) {
        self.note = None;
        if self.decisions.len() == DECISIONS_SHOWN {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decision_line(decision));
    }

    fn is(&mut self, state: &AutoscalerStateView, cpu_target: f64) {
        self.note = None;
        self.cpu_target = cpu_target;
        self.standing = standing(state, cpu_target);
        if self.moments.back().is_some_and(|newest| newest.at >= state.at) {
            return;
        }
        if self.moments.len() == MOMENTS_MAX {
            self.moments.pop_front();
        }
        self.moments.push_back(Moment {
            at: state.at,
            replicas: f64::from(state.replicas),
            ready: f64::from(state.ready),
            utilisation: state.evidence.map(|evidence| evidence.utilisation),
        });
    }

    /// The lines of one drawing, none of them wider than `columns`; as many as `rows` has room for.
    fn frame(&self, columns: usize, rows: usize) -> Vec<String> {
        let room = rows.saturating_sub(OTHER_ROWS + DECISIONS_SHOWN);
        let cpu_rows = CPU_ROWS.min((2 * room / 5).max(2));
        let replica_rows = REPLICA_ROWS.min(room.saturating_sub(cpu_rows).max(3));
        let wide = columns.saturating_sub(AXIS_COLUMNS + 1).max(1);
        let shown = self.moments.iter().skip(self.moments.len().saturating_sub(wide));
        let shown: Vec<Moment> = shown.copied().collect();
        let most = shown.iter().map(|moment| moment.replicas.max(moment.ready)).fold(1.0, f64::max);
        let bars: Vec<(f64, f64)> = shown.iter().map(|moment| (moment.ready, moment.replicas)).collect();
        let used: Vec<Option<f64>> = shown.iter().map(|moment| moment.utilisation).collect();
        let mut lines = vec![format!("{}  {}", self.place, self.standing)];
        lines.push("replicas: █ serving, ░ ordered".to_owned());
        lines.extend(chart::bars(&bars, replica_rows, most));
        lines.push(format!("CPU: ● use, ─ target {:.2}", self.cpu_target));
        lines.extend(chart::marks(&used, self.cpu_target, cpu_rows, 1.0));
        lines.push(time_axis(&shown));
        lines.extend(self.decisions.iter().cloned());
        lines.extend(self.note.map(str::to_owned));
        lines.truncate(rows.saturating_sub(1).max(1));
        lines.into_iter().map(|line| line.chars().take(columns.saturating_sub(1).max(1)).collect()).collect()
    }
}

fn time_axis(shown: &[Moment]) -> String {
    let (Some(first), Some(last)) = (shown.first(), shown.last()) else { return String::new() };
    let span = duration(last.at.as_millisecond() - first.at.as_millisecond());
    format!("{:width$}the last {span}, until {}", "", last.at.strftime("%H:%M:%SZ"), width = AXIS_COLUMNS)
}

/// The chart and where it stands on the terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    picture: Picture,
    lines_drawn: usize,
    drawn_at: Option<Instant>,
    waits: bool,
}

impl Screen {
    fn new(picture: Picture) -> Self {
        let mut screen = Self { picture, lines_drawn: 0, drawn_at: None, waits: true };
        screen.draw(Instant::now());
        screen
    }

    fn due(&self) -> Option<Instant> {
        self.waits.then(|| self.drawn_at.map_or_else(Instant::now, |at| at + REDRAW))
    }

    fn draw_if_due(&mut self, now: Instant) {
        self.waits = true;
        if self.due().is_some_and(|due| due <= now) {
            self.draw(now);
        }
    }

    fn draw(&mut self, now: Instant) {
        let size = terminal::size();
        let frame = self.picture.frame(size.columns, size.rows);
        let text = over(&frame, self.lines_drawn);
        self.lines_drawn = frame.len();
        self.drawn_at = Some(now);
        self.waits = false;
        let mut out = std::io::stdout().lock();
        // Who has closed the terminal reads nothing more.
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        drop(written);
    }
}

/// A frame over the one before, which had so many lines: back to its first line, every line cleared, and what is left
/// below it too.
fn over(frame: &[String], lines_before: usize) -> String {
    let mut text = String::new();
    if lines_before > 0 {
        text += &format!("\u{1b}[{lines_before}A");
    }
    for line in frame {
        text += &format!("\r\u{1b}[2K{line}\n");
    }
    text + "\u{1b}[J"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view() -> AutoscalerView {
        let decision = |number: u64| {
            json!({ "number": number, "at": "2026-01-01T00:00:00Z", "replicas": 2,
                "decision": { "decision": "hold", "reason": "on_target" } })
        };
        let decisions: Vec<Value> = (1..=6).map(decision).collect();
        serde_json::from_value(json!({
            "project": "shop", "environment": "default", "updated_at": "2026-01-01T00:00:00Z",
            "settings": { "cpu_target": 0.6, "replicas_max": 9 }, "decisions": decisions, "state": state(0, 2, 2, 0.3)
        }))
        .unwrap()
    }

    fn state(second: u32, replicas: u32, ready: u32, utilisation: f64) -> Value {
        json!({
            "at": format!("2026-01-01T00:00:{second:02}Z"), "replicas": replicas, "ready": ready, "busy": replicas != ready,
            "evidence": { "at_s": 0.0, "window_s": 5.0, "utilisation": utilisation, "saturated_share": 0.0,
                "demand_replicas": utilisation * f64::from(ready), "counting": ready, "young": 0 }
        })
    }

    fn picture() -> Picture {
        let mut picture = Picture::new(&view(), &[]);
        for (second, replicas, ready, used) in [(5, 4, 2, 0.9), (10, 4, 4, 0.5)] {
            let state = serde_json::from_value(state(second, replicas, ready, used)).unwrap();
            picture.is(&state, 0.6);
        }
        picture
    }

    #[test]
    fn a_frame_shows_replicas_and_cpu_against_the_target() {
        let frame = picture().frame(80, 24);
        let wanted = [
            "shop/default  4 of 4 replicas serve, CPU 0.50 of 0.60, demand 2.0 replicas",
            "replicas: █ serving, ░ ordered",
            "    4 ┤ ░█",
            "      ┤ ░█",
            "      ┤ ░█",
            "      ┤ ░█",
            "      ┤███",
            "      ┤███",
            "      ┤███",
            "    0 ┤███",
            "CPU: ● use, ─ target 0.60",
            "    1 ┤ ●",
            "      ┤───",
            "      ┤  ●",
            "      ┤●",
            "    0 ┤",
            "       the last 10.0 s, until 00:00:10Z",
        ];
        assert_eq!(frame[..wanted.len()], wanted);
        assert_eq!(frame.len(), wanted.len() + DECISIONS_SHOWN);
        assert!(frame[wanted.len()].starts_with("00:00:00Z  #3 stays at 2: it is what is wanted"));
    }

    #[test]
    fn a_frame_fits_the_terminal() {
        let mut picture = picture();
        for second in 11..60 {
            let state = serde_json::from_value(state(second, 4, 4, 0.5)).unwrap();
            picture.is(&state, 0.6);
        }
        for (columns, rows) in [(80, 24), (40, 18), (20, 12), (200, 60)] {
            let frame = picture.frame(columns, rows);
            assert!(frame.iter().all(|line| line.chars().count() < columns), "{columns}: {frame:?}");
            assert!(frame.len() < rows, "{rows}: {}", frame.len());
        }
    }

    #[test]
    fn a_state_that_is_known_is_not_shown_twice() {
        let mut picture = picture();
        let again = serde_json::from_value(state(10, 4, 4, 0.5)).unwrap();
        picture.is(&again, 0.6);
        assert_eq!(picture.moments.len(), 3);
    }

    #[test]
    fn a_frame_is_drawn_over_the_one_before() {
        let frame = ["a".to_owned(), "b".to_owned()];
        assert_eq!(over(&frame, 0), "\r\u{1b}[2Ka\n\r\u{1b}[2Kb\n\u{1b}[J");
        assert!(over(&frame, 3).starts_with("\u{1b}[3A\r"));
    }

    #[test]
    fn lines_tell_state_and_decision() {
        let state: AutoscalerStateView = serde_json::from_value(state(5, 4, 2, 0.9)).unwrap();
        assert_eq!(
            state_line(&state, 0.6),
            "00:00:05Z  2 of 4 replicas serve, changing, CPU 0.90 of 0.60, demand 1.8 replicas"
        );
        let decision: AutoscalerDecisionView = serde_json::from_value(json!({
            "number": 9, "at": "2026-01-01T00:00:00Z", "replicas": 2,
            "decision": { "decision": "hold", "reason": "silence", "silence": "stale" }
        }))
        .unwrap();
        assert_eq!(decision_line(&decision), "00:00:00Z  #9 stays at 2: the last metrics are too old");
    }
}
