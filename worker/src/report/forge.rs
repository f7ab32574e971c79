//! GitLab is told: statuses of commits, deployments and environments, the note on a merge request. One step after the
//! other; what was refused does not keep the rest from being told.
//!
//! A process that dies between a step and the memo repeats the step, and so does one that had no answer. For statuses,
//! environments and notes that changes nothing; a deployment is looked for there before it is listed. The note is written by
//! one at a time, under a lease: it belongs to an environment, not to a deployment.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use slipway_common::model::registered::RegisteredProject;
use slipway_common::model::{Deployment, Stage, WorkerId};
use slipway_common::telemetry::chain;
use slipway_gitlab::{
    Access, CommitStatus, DeploymentStatus, Gitlab, GitlabError, NewDeployment, StatusState,
};

use super::pace::{Came, Fault};
use super::told::{Step, ToldForge};
use super::until::Until;
use super::wanted::{CommitStatusWanted, Course, DeploymentWanted, EnvironmentWanted, NoteWanted, Wanted};
use crate::figures::Count;
use crate::hold::{self, Held};
use crate::stage::{StageError, Tools, secret_of};

/// Longest time one step may take with all its requests: others wait for the place.
const STEP_MAX: Duration = Duration::from_secs(60);
/// By how much GitLab's clock may be behind this one. A deployment of the same commit that was listed earlier is another one.
const CLOCKS_DIFFER_MAX: SignedDuration = SignedDuration::from_secs(10);

/// Which deployment whom is told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) tools: &'a Tools,
    pub(super) gitlab: &'a Gitlab,
    pub(super) deployment: &'a Deployment,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It was told.
    Told,
    /// It need not be told any more.
    LeftOut,
    /// Somebody else is at it; it is asked again soon.
    NotNow,
}

/// The host of a project's forge as repositories and credentials name it.
pub(super) fn host_of(project: &RegisteredProject) -> String {
    let origin = project.repository().origin();
    let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
    host.trim_end_matches('/').to_owned()
}

/// A client of the project with its own token.
pub(super) async fn open(tools: &Tools, project: &RegisteredProject) -> Result<Gitlab, Fault> {
    let token = token(tools, project).await.map_err(|error| of_stage_error(&error))?;
    let timeout = tools.settings.reports.timeout;
    Gitlab::new(Access::of(project.repository(), token, timeout)).map_err(|error| of_error(&error))
}

/// Tells what is missing, and takes note of it.
pub(super) async fn tell(of: Subject<'_>, wanted: &Wanted, told: &mut ToldForge, until: &Until) -> Came {
    let (mut first, mut is_busy) = (None, false);
    for step in told.missing(wanted) {
        if until.is_over() {
            return Came::Busy;
        }
        let done = tokio::time::timeout(STEP_MAX, tell_step(of, step, told)).await;
        match done.unwrap_or(Err(GitlabError::TimedOut)) {
            Ok(Done::Told) => of.tools.figures.count(Count::ResultTold),
            Ok(Done::LeftOut) => {}
            Ok(Done::NotNow) => is_busy = true,
            Err(error) if ends_all(&error) => return Came::Failed(of_error(&error)),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) => Came::Failed(of_error(&error)),
        None if is_busy => Came::Busy,
        None => Came::Told,
    }
}

async fn tell_step(of: Subject<'_>, step: Step<'_>, told: &mut ToldForge) -> Result<Done, GitlabError> {
    match step {
        Step::Status(status) => tell_status(of.gitlab, status, told).await,
        Step::Deployment(deployment) => tell_deployment(of.gitlab, deployment, told).await,
        Step::Environment(environment) => tell_environment(of.gitlab, environment, told).await,
        Step::Note(note) => tell_note(of, note, told).await,
    }
}

/// Whether what is left would meet the same.
fn ends_all(error: &GitlabError) -> bool {
    is_away(error) || matches!(error, GitlabError::Unauthorized)
}

async fn tell_status(
    gitlab: &Gitlab,
    wanted: &CommitStatusWanted,
    told: &mut ToldForge,
) -> Result<Done, GitlabError> {
    let status = CommitStatus {
        state: match wanted.course {
            Course::Pending => StatusState::Pending,
            Course::Running => StatusState::Running,
            Course::Success => StatusState::Success,
            Course::Failed => StatusState::Failed,
            Course::Canceled => StatusState::Canceled,
        },
        name: wanted.name.clone(),
        target_url: wanted.target_url.clone(),
        description: Some(wanted.description.clone()),
        r#ref: wanted.reference.clone(),
        pipeline: None,
    };
    gitlab.set_status(&wanted.sha, &status).await?;
    told.status_told(wanted);
    Ok(Done::Told)
}

