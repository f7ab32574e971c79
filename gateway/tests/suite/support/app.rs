//! An application server whose behaviour the path chooses.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::{CancellationToken, DropGuard};

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// One replica: `/` says its name, `/headers` what it was sent, `/echo` streams the body back, `/drip` and
/// `/hang` wait for the gate, `/never` does not answer, `/ws` upgrades, `/health` is as told.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    stop: DropGuard,
}

#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    /// What `/health` answers.
    pub(crate) healthy: AtomicBool,
    /// A permit lets one waiting answer go on.
    pub(crate) gate: Semaphore,
    /// Requests that came, health checks apart.
    pub(crate) requests: AtomicUsize,
    /// Open connections.
    pub(crate) connections: AtomicUsize,
}

impl App {
    pub(crate) async fn start(name: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            healthy: AtomicBool::new(true),
            gate: Semaphore::new(0),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Self { address, shared, stop: stop.drop_guard() }
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Lets one waiting answer go on.
    pub(crate) fn open_gate(&self) {
        self.shared.gate.add_permits(1);
    }

    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::SeqCst);
    }

    /// Closes the port and every connection.
    pub(crate) fn stop(self) {
        drop(self.stop);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve(stream, Arc::clone(&shared)) => {}
            }
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    // The gateway may close at any time; the tests look at its side.
    drop(served.await);
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path == "/health" {
        let healthy = shared.healthy.load(Ordering::SeqCst);
        return text(if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, "");
    }
    shared.requests.fetch_add(1, Ordering::SeqCst);
    match path.as_str() {
        "/headers" => dump(&request),
        "/echo" => Response::new(request.into_body().boxed_unsync()),
        "/length" => {
            let length = request.into_body().collect().await.unwrap().to_bytes().len();
            text(StatusCode::OK, &length.to_string())
        }
        "/drip" => drip(Arc::clone(shared)),
        "/hang" => {
            shared.gate.acquire().await.unwrap().forget();
            text(StatusCode::OK, &shared.name)
        }
        "/never" => std::future::pending().await,
        "/ws" => upgrade(request),
        _ => text(StatusCode::OK, &shared.name),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

/// The request line and fields as they arrived, answered with fields of one connection.
fn dump(request: &Request<Incoming>) -> Response<Body> {
    let mut lines = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        lines.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let mut response = text(StatusCode::OK, &lines);
    for (name, value) in
        [("connection", "x-private"), ("x-private", "1"), ("keep-alive", "timeout=9"), ("x-end", "2")]
    {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// `one` at once, `two` when the gate opens.
fn drip(shared: Arc<Shared>) -> Response<Body> {
    let parts = stream::unfold(0, move |step| {
        let shared = Arc::clone(&shared);
        async move {
            let part = match step {
                0 => "one",
                1 => {
                    shared.gate.acquire().await.unwrap().forget();
                    "two"
                }
                _ => return None,
            };
            Some((Ok(Frame::data(Bytes::from_static(part.as_bytes()))), step + 1))
        }
    });
    Response::new(StreamBody::new(parts).boxed_unsync())
}

/// Agrees to change protocol, and then echoes bytes.
fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
    response.headers_mut().insert(header::UPGRADE, "websocket".parse().unwrap());
    response
}
