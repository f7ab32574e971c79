//! Pipelines of a commit, their jobs, and what the jobs printed.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Gitlab, GitlabError, parse, verdict};

/// Most pipelines of one commit that are looked at; the newest.
const PIPELINES_MAX: &str = "100";
/// Most child pipelines of one pipeline that are looked through.
const CHILDREN_MAX: usize = 20;
/// Longest wait for a runner that is believed, in seconds.
const QUEUED_MAX_S: f64 = 31_536_000.0;

/// The state of a pipeline or a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineStatus {
    /// It exists.
    Created,
    /// It waits for a resource others use.
    WaitingForResource,
    /// Something it needs is made ready.
    Preparing,
    /// It waits for another service.
    WaitingForCallback,
    /// It waits for a runner.
    Pending,
    /// It runs.
    Running,
    /// It succeeded.
    Success,
    /// It failed.
    Failed,
    /// It is being cancelled.
    Canceling,
    /// It was cancelled.
    Canceled,
    /// It did not run.
    Skipped,
    /// It waits for a person.
    Manual,
    /// It waits for a time.
    Scheduled,
    /// A state this version does not know.
    #[serde(other)]
    Other,
}

impl PipelineStatus {
    /// Whether nothing happens any more by itself.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped => true,
            Self::Created
            | Self::WaitingForResource
            | Self::Preparing
            | Self::WaitingForCallback
            | Self::Pending
            | Self::Running
            | Self::Canceling
            | Self::Manual
            | Self::Scheduled
            | Self::Other => false,
        }
    }
}

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pipeline {
    /// Its number.
    pub id: u64,
    /// The commit it is of.
    #[serde(default, deserialize_with = "parse::or_default")]
    pub sha: String,
    /// The branch or tag it ran for.
    #[serde(default, deserialize_with = "parse::or_default")]
    pub r#ref: String,
    /// Its state.
    pub status: PipelineStatus,
    /// What made it: `push`, `web`, `merge_request_event`, …
    #[serde(default, deserialize_with = "parse::or_default")]
    pub source: String,
    /// Its page.
    #[serde(default, deserialize_with = "parse::or_default")]
    pub web_url: String,
    /// What is wrong with its configuration.
    #[serde(default, deserialize_with = "parse::filled")]
    pub yaml_errors: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "parse::time")]
    pub created_at: Option<Timestamp>,
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
    /// Its state.
    pub status: PipelineStatus,
    /// Whether the pipeline may succeed without it.
    pub allow_failure: bool,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// Its page.
    pub web_url: String,
    /// The runner that took it.
    pub runner: Option<String>,
    /// When it was made, with its pipeline.
    pub created_at: Option<Timestamp>,
    /// Since when it waits for a runner, or did.
    pub queued_at: Option<Timestamp>,
    /// When a runner began with it.
    pub started_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RawJob {
    id: u64,
    name: String,
    #[serde(default, deserialize_with = "parse::or_default")]
    stage: String,
    status: PipelineStatus,
    #[serde(default, deserialize_with = "parse::or_default")]
    allow_failure: bool,
    #[serde(default, deserialize_with = "parse::filled")]
    failure_reason: Option<String>,
    #[serde(default, deserialize_with = "parse::or_default")]
    web_url: String,
    runner: Option<RawRunner>,
    #[serde(default, deserialize_with = "parse::time")]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "parse::time")]
    started_at: Option<Timestamp>,
    /// Seconds it waited for a runner, so far.
    queued_duration: Option<f64>,
}

/// A job that runs another pipeline.
#[derive(Deserialize)]
struct RawBridge {
    #[serde(flatten)]
    job: RawJob,
    downstream_pipeline: Option<RawChild>,
}

#[derive(Deserialize)]
struct RawChild {
    id: u64,
}

#[derive(Deserialize)]
struct RawRunner {
    id: Option<u64>,
    #[serde(default, deserialize_with = "parse::filled")]
    description: Option<String>,
}

impl RawRunner {
    fn called(self) -> Option<String> {
        self.description.or_else(|| self.id.map(|id| format!("#{id}")))
    }
}

