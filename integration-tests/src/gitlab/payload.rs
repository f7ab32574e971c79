//! Payloads of webhooks with the fields GitLab documents, the awkward ones included: dates in three forms, `null`s, and
//! addresses a receiver must not follow.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::merge_requests::MergeRequest;
use super::pipelines::{Pipeline, PipelineJob, is_over};
use super::world::{Project, iso, utc};

/// The commit id of what is not there.
pub const ZEROS: &str = "0000000000000000000000000000000000000000";
/// Commits a push tells of at most.
pub(super) const COMMITS_MAX: usize = 20;

/// A ref that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In full.
    pub reference: String,
    /// The object it named.
    pub before: String,
    /// The object it names now; for an annotated tag the tag.
    pub after: String,
    /// The commit it names now; `None` when it was deleted.
    pub commit: Option<String>,
    /// The newest commits, as payloads have them.
    pub commits: Vec<Value>,
    /// How many there are.
    pub commits_total: usize,
}

fn user() -> Value {
    json!({ "id": 1, "name": "Ada", "username": "ada", "avatar_url": null, "email": "[REDACTED]" })
}

fn project_view(project: &Project) -> Value {
    let (web, clone) = (project.web_url(), project.clone_url());
    let name = project.path.rsplit('/').next().unwrap_or_default();
    let ssh = format!("git@gitlab.example.org:{}.git", project.path);
    json!({
        "id": project.id, "name": name, "description": "A project", "web_url": web, "avatar_url": null,
        "git_ssh_url": ssh, "git_http_url": clone, "namespace": project.path.split('/').next(),
        "visibility_level": if project.public { 20 } else { 0 }, "path_with_namespace": project.path,
        "default_branch": project.default_branch, "ci_config_path": project.ci_config_path,
        "homepage": web, "url": ssh, "ssh_url": ssh, "http_url": clone,
    })
}

fn repository_view(project: &Project) -> Value {
    json!({
        "name": project.path.rsplit('/').next(), "url": project.clone_url(), "description": "A project",
        "homepage": project.web_url(), "git_http_url": project.clone_url(),
        "git_ssh_url": format!("git@gitlab.example.org:{}.git", project.path), "visibility_level": 0,
    })
}

/// A branch or a tag was pushed.
#[must_use]
pub fn push(project: &Project, change: &Change, options: &Value) -> Value {
    let tag = change.reference.starts_with("refs/tags/");
    let kind = if tag { "tag_push" } else { "push" };
    json!({
        "object_kind": kind, "event_name": kind, "before": change.before, "after": change.after,
        "ref": change.reference, "ref_protected": change.reference.ends_with(&project.default_branch),
        "checkout_sha": change.commit, "message": null, "user_id": 1, "user_name": "Ada",
        "user_username": "ada", "user_email": "", "user_avatar": null, "project_id": project.id,
        "project": project_view(project), "commits": change.commits,
        "total_commits_count": change.commits_total, "push_options": options,
        "repository": repository_view(project),
    })
}

/// A merge request was opened, changed or closed. `before` is the commit it had, when it has another one now.
#[must_use]
pub fn merge_request(project: &Project, it: &MergeRequest, action: &str, before: Option<&str>) -> Value {
    let mut attributes = json!({
        "id": it.id, "iid": it.iid, "target_branch": it.target_branch, "source_branch": it.source_branch,
        "source_project_id": it.source_project_id, "target_project_id": project.id, "author_id": 1,
        "assignee_ids": [], "reviewer_ids": [], "title": it.title, "description": "", "state": it.state,
        "created_at": utc(it.created_at), "updated_at": utc(Timestamp::now()), "draft": it.draft,
        "work_in_progress": it.draft, "merge_status": "unchecked", "detailed_merge_status": "mergeable",
        "url": it.web_url(project), "source": project_view(project), "target": project_view(project),
        "last_commit": {
            "id": it.sha, "message": "A change", "title": "A change", "timestamp": iso(it.created_at),
            "url": format!("{}/-/commit/{}", project.web_url(), it.sha),
            "author": { "name": "Ada", "email": "[REDACTED]" },
        },
        "labels": [], "action": action,
    });
    if let (Some(before), Some(attributes)) = (before, attributes.as_object_mut()) {
        attributes.insert("oldrev".to_owned(), json!(before));
    }
    json!({
        "object_kind": "merge_request", "event_type": "merge_request", "user": user(),
        "project": project_view(project), "repository": repository_view(project),
        "object_attributes": attributes, "labels": [], "assignees": [], "reviewers": [],
        "changes": { "updated_at": { "previous": utc(it.created_at), "current": utc(Timestamp::now()) } },
    })
}

