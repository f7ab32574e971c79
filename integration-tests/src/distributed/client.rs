//! A client of one process of the API.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::time::Instant;

use crate::effects::Ended;

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A client with a token.
#[derive(Debug, Clone)]
pub struct ApiClient {
    address: String,
    token: String,
    client: reqwest::Client,
}

impl ApiClient {
    /// A client of the API at this address.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(address: &str, token: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build()?;
        Ok(Self { address: address.to_owned(), token: token.to_owned(), client })
    }

    /// One request with the token; answers status and body.
    ///
    /// # Errors
    /// When there is no answer in time, or its body is not JSON.
    pub async fn request(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(u16, Value)> {
        let answer = request.bearer_auth(&self.token).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).context(text)? };
        Ok((status, body))
    }

    /// `POST /deployments`; answers status and body.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn post_deployment(&self, body: &Value, key: Option<&str>) -> anyhow::Result<(u16, Value)> {
        let mut request = self.client.post(format!("{}/deployments", self.address)).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.request(request).await
    }

    /// `POST /deployments`, which must be accepted; answers the ids of deployment and job.
    ///
    /// # Errors
    /// When it is not.
    pub async fn accept(&self, body: &Value, key: Option<&str>) -> anyhow::Result<(String, String)> {
        let (status, answer) = self.post_deployment(body, key).await?;
        if status != 202 {
            bail!("POST /deployments answered {status}: {answer}");
        }
        let text =
            |field: &str| answer[field].as_str().map(str::to_owned).with_context(|| format!("no {field}"));
        Ok((text("id")?, text("job_id")?))
    }

    /// `GET /deployments/<id>`; answers status and body.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn deployment(&self, id: &str) -> anyhow::Result<(u16, Value)> {
        self.get(&format!("/deployments/{id}")).await
    }

    /// `GET` of any path; answers status and body.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        self.request(self.client.get(format!("{}{path}", self.address))).await
    }

    /// A request of any method with a JSON body; answers status and body.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        self.request(self.client.request(method, format!("{}{path}", self.address)).json(body)).await
    }

    /// Waits until every job of the deployment has ended; answers the deployment.
    ///
    /// # Errors
    /// When that takes too long, with the last answer.
    pub async fn wait_terminal(&self, id: &str, longest: Duration) -> anyhow::Result<Value> {
        let deadline = Instant::now() + longest;
        loop {
            let answer = self.deployment(id).await;
            if let Ok((200, deployment)) = &answer
                && deployment["jobs"]
                    .as_array()
                    .is_some_and(|jobs| jobs.iter().all(|job| ended_as(job).is_some()))
            {
                return Ok(deployment.clone());
            }
            if Instant::now() > deadline {
                bail!("deployment {id} has not ended after {longest:?}: {answer:?}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Whether it says that it is ready.
    pub async fn ready(&self) -> bool {
        let answer = self.client.get(format!("{}/readyz", self.address)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// `GET /metrics`.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let request = self.client.get(format!("{}/metrics", self.address)).bearer_auth(&self.token);
        Ok(request.send().await?.error_for_status()?.text().await?)
    }
}

/// How a job in an answer of the API has ended; `None` while it has not.
#[must_use]
pub fn ended_as(job: &Value) -> Option<Ended> {
    let state = &job["state"];
    match state["status"].as_str()? {
        "succeeded" => Some(Ended::Succeeded),
        "failed" => {
            let code = state["failure"]["code"].as_str().unwrap_or_default().to_owned();
            Some(Ended::Failed { code })
        }
        "cancelled" => Some(Ended::Cancelled),
        "superseded" => Some(Ended::Superseded),
        _ => None,
    }
}