impl RawJob {
    fn at(self, now: Timestamp) -> PipelineJob {
        let waited = self.queued_duration.and_then(|waited_s| {
            let plausible = (0.0..=QUEUED_MAX_S).contains(&waited_s);
            plausible.then(|| SignedDuration::try_from_secs_f64(waited_s).ok()).flatten()
        });
        let queued_at = waited.and_then(|waited| self.started_at.unwrap_or(now).checked_sub(waited).ok());
        PipelineJob {
            id: self.id,
            name: self.name,
            stage: self.stage,
            status: self.status,
            allow_failure: self.allow_failure,
            failure_reason: self.failure_reason,
            web_url: self.web_url,
            runner: self.runner.and_then(RawRunner::called),
            created_at: self.created_at,
            queued_at,
            started_at: self.started_at,
        }
    }
}

/// In the order they were made in, each once: pages move while a pipeline grows.
fn in_order(raw: Vec<RawJob>) -> Vec<PipelineJob> {
    let now = Timestamp::now();
    let mut jobs: Vec<PipelineJob> = raw.into_iter().map(|job| job.at(now)).collect();
    jobs.sort_by_key(|job| job.id);
    jobs.dedup_by_key(|job| job.id);
    jobs
}

impl Gitlab {
    /// The pipelines of the commit `sha`, newest first, child pipelines left out. Of the one that
    /// [`verdict::newest`] chooses it is also known what is wrong with its configuration.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn pipelines(&self, sha: &str) -> Result<Vec<Pipeline>, GitlabError> {
        let mut url = self.in_project(&["pipelines"])?;
        url.query_pairs_mut()
            .append_pair("sha", sha)
            .append_pair("order_by", "id")
            .append_pair("sort", "desc")
            .append_pair("per_page", PIPELINES_MAX);
        let (mut pipelines, _) = self.page::<Pipeline>(url).await?;
        pipelines.sort_by_key(|pipeline| std::cmp::Reverse(pipeline.id));
        let failed = verdict::newest(&pipelines)
            .filter(|newest| newest.status == PipelineStatus::Failed && newest.yaml_errors.is_none())
            .map(|newest| newest.id);
        if let Some(id) = failed {
            // A list does not say it.
            let yaml_errors = self.pipeline(id).await?.yaml_errors;
            if let Some(known) = pipelines.iter_mut().find(|pipeline| pipeline.id == id) {
                known.yaml_errors = yaml_errors;
            }
        }
        Ok(pipelines)
    }

    /// One pipeline.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn pipeline(&self, id: u64) -> Result<Pipeline, GitlabError> {
        self.get(self.in_project(&["pipelines", &id.to_string()])?).await
    }

    /// The jobs of a pipeline in the order they were made in, without those that were run again. Once none of them
    /// is under way, those that run other pipelines are among them: what such a pipeline does may not be over yet.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn jobs(&self, pipeline: u64) -> Result<Vec<PipelineJob>, GitlabError> {
        let mut raw = self.own_jobs(pipeline).await?;
        let is_at_rest = |job: &RawJob| job.status.is_over() || job.status == PipelineStatus::Manual;
        if raw.iter().all(is_at_rest) {
            raw.extend(self.bridges(pipeline).await?.into_iter().map(|bridge| bridge.job));
        }
        Ok(in_order(raw))
    }

    /// The jobs of this name in the child pipelines of a pipeline, as far as those have begun. Of children of children,
    /// and of pipelines of other projects, none.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn jobs_of_children(&self, pipeline: u64, name: &str) -> Result<Vec<PipelineJob>, GitlabError> {
        let bridges = self.bridges(pipeline).await?;
        let children = bridges.into_iter().filter_map(|bridge| bridge.downstream_pipeline);
        let mut found = Vec::new();
        for child in children.take(CHILDREN_MAX) {
            match self.own_jobs(child.id).await {
                Ok(jobs) => found.extend(jobs.into_iter().filter(|job| job.name == name)),
                // It is another project's.
                Err(GitlabError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(in_order(found))
    }

    /// The jobs of a pipeline, without those that run other pipelines.
    async fn own_jobs(&self, pipeline: u64) -> Result<Vec<RawJob>, GitlabError> {
        let mut url = self.in_project(&["pipelines", &pipeline.to_string(), "jobs"])?;
        url.query_pairs_mut().append_pair("include_retried", "false");
        self.list(url).await
    }

    /// The jobs of a pipeline that run other pipelines, which the list of jobs leaves out.
    async fn bridges(&self, pipeline: u64) -> Result<Vec<RawBridge>, GitlabError> {
        match self.list(self.in_project(&["pipelines", &pipeline.to_string(), "bridges"])?).await {
            Err(GitlabError::NotFound) => Ok(Vec::new()),
            answer => answer,
        }
    }

    /// The last `lines` lines a job printed: cleaned, not empty, and without secrets as far as they can be told.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses; [`GitlabError::NotFound`] when the log was deleted.
    pub async fn log_tail(&self, job: u64, lines: usize) -> Result<Vec<String>, GitlabError> {
        self.lines(self.in_project(&["jobs", &job.to_string(), "trace"])?, lines).await
    }

    /// Cancels what has not ended yet of a pipeline.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn cancel_pipeline(&self, id: u64) -> Result<(), GitlabError> {
        self.post(self.in_project(&["pipelines", &id.to_string(), "cancel"])?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap()
    }

    #[test]
    fn every_documented_state_is_known_and_others_are_no_error() {
        let states = [
            ("created", PipelineStatus::Created),
            ("waiting_for_resource", PipelineStatus::WaitingForResource),
            ("preparing", PipelineStatus::Preparing),
            ("waiting_for_callback", PipelineStatus::WaitingForCallback),
            ("pending", PipelineStatus::Pending),
            ("running", PipelineStatus::Running),
            ("success", PipelineStatus::Success),
            ("failed", PipelineStatus::Failed),
            ("canceling", PipelineStatus::Canceling),
            ("canceled", PipelineStatus::Canceled),
            ("skipped", PipelineStatus::Skipped),
            ("manual", PipelineStatus::Manual),
            ("scheduled", PipelineStatus::Scheduled),
            ("a_state_of_next_year", PipelineStatus::Other),
        ];
        for (text, state) in states {
            let read: PipelineStatus = serde_json::from_value(serde_json::Value::from(text)).unwrap();
            assert_eq!(read, state, "{text}");
        }
    }

    #[test]
    fn a_pipeline_is_read_with_strange_times_and_missing_fields() {
        let json = r#"{"id":12,"sha":"ab","ref":null,"status":"failed","source":"push","yaml_errors":"",
                       "created_at":"2016-08-12 15:23:28 UTC"}"#;
        let pipeline: Pipeline = serde_json::from_str(json).unwrap();
        assert_eq!((pipeline.r#ref.as_str(), pipeline.yaml_errors, pipeline.created_at), ("", None, None));
        let json = r#"{"id":12,"status":"running","created_at":"2026-08-12T17:23:28.123+02:00"}"#;
        let pipeline: Pipeline = serde_json::from_str(json).unwrap();
        assert_eq!(pipeline.created_at.unwrap().to_string(), "2026-08-12T15:23:28.123Z");
    }

    #[test]
    fn a_job_says_since_when_it_waits_for_a_runner() {
        let job = |json: &str| serde_json::from_str::<RawJob>(json).unwrap().at(now());
        let waiting =
            job(r#"{"id":1,"name":"build","status":"pending","queued_duration":75.5,"runner":null}"#);
        assert_eq!(waiting.queued_at, Some(now() - SignedDuration::from_millis(75_500)));
        assert_eq!((waiting.runner, waiting.started_at), (None, None));
        for strange in ["-1.0", "1e300", "null"] {
            let json = format!(r#"{{"id":1,"name":"build","status":"pending","queued_duration":{strange}}}"#);
            assert_eq!(job(&json).queued_at, None, "{strange}");
        }
    }

    #[test]
    fn a_runner_is_called_by_its_description_or_its_number() {
        let runner = |json: &str| serde_json::from_str::<RawRunner>(json).unwrap().called();
        assert_eq!(runner(r#"{"id":4,"description":"big one"}"#), Some("big one".to_owned()));
        assert_eq!(runner(r#"{"id":4,"description":""}"#), Some("#4".to_owned()));
        assert_eq!(runner("{}"), None);
    }
}
