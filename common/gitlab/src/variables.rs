//! CI variables of a project.

use reqwest::Method;
use serde::Serialize;
use url::Url;

use crate::{Gitlab, GitlabError};

/// For every environment; variables of the same name for one environment are somebody else's.
const EVERY_ENVIRONMENT: &str = "*";

#[derive(Serialize)]
struct Body<'a> {
    key: &'a str,
    value: &'a str,
    masked: bool,
    /// For branches that are not protected too.
    protected: bool,
    /// As it is: `$` in it names no other variable.
    raw: bool,
    environment_scope: &'static str,
}

impl Gitlab {
    /// Sets a variable for every environment; `masked` ones are left out of logs.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses, as it does a value that cannot be masked.
    pub async fn set_variable(&self, key: &str, value: &str, masked: bool) -> Result<(), GitlabError> {
        let body =
            Body { key, value, masked, protected: false, raw: true, environment_scope: EVERY_ENVIRONMENT };
        match self.tell(Method::PUT, self.variable(key)?, &body).await {
            Err(GitlabError::NotFound) => {
                self.tell(Method::POST, self.in_project(&["variables"])?, &body).await
            }
            settled => settled,
        }
    }

    /// Removes a variable. That there is none is no error.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn delete_variable(&self, key: &str) -> Result<(), GitlabError> {
        self.delete(self.variable(key)?).await
    }

    fn variable(&self, key: &str) -> Result<Url, GitlabError> {
        let mut url = self.in_project(&["variables", key])?;
        url.query_pairs_mut().append_pair("filter[environment_scope]", EVERY_ENVIRONMENT);
        Ok(url)
    }
}
