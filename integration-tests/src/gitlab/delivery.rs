//! One delivery of a webhook: headers and body as GitLab, GitHub and Gitea send them, signed as each of them does.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use uuid::Uuid;

/// What the stand-in says of itself.
pub const USER_AGENT: &str = "GitLab/19.2.0";

/// Headers and body of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// How a delivery was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The status.
    pub status: u16,
    /// Bytes of the answer.
    pub body: Bytes,
    /// From the first byte sent to the last one read.
    pub took: Duration,
}

/// An identifier in which nothing tells of the time.
fn random_id() -> String {
    let [one, two] = [Uuid::now_v7(), Uuid::now_v7()];
    Uuid::from_u64_pair(one.as_u64_pair().1, two.as_u64_pair().1).to_string()
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // A key of any length will do.
    let Ok(mut mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Delivery {
    fn new(headers: &[(&str, &str)], payload: &Value) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { headers, body: Bytes::from(payload.to_string()) }
    }

    /// One of GitLab's, not signed yet; `event` is such as `Push Hook`.
    #[must_use]
    pub fn gitlab(event: &str, instance: &str, payload: &Value) -> Self {
        let (id, chain, request) = (random_id(), random_id(), random_id());
        Self::new(
            &[
                ("Content-Type", "application/json"),
                ("User-Agent", USER_AGENT),
                ("Idempotency-Key", &id),
                ("X-Gitlab-Event", event),
                ("X-Gitlab-Webhook-UUID", &request),
                ("X-Gitlab-Instance", instance),
                ("X-Gitlab-Event-UUID", &chain),
                ("webhook-id", &id),
                ("webhook-timestamp", &Timestamp::now().as_second().to_string()),
            ],
            payload,
        )
    }

    /// One of GitHub's, signed with `secret`.
    #[must_use]
    pub fn github(event: &str, payload: &Value, secret: &str) -> Self {
        Self::github_of_bytes(event, Bytes::from(payload.to_string()), secret)
    }

    /// The same around any bytes.
    #[must_use]
    pub fn github_of_bytes(event: &str, body: Bytes, secret: &str) -> Self {
        let signature = format!("sha256={}", hex(&mac(secret.as_bytes(), &body)));
        let mut delivery = Self::new(
            &[
                ("Content-Type", "application/json"),
                ("User-Agent", "GitHub-Hookshot/4f8a2c1"),
                ("X-GitHub-Event", event),
                ("X-GitHub-Delivery", &random_id()),
                ("X-GitHub-Hook-ID", "512345678"),
                ("X-GitHub-Hook-Installation-Target-Type", "repository"),
                ("X-GitHub-Hook-Installation-Target-ID", "7654321"),
                ("X-Hub-Signature-256", &signature),
            ],
            &Value::Null,
        );
        delivery.body = body;
        delivery
    }

    /// One of Gitea's, which carries the headers of GitHub too, signed with `secret`.
    #[must_use]
    pub fn gitea(event: &str, payload: &Value, secret: &str) -> Self {
        Self::gitea_of_bytes(event, Bytes::from(payload.to_string()), secret)
    }

    /// The same around any bytes.
    #[must_use]
    pub fn gitea_of_bytes(event: &str, body: Bytes, secret: &str) -> Self {
        let (id, signature) = (random_id(), hex(&mac(secret.as_bytes(), &body)));
        let mut delivery = Self::new(
            &[
                ("Content-Type", "application/json"),
                ("User-Agent", "Go-http-client/1.1"),
                ("X-Gitea-Event", event),
                ("X-Gitea-Event-Type", event),
                ("X-Gitea-Delivery", &id),
                ("X-Gitea-Signature", &signature),
                ("X-Gogs-Event", event),
                ("X-Gogs-Delivery", &id),
                ("X-Gogs-Signature", &signature),
                ("X-GitHub-Event", event),
                ("X-GitHub-Delivery", &id),
                ("X-Hub-Signature-256", &format!("sha256={signature}")),
            ],
            &Value::Null,
        );
        delivery.body = body;
        delivery
    }

    /// With this header, in place of another of its name.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the header of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// With the secret token in clear.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        self.with("X-Gitlab-Token", token)
    }

    /// Signed as of `at`, by Standard Webhooks, with a `whsec_` secret.
    ///
    /// # Errors
    /// When the secret is none, or the delivery has no id.
    pub fn signed(self, secret: &str, at: Timestamp) -> anyhow::Result<Self> {
        let key = secret.strip_prefix("whsec_").context("a signing secret begins with whsec_")?;
        let key = STANDARD.decode(key).context("a signing secret is base64")?;
        let id = self.header("webhook-id").context("no webhook-id")?.to_owned();
        let at = at.as_second().to_string();
        let mut message = format!("{id}.{at}.").into_bytes();
        message.extend_from_slice(&self.body);
        let signature = format!("v1,{}", STANDARD.encode(mac(&key, &message)));
        Ok(self.with("webhook-timestamp", &at).with("webhook-signature", &signature))
    }

    /// The same as a new delivery: with an id of its own. What was signed must be signed again.
    #[must_use]
    pub fn anew(self) -> Self {
        let id = random_id();
        self.with("Idempotency-Key", &id).with("webhook-id", &id)
    }

    /// The same headers around another body. What was signed must be signed again.
    #[must_use]
    pub fn saying(mut self, payload: &Value) -> Self {
        self.body = Bytes::from(payload.to_string());
        self
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn payload(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the body of a delivery")
    }

    /// Sends it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, client: &reqwest::Client, url: &str) -> anyhow::Result<Told> {
        let mut request = client.post(url).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let begun = Instant::now();
        let answer = request.send().await.context("sending a delivery")?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.context("reading the answer to a delivery")?;
        Ok(Told { status, body, took: begun.elapsed() })
    }
}

/// Whether a request that arrived with these three headers and this body was signed with `secret` by Standard Webhooks.
///
/// # Errors
/// When the secret is none.
pub fn is_signed(secret: &str, id: &str, at: &str, signatures: &str, body: &[u8]) -> anyhow::Result<bool> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").context("no whsec_")?)?;
    let mut message = format!("{id}.{at}.").into_bytes();
    message.extend_from_slice(body);
    let wanted = format!("v1,{}", STANDARD.encode(mac(&key, &message)));
    Ok(signatures.split(' ').any(|signature| signature == wanted))
}

/// A new signing secret: `whsec_` and the base64 of 32 bytes.
#[must_use]
pub fn signing_secret() -> String {
    let bytes: Vec<u8> = [random_id(), random_id()]
        .iter()
        .flat_map(|id| Uuid::parse_str(id).map(|id| id.into_bytes()).unwrap_or_default())
        .collect();
    format!("whsec_{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_signed_verifies_and_what_is_changed_does_not() {
        let secret = signing_secret();
        let delivery = Delivery::gitlab("Push Hook", "http://127.0.0.1:1", &json!({ "object_kind": "push" }))
            .signed(&secret, Timestamp::now())
            .expect("signed");
        let header = |name| delivery.header(name).expect("a header");
        let check = |body: &[u8]| {
            let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
            is_signed(&secret, id, at, header("webhook-signature"), body).expect("a secret")
        };
        assert!(check(&delivery.body));
        assert!(!check(b"{}"));
        assert_eq!(header("webhook-id"), header("Idempotency-Key"));
    }

    #[test]
    fn the_published_vector_of_github_is_reproduced() {
        let signature = mac(b"It's a Secret to Everybody", b"Hello, World!");
        assert_eq!(hex(&signature), "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }
}
