//! Answers read within limits, and requests that brought none.

use std::error::Error;

use reqwest::header::CONTENT_RANGE;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::{GitlabError, text};

/// Largest answer.
pub(super) const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Of a refusal, so much is read.
const REFUSAL_MAX_BYTES: usize = 64 * 1024;
/// So much of a log's end is kept.
const TAIL_BYTES: usize = 128 * 1024;
/// The same as a range, for servers that give ranges.
pub(super) const TAIL_RANGE: &str = "bytes=-131072";
/// Longest log that is read for its end, when it is given as a whole.
const LOG_MAX_BYTES: usize = 64 * 1024 * 1024;
const REASON_MAX_BYTES: usize = 200;

/// The end of a text.
#[derive(Debug)]
pub(super) struct Tail {
    /// What was kept.
    pub(super) bytes: Vec<u8>,
    /// Whether nothing before it was left out.
    pub(super) has_start: bool,
    /// Whether it was read to its end.
    pub(super) has_end: bool,
}

/// Sends a request.
pub(super) async fn sent(request: RequestBuilder) -> Result<Response, GitlabError> {
    request.send().await.map_err(|error| failed(&error))
}

/// Why there is no answer, or no end of one.
pub(super) fn failed(error: &reqwest::Error) -> GitlabError {
    if error.is_timeout() {
        return GitlabError::TimedOut;
    }
    GitlabError::Unreachable { reason: text::plain(&root_cause(error), REASON_MAX_BYTES) }
}

/// The innermost cause: the outer ones say no more than that a request was sent.
fn root_cause(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else { return "the request failed".to_owned() };
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Reads an answer as JSON.
pub(super) async fn json<T: DeserializeOwned>(mut response: Response) -> Result<T, GitlabError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(GitlabError::Unreadable {
                reason: format!("it has more than {ANSWER_MAX_BYTES} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    // The text of the parser's own error could repeat what is secret in the answer.
    serde_json::from_slice(&body).map_err(|error| GitlabError::Unreadable {
        reason: format!("it is not what is documented (line {}, column {})", error.line(), error.column()),
    })
}

/// Reads the beginning of a refusal. One that is cut short is good enough.
pub(super) async fn refusal(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= REFUSAL_MAX_BYTES {
            body.truncate(REFUSAL_MAX_BYTES);
            break;
        }
    }
    body
}

/// Reads a text and keeps its end.
pub(super) async fn tail(mut response: Response) -> Result<Tail, GitlabError> {
    let mut tail = Tail { bytes: Vec::new(), has_start: begins_at_start(&response), has_end: true };
    let mut read_bytes = 0;
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        read_bytes += chunk.len();
        tail.bytes.extend_from_slice(&chunk);
        // Rarely, so that each byte is moved about once.
        if tail.bytes.len() > 2 * TAIL_BYTES {
            keep_end(&mut tail);
        }
        if read_bytes > LOG_MAX_BYTES {
            tail.has_end = false;
            break;
        }
    }
    keep_end(&mut tail);
    Ok(tail)
}

fn keep_end(tail: &mut Tail) {
    let surplus = tail.bytes.len().saturating_sub(TAIL_BYTES);
    if surplus > 0 {
        tail.bytes.drain(..surplus);
        tail.has_start = false;
    }
}

fn begins_at_start(response: &Response) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    response.status() != StatusCode::PARTIAL_CONTENT
        || range.is_some_and(|range| range.trim_start().starts_with("bytes 0-"))
}
