//! commit: put the generated files on top of the pinned commit and push them by compare-and-swap.
//!
//! The commit is a pure function of its parent, the files and the job, so a second run writes the same commit and
//! finds it at the destination; its trailers find it below commits that others pushed since.

use std::sync::Arc;

use slipway_common::model::{CommitFact, CommitMode, DeploymentSpec, Facts, Stage};

use super::source_of::{Source, plan};
use super::{Run, StageError, StageResult, required, trailer};
use crate::failpoint::{self, Moment, Place};
use crate::git::{
    Author, BranchName, CommitDraft, FoundCommit, GitError, MergeRequest, PushOption, PushOutcome,
    PushRequest, find_by_trailer, push, write_commit,
};

/// What Git says when there was no connection to send anything over.
const NOTHING_SENT: [&str; 3] = ["Failed to connect", "Could not connect", "Connection refused"];
/// Times the commit is put on top of a branch that moved meanwhile.
const REBASES_MAX: u32 = 8;
/// Commits of the branch that are searched for an earlier run's.
const HISTORY_COMMITS_MAX: u32 = 50;

pub(super) async fn perform(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
) -> Result<StageResult, StageError> {
    let pinned = required(facts.source.as_ref(), Stage::Clone)?;
    let source = Source::open(run, spec).await?;
    let Some(revision) = commit_on(run, spec, &source, &pinned.revision, pinned.branch.as_deref()).await?
    else {
        return Ok(unchanged(&pinned.revision, "nothing is missing"));
    };
    let branch = pinned.branch.as_deref().and_then(|branch| BranchName::parse(branch).ok());
    let fact = match (spec.commit, branch) {
        (CommitMode::None, _) | (_, None) => {
            run.say("The generated files are used for this deployment only");
            CommitFact { revision, generated: true, branch: None, merge_request: None }
        }
        (CommitMode::MergeRequest, Some(branch)) => propose(run, &source, &revision, &branch).await?,
        (CommitMode::Push, Some(branch)) => {
            push_to_branch(run, spec, &source, (&pinned.revision, revision), &branch).await?
        }
    };
    Ok(StageResult::of(commit_facts(fact)))
}

/// What comes of the stage when no file is missing.
pub(super) fn nothing_generated(facts: &Facts) -> Option<StageResult> {
    let (pinned, template) = (facts.source.as_ref()?, facts.template.as_ref()?);
    template.generated.is_empty().then(|| unchanged(&pinned.revision, "nothing was generated"))
}

/// The pinned commit as it is.
fn unchanged(revision: &str, why: &str) -> StageResult {
    let revision = revision.to_owned();
    let fact = CommitFact { revision, generated: false, branch: None, merge_request: None };
    StageResult { facts: commit_facts(fact), skipped: Some(why.to_owned()) }
}

fn commit_facts(fact: CommitFact) -> Facts {
    Facts { commit: Some(fact), ..Facts::default() }
}

/// Makes sure that a commit which was never pushed exists in this mirror, by writing it again.
pub(super) async fn rewrite_unpushed(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    source: &Source,
    facts: &Facts,
) -> Result<(), StageError> {
    let pinned = required(facts.source.as_ref(), Stage::Clone)?;
    let commit = required(facts.commit.as_ref(), Stage::Commit)?;
    if !commit.generated || commit.branch.is_some() || source.mirror.has(&commit.revision).await? {
        return Ok(());
    }
    let written = commit_on(run, spec, source, &pinned.revision, pinned.branch.as_deref()).await?;
    if written.as_deref() == Some(commit.revision.as_str()) {
        return Ok(());
    }
    Err(StageError::Refused {
        code: "generated_commit_lost",
        reason: "the generated files of this deployment cannot be made again as they were".to_owned(),
        hint: "The template settings changed meanwhile. Deploy again instead of retrying.",
    })
}

