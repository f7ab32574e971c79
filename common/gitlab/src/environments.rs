//! Environments as GitLab shows them.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Gitlab, GitlabError, parse};

/// How GitLab refuses a name that is in use.
const TAKEN: &str = "has already been taken";
const STOPPED: &str = "stopped";

#[derive(Deserialize)]
struct Environment {
    id: u64,
    name: String,
    #[serde(default, deserialize_with = "parse::filled")]
    external_url: Option<String>,
    #[serde(default, deserialize_with = "parse::filled")]
    tier: Option<String>,
    #[serde(default, deserialize_with = "parse::or_default")]
    state: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
}

impl Environment {
    /// Whether it is shown as it should be; what is not said does not matter.
    fn has(&self, external_url: Option<&str>, tier: Option<&str>) -> bool {
        external_url.is_none_or(|wanted| self.external_url.as_deref() == Some(wanted))
            && tier.is_none_or(|wanted| self.tier.as_deref() == Some(wanted))
    }
}

impl Gitlab {
    /// Makes the environment `name`, or brings the one there is up to date, and says its number.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn ensure_environment(
        &self,
        name: &str,
        external_url: Option<&str>,
        tier: Option<&str>,
    ) -> Result<u64, GitlabError> {
        let known = match self.environment(name).await? {
            Some(known) => known,
            None => {
                let body = Body { name: Some(name), external_url, tier };
                let created: Result<Environment, _> =
                    self.send(Method::POST, self.in_project(&["environments"])?, &body).await;
                match created {
                    Ok(created) => return Ok(created.id),
                    // Somebody else made it in between.
                    Err(error) if is_taken(&error) => self.environment(name).await?.ok_or(error)?,
                    Err(error) => return Err(error),
                }
            }
        };
        if !known.has(external_url, tier) {
            let body = Body { name: None, external_url, tier };
            self.tell(Method::PUT, self.one_environment(known.id, &[])?, &body).await?;
        }
        Ok(known.id)
    }

    /// Marks the environment `name` as stopped. That there is none is no error.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn stop_environment(&self, name: &str) -> Result<(), GitlabError> {
        let Some(known) = self.environment(name).await? else { return Ok(()) };
        if known.state == STOPPED {
            return Ok(());
        }
        match self.post(self.one_environment(known.id, &["stop"])?).await {
            Ok(()) | Err(GitlabError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn environment(&self, name: &str) -> Result<Option<Environment>, GitlabError> {
        let mut url = self.in_project(&["environments"])?;
        url.query_pairs_mut().append_pair("name", name);
        let (found, _) = self.page::<Environment>(url).await?;
        Ok(found.into_iter().find(|environment| environment.name == name))
    }

    fn one_environment(&self, id: u64, below: &[&str]) -> Result<Url, GitlabError> {
        let id = id.to_string();
        let path: Vec<&str> =
            ["environments", id.as_str()].into_iter().chain(below.iter().copied()).collect();
        self.in_project(&path)
    }
}

fn is_taken(error: &GitlabError) -> bool {
    matches!(error, GitlabError::Refused { status, message }
        if *status == StatusCode::BAD_REQUEST.as_u16() && message.contains(TAKEN))
}
