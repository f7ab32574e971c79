//! Pipelines and their jobs: how they begin, what a job's end makes of the rest, and what is said of them.
//!
//! As in GitLab, statuses that others put on a commit belong to a pipeline too: a `running` one keeps it running.

use std::time::Duration;

use jiff::Timestamp;

use super::world::Project;

pub(super) mod endpoints;

/// A job of pipelines to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedJob {
    /// Its name.
    pub name: String,
    /// Its stage; stages run in the order in which they are first named.
    pub stage: String,
    /// Whether its failure is forgiven.
    pub allow_failure: bool,
    /// Whether somebody must start it.
    pub manual: bool,
}

impl PlannedJob {
    /// A job that runs by itself and must succeed.
    #[must_use]
    pub fn new(stage: &str, name: &str) -> Self {
        Self { name: name.to_owned(), stage: stage.to_owned(), allow_failure: false, manual: false }
    }
}

/// What the CI file of a project makes of a push. The stand-in does not read the file; it must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The jobs.
    pub jobs: Vec<PlannedJob>,
    /// What is wrong with the file, if it is not valid.
    pub yaml_error: Option<String>,
    /// Whether its rules let no pipeline begin.
    pub filtered: bool,
    /// How long a pipeline takes to appear after a push.
    pub delay: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        let jobs = vec![PlannedJob::new("build", "build")];
        Self { jobs, yaml_error: None, filtered: false, delay: Duration::ZERO }
    }
}

/// A job of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineJob {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// `created`, `pending`, `running`, `success`, `failed`, `canceled`, `skipped` or `manual`.
    pub status: &'static str,
    /// Whether its failure is forgiven.
    pub allow_failure: bool,
    /// Whether somebody must start it.
    pub manual: bool,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// Whether a runner has taken it.
    pub has_runner: bool,
    /// Its log, as runners write it.
    pub trace: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a runner began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Whether another run took its place.
    pub retried: bool,
}

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Its number.
    pub id: u64,
    /// Its number in the project.
    pub iid: u64,
    /// The commit.
    pub sha: String,
    /// Branch or tag, without `refs/…/`.
    pub reference: String,
    /// Whether that is a tag.
    pub tag: bool,
    /// As of its jobs, with one more word: `skipped` for one that has none.
    pub status: &'static str,
    /// `push`, `external` …
    pub source: &'static str,
    /// What is wrong with the CI file.
    pub yaml_errors: Option<String>,
    /// The message of the commit.
    pub message: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its jobs.
    pub jobs: Vec<PipelineJob>,
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Well.
    Success,
    /// Not well, for this reason, such as `script_failure`.
    Failed(String),
    /// Somebody stopped it.
    Canceled,
}

/// What a pipeline begins with.
#[derive(Debug, Clone)]
pub(super) struct NewPipeline {
    pub(super) sha: String,
    pub(super) reference: String,
    pub(super) tag: bool,
    pub(super) source: &'static str,
    pub(super) message: String,
    /// Whether commit or push asked for none.
    pub(super) skip: bool,
}

/// Whether a status is of something that has come to its end.
pub(super) fn is_over(status: &str) -> bool {
    matches!(status, "success" | "failed" | "canceled" | "skipped")
}

/// Whether the message of a commit asks for no pipeline: `[skip ci]`, `[ci skip]` and their spellings.
pub(super) fn asks_to_skip(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["[ci skip]", "[ci-skip]", "[ci_skip]", "[skip ci]", "[skip-ci]", "[skip_ci]"]
        .iter()
        .any(|wish| message.contains(wish))
}

impl Project {
    /// Begins a pipeline as the plan has it; answers its number. `number` makes new ones.
    pub(super) fn begin_pipeline(
        &mut self,
        new: NewPipeline,
        mut number: impl FnMut() -> u64,
    ) -> Option<u64> {
        if self.plan.filtered && new.source != "external" {
            return None;
        }
        let now = Timestamp::now();
        let has_jobs = !new.skip && self.plan.yaml_error.is_none() && new.source != "external";
        let planned = if has_jobs { self.plan.jobs.as_slice() } else { &[] };
        let jobs = planned.iter().map(|job| job_of(job, number(), now)).collect();
        let yaml_errors = self.plan.yaml_error.clone().filter(|_| !new.skip && new.source != "external");
        let status = match (&yaml_errors, new.skip) {
            (_, true) => "skipped",
            (Some(_), false) => "failed",
            (None, false) => "created",
        };
        let id = number();
        let iid = u64::try_from(self.pipelines.len()).unwrap_or(u64::MAX).saturating_add(1);
        self.pipelines.push(Pipeline {
            id,
            iid,
            sha: new.sha,
            reference: new.reference,
            tag: new.tag,
            status,
            source: new.source,
            yaml_errors,
            message: new.message,
            created_at: now,
            updated_at: now,
            jobs,
        });
        self.refresh_pipeline(id);
        Some(id)
    }

