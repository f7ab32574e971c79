//! A server for tests that answers by a function and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};

use crate::{Access, Gitlab};

pub(super) const TOKEN: &str = "s3cr3t-access-token";
/// Long enough for a machine that is busy; tests of the limit itself choose a shorter one.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Method and address: `GET /api/v4/projects/…?…`.
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Asked {
    /// The line without the project's own address.
    pub(super) fn what(&self) -> String {
        self.line.replace("/api/v4/projects/group%2Fapp", "")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An answer; none for a server that never answers.
pub(super) type Answer = Option<Response<Full<Bytes>>>;

type AnswerTo = dyn Fn(&Asked) -> Answer + Send + Sync;

/// The server.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(super) async fn start(answer_to: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let answer_to: Arc<AnswerTo> = Arc::new(answer_to);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), Arc::clone(&answer_to)));
            }
        });
        Self { address, asked }
    }

    /// A client of the project `group/app` on it.
    pub(super) fn gitlab(&self) -> Gitlab {
        self.gitlab_within(TIMEOUT)
    }

    pub(super) fn gitlab_within(&self, timeout: Duration) -> Gitlab {
        at(self.address, timeout)
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The lines of it.
    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::what).collect()
    }
}

/// A client of the project `group/app` at an address.
pub(super) fn at(address: SocketAddr, timeout: Duration) -> Gitlab {
    Gitlab::new(Access {
        api_url: format!("http://{address}/api/v4"),
        project: "group/app".to_owned(),
        token: SecretString::from(TOKEN),
        timeout,
    })
    .unwrap()
}

async fn serve(stream: TcpStream, asked: Arc<Mutex<Vec<Asked>>>, answer_to: Arc<AnswerTo>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (asked, answer_to) = (Arc::clone(&asked), Arc::clone(&answer_to));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let one = Asked {
                line: format!("{} {}", head.method, head.uri),
                headers: head.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            asked.lock().unwrap().push(one.clone());
            match answer_to(&one) {
                Some(answer) => Ok::<_, Infallible>(answer),
                None => std::future::pending().await,
            }
        }
    });
    // The client may leave at any time; the tests look at its side.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// An answer with a status and a body.
pub(super) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    with(status, &[], body)
}

/// An answer with headers.
pub(super) fn with(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    Some(answer.body(Full::new(body.into())).unwrap())
}
