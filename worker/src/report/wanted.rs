//! What should be seen outside of one deployment: on its commits, in the forge's list of deployments and environments, on
//! its merge request, and by those who listen. Pure.
//!
//! Only GitLab is told of statuses, deployments and notes. What GitHub or Gitea hosts is told to outgoing webhooks and to
//! the topic.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_common::failure::Failure;
use slipway_common::model::job::{REPAIR, STOP};
use slipway_common::model::registered::{Forge, NotifySettings, RegisteredProject};
use slipway_common::model::{
    Deployment, DeploymentState, Event, Job, JobId, JobState, Reference, StageStatus, Trigger,
};

use super::message::{Message, messages};
use super::note;

/// Longest description of a status, and longest address GitLab takes.
const GITLAB_TEXT_MAX: usize = 255;
const BRANCH_PREFIX: &str = "refs/heads/";
const TAG_PREFIX: &str = "refs/tags/";

/// What is known of a deployment and of whom to tell. Nothing in it holds a secret.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// Its project.
    pub(crate) project: &'a RegisteredProject,
    /// The deployment.
    pub(crate) deployment: &'a Deployment,
    /// Its events that not everybody was told of, with their numbers.
    pub(crate) events: &'a [(u64, Event)],
    /// The last log lines of the stage that failed, if one did.
    pub(crate) log: &'a [String],
    /// Whether no newer deployment of its environment was accepted.
    pub(crate) is_newest: bool,
    /// Address under which people reach Slipway.
    pub(crate) public_url: Option<&'a str>,
    /// What happened before was told or given up; it is not remembered which.
    pub(crate) forgotten_before: Timestamp,
}

/// What should be seen outside.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Statuses of commits.
    pub(crate) statuses: Vec<CommitStatusWanted>,
    /// The deployment in the forge's list.
    pub(crate) deployment: Option<DeploymentWanted>,
    /// The environment in the forge's list.
    pub(crate) environment: Option<EnvironmentWanted>,
    /// The note on the merge request.
    pub(crate) note: Option<NoteWanted>,
    /// What those who listen are told, oldest first.
    pub(crate) messages: Vec<Message>,
}

/// How a deploy job fares, in the words of forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Course {
    /// It waits for a worker.
    Pending,
    /// It is under way.
    Running,
    /// It did what it was for.
    Success,
    /// It failed.
    Failed,
    /// It was cancelled or overtaken.
    Canceled,
}

/// The status a commit should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitStatusWanted {
    /// Of which job.
    pub(crate) job: JobId,
    /// The commit.
    pub(crate) sha: String,
    /// The branch or tag it is of.
    pub(crate) reference: Option<String>,
    /// What the status is called.
    pub(crate) name: String,
    /// Where the job stands.
    pub(crate) course: Course,
    /// One line about it.
    pub(crate) description: String,
    /// Where there is more.
    pub(crate) target_url: Option<String>,
}

/// A deployment as the forge should list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeploymentWanted {
    /// Of which job.
    pub(crate) job: JobId,
    /// The environment.
    pub(crate) environment: String,
    /// The commit.
    pub(crate) sha: String,
    /// The branch or tag.
    pub(crate) reference: String,
    /// Whether it is a tag.
    pub(crate) is_tag: bool,
    /// When the job began.
    pub(crate) began_at: Timestamp,
    /// Where it stands; never pending.
    pub(crate) course: Course,
    /// Whether it is listed if it is not yet. What is listed last is taken for what serves: one that is over and past is
    /// changed where it is listed, and otherwise left out.
    pub(crate) is_current: bool,
}

/// An environment as the forge should list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnvironmentWanted {
    /// It serves at an address.
    Open {
        /// Its name.
        name: String,
        /// The address.
        url: String,
    },
    /// Nothing runs there any more.
    Stopped {
        /// Its name.
        name: String,
    },
}

impl EnvironmentWanted {
    /// A text that is the same for the same.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Open { name, url } => format!("open {name} {url}"),
            Self::Stopped { name } => format!("stopped {name}"),
        }
    }
}

/// The one note a merge request should have of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoteWanted {
    /// Number of the merge request.
    pub(crate) merge_request: u64,
    /// What the note is recognised by.
    pub(crate) marker: String,
    /// Its text, the marker in it.
    pub(crate) body: String,
}

/// A commit of the deployment as the forge knows it.
#[derive(Debug)]
struct Commit {
    sha: String,
    reference: Option<String>,
    is_tag: bool,
}

