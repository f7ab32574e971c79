//! Deployments as GitLab shows them.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::statuses::done_if_already;
use crate::{Gitlab, GitlabError};

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

    /// Shows another state of a deployment. That it has this state already is no error.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn update_deployment(&self, id: u64, state: DeploymentStatus) -> Result<(), GitlabError> {
        let url = self.in_project(&["deployments", &id.to_string()])?;
        done_if_already(self.tell(Method::PUT, url, &State { status: state }).await)
    }
}
