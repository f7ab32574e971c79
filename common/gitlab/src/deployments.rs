//! Deployments as GitLab shows them.

use jiff::Timestamp;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::statuses::done_if_already;
use crate::{Gitlab, GitlabError, parse};

/// Most deployments of an environment that are searched; the newest.
const SEARCHED_MAX: &str = "20";

/// The state of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// Under way.
    Running,
    /// It serves.
    Success,
    /// It does not.
    Failed,
    /// It was given up.
    Canceled,
}

impl DeploymentStatus {
    /// In the words of GitLab.
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// A deployment that is to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewDeployment {
    /// Into which environment; it is made when there is none of that name.
    pub environment: String,
    /// The commit.
    pub sha: String,
    /// The branch or tag.
    pub r#ref: String,
    /// Whether that is a tag.
    pub tag: bool,
    /// The state.
    pub status: DeploymentStatus,
}

#[derive(Deserialize)]
struct Created {
    id: u64,
}

/// A deployment that is shown.
#[derive(Deserialize)]
struct Shown {
    id: u64,
    #[serde(default, deserialize_with = "parse::or_default")]
    sha: String,
    #[serde(default, deserialize_with = "parse::or_default")]
    status: String,
    #[serde(default, deserialize_with = "parse::time")]
    created_at: Option<Timestamp>,
}

impl Shown {
    /// Whether it may be `wanted`, shown at `since` or later.
    fn is_like(&self, wanted: &NewDeployment, since: Timestamp) -> bool {
        let states = [DeploymentStatus::Running.as_str(), wanted.status.as_str()];
        self.sha == wanted.sha
            && states.contains(&self.status.as_str())
            && self.created_at.is_some_and(|at| at >= since)
    }
}

#[derive(Serialize)]
struct State {
    status: DeploymentStatus,
}

impl Gitlab {
    /// Shows a deployment, and says its number.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn create_deployment(&self, deployment: &NewDeployment) -> Result<u64, GitlabError> {
        let url = self.in_project(&["deployments"])?;
        let created: Created = self.send(Method::POST, url, deployment).await?;
        Ok(created.id)
    }

    /// The number of a deployment that is shown already: the newest like `wanted` that was made at `since` or later, is
    /// under way or in the state that is wanted, and has not the number `other_than`.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn find_deployment(
        &self,
        wanted: &NewDeployment,
        since: Timestamp,
        other_than: Option<u64>,
    ) -> Result<Option<u64>, GitlabError> {
        let mut url = self.in_project(&["deployments"])?;
        url.query_pairs_mut()
            .append_pair("environment", &wanted.environment)
            .append_pair("order_by", "id")
            .append_pair("sort", "desc")
            .append_pair("per_page", SEARCHED_MAX);
        let (shown, _) = self.page::<Shown>(url).await?;
        let found = shown.iter().filter(|one| Some(one.id) != other_than && one.is_like(wanted, since));
        Ok(found.map(|one| one.id).max())
    }

    /// Shows another state of a deployment. That it has this state already is no error.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn update_deployment(&self, id: u64, state: DeploymentStatus) -> Result<(), GitlabError> {
        let url = self.in_project(&["deployments", &id.to_string()])?;
        done_if_already(self.tell(Method::PUT, url, &State { status: state }).await)
    }
}
