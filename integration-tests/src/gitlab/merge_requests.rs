//! Merge requests and the notes under them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Handled, Reply, page};
use super::route::Call;
use super::world::{Project, iso};

/// Longest note.
const NOTE_MAX: usize = 1_000_000;

/// A note under a merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its number.
    pub id: u64,
    /// What it says now.
    pub body: String,
    /// How often it was changed.
    pub changes: u32,
    /// When it was written.
    pub created_at: Timestamp,
}

/// A merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequest {
    /// Its number.
    pub id: u64,
    /// Its number in the project.
    pub iid: u64,
    /// Its title.
    pub title: String,
    /// The branch it brings.
    pub source_branch: String,
    /// The branch it is for.
    pub target_branch: String,
    /// The project the branch is in; another one for a fork.
    pub source_project_id: u64,
    /// The tip of the branch.
    pub sha: String,
    /// `opened`, `closed` or `merged`.
    pub state: &'static str,
    /// Whether it is not ready yet.
    pub draft: bool,
    /// When it was opened.
    pub created_at: Timestamp,
    /// Its notes, oldest first.
    pub notes: Vec<Note>,
}

impl MergeRequest {
    fn view(&self, project: &Project) -> Value {
        json!({
            "id": self.id, "iid": self.iid, "project_id": project.id, "title": self.title, "description": "",
            "state": self.state, "created_at": iso(self.created_at), "updated_at": iso(self.created_at),
            "source_branch": self.source_branch, "target_branch": self.target_branch,
            "source_project_id": self.source_project_id, "target_project_id": project.id, "sha": self.sha,
            "draft": self.draft, "work_in_progress": self.draft, "labels": [], "merge_status": "can_be_merged",
            "detailed_merge_status": if self.draft { "draft_status" } else { "mergeable" },
            "author": { "id": 1, "username": "ada", "name": "Ada", "state": "active" },
            "web_url": self.web_url(project), "user_notes_count": self.notes.len(),
        })
    }

    pub(super) fn web_url(&self, project: &Project) -> String {
        format!("{}/-/merge_requests/{}", project.web_url(), self.iid)
    }
}

impl Note {
    fn view(&self, merge_request: &MergeRequest) -> Value {
        json!({
            "id": self.id, "body": self.body, "system": false, "internal": false, "resolvable": false,
            "noteable_id": merge_request.id, "noteable_iid": merge_request.iid, "noteable_type": "MergeRequest",
            "created_at": iso(self.created_at), "updated_at": iso(self.created_at),
            "author": { "id": 1, "username": "ada", "name": "Ada", "state": "active" },
        })
    }
}

/// `GET merge_requests`.
pub(super) fn list(call: &Call, project: &Project) -> Handled {
    let wanted = |name: &str, value: &str| call.query(name).is_none_or(|asked| asked == value);
    let rows = project.merge_requests.iter().rev().filter(|it| {
        (call.query("state") == Some("all") || wanted("state", it.state))
            && wanted("source_branch", &it.source_branch)
            && wanted("target_branch", &it.target_branch)
    });
    Ok(page(call, &rows.map(|it| it.view(project)).collect::<Vec<_>>()))
}

fn position(project: &Project, iid: &str) -> Result<usize, Reply> {
    let iid: Option<u64> = iid.parse().ok();
    let found = project.merge_requests.iter().position(|it| Some(it.iid) == iid);
    found.ok_or_else(Reply::absent)
}

/// `GET merge_requests/:iid`.
pub(super) fn show(project: &Project, iid: &str) -> Handled {
    let at = position(project, iid)?;
    Ok(Reply::json(200, &project.merge_requests[at].view(project)))
}

/// `GET merge_requests/:iid/notes`, newest first if not asked otherwise.
pub(super) fn list_notes(call: &Call, project: &Project, iid: &str) -> Handled {
    let merge_request = &project.merge_requests[position(project, iid)?];
    let mut rows: Vec<Value> = merge_request.notes.iter().map(|note| note.view(merge_request)).collect();
    if call.query("sort") != Some("asc") {
        rows.reverse();
    }
    Ok(page(call, &rows))
}

fn body(call: &Call) -> Result<String, Reply> {
    let body = call.text("body").ok_or_else(|| Reply::missing("body"))?;
    if body.is_empty() {
        return Err(Reply::invalid("note", "can't be blank"));
    }
    if body.chars().count() > NOTE_MAX {
        return Err(Reply::invalid("note", "is too long (maximum is 1000000 characters)"));
    }
    Ok(body)
}

/// `POST merge_requests/:iid/notes`.
pub(super) fn create_note(
    call: &Call,
    project: &mut Project,
    iid: &str,
    number: &mut dyn FnMut() -> u64,
) -> Handled {
    let at = position(project, iid)?;
    let note = Note { id: number(), body: body(call)?, changes: 0, created_at: Timestamp::now() };
    let merge_request = &mut project.merge_requests[at];
    let shown = note.view(merge_request);
    merge_request.notes.push(note);
    Ok(Reply::json(201, &shown))
}

/// `GET`, `PUT` and `DELETE merge_requests/:iid/notes/:id`.
pub(super) fn note(call: &Call, project: &mut Project, iid: &str, id: &str) -> Handled {
    let at = position(project, iid)?;
    let merge_request = &mut project.merge_requests[at];
    let id: Option<u64> = id.parse().ok();
    let found = merge_request.notes.iter().position(|it| Some(it.id) == id);
    let index = found.ok_or_else(Reply::absent)?;
    match call.method.as_str() {
        "PUT" => {
            let body = body(call)?;
            let note = &mut merge_request.notes[index];
            note.changes += u32::from(note.body != body);
            note.body = body;
        }
        "DELETE" => {
            merge_request.notes.remove(index);
            return Ok(Reply::empty(204));
        }
        _ => {}
    }
    Ok(Reply::json(200, &merge_request.notes[index].view(merge_request)))
}
