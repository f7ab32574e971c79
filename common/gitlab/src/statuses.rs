//! Statuses of commits.

use reqwest::Method;
use serde::Serialize;

use crate::{Gitlab, GitlabError, text};

/// Longest text GitLab takes in a status.
const TEXT_MAX_BYTES: usize = 255;
/// How GitLab refuses a state something is in already, or can no longer get into: `Cannot transition status via :run` of
/// statuses, `cannot transition via "run"` of deployments.
const CANNOT_TRANSITION: &str = "cannot transition ";

/// The state of a commit, as somebody outside of GitLab sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusState {
    /// It will be looked at.
    Pending,
    /// It is being looked at.
    Running,
    /// It is good.
    Success,
    /// It is not.
    Failed,
    /// Nobody wants to know any more.
    Canceled,
    /// There was nothing to be done.
    Skipped,
}

/// A status of a commit. Texts that are too long are cut, addresses and refs that are too long are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// The state.
    pub state: StatusState,
    /// Whose it is; a later status with this name takes its place.
    pub name: String,
    /// Where more is to be seen.
    pub target_url: Option<String>,
    /// One sentence.
    pub description: Option<String>,
    /// The branch or tag.
    pub r#ref: Option<String>,
    /// The pipeline it is shown in, when the commit has several.
    pub pipeline: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    state: StatusState,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#ref: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline_id: Option<u64>,
}

impl<'a> Body<'a> {
    fn of(status: &'a CommitStatus) -> Self {
        Self {
            state: status.state,
            name: text::cut(&status.name, TEXT_MAX_BYTES),
            target_url: if_it_fits(status.target_url.as_deref()),
            description: status.description.as_deref().map(|text| text::cut(text, TEXT_MAX_BYTES)),
            r#ref: if_it_fits(status.r#ref.as_deref()),
            pipeline_id: status.pipeline,
        }
    }
}

/// Half an address or name would be another one.
fn if_it_fits(text: Option<&str>) -> Option<&str> {
    text.filter(|text| text.len() <= TEXT_MAX_BYTES)
}

/// A state that something is in already is as good as one it was brought into.
pub(crate) fn done_if_already(outcome: Result<(), GitlabError>) -> Result<(), GitlabError> {
    match outcome {
        Err(GitlabError::Refused { status: 400, message })
            if message.to_ascii_lowercase().contains(CANNOT_TRANSITION) =>
        {
            Ok(())
        }
        other => other,
    }
}

impl Gitlab {
    /// Sets a status of the commit `sha`. That it has this state already, or an end it cannot leave, is no error.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn set_status(&self, sha: &str, status: &CommitStatus) -> Result<(), GitlabError> {
        let url = self.in_project(&["statuses", sha])?;
        done_if_already(self.tell(Method::POST, url, &Body::of(status)).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> CommitStatus {
        CommitStatus {
            state: StatusState::Running,
            name: "slipway/production".to_owned(),
            target_url: Some("https://slipway.test/deployments/1".to_owned()),
            description: Some("Building.".to_owned()),
            r#ref: Some("main".to_owned()),
            pipeline: None,
        }
    }

    #[test]
    fn a_status_is_sent_in_the_words_of_gitlab() {
        let body = serde_json::to_value(Body::of(&status())).unwrap();
        let expected = serde_json::json!({
            "state": "running",
            "name": "slipway/production",
            "target_url": "https://slipway.test/deployments/1",
            "description": "Building.",
            "ref": "main",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_long_addresses_left_out() {
        let long = CommitStatus {
            name: "ä".repeat(200),
            target_url: Some(format!("https://slipway.test/{}", "x".repeat(255))),
            description: Some("€".repeat(100)),
            r#ref: Some("r".repeat(256)),
            pipeline: Some(12),
            ..status()
        };
        let body = Body::of(&long);
        assert_eq!(body.name.len(), 254);
        assert_eq!(body.description.unwrap().len(), 255);
        assert_eq!((body.target_url, body.r#ref, body.pipeline_id), (None, None, Some(12)));
    }

    #[test]
    fn a_state_that_is_already_there_is_done() {
        let refused = |status, message: &str| GitlabError::Refused { status, message: message.to_owned() };
        let already = "Cannot transition status via :run from :running (Reason(s): Status cannot transition)";
        assert_eq!(done_if_already(Err(refused(400, already))), Ok(()));
        let of_deployment = "status cannot transition via \"succeed\"";
        assert_eq!(done_if_already(Err(refused(400, of_deployment))), Ok(()));
        let other = refused(400, "name is missing");
        assert_eq!(done_if_already(Err(other.clone())), Err(other));
        assert_eq!(done_if_already(Err(GitlabError::NotFound)), Err(GitlabError::NotFound));
    }
}
