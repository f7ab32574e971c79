//! Reading request bodies: limited in size and time, JSON only, every error with the path of its field.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::deadline::Clock;
use crate::refusal::{DeliveryRefusal, Refusal};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// Longest part of a field's path that is shown.
const FIELD_MAX_CHARS: usize = 120;
/// Room made at once for a body whose bytes are counted as they come.
const FIRST_ROOM_BYTES: usize = 64 * 1024;

/// How large a body may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: usize,
    pub(crate) timeout: Duration,
}

/// Reads a JSON body.
pub(crate) async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<T, Refusal> {
    parse(&bytes(request, payload, limits).await?)
}

/// Reads a JSON body that somebody else understands.
pub(crate) async fn bytes(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<Bytes, Refusal> {
    check_encoding(request)?;
    check_media_type(request)?;
    read(request, payload, limits).await
}

/// Reads a merge patch (RFC 7396), under its own media type or as JSON.
pub(crate) async fn merge_patch(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<Value, Refusal> {
    check_encoding(request)?;
    if !is_of_type(request, MERGE_PATCH) {
        check_media_type(request)?;
    }
    parse(&read(request, payload, limits).await?)
}

/// Understands what was made of a body.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        field_error(&path, &error.into_inner().to_string())
    })
}

/// Reads a JSON body that may be left out.
pub(crate) async fn optional_json<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<T, Refusal> {
    check_encoding(request)?;
    let body = read(request, payload, limits).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    check_media_type(request)?;
    parse(&body)
}

/// Bodies are never decompressed, so that a small one cannot become a large one.
fn check_encoding(request: &HttpRequest) -> Result<(), Refusal> {
    match request.headers().get(header::CONTENT_ENCODING) {
        None => Ok(()),
        Some(encoding) if encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Ok(()),
        Some(_) => Err(Refusal::MediaType { expected: "application/json without Content-Encoding" }),
    }
}

fn check_media_type(request: &HttpRequest) -> Result<(), Refusal> {
    if is_of_type(request, JSON) { Ok(()) } else { Err(Refusal::MediaType { expected: JSON }) }
}

fn is_of_type(request: &HttpRequest, wanted: &str) -> bool {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|value| value.split(';').next()).map(str::trim).unwrap_or_default();
    essence.eq_ignore_ascii_case(wanted)
}

async fn read(request: &HttpRequest, payload: web::Payload, limits: BodyLimits) -> Result<Bytes, Refusal> {
    let announced = check_announced(request, limits.max_bytes)?;
    in_time(request, limits.timeout, collect(payload, limits.max_bytes, announced)).await
}

/// Refuses a body that says itself that it is too large. Answers how large it says it is.
pub(crate) fn check_announced(request: &HttpRequest, max_bytes: usize) -> Result<usize, Refusal> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    if announced > max_bytes {
        return Err(Refusal::BodyTooLarge { limit_bytes: max_bytes });
    }
    Ok(announced)
}

/// Waits for the rest of a request. The time it takes is the client's.
async fn in_time<T>(
    request: &HttpRequest,
    timeout: Duration,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let clock = Clock::of(request);
    clock.iter().for_each(|clock| clock.pause(timeout));
    let read = tokio::time::timeout(timeout, work)
        .await
        .unwrap_or(Err(Refusal::BodySlow { limit_ms: timeout.as_millis() }));
    clock.iter().for_each(Clock::restart);
    read
}

/// Reads a body of any type as it comes. `room` is what all such bodies may hold together, in bytes; the share of this one
/// is given back with it.
pub(crate) async fn shared<'a>(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
    room: &'a Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), Refusal> {
    let announced = check_announced(request, limits.max_bytes)?;
    in_time(request, limits.timeout, collect_shared(payload, limits.max_bytes, announced, room)).await
}

async fn collect_shared(
    mut payload: web::Payload,
    max_bytes: usize,
    expected: usize,
    room: &Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Refusal> {
    let mut body = BytesMut::with_capacity(expected.min(FIRST_ROOM_BYTES));
    let mut share: Option<SemaphorePermit<'_>> = None;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::BodyBroken)?;
        if body.len() + chunk.len() > max_bytes {
            return Err(Refusal::BodyTooLarge { limit_bytes: max_bytes });
        }
        let wanted = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        let more = room.try_acquire_many(wanted).map_err(|_| DeliveryRefusal::NoRoom)?;
        match &mut share {
            Some(share) => share.merge(more),
            None => share = Some(more),
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), share))
}