    /// Lets jobs come up whose stage has come, and says again where the pipeline stands.
    pub(super) fn refresh_pipeline(&mut self, id: u64) {
        let told: Vec<(&'static str, bool)> = self
            .statuses
            .iter()
            .filter(|status| status.pipeline == id && !status.retried)
            .map(|status| (status.state, false))
            .collect();
        let Some(pipeline) = self.pipelines.iter_mut().find(|pipeline| pipeline.id == id) else { return };
        pipeline.advance();
        let of_jobs = pipeline.jobs.iter().filter(|job| !job.retried);
        let states: Vec<(&'static str, bool)> =
            of_jobs.map(|job| (job.status, job.allow_failure)).chain(told).collect();
        if !states.is_empty() {
            pipeline.status = composite(&states);
        }
        pipeline.updated_at = Timestamp::now();
    }
}

pub(super) fn job_of(planned: &PlannedJob, id: u64, now: Timestamp) -> PipelineJob {
    PipelineJob {
        id,
        name: planned.name.clone(),
        stage: planned.stage.clone(),
        status: "created",
        allow_failure: planned.allow_failure,
        manual: planned.manual,
        failure_reason: None,
        has_runner: false,
        trace: String::new(),
        created_at: now,
        started_at: None,
        finished_at: None,
        retried: false,
    }
}

/// The status of a whole from those of its parts; the flag says that a failure is forgiven. Pure.
fn composite(parts: &[(&'static str, bool)]) -> &'static str {
    let counted = |(status, forgiven): &(&'static str, bool)| match *status {
        "failed" if *forgiven => "success",
        status => status,
    };
    let counts: Vec<&'static str> = parts.iter().map(counted).collect();
    let only = |of: &[&str]| counts.iter().all(|status| of.contains(status));
    let any = |of: &[&str]| counts.iter().any(|status| of.contains(status));
    if only(&["skipped"]) {
        "skipped"
    } else if only(&["success", "skipped"]) {
        "success"
    } else if only(&["created"]) {
        "created"
    } else if only(&["canceled", "success", "skipped"]) {
        "canceled"
    } else if only(&["pending", "created", "skipped"]) {
        "pending"
    } else if any(&["running", "pending"]) {
        "running"
    } else if any(&["manual"]) && !any(&["failed"]) {
        "manual"
    } else if any(&["created"]) {
        "running"
    } else if any(&["failed"]) {
        "failed"
    } else {
        "manual"
    }
}

impl Pipeline {
    /// The stages in their order.
    #[must_use]
    pub fn stages(&self) -> Vec<String> {
        let mut stages: Vec<String> = Vec::new();
        for job in &self.jobs {
            if !stages.contains(&job.stage) {
                stages.push(job.stage.clone());
            }
        }
        stages
    }

    /// The latest run of the job of this name.
    pub(super) fn job_mut(&mut self, name: &str) -> Option<&mut PipelineJob> {
        self.jobs.iter_mut().rev().find(|job| job.name == name && !job.retried)
    }

    /// Goes through the stages: the first that is not over decides what those behind it do.
    fn advance(&mut self) {
        let mut reached = true;
        let mut failed = false;
        for stage in self.stages() {
            let in_stage = |job: &&mut PipelineJob| job.stage == stage && !job.retried;
            for job in self.jobs.iter_mut().filter(in_stage).filter(|job| job.status == "created") {
                job.status = match (reached, failed, job.manual) {
                    (_, true, _) => "skipped",
                    (true, false, true) => "manual",
                    (true, false, false) => "pending",
                    (false, false, _) => "created",
                };
            }
            let here: Vec<&PipelineJob> =
                self.jobs.iter().filter(|job| job.stage == stage && !job.retried).collect();
            let broken =
                |job: &&PipelineJob| matches!(job.status, "failed" | "canceled") && !job.allow_failure;
            let passed =
                |job: &&PipelineJob| is_over(job.status) || (job.status == "manual" && job.allow_failure);
            failed |= here.iter().any(broken);
            reached = reached && here.iter().all(passed);
        }
    }
}

/// Ends a job: what ran says so in its log.
pub(super) fn end(job: &mut PipelineJob, end: &End, trace: &str) {
    job.status = match end {
        End::Success => "success",
        End::Failed(_) => "failed",
        End::Canceled => "canceled",
    };
    if let End::Failed(reason) = end {
        job.failure_reason = Some(reason.clone());
    }
    job.trace.push_str(trace);
    job.finished_at = Some(Timestamp::now());
}

#[cfg(test)]
mod tests;
