//! The listener: three paths, each answered from memory, every connection bounded in time and number.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Unready, Vitals};

/// Most connections at once; further ones wait to be taken.
const CONNECTIONS_MAX: usize = 32;
/// Longest wait for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// Pause after a connection could not be taken, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the listener cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The address cannot be listened on.
    #[error("setting `health.listen`: {address} cannot be listened on")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running listener; it ends when dropped.
#[derive(Debug)]
pub struct HealthServer {
    address: SocketAddr,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl HealthServer {
    /// Listens on `address` (port 0: a free one) and answers from `vitals`.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(address: SocketAddr, vitals: Arc<dyn Vitals>) -> Result<Self, HealthError> {
        let listen = |source| HealthError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, vitals, stop.clone()));
        Ok(Self { address, task, stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, vitals: Arc<dyn Vitals>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (vitals, stop) = (Arc::clone(&vitals), stop.clone());
                tokio::spawn(async move {
                    let served = tokio::time::timeout(CONNECTION_MAX, serve(stream, vitals));
                    tokio::select! {
                        // A prober that hangs up early or never asks is nobody's concern.
                        ended = served => drop(ended),
                        () = stop.cancelled() => {}
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a health connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, vitals: Arc<dyn Vitals>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answered = answer(request.method(), request.uri().path(), vitals.as_ref());
        async move { Ok::<_, Infallible>(answered) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(method: &Method, path: &str, vitals: &dyn Vitals) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
        refused.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/livez" => state(&vitals.stalled()),
        "/readyz" => state(&vitals.unready()),
        "/metrics" => text(StatusCode::OK, "text/plain; version=0.0.4", vitals.metrics()),
        _ => text(StatusCode::NOT_FOUND, "text/plain", "there are /livez, /readyz and /metrics\n".to_owned()),
    }
}

/// 200 without ailments, otherwise 503 with the list of them.
fn state(ailments: &[Unready]) -> Response<Full<Bytes>> {
    let status = if ailments.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(ailments).unwrap_or_else(|_| "[]".to_owned());
    text(status, "application/json", body)
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::probe;
    use super::*;

    #[derive(Default)]
    struct Patient {
        stalled: AtomicBool,
        unready: AtomicBool,
    }

    impl Vitals for Patient {
        fn stalled(&self) -> Vec<Unready> {
            let stalled = self.stalled.load(Ordering::Relaxed);
            stalled.then(|| Unready::new("consume", "no progress")).into_iter().collect()
        }

        fn unready(&self) -> Vec<Unready> {
            let unready = self.unready.load(Ordering::Relaxed);
            unready.then(|| Unready::new("broker", "it is away")).into_iter().collect()
        }

        fn metrics(&self) -> String {
            "slipway_jobs_total 1\n".to_owned()
        }
    }

    #[tokio::test]
    async fn each_path_says_what_its_part_says() {
        let patient = Arc::new(Patient::default());
        let server = HealthServer::start(([127, 0, 0, 1], 0).into(), patient.clone()).await.unwrap();
        let ask = |path: &'static str| probe::get(server.address(), path);
        assert_eq!(ask("/livez").await.unwrap().0, 200);
        assert_eq!(ask("/readyz").await.unwrap(), (200, "[]".to_owned()));
        assert_eq!(ask("/metrics").await.unwrap().1, "slipway_jobs_total 1\n");
        assert_eq!(ask("/").await.unwrap().0, 404);

        patient.unready.store(true, Ordering::Relaxed);
        let (status, body) = ask("/readyz").await.unwrap();
        assert_eq!(status, 503);
        let said: Vec<Unready> = serde_json::from_str(&body).unwrap();
        assert_eq!(said, [Unready::new("broker", "it is away")]);
        assert_eq!(ask("/livez").await.unwrap().0, 200, "a process that waits for its broker is alive");

        patient.stalled.store(true, Ordering::Relaxed);
        assert_eq!(ask("/livez").await.unwrap().0, 503);
    }

    #[tokio::test]
    async fn silent_connections_keep_nobody_from_being_answered() {
        let server =
            HealthServer::start(([127, 0, 0, 1], 0).into(), Arc::new(Patient::default())).await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX - 1 {
            silent.push(TcpStream::connect(server.address()).await.unwrap());
        }
        assert_eq!(probe::get(server.address(), "/livez").await.unwrap().0, 200);
    }
}