async fn collect(mut payload: web::Payload, max_bytes: usize, expected: usize) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::with_capacity(expected);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::BodyBroken)?;
        if body.len() + chunk.len() > max_bytes {
            return Err(Refusal::BodyTooLarge { limit_bytes: max_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            Category::Data => field_error(&path, &inner.to_string()),
            Category::Io | Category::Syntax | Category::Eof => not_json(&inner),
        }
    })?;
    deserializer.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::Json(format!("line {}, column {}", error.line(), error.column()))
}

/// What was expected at `path`. The parser's own words may repeat the value, which may be a secret.
fn field_error(path: &str, words: &str) -> Refusal {
    let words = words.rsplit_once(" at line ").map_or(words, |(head, _)| head);
    let (name, reason) = if let Some(rest) = words.strip_prefix("unknown field `") {
        (rest.split_once("`, ").map(|(name, _)| name), "is not known; ".to_owned() + known_names(words))
    } else if let Some(rest) = words.strip_prefix("missing field `") {
        (rest.strip_suffix('`'), "is missing".to_owned())
    } else if let Some(rest) = words.strip_prefix("duplicate field `") {
        (rest.strip_suffix('`'), "is given twice".to_owned())
    } else {
        let expected = words.rsplit_once("expected ").map_or("something else", |(_, expected)| expected);
        (None, format!("must be {expected}"))
    };
    Refusal::field(shown(&joined(path, name)), reason)
}

fn known_names(words: &str) -> &str {
    words.rfind("expected").map_or("see /openapi.json", |at| &words[at..])
}

/// The path of the field called `name` inside `path`, unless it ends in it already.
fn joined(path: &str, name: Option<&str>) -> String {
    match name {
        None => path.to_owned(),
        Some(name) if path.is_empty() || path == "." => name.to_owned(),
        Some(name) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        Some(name) => format!("{path}.{name}"),
    }
}

fn shown(field: &str) -> String {
    field.chars().filter(|character| !character.is_control()).take(FIELD_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use slipway_common::model::DeploymentRequest;

    use super::*;

    fn refused(body: &str) -> (String, String) {
        match parse::<DeploymentRequest>(body.as_bytes()) {
            Err(Refusal::Fields(errors)) => (errors[0].field.clone(), errors[0].reason.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refused_field_is_named_by_its_path() {
        let at = |field: &str, body: &str| assert_eq!(refused(body).0, field, "{body}");
        at("nope", r#"{"repository_url":"x","nope":1}"#);
        at(
            "supports[1].nmae",
            r#"{"repository_url":"x","supports":[{"name":"a","image":"b"},{"nmae":"c"}]}"#,
        );
        at("health.pth", r#"{"repository_url":"x","health":{"pth":"/"}}"#);
        at("supports[0].image", r#"{"repository_url":"x","supports":[{"name":"a"}]}"#);
        at("port", r#"{"repository_url":"x","port":"http"}"#);
        at("repository_url", "{}");
        at("build", r#"{"repository_url":"x","build":"canary"}"#);
    }

    #[test]
    fn a_refusal_does_not_repeat_the_value() {
        for body in [
            r#"{"repository_url":"x","port":"canary-1"}"#,
            r#"{"repository_url":"x","env":"canary-1"}"#,
            r#"{"repository_url":"x","build":"canary-1"}"#,
            r#"{"repository_url":"x","env":{"A":{"canary-1":1}}}"#,
            r#"{"repository_url":"x","port":"canary-1 expected canary-1"}"#,
            r#""canary-1""#,
        ] {
            let (field, reason) = refused(body);
            assert!(!reason.contains("canary"), "{field}: {reason}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_apart_from_wrong_fields() {
        let deep = "[".repeat(100_000);
        for body in ["", "{", "nul", "{} {}", r#"{"a":1,}"#, "\u{0}", &deep] {
            let outcome = parse::<DeploymentRequest>(body.as_bytes());
            assert!(matches!(outcome, Err(Refusal::Json(_) | Refusal::Fields(_))), "{body:?}");
        }
        assert!(matches!(parse::<DeploymentRequest>(b"{"), Err(Refusal::Json(_))));
    }
}
