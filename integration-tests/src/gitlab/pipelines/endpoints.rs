//! What the interface says of pipelines and jobs, and what it lets people do with them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Pipeline, PipelineJob, PlannedJob, is_over, job_of};
use crate::gitlab::answer::{Handled, Reply, page};
use crate::gitlab::route::Call;
use crate::gitlab::world::{Project, iso};

impl Pipeline {
    fn view(&self, project: &Project) -> Value {
        json!({
            "id": self.id, "iid": self.iid, "project_id": project.id, "sha": self.sha, "ref": self.reference,
            "status": self.status, "source": self.source, "tag": self.tag, "name": null,
            "created_at": iso(self.created_at), "updated_at": iso(self.updated_at),
            "web_url": format!("{}/-/pipelines/{}", project.web_url(), self.id),
        })
    }

    fn detail(&self, project: &Project) -> Value {
        let ended = is_over(self.status).then(|| iso(self.updated_at));
        let mut view = self.view(project);
        let more = json!({
            "before_sha": "0".repeat(40), "yaml_errors": self.yaml_errors, "finished_at": ended,
            "committed_at": null, "duration": null, "queued_duration": null, "coverage": null,
            "started_at": self.jobs.iter().filter_map(|job| job.started_at).min().map(iso),
            "user": { "id": 1, "username": "ada", "name": "Ada", "state": "active" },
            "detailed_status": {
                "icon": format!("status_{}", self.status), "text": self.status, "label": self.status,
                "group": self.status, "has_details": true,
                "details_path": format!("/{}/-/pipelines/{}", project.path, self.id),
            },
        });
        merge(&mut view, more);
        view
    }
}

impl PipelineJob {
    /// Seconds it waited for a runner, so far.
    fn queued_s(&self) -> f64 {
        let until = self.started_at.unwrap_or_else(Timestamp::now);
        until.duration_since(self.created_at).as_secs_f64()
    }

    fn view(&self, project: &Project, pipeline: &Pipeline) -> Value {
        let runner = self.has_runner.then(|| {
            json!({ "id": 7, "description": "a runner", "active": true, "is_shared": true, "status": "online",
                "runner_type": "instance_type", "ip_address": "", "name": null, "online": true })
        });
        json!({
            "id": self.id, "name": self.name, "stage": self.stage, "status": self.status,
            "ref": pipeline.reference, "tag": pipeline.tag, "allow_failure": self.allow_failure,
            "failure_reason": self.failure_reason, "coverage": null, "duration": null,
            "queued_duration": (self.status != "created").then(|| self.queued_s()),
            "created_at": iso(self.created_at), "started_at": self.started_at.map(iso),
            "finished_at": self.finished_at.map(iso), "erased_at": null, "runner": runner, "tag_list": [],
            "artifacts": [], "artifacts_expire_at": null, "retried": self.retried,
            "commit": { "id": pipeline.sha, "message": pipeline.message },
            "pipeline": { "id": pipeline.id, "project_id": project.id, "ref": pipeline.reference,
                "sha": pipeline.sha, "status": pipeline.status },
            "web_url": format!("{}/-/jobs/{}", project.web_url(), self.id),
        })
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// `GET pipelines`.
pub(in crate::gitlab) fn list(call: &Call, project: &Project) -> Handled {
    let wanted = |name: &str, value: &str| call.query(name).is_none_or(|asked| asked == value);
    let mut rows: Vec<Value> = project
        .pipelines
        .iter()
        .filter(|it| wanted("sha", &it.sha) && wanted("ref", &it.reference))
        .filter(|it| wanted("status", it.status) && wanted("source", it.source))
        .map(|pipeline| pipeline.view(project))
        .collect();
    if call.query("sort") != Some("asc") {
        rows.reverse();
    }
    Ok(page(call, &rows))
}

fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Pipeline, Reply> {
    let id: Option<u64> = id.parse().ok();
    project.pipelines.iter().find(|it| Some(it.id) == id).ok_or_else(Reply::absent)
}

/// `GET pipelines/:id`.
pub(in crate::gitlab) fn show(project: &Project, id: &str) -> Handled {
    Ok(Reply::json(200, &find(project, id)?.detail(project)))
}

/// `GET pipelines/latest`: 403 when there is none.
pub(in crate::gitlab) fn latest(call: &Call, project: &Project) -> Handled {
    let branch = call.query("ref").unwrap_or(&project.default_branch);
    let found = project.pipelines.iter().rev().find(|pipeline| pipeline.reference == branch);
    found.map(|pipeline| Reply::json(200, &pipeline.detail(project))).ok_or_else(Reply::forbidden)
}

/// `GET pipelines/:id/jobs`.
pub(in crate::gitlab) fn jobs(call: &Call, project: &Project, id: &str) -> Handled {
    let pipeline = find(project, id)?;
    let all = call.query("include_retried") == Some("true");
    let jobs = pipeline.jobs.iter().rev().filter(|job| all || !job.retried);
    let scopes = call.queries("scope[]");
    let jobs = jobs.filter(|job| scopes.is_empty() || scopes.contains(&job.status));
    Ok(page(call, &jobs.map(|job| job.view(project, pipeline)).collect::<Vec<_>>()))
}

/// `GET pipelines/:id/bridges`: the jobs that run other pipelines, of which there are none here.
pub(in crate::gitlab) fn bridges(call: &Call, project: &Project, id: &str) -> Handled {
    find(project, id)?;
    Ok(page(call, &[]))
}

/// `GET jobs/:id` and `GET jobs/:id/trace`.
pub(in crate::gitlab) fn job(project: &Project, id: &str, trace: bool) -> Handled {
    let id: Option<u64> = id.parse().ok();
    let mut all = project.pipelines.iter().flat_map(|it| it.jobs.iter().map(move |job| (it, job)));
    let (pipeline, job) = all.find(|(_, job)| Some(job.id) == id).ok_or_else(Reply::absent)?;
    Ok(if trace { Reply::text(200, &job.trace) } else { Reply::json(200, &job.view(project, pipeline)) })
}

/// `POST pipelines/:id/cancel` and `…/retry`; the answer and whether something changed.
pub(in crate::gitlab) fn act(
    project: &mut Project,
    id: &str,
    action: &str,
    mut number: impl FnMut() -> u64,
) -> Result<(Reply, u64), Reply> {
    let id = find(project, id)?.id;
    let now = Timestamp::now();
    if let Some(pipeline) = project.pipelines.iter_mut().find(|pipeline| pipeline.id == id) {
        if action == "cancel" {
            for job in pipeline.jobs.iter_mut().filter(|job| !is_over(job.status)) {
                (job.status, job.finished_at) = ("canceled", Some(now));
            }
        } else {
            let mut again = Vec::new();
            for job in pipeline.jobs.iter_mut().filter(|job| !job.retried) {
                if matches!(job.status, "failed" | "canceled" | "skipped") {
                    job.retried = true;
                    let mut planned = PlannedJob::new(&job.stage, &job.name);
                    (planned.manual, planned.allow_failure) = (job.manual, job.allow_failure);
                    again.push(job_of(&planned, number(), now));
                }
            }
            pipeline.jobs.extend(again);
        }
    }
    project.refresh_pipeline(id);
    let shown = find(project, &id.to_string())?.detail(project);
    Ok((Reply::json(if action == "cancel" { 200 } else { 201 }, &shown), id))
}