/// Changes the deployment that is listed: the one that is remembered, else the one that is found. One that is not there is
/// listed, if it is not over and past.
async fn tell_deployment(
    gitlab: &Gitlab,
    wanted: &DeploymentWanted,
    told: &mut ToldForge,
) -> Result<Done, GitlabError> {
    let status = match wanted.course {
        Course::Pending | Course::Running => DeploymentStatus::Running,
        Course::Success => DeploymentStatus::Success,
        Course::Failed => DeploymentStatus::Failed,
        Course::Canceled => DeploymentStatus::Canceled,
    };
    let known = told.deployment.as_ref().filter(|known| known.job == wanted.job).map(|known| known.id);
    if let Some(id) = known {
        match gitlab.update_deployment(id, status).await {
            // Somebody deleted it.
            Err(GitlabError::NotFound) => {}
            updated => {
                updated?;
                told.deployment_told(wanted, id);
                return Ok(Done::Told);
            }
        }
    }
    let deployment = NewDeployment {
        environment: wanted.environment.clone(),
        sha: wanted.sha.clone(),
        r#ref: wanted.reference.clone(),
        tag: wanted.is_tag,
        status,
    };
    // Whoever told of it before may have died over it, had no answer, or be forgotten with the rest of the agenda.
    let since = wanted.began_at.checked_sub(CLOCKS_DIFFER_MAX).unwrap_or(Timestamp::MIN);
    let other = told.deployment.as_ref().map(|known| known.id);
    let id = match gitlab.find_deployment(&deployment, since, other).await? {
        Some(id) => {
            gitlab.update_deployment(id, status).await?;
            id
        }
        None if wanted.is_current => gitlab.create_deployment(&deployment).await?,
        None => return Ok(Done::LeftOut),
    };
    told.deployment_told(wanted, id);
    Ok(Done::Told)
}

async fn tell_environment(
    gitlab: &Gitlab,
    wanted: &EnvironmentWanted,
    told: &mut ToldForge,
) -> Result<Done, GitlabError> {
    match wanted {
        EnvironmentWanted::Open { name, url } => {
            gitlab.ensure_environment(name, Some(url), None).await?;
        }
        EnvironmentWanted::Stopped { name } => gitlab.stop_environment(name).await?,
    }
    told.environment_told(wanted);
    Ok(Done::Told)
}

/// Writes the note while nobody else does: another deployment of the environment may be told of at the same time.
async fn tell_note(of: Subject<'_>, wanted: &NoteWanted, told: &mut ToldForge) -> Result<Done, GitlabError> {
    let store = &of.tools.backend.store;
    let (key, holder) = (note_lease(of.deployment), WorkerId::generate().to_string());
    let lease = match store.acquire_lease(&key, &holder, hold::TTL, Timestamp::now()).await {
        Ok(Some(lease)) => lease,
        Ok(None) => return Ok(Done::NotNow),
        Err(error) => {
            tracing::debug!(key, error = chain(&error), "the lease cannot be asked for");
            return Ok(Done::NotNow);
        }
    };
    let held = Held::Lease { store: store.as_ref(), lease: &lease };
    let done = held.during(note_of_newest(of, wanted, told)).await;
    if let Err(error) = store.release_lease(&lease).await {
        tracing::debug!(key, error = chain(&error), "the lease is left to expire");
    }
    done.unwrap_or(Ok(Done::NotNow))
}

/// What is leased by whoever writes the note of an environment.
fn note_lease(deployment: &Deployment) -> String {
    format!("note/{}/{}", deployment.project.slug, deployment.environment)
}

/// Writes the note, unless a newer deployment has been accepted since it was asked what is wanted: that one writes it.
async fn note_of_newest(
    of: Subject<'_>,
    wanted: &NoteWanted,
    told: &mut ToldForge,
) -> Result<Done, GitlabError> {
    let deployment = of.deployment;
    match of.tools.backend.store.newest(&deployment.project.slug, &deployment.environment).await {
        Ok(newest) if newest.is_none_or(|newest| newest == deployment.id) => {}
        Ok(_) => return Ok(Done::LeftOut),
        Err(error) => {
            tracing::debug!(error = chain(&error), "it is not known whose the note is");
            return Ok(Done::NotNow);
        }
    }
    let id = write_note(of.gitlab, wanted, told).await?;
    told.note_told(wanted, id);
    Ok(Done::Told)
}