/// What should be seen of the deployment.
pub(crate) fn wanted(seen: &Seen<'_>) -> Wanted {
    let heard = Wanted { messages: messages(seen), ..Wanted::default() };
    match seen.project.forge {
        Forge::Gitlab => on_gitlab(seen, heard),
        Forge::Github | Forge::Gitea => heard,
    }
}

fn on_gitlab(seen: &Seen<'_>, heard: Wanted) -> Wanted {
    let notify = notify(seen);
    let is_told_of = |job: &&Job| job.finished_at.is_none_or(|at| at >= seen.forgotten_before);
    let job = deploy_job(seen.deployment).filter(is_told_of);
    Wanted {
        statuses: job.filter(|_| notify.statuses).map(|job| statuses(seen, job)).unwrap_or_default(),
        deployment: job.filter(|_| notify.deployments).and_then(|job| deployment(seen, job)),
        environment: if notify.deployments { environment(seen, job) } else { None },
        note: if notify.notes { sticky_note(seen) } else { None },
        ..heard
    }
}

/// Who is told: what the repository's own file said when the push was deployed before what is registered.
fn notify(seen: &Seen<'_>) -> NotifySettings {
    let mut settings = seen.project.notify.clone();
    if let Some(switches) = seen.deployment.trigger.as_ref().and_then(|trigger| trigger.notify) {
        switches.apply(&mut settings);
    }
    settings
}

/// The latest job that was to bring the deployment into service.
fn deploy_job(deployment: &Deployment) -> Option<&Job> {
    deployment.jobs.iter().rfind(|job| job.kind != REPAIR && job.kind != STOP)
}

/// How the job fares. Pure.
pub(crate) fn course(state: &JobState) -> Course {
    match state {
        JobState::Queued => Course::Pending,
        JobState::Running { .. } | JobState::Waiting { .. } => Course::Running,
        JobState::Succeeded => Course::Success,
        JobState::Failed { .. } => Course::Failed,
        JobState::Cancelled | JobState::Superseded { .. } => Course::Canceled,
    }
}

fn statuses(seen: &Seen<'_>, job: &Job) -> Vec<CommitStatusWanted> {
    let deployment = seen.deployment;
    let course = course(&job.state);
    let served = app_url(deployment).filter(|_| course == Course::Success);
    let target_url = served.map(str::to_owned).or_else(|| page(seen));
    let target_url = target_url.filter(|url| url.len() <= GITLAB_TEXT_MAX);
    let of = |commit: Commit| CommitStatusWanted {
        job: job.id,
        sha: commit.sha,
        reference: commit.reference,
        name: format!("slipway/{}", deployment.environment),
        course,
        description: cut(&description(&job.state), GITLAB_TEXT_MAX),
        target_url: target_url.clone(),
    };
    commits(deployment).into_iter().map(of).collect()
}

fn description(state: &JobState) -> String {
    match state {
        JobState::Queued => "Queued".to_owned(),
        JobState::Running { stage, .. } => format!("Running: {stage}"),
        JobState::Waiting { stage, reason, .. } => format!("Waiting in {stage}: {reason}"),
        JobState::Succeeded => "In service".to_owned(),
        JobState::Failed { failure } => told_of(failure),
        JobState::Cancelled => "Cancelled".to_owned(),
        JobState::Superseded { .. } => "Overtaken by a newer deployment".to_owned(),
    }
}

fn told_of(failure: &Failure) -> String {
    format!("Failed in {}: {}: {}", failure.stage, failure.code, failure.reason)
}

/// Whether both deployments are of the same commit.
pub(crate) fn is_same_commit(one: &Deployment, other: &Deployment) -> bool {
    let (one, other) = (first_commit(one), first_commit(other));
    one.is_some_and(|one| other.is_some_and(|other| one.sha == other.sha))
}

/// The commit the deployment is of, and the one Slipway made on top of it, if the forge has that.
fn commits(deployment: &Deployment) -> Vec<Commit> {
    let first = first_commit(deployment);
    let is_another = |sha: &str| first.as_ref().is_none_or(|first| first.sha != sha);
    let made = deployment.facts.commit.as_ref();
    let made = made.filter(|fact| fact.branch.is_some() || !fact.generated);
    let made = made.filter(|fact| is_another(&fact.revision)).map(|fact| {
        let source = deployment.facts.source.as_ref();
        let reference = fact.branch.clone().or_else(|| source.and_then(|source| source.branch.clone()));
        Commit { sha: fact.revision.clone(), reference, is_tag: false }
    });
    first.into_iter().chain(made).collect()
}

