//! A proxy in front of a Kubernetes API server that answers in its place: with an error, or not at all. What it is not told
//! to spoil it passes on, watches included.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::process_control::spawn_in_background;

type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, before the API server sees it.
    Status {
        /// The status.
        code: u16,
        /// The `Retry-After` of the answer, in seconds.
        retry_after_s: Option<u32>,
    },
    /// The API server does it, and the answer is this status.
    AnswerLost {
        /// The status.
        code: u16,
    },
    /// It is never answered.
    Hang,
}

/// Which requests a fault meets, and how many of them.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The method; every one when absent.
    pub method: Option<Method>,
    /// A part of path and query.
    pub path: String,
    /// What happens to them.
    pub fault: Fault,
    /// How many.
    pub times: u32,
}

#[derive(Debug, Default)]
struct Plan {
    answers: Vec<(String, Value)>,
    rules: Vec<Rule>,
    met: u32,
}

/// The running proxy; it ends with this value.
#[derive(Debug)]
pub struct ApiFaults {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    face: Arc<Mutex<Face>>,
    _stop: DropGuard,
}

/// The certificate that is shown, and the connections that have seen it.
#[derive(Clone)]
struct Face {
    acceptor: TlsAcceptor,
    connections: CancellationToken,
}

impl std::fmt::Debug for Face {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Face").finish_non_exhaustive()
    }
}

impl Face {
    fn of(folder: &Path) -> anyhow::Result<Arc<Mutex<Self>>> {
        let face = Self { acceptor: acceptor(folder)?, connections: CancellationToken::new() };
        Ok(Arc::new(Mutex::new(face)))
    }
}

/// What every connection needs.
#[derive(Debug, Clone)]
struct Upstream {
    url: String,
    client: reqwest::Client,
    plan: Arc<Mutex<Plan>>,
}

impl ApiFaults {
    /// Starts a proxy of the API server at `url`, with its certificate, which `folder` holds (`cert.pem`, `key.pem`) with
    /// that of the authority (`ca.pem`).
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub async fn start(url: &str, folder: &Path) -> anyhow::Result<Self> {
        let face = Face::of(folder)?;
        let shown = Arc::clone(&face);
        let ca = reqwest::Certificate::from_pem(&std::fs::read(folder.join("ca.pem"))?)?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build()?;
        let plan: Arc<Mutex<Plan>> = Arc::default();
        let upstream = Upstream { url: url.to_owned(), client, plan: Arc::clone(&plan) };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        spawn_in_background(async move {
            tokio::select! {
                () = accept(listener, shown, upstream) => {}
                () = stopped.cancelled() => {}
            }
        })?;
        Ok(Self { address, plan, face, _stop: stop.drop_guard() })
    }

    /// Shows the certificate in another folder from now on, and cuts the connections that were made under the old one.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn show(&self, folder: &Path) -> anyhow::Result<()> {
        let mut face = lock(&self.face);
        face.acceptor = acceptor(folder)?;
        std::mem::take(&mut face.connections).cancel();
        Ok(())
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Spoils requests from now on, besides what is spoilt already.
    pub fn spoil(&self, rule: Rule) {
        lock(&self.plan).rules.push(rule);
    }

    /// Answers requests whose path contains `path` with `body` from now on, in place of the API server or of what it would
    /// ask, and of an earlier answer to them. A list is answered in parts, as large as they are asked for.
    pub fn answer_with(&self, path: &str, body: Value) {
        let mut plan = lock(&self.plan);
        plan.answers.retain(|(known, _)| known != path);
        plan.answers.push((path.to_owned(), body));
    }

    /// How many requests were spoilt.
    #[must_use]
    pub fn met(&self) -> u32 {
        lock(&self.plan).met
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn acceptor(folder: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(folder.join("cert.pem"))
        .context("reading the certificate")?
        .collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).context("reading the key")?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, face: Arc<Mutex<Face>>, upstream: Upstream) {
    while let Ok((stream, _)) = listener.accept().await {
        let Face { acceptor, connections } = lock(&face).clone();
        let upstream = upstream.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let upstream = upstream.clone();
                async move { Ok::<_, std::convert::Infallible>(upstream.answer(request).await) }
            });
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that goes away in the middle is no concern of the proxy's.
            tokio::select! {
                _ = served => {}
                () = connections.cancelled() => {}
            }
        });
    }
}