/// Writes the commit with what is missing in `parent`; `None` when nothing is.
async fn commit_on(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    source: &Source,
    parent: &str,
    branch: Option<&str>,
) -> Result<Option<String>, StageError> {
    let tree = source.tree(parent, branch).await?;
    let (plan, _tree) = plan(run, spec, tree).await?;
    if plan.files.is_empty() {
        return Ok(None);
    }
    let (name, email) = run.tools.settings.author.clone();
    let (job, deployment) = (run.message.id.to_string(), run.message.deployment.to_string());
    let (mirror, parent, time) = (Arc::clone(&source.mirror), parent.to_owned(), run.message.accepted_at);
    let revision = blocking(move || {
        let files: Vec<(&str, &[u8])> =
            plan.files.iter().map(|file| (file.path.as_str(), file.contents.as_bytes())).collect();
        let paths: Vec<&str> = plan.files.iter().map(|file| file.path.as_str()).collect();
        let message =
            format!("Add {} for deployment\n\nGenerated because the repository had none.", paths.join(", "));
        let draft = CommitDraft {
            parent: &parent,
            files: &files,
            message: &message,
            author: Author { name: &name, email: &email },
            time,
            trailers: &[(trailer::JOB, &job), (trailer::DEPLOYMENT, &deployment)],
        };
        write_commit(&mirror, &draft)
    })
    .await?;
    Ok(Some(revision))
}

/// Pushes to the branch itself; on top of what others pushed meanwhile, and by a merge request when the branch is
/// protected.
async fn push_to_branch(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    source: &Source,
    (parent, revision): (&str, String),
    branch: &BranchName,
) -> Result<CommitFact, StageError> {
    let (mut parent, mut revision) = (parent.to_owned(), revision);
    let pushed = |revision: String| CommitFact {
        revision,
        generated: true,
        branch: Some(branch.to_string()),
        merge_request: None,
    };
    for _ in 0..REBASES_MAX {
        failpoint::reach(Place::Commit, Moment::Inside).await;
        let outcome = push_once(source, &revision, branch, Some(&parent), &[]).await?;
        let tip = match outcome {
            PushOutcome::Pushed { .. } | PushOutcome::AlreadyThere => {
                run.say(&format!("Pushed {revision} to {branch}"));
                return Ok(pushed(revision));
            }
            PushOutcome::Protected { message } => {
                run.say(&format!(
                    "{branch} is protected ({message}); proposing the files in a merge request"
                ));
                return propose(run, source, &revision, branch).await;
            }
            PushOutcome::Rejected { message } => return Err(rejected(&message)),
            PushOutcome::Stale { tip } => tip.ok_or_else(|| rejected("the branch was deleted meanwhile"))?,
        };
        if let Some(found) = earlier_commit(run, source, branch, &tip).await? {
            run.say(&format!("Found {} pushed by an earlier attempt", found.revision));
            return Ok(pushed(found.revision));
        }
        run.say(&format!("{branch} moved to {tip} meanwhile; putting the files on top of it"));
        match commit_on(run, spec, source, &tip, Some(branch.as_str())).await? {
            Some(next) => (parent, revision) = (tip, next),
            None => {
                let fact = CommitFact { revision: tip, generated: false, branch: None, merge_request: None };
                return Ok(fact);
            }
        }
    }
    Err(StageError::Git(GitError::Moved { branch: branch.to_string(), revision }))
}

/// Pushes to a branch of its own and asks for it to be merged. The deployment goes on from that commit.
async fn propose(
    run: &Run<'_>,
    source: &Source,
    revision: &str,
    target: &BranchName,
) -> Result<CommitFact, StageError> {
    let name = format!("slipway/{}-{}", run.message.environment, run.message.deployment.short());
    let branch = BranchName::parse(&name).map_err(|error| rejected(&error.to_string()))?;
    let title = "Add the files Slipway deploys with";
    let options = MergeRequest { target, title, remove_source_branch: true }.options();
    failpoint::reach(Place::Commit, Moment::Inside).await;
    let merge_request = match push_once(source, revision, &branch, None, &options).await? {
        PushOutcome::Pushed { merge_request, options_taken } => {
            if !options_taken {
                run.say("The host makes no merge request by push; please open one from the branch");
            }
            merge_request
        }
        PushOutcome::AlreadyThere => None,
        PushOutcome::Stale { .. } => {
            return Err(rejected(&format!("the branch {branch} exists with other contents")));
        }
        PushOutcome::Protected { message } | PushOutcome::Rejected { message } => {
            return Err(rejected(&message));
        }
    };
    run.say(&format!("Pushed {revision} to {branch}"));
    Ok(CommitFact {
        revision: revision.to_owned(),
        generated: true,
        branch: Some(branch.to_string()),
        merge_request,
    })
}

