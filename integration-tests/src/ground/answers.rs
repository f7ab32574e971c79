//! A client that measures: every answer with its status, its time and what it says about coming back.

use std::ops::Range;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longer than any answer may take: what has none by then is hung.
const HUNG_AFTER: Duration = Duration::from_secs(20);

/// One answer, or none.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which of the requests.
    pub index: usize,
    /// Its status; 0 when there was no answer.
    pub status: u16,
    /// From the request to the end of the answer.
    pub took: Duration,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// `Content-Type`.
    pub kind: String,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The body; null when it is no JSON.
    #[must_use]
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A field of the body.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        self.body()[name].as_str().unwrap_or_default().to_owned()
    }

    /// Whether it is a refusal that says when to come back.
    #[must_use]
    pub fn is_polite_refusal(&self) -> bool {
        matches!(self.status, 429 | 503) && self.retry_after.is_some()
    }
}

/// A client of one process of the API.
#[derive(Debug, Clone)]
pub struct Asker {
    address: String,
    token: String,
    client: reqwest::Client,
}

impl Asker {
    /// A client with this token.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(address: &str, token: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(HUNG_AFTER).build()?;
        Ok(Self { address: address.to_owned(), token: token.to_owned(), client })
    }

    /// The same with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Answer {
        let mut request = self.client.post(format!("{}{path}", self.address)).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.ask(request).await
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(self.client.get(format!("{}{path}", self.address))).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Answer {
        let begun = Instant::now();
        let answer = async {
            let answer = request.bearer_auth(&self.token).send().await?;
            let header = |name: &str| {
                answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            let (status, retry_after) = (answer.status().as_u16(), header("retry-after"));
            let kind = header("content-type").unwrap_or_default();
            Ok::<_, reqwest::Error>((status, retry_after, kind, answer.text().await?))
        };
        let (status, retry_after, kind, text) =
            answer.await.unwrap_or_else(|error| (0, None, String::new(), format!("{error:?}")));
        Answer { index: 0, status, took: begun.elapsed(), retry_after, kind, text }
    }

    /// `POST /deployments` for each of these jobs, so many a second whatever the answers are.
    pub async fn post_at_rate(
        &self,
        jobs: Range<usize>,
        per_second: f64,
        request: impl Fn(usize) -> Value,
    ) -> Vec<Answer> {
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
        let mut asking = JoinSet::new();
        for index in jobs {
            pace.tick().await;
            let (asker, body) = (self.clone(), request(index));
            asking.spawn(async move { Answer { index, ..asker.post("/deployments", &body, None).await } });
        }
        asking.join_all().await
    }
}

/// The time that so many of a thousand answers did not exceed.
#[must_use]
pub fn percentile<'a>(answers: impl IntoIterator<Item = &'a Answer>, per_mille: usize) -> Duration {
    let mut times: Vec<Duration> = answers.into_iter().map(|answer| answer.took).collect();
    times.sort_unstable();
    let rank = (times.len() * per_mille).div_ceil(1_000).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let answer = |milliseconds| Answer {
            index: 0,
            status: 200,
            took: Duration::from_millis(milliseconds),
            retry_after: None,
            kind: String::new(),
            text: String::new(),
        };
        let answers: Vec<Answer> = (1..=100).rev().map(answer).collect();
        assert_eq!(percentile(&answers, 990), Duration::from_millis(99));
        assert_eq!(percentile(&answers, 999), Duration::from_millis(100));
        assert_eq!(percentile(&[], 999), Duration::ZERO);
    }
}
