//! The moving view of a terminal: a line per stage, with a spinner while it runs.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use slipway_common::model::Stage;

use super::progress::{Step, What};
use super::text::duration;

const TICK: Duration = Duration::from_millis(120);
const RUNNING: &str = "{spinner:.cyan} {prefix:<8} {elapsed:>4}  {wide_msg}";
const RESTING: &str = "{prefix} {wide_msg}";

/// The lines of the stages that have begun.
#[derive(Debug)]
pub(crate) struct LiveView {
    lines: MultiProgress,
    stages: Vec<(Stage, Line)>,
    notice: Option<ProgressBar>,
}

#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    began_at: Timestamp,
}

impl Default for LiveView {
    fn default() -> Self {
        Self {
            lines: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            stages: Vec::new(),
            notice: None,
        }
    }
}

impl LiveView {
    /// Shows one step.
    pub(crate) fn step(&mut self, step: &Step) {
        if let Some(notice) = self.notice.take() {
            notice.finish_and_clear();
        }
        match step.stage {
            Some(stage) => self.stage_step(stage, step),
            None => self.job_step(&step.what),
        }
    }

    /// Says that the connection is gone.
    pub(crate) fn reconnecting(&mut self) {
        if self.notice.is_none() {
            let bar = self.lines.add(ProgressBar::new_spinner());
            bar.set_style(style(RESTING));
            bar.set_prefix("!");
            bar.set_message("connection lost, trying again");
            bar.tick();
            self.notice = Some(bar);
        }
    }

    /// Leaves every line as it stands.
    pub(crate) fn end(self) {
        for (_, line) in self.stages {
            if !line.bar.is_finished() {
                line.bar.abandon();
            }
        }
    }

    fn stage_step(&mut self, stage: Stage, step: &Step) {
        let lines = &self.lines;
        let known = self.stages.iter().position(|(known, _)| *known == stage);
        let index = known.unwrap_or_else(|| {
            let bar = lines.add(ProgressBar::new_spinner());
            bar.set_style(style(RUNNING));
            bar.set_prefix(stage.as_str());
            bar.enable_steady_tick(TICK);
            self.stages.push((stage, Line { bar, began_at: step.at }));
            self.stages.len() - 1
        });
        if let Some((_, line)) = self.stages.get(index) {
            line.show(stage, step);
        }
    }

    /// What concerns the job as a whole is shown on every line that still moves.
    fn job_step(&mut self, what: &What) {
        if let What::Ended(how) = what {
            for (stage, line) in self.stages.iter().filter(|(_, line)| !line.bar.is_finished()) {
                line.rest('-', *stage, how);
            }
        }
    }
}

impl Line {
    fn show(&self, stage: Stage, step: &Step) {
        let took = duration(step.at.as_millisecond() - self.began_at.as_millisecond());
        match &step.what {
            What::Began { attempt: 1 } => self.bar.set_message(""),
            What::Began { attempt } => self.bar.set_message(format!("attempt {attempt}")),
            What::Says(words) => self.bar.set_message(words.clone()),
            What::Waits(reason) => self.bar.set_message(format!("waiting: {reason}")),
            What::Done(fact) => self.rest('✓', stage, &format!("{took:>9}  {fact}")),
            What::Skipped(reason) => self.rest('-', stage, &format!("  skipped  {reason}")),
            What::Failed(reason) => self.rest('✗', stage, &format!("{took:>9}  {reason}")),
            What::Ended(how) => self.rest('-', stage, how),
        }
    }

    fn rest(&self, mark: char, stage: Stage, words: &str) {
        self.bar.disable_steady_tick();
        self.bar.set_style(style(RESTING));
        self.bar.set_prefix(format!("{mark} {:<8}", stage.as_str()));
        self.bar.finish_with_message(words.to_owned());
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
