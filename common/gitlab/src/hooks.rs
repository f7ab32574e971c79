//! Webhooks of a project.

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{Gitlab, GitlabError, parse};

/// A webhook as it should be.
#[derive(Debug, Clone)]
pub struct NewHook {
    /// Where deliveries go.
    pub url: String,
    /// What it is called.
    pub name: Option<String>,
    /// With what deliveries are signed: `whsec_` and base64. GitLab before 19.0 does not know of it.
    pub signing_secret: Option<SecretString>,
    /// What is sent along in clear.
    pub token: Option<SecretString>,
    /// Whether pushes to branches are delivered.
    pub push: bool,
    /// Whether pushes of tags are.
    pub tag_push: bool,
    /// Whether merge requests are.
    pub merge_requests: bool,
    /// Whether pipelines are.
    pub pipelines: bool,
    /// Whether jobs are.
    pub jobs: bool,
    /// Whether GitLab checks the certificate of the address.
    pub verify_tls: bool,
}

/// A webhook there is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HookInfo {
    /// Its number.
    pub id: u64,
    /// Where deliveries go.
    #[serde(default, deserialize_with = "parse::or_default")]
    pub url: String,
    /// `executable`, `temporarily_disabled` or `disabled`.
    #[serde(default)]
    pub alert_status: Option<String>,
}

/// The words of GitLab; made to be sent at once, for it holds secrets.
#[derive(Serialize)]
struct Body<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    push_events: bool,
    tag_push_events: bool,
    merge_requests_events: bool,
    pipeline_events: bool,
    job_events: bool,
    enable_ssl_verification: bool,
}

impl<'a> Body<'a> {
    fn of(hook: &'a NewHook) -> Self {
        Self {
            url: &hook.url,
            name: hook.name.as_deref(),
            signing_token: hook.signing_secret.as_ref().map(|secret| secret.expose_secret()),
            token: hook.token.as_ref().map(|secret| secret.expose_secret()),
            push_events: hook.push,
            tag_push_events: hook.tag_push,
            merge_requests_events: hook.merge_requests,
            pipeline_events: hook.pipelines,
            job_events: hook.jobs,
            enable_ssl_verification: hook.verify_tls,
        }
    }
}

impl Gitlab {
    /// Makes a webhook, and says its number.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn create_hook(&self, hook: &NewHook) -> Result<u64, GitlabError> {
        let created: HookInfo =
            self.send(Method::POST, self.in_project(&["hooks"])?, &Body::of(hook)).await?;
        Ok(created.id)
    }

    /// Changes a webhook. Secrets that are not given stay as they are.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn update_hook(&self, id: u64, hook: &NewHook) -> Result<(), GitlabError> {
        self.tell(Method::PUT, self.in_project(&["hooks", &id.to_string()])?, &Body::of(hook)).await
    }

    /// The webhooks there are.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn hooks(&self) -> Result<Vec<HookInfo>, GitlabError> {
        self.list(self.in_project(&["hooks"])?).await
    }

    /// Removes a webhook. That there is none is no error.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn delete_hook(&self, id: u64) -> Result<(), GitlabError> {
        self.delete(self.in_project(&["hooks", &id.to_string()])?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook() -> NewHook {
        NewHook {
            url: "https://slipway.test/webhooks/gitlab/1".to_owned(),
            name: None,
            signing_secret: Some(SecretString::from("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")),
            token: Some(SecretString::from("a-token-in-clear")),
            push: true,
            tag_push: true,
            merge_requests: false,
            pipelines: true,
            jobs: false,
            verify_tls: true,
        }
    }

    #[test]
    fn a_hook_is_sent_in_the_words_of_gitlab() {
        let expected = serde_json::json!({
            "url": "https://slipway.test/webhooks/gitlab/1",
            "signing_token": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "token": "a-token-in-clear",
            "push_events": true,
            "tag_push_events": true,
            "merge_requests_events": false,
            "pipeline_events": true,
            "job_events": false,
            "enable_ssl_verification": true,
        });
        assert_eq!(serde_json::to_value(Body::of(&hook())).unwrap(), expected);
    }

    #[test]
    fn its_debug_text_holds_no_secret() {
        let shown = format!("{:?}", hook());
        assert!(!shown.contains("MDEy") && !shown.contains("in-clear"), "{shown}");
    }
}