/// The commit that was pushed, or that a request was resolved to. Known before anything is cloned when it was a push.
fn first_commit(deployment: &Deployment) -> Option<Commit> {
    if let Some(trigger) = &deployment.trigger {
        let is_tag = trigger.reference.starts_with(TAG_PREFIX);
        let reference = short_reference(trigger, &deployment.spec.reference);
        return Some(Commit { sha: trigger.revision.clone(), reference, is_tag });
    }
    let source = deployment.facts.source.as_ref()?;
    Some(Commit { sha: source.revision.clone(), reference: source.branch.clone(), is_tag: false })
}

/// The branch or tag of a push; for a merge request its source branch.
fn short_reference(trigger: &Trigger, reference: &Reference) -> Option<String> {
    let full = &trigger.reference;
    let name = full.strip_prefix(BRANCH_PREFIX).or_else(|| full.strip_prefix(TAG_PREFIX));
    match (name, reference) {
        (Some(name), _) => Some(name.to_owned()),
        (None, Reference::Pinned { branch, .. } | Reference::Branch(branch)) => Some(branch.to_string()),
        (None, Reference::DefaultBranch | Reference::Revision(_)) => None,
    }
}

/// A job that never began is not listed: nothing was done to the environment.
fn deployment(seen: &Seen<'_>, job: &Job) -> Option<DeploymentWanted> {
    let deployment = seen.deployment;
    let began_at = job.started_at?;
    let commit = first_commit(deployment)?;
    let course = course(&job.state);
    let is_current = match course {
        Course::Pending => return None,
        Course::Running => true,
        Course::Success => deployment.state.in_service(),
        Course::Failed | Course::Canceled => seen.is_newest,
    };
    Some(DeploymentWanted {
        job: job.id,
        environment: deployment.environment.to_string(),
        reference: commit.reference.unwrap_or_else(|| commit.sha.clone()),
        sha: commit.sha,
        is_tag: commit.is_tag,
        began_at,
        course,
        is_current,
    })
}

fn environment(seen: &Seen<'_>, deployed_by: Option<&Job>) -> Option<EnvironmentWanted> {
    let deployment = seen.deployment;
    let name = deployment.environment.to_string();
    if deployment.state.in_service() {
        let url = app_url(deployment).filter(|url| url.len() <= GITLAB_TEXT_MAX)?;
        return deployed_by.map(|_| EnvironmentWanted::Open { name, url: url.to_owned() });
    }
    let is_stopped_by = |job: &&Job| job.kind == STOP && job.state == JobState::Succeeded;
    let stopped_at = deployment.latest_job().filter(is_stopped_by).and_then(|job| job.finished_at)?;
    let is_review = deployment.trigger.as_ref().is_some_and(|trigger| trigger.merge_request.is_some());
    let is_over = deployment.state == DeploymentState::Stopped && seen.is_newest;
    let is_fresh = stopped_at >= seen.forgotten_before;
    (is_review && is_over && is_fresh).then_some(EnvironmentWanted::Stopped { name })
}

/// The note shows the newest deployment of the environment; earlier ones leave it alone.
fn sticky_note(seen: &Seen<'_>) -> Option<NoteWanted> {
    let deployment = seen.deployment;
    let merge_request = deployment.trigger.as_ref().and_then(|trigger| trigger.merge_request)?;
    if !seen.is_newest || deployment.updated_at < seen.forgotten_before {
        return None;
    }
    let marker = note::marker(&deployment.project.slug, &deployment.environment);
    let body = note::render(&marker, deployment, app_url(deployment), page(seen).as_deref(), seen.log);
    Some(NoteWanted { merge_request, marker, body })
}

/// Where the application answers, if it is a web address.
pub(crate) fn app_url(deployment: &Deployment) -> Option<&str> {
    let url = deployment.facts.inventory.as_ref()?.url.as_deref()?;
    let is_special = |byte: u8| matches!(byte, b'<' | b'>' | b'"' | b'`' | b'\\' | b'|');
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !is_special(byte);
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    (is_web && url.bytes().all(is_plain)).then_some(url)
}

/// Where Slipway itself shows the deployment.
pub(crate) fn page(seen: &Seen<'_>) -> Option<String> {
    let base = seen.public_url?.trim_end_matches('/');
    Some(format!("{base}/deployments/{}", seen.deployment.id))
}

/// The text, cut to so many characters.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Where a stage stands, in one word.
pub(crate) fn stage_word(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pending => "pending",
        StageStatus::Running => "running",
        StageStatus::Waiting => "waiting",
        StageStatus::Succeeded => "succeeded",
        StageStatus::Skipped => "skipped",
        StageStatus::Failed => "failed",
        StageStatus::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests;
