//! Pushing one commit to one branch by compare-and-swap, with or without a merge request.

use std::ffi::OsString;
use std::sync::Arc;

use slipway_common::model::BranchName;

use super::command::failure;
use super::commit::follows;
use super::credential::Credential;
use super::error::GitError;
use super::mirror::{Mirror, blocking};
use crate::failpoint::{self, Place};

mod options;
mod report;

pub use options::{MergeRequest, PushOption, PushOptionError};
use report::{RefStatus, Verdict};

const OPERATION: &str = "pushing the commit";
/// Most commits between the expected tip and the pushed commit.
const MAX_COMMITS_PUSHED: u32 = 64;

/// One push.
#[derive(Debug, Clone, Copy)]
pub struct PushRequest<'a> {
    /// Full id of the commit, which is in the mirror.
    pub revision: &'a str,
    /// The branch to move to it.
    pub branch: &'a BranchName,
    /// What the branch must point to for the push to happen; `None` when it must not exist.
    pub expected_old: Option<&'a str>,
    /// Options for the host. Left out when the host takes none.
    pub options: &'a [PushOption],
}

/// What the host made of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// The branch points to the commit now.
    Pushed {
        /// Address of the merge request the host made or already has, when it named one.
        merge_request: Option<String>,
        /// Whether the host took the push options.
        options_taken: bool,
    },
    /// The branch pointed to the commit already.
    AlreadyThere,
    /// The branch does not point to what was expected.
    Stale {
        /// What it points to instead; `None` when it does not exist.
        tip: Option<String>,
    },
    /// The branch is protected from this credential.
    Protected {
        /// What the host said.
        message: String,
    },
    /// The host refuses the commit.
    Rejected {
        /// What the host said.
        message: String,
    },
}

/// Pushes `request`, never by force: the branch only ever moves forward from the expected tip.
///
/// # Errors
/// [`GitError::NotAFastForward`] when the commit does not follow the expected tip, or any network failure.
/// After a network failure the outcome is unknown; [`Mirror::remote_tip`] tells.
pub async fn push(
    mirror: &Arc<Mirror>,
    request: PushRequest<'_>,
    credential: Option<&Credential>,
) -> Result<PushOutcome, GitError> {
    check_moves_forward(mirror, &request).await?;
    match push_once(mirror, &request, request.options, credential).await? {
        Verdict::NoPushOptions => {
            let verdict = push_once(mirror, &request, &[], credential).await?;
            outcome(mirror, &request, verdict, false, credential).await
        }
        verdict @ Verdict::Answered { .. } => {
            outcome(mirror, &request, verdict, !request.options.is_empty(), credential).await
        }
    }
}

async fn check_moves_forward(mirror: &Arc<Mirror>, request: &PushRequest<'_>) -> Result<(), GitError> {
    let Some(expected) = request.expected_old else { return Ok(()) };
    let (mirror, revision, expected) = (Arc::clone(mirror), request.revision.to_owned(), expected.to_owned());
    let moves_forward =
        blocking(OPERATION, move || follows(&mirror, &revision, &expected, MAX_COMMITS_PUSHED)).await?;
    if moves_forward { Ok(()) } else { Err(GitError::NotAFastForward) }
}

async fn push_once(
    mirror: &Mirror,
    request: &PushRequest<'_>,
    options: &[PushOption],
    credential: Option<&Credential>,
) -> Result<Verdict, GitError> {
    let target = request.branch.full_ref();
    let mut fixed: Vec<String> = vec![
        "push".into(),
        "--porcelain".into(),
        "--no-verify".into(),
        "--no-follow-tags".into(),
        format!("--force-with-lease={target}:{}", request.expected_old.unwrap_or_default()),
    ];
    fixed.extend(options.iter().map(|option| format!("--push-option={}", option.as_str())));
    fixed.push("--".into());
    let refspec = format!("{}:{target}", request.revision);
    let pushed = mirror.run_remote(OPERATION, credential, |url| {
        fixed.iter().map(String::as_str).chain([url, &refspec]).map(OsString::from).collect()
    });
    let output = failpoint::around(Place::Push, pushed).await?;
    report::read(&output.stdout, &output.stderr, &target, output.status.success())
        .ok_or_else(|| failure(OPERATION, credential.is_some(), &output.stderr))
}

async fn outcome(
    mirror: &Mirror,
    request: &PushRequest<'_>,
    verdict: Verdict,
    options_taken: bool,
    credential: Option<&Credential>,
) -> Result<PushOutcome, GitError> {
    let (status, message) = match verdict {
        Verdict::NoPushOptions => {
            return Err(GitError::Other {
                operation: OPERATION,
                detail: "the host takes no push options".into(),
            });
        }
        Verdict::Answered { status, message } => (status, message),
    };
    Ok(match status {
        RefStatus::Updated => PushOutcome::Pushed {
            merge_request: options::merge_request_url(&message, mirror.address()),
            options_taken,
        },
        RefStatus::UpToDate => PushOutcome::AlreadyThere,
        RefStatus::Stale => {
            let tip = mirror.remote_tip(request.branch, credential).await?;
            if tip.as_deref() == Some(request.revision) {
                PushOutcome::AlreadyThere
            } else {
                PushOutcome::Stale { tip }
            }
        }
        RefStatus::Protected => PushOutcome::Protected { message },
        RefStatus::Rejected => PushOutcome::Rejected { message },
    })
}
