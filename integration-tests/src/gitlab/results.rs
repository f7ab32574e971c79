//! What others tell of commits: statuses, which follow GitLab's state machine.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Handled, Reply, page};
use super::pipelines::{NewPipeline, is_over};
use super::route::Call;
use super::world::{Project, iso};

/// Longest text of a status.
pub(super) const TEXT_MAX: usize = 255;

/// One word on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub id: u64,
    /// The commit.
    pub sha: String,
    /// The branch or tag it was told for.
    pub reference: String,
    /// Under which name it is shown.
    pub name: String,
    /// `pending`, `running`, `success`, `failed`, `canceled` or `skipped`.
    pub state: &'static str,
    /// Every state it had, in order.
    pub history: Vec<&'static str>,
    /// What it says.
    pub description: Option<String>,
    /// Where it leads.
    pub target_url: Option<String>,
    /// The pipeline it belongs to.
    pub pipeline: u64,
    /// When it was first told.
    pub created_at: Timestamp,
    /// Whether a newer one took its place.
    pub retried: bool,
}

/// The word itself, when it is one of `of`.
pub(super) fn one_of(text: &str, of: &[&'static str]) -> Option<&'static str> {
    of.iter().find(|known| **known == text).copied()
}

/// Whether a status may go from one state to another, as GitLab's state machine has it. Pure.
fn may_follow(before: &str, state: &str) -> bool {
    match state {
        "pending" => before == "created",
        "running" => matches!(before, "created" | "pending"),
        "success" | "failed" | "canceled" => !is_over(before),
        "skipped" => matches!(before, "created" | "pending"),
        _ => false,
    }
}

pub(super) fn transition(state: &str) -> &str {
    match state {
        "pending" => "enqueue",
        "running" => "run",
        "failed" => "drop",
        "canceled" => "cancel",
        "skipped" => "skip",
        other => other,
    }
}

/// `POST statuses/:sha`; the answer, and the pipeline it belongs to.
pub(super) fn set_status(
    call: &Call,
    project: &mut Project,
    sha: &str,
    number: &mut dyn FnMut() -> u64,
) -> Result<(Reply, u64), Reply> {
    let given = call.text("state").ok_or_else(|| Reply::missing("state"))?;
    let states = ["pending", "running", "success", "failed", "canceled", "skipped"];
    let Some(state) = one_of(&given, &states) else {
        return Err(Reply::json(400, &json!({ "error": "state does not have a valid value" })));
    };
    let name = call.text("name").or_else(|| call.text("context")).unwrap_or_else(|| "default".to_owned());
    for field in ["name", "target_url", "description", "ref"] {
        if call.text(field).is_some_and(|text| text.chars().count() > TEXT_MAX) {
            return Err(Reply::invalid(field, "is too long (maximum is 255 characters)"));
        }
    }
    let pipeline = pipeline_for(call, project, sha, number)?;
    let reference = project
        .pipelines
        .iter()
        .find(|it| it.id == pipeline)
        .map(|it| it.reference.clone())
        .unwrap_or_default();
    let same = |it: &&mut Status| it.pipeline == pipeline && it.name == name && !it.retried;
    if let Some(known) = project.statuses.iter_mut().filter(same).find(|it| !is_over(it.state)) {
        if !may_follow(known.state, state) {
            let (event, from) = (transition(state), known.state);
            let reason = format!("Status cannot transition via \"{event}\"");
            let said = format!("Cannot transition status via :{event} from :{from} (Reason(s): {reason})");
            return Err(Reply::message(400, said));
        }
        known.state = state;
        known.history.push(state);
        known.description = call.text("description").or_else(|| known.description.take());
        known.target_url = call.text("target_url").or_else(|| known.target_url.take());
        let shown = known.view();
        project.refresh_pipeline(pipeline);
        return Ok((Reply::json(201, &shown), pipeline));
    }
    for old in project.statuses.iter_mut().filter(same) {
        old.retried = true;
    }
    let new = Status {
        id: number(),
        sha: sha.to_owned(),
        reference: call.text("ref").unwrap_or(reference),
        name,
        state,
        history: vec![state],
        description: call.text("description"),
        target_url: call.text("target_url"),
        pipeline,
        created_at: Timestamp::now(),
        retried: false,
    };
    let shown = new.view();
    project.statuses.push(new);
    project.refresh_pipeline(pipeline);
    Ok((Reply::json(201, &shown), pipeline))
}

/// The newest pipeline of the commit, or the one asked for; a commit without one gets a pipeline of its own for this.
fn pipeline_for(
    call: &Call,
    project: &mut Project,
    sha: &str,
    number: &mut dyn FnMut() -> u64,
) -> Result<u64, Reply> {
    let (asked, reference) = (call.number("pipeline_id"), call.text("ref"));
    let found = project.pipelines.iter().rev().find(|it| {
        it.sha == sha
            && asked.is_none_or(|id| it.id == id)
            && reference.as_ref().is_none_or(|name| it.reference == *name)
    });
    if let Some(found) = found {
        return Ok(found.id);
    }
    if asked.is_some() {
        return Err(Reply::not_found("Pipeline"));
    }
    let new = NewPipeline {
        sha: sha.to_owned(),
        reference: reference.unwrap_or_else(|| project.default_branch.clone()),
        tag: false,
        source: "external",
        message: String::new(),
        skip: false,
    };
    project.begin_pipeline(new, number).ok_or_else(|| Reply::not_found("Pipeline"))
}

impl Status {
    fn view(&self) -> Value {
        json!({
            "id": self.id, "sha": self.sha, "ref": self.reference, "status": self.state, "name": self.name,
            "target_url": self.target_url, "description": self.description, "created_at": iso(self.created_at),
            "started_at": null, "finished_at": null, "allow_failure": false, "coverage": null,
            "pipeline_id": self.pipeline,
            "author": { "id": 1, "username": "ada", "name": "Ada", "state": "active" },
        })
    }
}

/// `GET repository/commits/:sha/statuses`.
pub(super) fn list_statuses(call: &Call, project: &Project, sha: &str) -> Handled {
    let all = call.query("all") == Some("true");
    let rows = project.statuses.iter().filter(|it| it.sha == sha && (all || !it.retried));
    let rows = rows.filter(|it| call.query("name").is_none_or(|name| name == it.name));
    Ok(page(call, &rows.map(Status::view).collect::<Vec<_>>()))
}
