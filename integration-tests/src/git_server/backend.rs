//! One request: who asks, which fault is on, and otherwise `git http-backend` as a CGI program.

use std::convert::Infallible;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::kept::{Kept, Question};
use super::{Fault, RecordedRequest, Settings, State};

type Body = BoxBody<Bytes, Infallible>;
type Answer = Response<Body>;

/// Pause between two pieces of a slow body.
const TICK: Duration = Duration::from_millis(100);

/// Answers one request; an error closes the connection without an answer.
pub(super) async fn answer(request: Request<Incoming>, state: Arc<State>) -> io::Result<Answer> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let settings = state.settings().clone();
    let asks_for_pack = find(&body, b"command=fetch");
    match &settings.kept {
        Some(kept) => kept.count(&body),
        None => state.requests().push(record(&head, asks_for_pack)),
    }
    match &settings.fault {
        Fault::Stall => {
            state.stopped.cancelled().await;
            return Err(io::Error::other("the host stopped"));
        }
        Fault::ServerError => return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR)),
        Fault::Redirect { to } => return Ok(redirect(&format!("{to}{}", head.uri))),
        Fault::RedirectToSuffix if !head.uri.path().contains(".git/") => {
            return Ok(redirect(&head.uri.to_string().replacen("/info/refs", ".git/info/refs", 1)));
        }
        Fault::None
        | Fault::RedirectToSuffix
        | Fault::StallPack { .. }
        | Fault::Trickle { .. }
        | Fault::CutAfterPush
        | Fault::GoneAfterPush => {}
    }
    if !is_authorized(&head, &settings) {
        let mut answer = plain(StatusCode::UNAUTHORIZED);
        answer.headers_mut().insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Basic realm=\"git\""));
        return Ok(answer);
    }
    let output = match &settings.kept {
        Some(kept) => {
            head.uri = kept.redirect(&head.uri).unwrap_or(head.uri);
            answer_of(kept, &head, body, &settings, &state).await?
        }
        None => run_backend(&head, body, &settings, &state).await?,
    };
    if head.uri.path().ends_with("/git-receive-pack") {
        if settings.fault == Fault::GoneAfterPush {
            state.settings().fault = Fault::ServerError;
        }
        if matches!(settings.fault, Fault::CutAfterPush | Fault::GoneAfterPush) {
            return Err(io::Error::other("the line is cut"));
        }
    }
    from_cgi(&output, |body| shape(body, &settings.fault, asks_for_pack))
}

fn record(head: &http::request::Parts, asks_for_pack: bool) -> RecordedRequest {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    RecordedRequest {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        asks_for_pack,
    }
}

fn is_authorized(head: &http::request::Parts, settings: &Settings) -> bool {
    let Some(token) = &settings.token else { return true };
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    if header("private-token") == Some(token) {
        return true;
    }
    let basic = header(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Basic "));
    let decoded =
        basic.and_then(|text| STANDARD.decode(text).ok()).and_then(|raw| String::from_utf8(raw).ok());
    decoded.as_deref().and_then(|pair| pair.split_once(':')).is_some_and(|(_, password)| password == token)
}

/// What the backend says, or has said before.
async fn answer_of(
    kept: &Kept,
    head: &http::request::Parts,
    body: Bytes,
    settings: &Settings,
    state: &State,
) -> io::Result<Bytes> {
    if head.uri.path().ends_with("/git-receive-pack") {
        let output = run_backend(head, body, settings, state).await;
        kept.forget(head.uri.path());
        return output;
    }
    let question = Question::new(head, &body);
    let (known, generation) = kept.find(&question);
    if let Some(known) = known {
        return Ok(known);
    }
    let output = run_backend(head, body, settings, state).await?;
    kept.keep(question, generation, &output);
    Ok(output)
}

async fn run_backend(
    head: &http::request::Parts,
    body: Bytes,
    settings: &Settings,
    state: &State,
) -> io::Result<Bytes> {
    let header = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let only_tips = settings.only_tips;
    let mut protocol = header("git-protocol");
    if only_tips {
        // Version 2 hands out any commit; the older one obeys the host's settings.
        protocol.clear();
    }
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", &state.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(CONTENT_TYPE.as_str()))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header(CONTENT_ENCODING.as_str()))
        .env("HTTP_GIT_PROTOCOL", protocol)
        .env("REMOTE_USER", "somebody")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("GIT_CONFIG_COUNT", "2")
        .env("GIT_CONFIG_KEY_0", "http.receivepack")
        .env("GIT_CONFIG_VALUE_0", "true")
        .env("GIT_CONFIG_KEY_1", "uploadpack.allowAnySHA1InWant")
        .env("GIT_CONFIG_VALUE_1", if only_tips { "false" } else { "true" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("the backend has no input"))?;
    let feed = async move {
        // A backend that refuses early does not read its input; its answer says why.
        let _refused = stdin.write_all(&body).await.is_err();
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    Ok(output?.stdout.into())
}

/// A CGI answer: header lines, an empty line, the body.
fn from_cgi(output: &[u8], shape: impl FnOnce(Bytes) -> Body) -> io::Result<Answer> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("the backend gave no answer"))?;
    let mut answer = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        answer = if name.eq_ignore_ascii_case("status") {
            answer.status(value.split(' ').next().unwrap_or(value))
        } else {
            answer.header(name, value)
        };
    }
    answer.body(shape(Bytes::copy_from_slice(&output[end + 4..]))).map_err(io::Error::other)
}

/// The body as sent under the fault that is on.
fn shape(body: Bytes, fault: &Fault, asks_for_pack: bool) -> Body {
    match fault {
        Fault::StallPack { after_bytes } if asks_for_pack => {
            let sent = body.slice(..body.len().min(*after_bytes));
            let pieces = stream::iter([Ok(Frame::data(sent))]).chain(stream::pending());
            BodyExt::boxed(StreamBody::new(pieces))
        }
        Fault::Trickle { bytes_per_tick } => {
            let pieces: Vec<Bytes> = body.chunks(*bytes_per_tick).map(Bytes::copy_from_slice).collect();
            let slow = stream::iter(pieces).then(|piece| async move {
                tokio::time::sleep(TICK).await;
                Ok(Frame::data(piece))
            });
            BodyExt::boxed(StreamBody::new(slow))
        }
        Fault::None
        | Fault::Stall
        | Fault::StallPack { .. }
        | Fault::CutAfterPush
        | Fault::GoneAfterPush
        | Fault::ServerError
        | Fault::Redirect { .. }
        | Fault::RedirectToSuffix => BodyExt::boxed(Full::new(body)),
    }
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(BodyExt::boxed(Full::new(Bytes::new())));
    *answer.status_mut() = status;
    answer
}

fn redirect(to: &str) -> Answer {
    let mut answer = plain(StatusCode::FOUND);
    if let Ok(value) = http::HeaderValue::from_str(to) {
        answer.headers_mut().insert(LOCATION, value);
    }
    answer
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
