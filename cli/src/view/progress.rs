//! What is shown while a deployment is watched: one moving line per stage on a terminal, plain lines elsewhere, one
//! JSON object a line when asked for.

use std::io::IsTerminal as _;

use jiff::Timestamp;
use serde_json::Value;
use slipway_common::model::{Facts, Stage};

use super::live::LiveView;
use super::text::{clean, duration, short_id, short_revision};
use crate::client::types::EventData;

/// One of the three ways to show progress.
#[derive(Debug)]
pub(crate) enum Progress {
    /// On a terminal.
    Live(LiveView),
    /// Elsewhere.
    Lines(LineView),
    /// For programs.
    Json,
}

impl Progress {
    /// Begins to show the progress of a deployment.
    pub(crate) fn start(json: bool, deployment: &str) -> Self {
        if json {
            return Self::Json;
        }
        super::line(&format!("deployment {deployment}"));
        if std::io::stdout().is_terminal() {
            Self::Live(LiveView::default())
        } else {
            Self::Lines(LineView::default())
        }
    }

    /// Shows one event: its name, what is read of it, and all of it.
    pub(crate) fn event(&mut self, name: &str, event: &EventData, document: &Value) {
        let step = Step::of(name, event);
        match (self, step) {
            (Self::Json, _) => super::json_line(document),
            (Self::Live(view), Some(step)) => view.step(&step),
            (Self::Lines(view), Some(step)) => view.step(&step),
            (Self::Live(_) | Self::Lines(_), None) => {}
        }
    }

    /// Says that the connection is gone and a new one is tried.
    pub(crate) fn reconnecting(&mut self) {
        match self {
            Self::Json => {}
            Self::Live(view) => view.reconnecting(),
            Self::Lines(view) => view.reconnecting(),
        }
    }

    /// Ends what moves.
    pub(crate) fn end(self) {
        match self {
            Self::Live(view) => view.end(),
            Self::Lines(_) | Self::Json => {}
        }
    }
}

/// What a stage does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// It began.
    Began {
        /// Which attempt.
        attempt: u32,
    },
    /// It says how far it is.
    Says(String),
    /// It waits, and why.
    Waits(String),
    /// It ended well; with what it established.
    Done(String),
    /// It had nothing to do, and why.
    Skipped(String),
    /// It failed, and why.
    Failed(String),
    /// The job was ended from outside, and how.
    Ended(String),
}

/// One event in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The stage; none if it is about the job as a whole.
    pub(crate) stage: Option<Stage>,
    /// When it happened.
    pub(crate) at: Timestamp,
    /// What happened.
    pub(crate) what: What,
}

impl Step {
    /// The event in words; `None` for events nobody needs to see.
    pub(crate) fn of(name: &str, event: &EventData) -> Option<Self> {
        let by = || clean(event.by.as_deref().unwrap_or_default());
        let reason = || clean(event.reason.as_deref().unwrap_or_default());
        let what = match name {
            "stage_started" => What::Began { attempt: event.attempt.unwrap_or(1) },
            "stage_progress" => What::Says(clean(event.message.as_deref().unwrap_or_default())),
            "stage_waiting" => What::Waits(reason()),
            "stage_finished" => match &event.skipped {
                Some(why) => What::Skipped(clean(why)),
                None => {
                    What::Done(event.stage.map(|stage| established(stage, &event.facts)).unwrap_or_default())
                }
            },
            "failed" => What::Failed(event.failure.as_ref().map(|f| clean(&f.reason)).unwrap_or_default()),
            "cancel_requested" => What::Ended(format!("cancellation asked for by {}", by())),
            "cancelled" => What::Ended("cancelled".to_owned()),
            "superseded" => What::Ended(format!("superseded by deployment {}", short_id(&by()))),
            // What is accepted, has succeeded or changes later is shown elsewhere; a newer server may say more.
            _ => return None,
        };
        let stage = event.stage.or_else(|| event.failure.as_ref().map(|failure| failure.stage));
        Some(Self { stage, at: event.at, what })
    }
}