impl Upstream {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if let Some(body) = self.answer_for(&request) {
            return whole(&body);
        }
        match self.fault_for(&request) {
            Some(Fault::Status { code, retry_after_s }) => status(code, retry_after_s),
            Some(Fault::AnswerLost { code }) => {
                drop(self.pass_on(request).await);
                status(code, None)
            }
            Some(Fault::Hang) => std::future::pending().await,
            None => self.pass_on(request).await.unwrap_or_else(|_| status(502, None)),
        }
    }

    fn answer_for(&self, request: &Request<Incoming>) -> Option<Value> {
        let plan = lock(&self.plan);
        let known = plan.answers.iter().find(|(path, _)| request.uri().path().contains(path));
        known.map(|(_, body)| part(body, request.uri().query().unwrap_or_default()))
    }

    fn fault_for(&self, request: &Request<Incoming>) -> Option<Fault> {
        let path = request.uri().path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default();
        let mut plan = lock(&self.plan);
        let rule = plan.rules.iter_mut().find(|rule| {
            rule.times > 0
                && rule.method.as_ref().is_none_or(|method| method == request.method())
                && path.contains(&rule.path)
        })?;
        rule.times -= 1;
        let fault = rule.fault;
        plan.met += 1;
        Some(fault)
    }

    async fn pass_on(&self, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map(|path| path.as_str()).unwrap_or_default();
        let mut headers = head.headers;
        headers.remove(http::header::HOST);
        let answer = self
            .client
            .request(head.method, format!("{}{path}", self.url))
            .headers(headers)
            .body(body.collect().await?.to_bytes())
            .send()
            .await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if name != http::header::TRANSFER_ENCODING && name != http::header::CONNECTION {
                response = response.header(name, value);
            }
        }
        let frames = answer.bytes_stream().map_ok(Frame::data).map_err(Into::into);
        Ok(response.body(StreamBody::new(frames).boxed())?)
    }
}

/// The part of a list that `limit` and `continue` ask for; the token says how many objects come before the next part. What
/// is no list is answered whole. Pure.
fn part(body: &Value, query: &str) -> Value {
    let asked = |name: &str| {
        let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        pair.and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let (Some(items), Some(limit)) = (body["items"].as_array(), asked("limit")) else { return body.clone() };
    let begin = asked("continue").unwrap_or(0).min(items.len());
    let end = begin.saturating_add(limit.max(1)).min(items.len());
    let token = if end < items.len() { end.to_string() } else { String::new() };
    json!({
        "kind": body["kind"],
        "apiVersion": body["apiVersion"],
        "metadata": { "continue": token },
        "items": &items[begin..end],
    })
}

/// A good answer.
fn whole(body: &Value) -> Response<Body> {
    let mut response = Response::new(Full::from(body.to_string()).map_err(|never| match never {}).boxed());
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

/// An answer as the API server gives it for this status.
fn status(code: u16, retry_after_s: Option<u32>) -> Response<Body> {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": if code == 429 { "TooManyRequests" } else { "InternalError" },
        "message": "spoilt by the test",
        "details": { "retryAfterSeconds": retry_after_s.unwrap_or_default() },
    });
    let mut response = Response::new(Full::from(body.to_string()).map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_answered_in_the_parts_that_are_asked_for() {
        let list = json!({ "kind": "List", "metadata": {}, "items": [1, 2, 3] });
        assert_eq!(part(&list, ""), list);
        let first = part(&list, "labelSelector=a%3Db&limit=2");
        assert_eq!((&first["items"], &first["metadata"]["continue"]), (&json!([1, 2]), &json!("2")));
        let last = part(&list, "limit=2&continue=2");
        assert_eq!((&last["items"], &last["metadata"]["continue"]), (&json!([3]), &json!("")));
        assert_eq!(part(&list, "limit=2&continue=9")["items"], json!([]));
        let other = json!({ "kind": "Scale" });
        assert_eq!(part(&other, "limit=2"), other);
    }
}