/// Changes the note that is there: the one that is remembered, else the one that is found by its marker. One that was
/// deleted, or that somebody else wrote, is left at that, and a new one is made. Answers its number.
async fn write_note(gitlab: &Gitlab, wanted: &NoteWanted, told: &ToldForge) -> Result<u64, GitlabError> {
    let iid = wanted.merge_request;
    if let Some(id) = told.note.as_ref().map(|note| note.id)
        && is_changed(gitlab.update_note(iid, id, &wanted.body).await)?
    {
        return Ok(id);
    }
    if let Some(id) = gitlab.find_note(iid, &wanted.marker).await?
        && is_changed(gitlab.update_note(iid, id, &wanted.body).await)?
    {
        return Ok(id);
    }
    gitlab.create_note(iid, &wanted.body).await
}

/// Whether the note was there to be changed.
fn is_changed(updated: Result<(), GitlabError>) -> Result<bool, GitlabError> {
    match updated {
        Ok(()) => Ok(true),
        Err(GitlabError::NotFound | GitlabError::Forbidden { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The token of the registered project; a stored one goes to the host it was stored for only.
async fn token(tools: &Tools, project: &RegisteredProject) -> Result<SecretString, StageError> {
    let secret = secret_of(tools, &project.project, &project.spec).await?;
    let (_username, token) = secret.ok_or_else(|| StageError::Refused {
        code: "credential_missing",
        reason: "the project was registered without a credential".to_owned(),
        hint: "Store an access token with the scope `api`, and change the project to use it.",
    })?;
    Ok(token)
}

/// Whether the host did not do its part. A page that is none of the API's comes from what stands before a GitLab that is
/// away.
fn is_away(error: &GitlabError) -> bool {
    error.is_transient() || matches!(error, GitlabError::Unreadable { .. })
}

/// A fault of GitLab. What only a person can change is asked for rarely.
fn of_error(error: &GitlabError) -> Fault {
    Fault {
        code: error.code().to_owned(),
        reason: format!("{} ({})", error.message(), error.hint()),
        is_refused: !is_away(error),
        retry_after: error.retry_after(),
    }
}

fn of_stage_error(error: &StageError) -> Fault {
    let failure = error.failure(Stage::Apply, Vec::new());
    let is_store = matches!(error, StageError::Store(_));
    let hint = failure.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    let reason = format!("{}{hint}", failure.reason);
    Fault { code: failure.code, reason, is_refused: !is_store, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Installation, Mood};

    #[tokio::test]
    async fn the_note_is_written_by_one_at_a_time_and_of_the_newest_deployment_alone() {
        let installation = Installation::open();
        let tools = installation.tools();
        let store = &installation.backend.store;
        let older = installation.accept().await;
        let deployment = store.deployment(older.deployment).await.unwrap().unwrap();
        // Nobody is there: whoever asks it fails.
        let gitlab = Gitlab::new(Access {
            api_url: "http://127.0.0.1:1/api/v4".to_owned(),
            project: "team/shop".to_owned(),
            token: "token".to_owned().into(),
            timeout: Duration::from_secs(5),
        })
        .unwrap();
        let of = Subject { tools: &tools, gitlab: &gitlab, deployment: &deployment };
        let wanted = NoteWanted { merge_request: 7, marker: "marker".to_owned(), body: "body".to_owned() };
        let mut told = ToldForge::default();

        let (key, now) = (note_lease(&deployment), Timestamp::now());
        let other = store.acquire_lease(&key, "other", hold::TTL, now).await.unwrap().expect("it is free");
        assert_eq!(tell_note(of, &wanted, &mut told).await, Ok(Done::NotNow));
        store.release_lease(&other).await.unwrap();
        let asked = tell_note(of, &wanted, &mut told).await;
        assert!(asked.as_ref().is_err_and(GitlabError::is_transient), "{asked:?}");
        installation.store.set(Mood::Refuses("newest"));
        assert_eq!(tell_note(of, &wanted, &mut told).await, Ok(Done::NotNow));
        installation.store.set(Mood::Well);
        installation.accept().await;
        assert_eq!(tell_note(of, &wanted, &mut told).await, Ok(Done::LeftOut), "a newer one was accepted");
        assert_eq!(told, ToldForge::default());
        let free = store.acquire_lease(&key, "other", hold::TTL, Timestamp::now()).await.unwrap();
        assert!(free.is_some(), "it is given back whatever comes of it");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_can_be_done_about_it() {
        let fault = of_error(&GitlabError::Unauthorized);
        assert!(fault.is_refused && fault.reason.contains("Store a new access token"), "{fault:?}");
    }
}