/// The fact a stage established, in a few words.
fn established(stage: Stage, facts: &Facts) -> String {
    let words = match stage {
        Stage::Clone => facts.source.as_ref().map(|fact| {
            let branch = fact.branch.as_deref().map(|branch| format!(" of {branch}")).unwrap_or_default();
            format!("commit {}{branch}", short_revision(&fact.revision))
        }),
        Stage::Template => facts.template.as_ref().map(|fact| {
            let detected = fact.detected.as_deref().map(|what| format!("{what}; ")).unwrap_or_default();
            match fact.generated.as_slice() {
                [] => format!("{detected}nothing is missing"),
                paths => format!("{detected}generated {}", paths.join(", ")),
            }
        }),
        Stage::Commit => facts.commit.as_ref().map(|fact| match (&fact.merge_request, &fact.branch) {
            (Some(merge_request), _) => format!("proposed in {merge_request}"),
            (None, Some(branch)) if fact.generated => {
                format!("pushed {} to {branch}", short_revision(&fact.revision))
            }
            (None, Some(_) | None) => format!("commit {}", short_revision(&fact.revision)),
        }),
        Stage::Build => facts
            .image
            .as_ref()
            .map(|fact| if fact.reused { format!("{} (built before)", fact.tag) } else { fact.tag.clone() }),
        Stage::Apply => facts.inventory.as_ref().and_then(|fact| fact.url.clone()),
        Stage::Stop => None,
    };
    clean(&words.unwrap_or_default())
}

/// Plain lines, each with the time since the first one.
#[derive(Debug, Default)]
pub(crate) struct LineView {
    first_at: Option<Timestamp>,
    began: Vec<(Stage, Timestamp)>,
    lost: bool,
}

impl LineView {
    fn step(&mut self, step: &Step) {
        self.lost = false;
        super::line(&self.text(step));
    }

    fn text(&mut self, step: &Step) -> String {
        let first_at = *self.first_at.get_or_insert(step.at);
        if let (What::Began { .. }, Some(stage)) = (&step.what, step.stage) {
            self.began.retain(|(known, _)| *known != stage);
            self.began.push((stage, step.at));
        }
        let since = |then: Timestamp| duration(step.at.as_millisecond() - then.as_millisecond());
        let began = self.began.iter().find(|(stage, _)| Some(*stage) == step.stage);
        let took = began.map(|(_, at)| format!(" in {}", since(*at))).unwrap_or_default();
        let words = match &step.what {
            What::Began { attempt: 1 } => "started".to_owned(),
            What::Began { attempt } => format!("started, attempt {attempt}"),
            What::Says(words) => words.clone(),
            What::Waits(reason) => format!("waiting: {reason}"),
            What::Done(fact) if fact.is_empty() => format!("done{took}"),
            What::Done(fact) => format!("done{took}: {fact}"),
            What::Skipped(reason) => format!("skipped: {reason}"),
            What::Failed(reason) => format!("failed{took}: {reason}"),
            What::Ended(how) => how.clone(),
        };
        let stage = step.stage.map_or("job", Stage::as_str);
        format!("{:>9}  {stage:<8}  {words}", since(first_at))
    }

    fn reconnecting(&mut self) {
        if !std::mem::replace(&mut self.lost, true) {
            super::line("           connection lost, trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, json: Value) -> Option<Step> {
        Step::of(name, &serde_json::from_value(json).unwrap())
    }

    #[test]
    fn lines_tell_stage_time_and_fact() {
        let mut view = LineView::default();
        let began = step(
            "stage_started",
            serde_json::json!({ "job": "j", "at": "2026-01-01T00:00:00Z", "stage": "clone", "attempt": 1 }),
        );
        assert_eq!(view.text(&began.unwrap()), "     0 ms  clone     started");
        let done = step(
            "stage_finished",
            serde_json::json!({ "job": "j", "at": "2026-01-01T00:00:01.5Z", "stage": "clone",
                "facts": { "source": { "revision": "0123456789abcdef", "branch": "main" } } }),
        );
        assert_eq!(
            view.text(&done.unwrap()),
            "    1.5 s  clone     done in 1.5 s: commit 0123456789 of main"
        );
    }

    #[test]
    fn a_failure_names_its_stage_and_cannot_steer_the_terminal() {
        let failed = step(
            "failed",
            serde_json::json!({ "job": "j", "at": "2026-01-01T00:00:00Z",
                "failure": { "stage": "build", "code": "build_failed", "reason": "exit\u{1b}[2J 1" } }),
        )
        .unwrap();
        assert_eq!((failed.stage, failed.what), (Some(Stage::Build), What::Failed("exit [2J 1".to_owned())));
    }

    #[test]
    fn events_of_a_newer_server_are_passed_over() {
        assert_eq!(step("painted", serde_json::json!({ "job": "j", "at": "2026-01-01T00:00:00Z" })), None);
    }
}