fn runner(job: &PipelineJob) -> Option<Value> {
    job.has_runner.then(|| {
        json!({ "id": 7, "description": "a runner", "active": true, "runner_type": "instance_type",
            "is_shared": true, "tags": ["linux", "docker"] })
    })
}

/// A pipeline changed.
#[must_use]
pub fn pipeline(project: &Project, it: &Pipeline) -> Value {
    let builds = it.jobs.iter().rev().map(|job| {
        json!({
            "id": job.id, "stage": job.stage, "name": job.name, "status": job.status,
            "created_at": utc(job.created_at), "started_at": job.started_at.map(utc),
            "finished_at": job.finished_at.map(utc), "duration": null, "queued_duration": 1.5,
            "failure_reason": job.failure_reason, "when": if job.manual { "manual" } else { "on_success" },
            "manual": job.manual, "allow_failure": job.allow_failure, "user": user(), "runner": runner(job),
            "artifacts_file": { "filename": null, "size": null }, "environment": null,
        })
    });
    json!({
        "object_kind": "pipeline",
        "object_attributes": {
            "id": it.id, "iid": it.iid, "name": null, "ref": it.reference, "tag": it.tag, "sha": it.sha,
            "before_sha": ZEROS, "source": it.source, "status": it.status, "detailed_status": it.status,
            "stages": it.stages(), "created_at": utc(it.created_at),
            "finished_at": is_over(it.status).then(|| utc(it.updated_at)), "duration": null,
            "queued_duration": null, "variables": [],
            "url": format!("{}/-/pipelines/{}", project.web_url(), it.id),
        },
        "merge_request": null, "user": user(), "project": project_view(project),
        "commit": {
            "id": it.sha, "message": it.message, "title": it.message.lines().next(),
            "timestamp": iso(it.created_at), "url": format!("{}/-/commit/{}", project.web_url(), it.sha),
            "author": { "name": "Ada", "email": "[REDACTED]" },
        },
        "builds": builds.collect::<Vec<_>>(),
    })
}

/// A job of a pipeline changed. What it calls the commit's `id` is the pipeline's.
#[must_use]
pub fn job(project: &Project, pipeline: &Pipeline, it: &PipelineJob) -> Value {
    json!({
        "object_kind": "build", "ref": pipeline.reference, "tag": pipeline.tag, "before_sha": ZEROS,
        "sha": pipeline.sha, "build_id": it.id, "build_name": it.name, "build_stage": it.stage,
        "build_status": it.status, "build_created_at": utc(it.created_at),
        "build_created_at_iso": iso(it.created_at), "build_started_at": it.started_at.map(utc),
        "build_started_at_iso": it.started_at.map(iso), "build_finished_at": it.finished_at.map(utc),
        "build_finished_at_iso": it.finished_at.map(iso), "build_duration": null,
        "build_queued_duration": 1.5, "build_allow_failure": it.allow_failure,
        "build_failure_reason": it.failure_reason.as_deref().unwrap_or("unknown_failure"), "retries_count": 0,
        "pipeline_id": pipeline.id, "project_id": project.id, "project_name": project.path, "user": user(),
        "commit": {
            "id": pipeline.id, "name": null, "sha": pipeline.sha, "message": pipeline.message,
            "author_name": "Ada", "author_email": "ada@example.org", "status": pipeline.status,
            "duration": null, "started_at": null, "finished_at": null,
        },
        "repository": repository_view(project), "project": project_view(project), "runner": runner(it),
        "environment": null,
    })
}
