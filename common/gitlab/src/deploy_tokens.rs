//! Deploy tokens: what clusters read a project's images with.

use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{Gitlab, GitlabError};

/// A deploy token that was just made. GitLab tells its secret this once.
#[derive(Debug, Clone)]
pub struct DeployToken {
    /// Its number.
    pub id: u64,
    /// The user name that goes with it.
    pub username: String,
    /// The secret.
    pub token: SecretString,
}

#[derive(Deserialize)]
struct Created {
    id: u64,
    username: String,
    token: String,
}

#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    scopes: &'a [&'a str],
}

impl Gitlab {
    /// Makes a deploy token for `scopes`, such as `read_registry`.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn create_deploy_token(&self, name: &str, scopes: &[&str]) -> Result<DeployToken, GitlabError> {
        let url = self.in_project(&["deploy_tokens"])?;
        let Created { id, username, token } = self.send(Method::POST, url, &Body { name, scopes }).await?;
        Ok(DeployToken { id, username, token: SecretString::from(token) })
    }

    /// Removes a deploy token. That there is none is no error.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn delete_deploy_token(&self, id: u64) -> Result<(), GitlabError> {
        self.delete(self.in_project(&["deploy_tokens", &id.to_string()])?).await
    }
}