async fn push_once(
    source: &Source,
    revision: &str,
    branch: &BranchName,
    expected_old: Option<&str>,
    options: &[PushOption],
) -> Result<PushOutcome, StageError> {
    let request = PushRequest { revision, branch, expected_old, options };
    let error = match push(&source.mirror, request, source.credential.as_ref()).await {
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    if !may_have_arrived(&error) {
        return Err(error.into());
    }
    // The line broke after the host may have taken the push: the host knows.
    match source.mirror.remote_tip(branch, source.credential.as_ref()).await {
        Ok(Some(tip)) if tip == revision => Ok(PushOutcome::AlreadyThere),
        Ok(tip) if tip.as_deref() != expected_old => Ok(PushOutcome::Stale { tip }),
        Ok(_) => Err(error.into()),
        Err(GitError::Cancelled { operation }) => Err(GitError::Cancelled { operation }.into()),
        Err(_) => Err(StageError::PushUnknown(error)),
    }
}

/// Whether the host may have taken a push that ended with this error.
fn may_have_arrived(error: &GitError) -> bool {
    match error {
        GitError::Unreachable { detail, .. } => !NOTHING_SENT.iter().any(|words| detail.contains(words)),
        GitError::HostFailed { .. }
        | GitError::RateLimited { .. }
        | GitError::Timeout { .. }
        | GitError::TooSlow { .. }
        | GitError::Other { .. } => true,
        GitError::AuthenticationFailed { .. }
        | GitError::Forbidden { .. }
        | GitError::CredentialForm
        | GitError::RepositoryNotFound { .. }
        | GitError::EmptyRepository
        | GitError::HostUnknown { .. }
        | GitError::Redirected { .. }
        | GitError::BranchNotFound { .. }
        | GitError::RevisionNotFound { .. }
        | GitError::Tls { .. }
        | GitError::Limit { .. }
        | GitError::PathRefused { .. }
        | GitError::PathExists { .. }
        | GitError::Malformed { .. }
        | GitError::DiskFull { .. }
        | GitError::Corrupted { .. }
        | GitError::Busy { .. }
        | GitError::Io { .. }
        | GitError::GitMissing { .. }
        | GitError::GitTooOld { .. }
        | GitError::ProtocolRefused { .. }
        | GitError::Moved { .. }
        | GitError::NotAFastForward
        | GitError::Cancelled { .. } => false,
    }
}

/// The commit an earlier run of this deployment pushed, if others have pushed on top of it.
async fn earlier_commit(
    run: &Run<'_>,
    source: &Source,
    branch: &BranchName,
    tip: &str,
) -> Result<Option<FoundCommit>, StageError> {
    source.mirror.fetch_history(branch, HISTORY_COMMITS_MAX, source.credential.as_ref()).await?;
    source.mirror.fetch(tip, Some(branch), source.credential.as_ref()).await?;
    let (mirror, tip, deployment) =
        (Arc::clone(&source.mirror), tip.to_owned(), run.message.deployment.to_string());
    blocking(move || find_by_trailer(&mirror, &tip, trailer::DEPLOYMENT, &deployment, HISTORY_COMMITS_MAX))
        .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, StageError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| StageError::Crashed)??)
}

fn rejected(message: &str) -> StageError {
    StageError::Refused {
        code: "push_rejected",
        reason: format!("the repository's host refused the generated commit: {message}"),
        hint: "Give the credential the right to push, or deploy with `commit` set to `none`.",
    }
}
