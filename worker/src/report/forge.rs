//! GitLab is told: statuses of commits, deployments and environments, the note on a merge request. One step after the
//! other; what was refused does not keep the rest from being told.
//!
//! A process that dies between a step and the memo repeats the step. For statuses, environments and notes that changes
//! nothing; a deployment may then be listed there twice.

use secrecy::SecretString;
use slipway_common::model::Stage;
use slipway_common::model::registered::RegisteredProject;
use slipway_gitlab::{
    Access, CommitStatus, DeploymentStatus, Gitlab, GitlabError, NewDeployment, StatusState,
};

use super::pace::{Came, Fault};
use super::told::{Step, ToldForge};
use super::until::Until;
use super::wanted::{CommitStatusWanted, Course, DeploymentWanted, EnvironmentWanted, NoteWanted, Wanted};
use crate::figures::Count;
use crate::stage::{StageError, Tools, secret_of};

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
pub(super) async fn tell(
    tools: &Tools,
    gitlab: &Gitlab,
    wanted: &Wanted,
    told: &mut ToldForge,
    until: &Until,
) -> Came {
    let mut first = None;
    for step in told.missing(wanted) {
        if until.is_over() {
            return Came::Busy;
        }
        let done = match step {
            Step::Status(status) => tell_status(gitlab, status, told).await,
            Step::Deployment(deployment) => tell_deployment(gitlab, deployment, told).await,
            Step::Environment(environment) => tell_environment(gitlab, environment, told).await,
            Step::Note(note) => tell_note(gitlab, note, told).await,
        };
        match done {
            Ok(()) => tools.figures.count(Count::ResultTold),
            Err(error) if ends_all(&error) => return Came::Failed(of_error(&error)),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    first.map_or(Came::Told, |error| Came::Failed(of_error(&error)))
}

/// Whether what is left would meet the same.
fn ends_all(error: &GitlabError) -> bool {
    is_away(error) || matches!(error, GitlabError::Unauthorized)
}

async fn tell_status(
    gitlab: &Gitlab,
    wanted: &CommitStatusWanted,
    told: &mut ToldForge,
) -> Result<(), GitlabError> {
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
    Ok(())
}

async fn tell_deployment(
    gitlab: &Gitlab,
    wanted: &DeploymentWanted,
    told: &mut ToldForge,
) -> Result<(), GitlabError> {
    let status = match wanted.course {
        Course::Pending | Course::Running => DeploymentStatus::Running,
        Course::Success => DeploymentStatus::Success,
        Course::Failed => DeploymentStatus::Failed,
        Course::Canceled => DeploymentStatus::Canceled,
    };
    let known = told.deployment.as_ref().filter(|known| known.job == wanted.job).map(|known| known.id);
    if let Some(id) = known {
        match gitlab.update_deployment(id, status).await {
            // Somebody deleted it: it is listed anew.
            Err(GitlabError::NotFound) => {}
            updated => {
                updated?;
                told.deployment_told(wanted, id);
                return Ok(());
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
    let id = gitlab.create_deployment(&deployment).await?;
    told.deployment_told(wanted, id);
    Ok(())
}

async fn tell_environment(
    gitlab: &Gitlab,
    wanted: &EnvironmentWanted,
    told: &mut ToldForge,
) -> Result<(), GitlabError> {
    match wanted {
        EnvironmentWanted::Open { name, url } => {
            gitlab.ensure_environment(name, Some(url), None).await?;
        }
        EnvironmentWanted::Stopped { name } => gitlab.stop_environment(name).await?,
    }
    told.environment_told(wanted);
    Ok(())
}

/// Changes the note that is there: the one that is remembered, else the one that is found by its marker. One that was
/// deleted, or that somebody else wrote, is left at that, and a new one is made.
async fn tell_note(gitlab: &Gitlab, wanted: &NoteWanted, told: &mut ToldForge) -> Result<(), GitlabError> {
    let iid = wanted.merge_request;
    if let Some(id) = told.note.as_ref().map(|note| note.id)
        && is_changed(gitlab.update_note(iid, id, &wanted.body).await)?
    {
        told.note_told(wanted, id);
        return Ok(());
    }
    if let Some(id) = gitlab.find_note(iid, &wanted.marker).await?
        && is_changed(gitlab.update_note(iid, id, &wanted.body).await)?
    {
        told.note_told(wanted, id);
        return Ok(());
    }
    let id = gitlab.create_note(iid, &wanted.body).await?;
    told.note_told(wanted, id);
    Ok(())
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
        reason: error.message(),
        is_refused: !is_away(error),
        retry_after: error.retry_after(),
    }
}

fn of_stage_error(error: &StageError) -> Fault {
    let failure = error.failure(Stage::Apply, Vec::new());
    let is_store = matches!(error, StageError::Store(_));
    Fault { code: failure.code, reason: failure.reason, is_refused: !is_store, retry_after: None }
}
