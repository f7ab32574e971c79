//! What every test needs: a source fed by hand, application servers, clients, and waiting with a deadline.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use slipway_gateway::{
    Gateway, GatewayHandle, GatewaySettings, GatewayStatus, RouteSource, SourceError,
    route::{Activity, Container, label},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) mod app;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Settings under which everything happens within milliseconds.
pub(crate) fn quick() -> GatewaySettings {
    GatewaySettings {
        relist_interval_ms: 50,
        event_coalesce_ms: 1,
        engine_backoff_max_ms: 100,
        health_interval_ms: 50,
        health_timeout_ms: 50,
        listener_grace_ms: 50,
        bind_retry_ms: 50,
        drain_limit_ms: 5_000,
        ..GatewaySettings::default()
    }
}

/// As [`quick`], but with health checks too rare to play a part.
pub(crate) fn unchecked() -> GatewaySettings {
    GatewaySettings { health_interval_ms: 3_600_000, health_timeout_ms: 1_000, ..quick() }
}

/// A source whose containers the test sets.
#[derive(Debug)]
pub(crate) struct Fed {
    containers: Mutex<Option<Vec<Container>>>,
    wake: watch::Sender<u64>,
}

#[async_trait]
impl RouteSource for Fed {
    async fn containers(&self) -> Result<Vec<Container>, SourceError> {
        self.containers.lock().unwrap().clone().ok_or_else(|| SourceError::List("the engine is away".into()))
    }

    fn changes(&self) -> BoxStream<'static, Result<(), SourceError>> {
        let wake = self.wake.subscribe();
        let changes = futures_util::stream::unfold(wake, |mut wake| async move {
            wake.changed().await.ok()?;
            Some((Ok(()), wake))
        });
        changes.boxed()
    }
}

/// A gateway under test, stopped when dropped.
pub(crate) struct Fixture {
    source: Arc<Fed>,
    pub(crate) gateway: GatewayHandle,
    pub(crate) shutdown: DropGuard,
}

impl Fixture {
    pub(crate) async fn start(settings: GatewaySettings, containers: Vec<Container>) -> Self {
        let source =
            Arc::new(Fed { containers: Mutex::new(Some(containers)), wake: watch::Sender::default() });
        let shutdown = CancellationToken::new();
        let gateway = Gateway::start_with(settings, source.clone(), shutdown.clone()).await.unwrap();
        Self { source, gateway, shutdown: shutdown.drop_guard() }
    }

    /// Changes the containers, and waits until `port` has exactly those that serve.
    pub(crate) async fn set(&self, port: u16, containers: Vec<Container>) {
        let mut expected: Vec<String> =
            containers.iter().filter(|c| !c.name.contains("ing")).map(|c| c.id.clone()).collect();
        expected.sort();
        self.feed(Some(containers));
        self.until(|status| ids(status, port) == expected).await;
    }

    /// Changes the containers, or breaks the engine, and wakes the gateway.
    pub(crate) fn feed(&self, containers: Option<Vec<Container>>) {
        *self.source.containers.lock().unwrap() = containers;
        self.source.wake.send_modify(|count| *count += 1);
    }

    /// Waits until the status is as wished.
    pub(crate) async fn until(&self, wished: impl Fn(&GatewayStatus) -> bool) {
        eventually(|| wished(&self.gateway.status())).await;
    }

    /// Waits until `port` accepts clients.
    pub(crate) async fn listening(&self, port: u16) {
        self.until(|status| status.routes.iter().any(|route| route.port == port && route.listening)).await;
    }

    /// The value of the first metric line that starts with `prefix`, or 0.
    pub(crate) fn metric(&self, prefix: &str) -> f64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.gateway.register_metrics(&mut registry);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        let line = page.lines().find(|line| line.starts_with(prefix));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |value| value.parse().unwrap())
    }
}

fn ids(status: &GatewayStatus, port: u16) -> Vec<String> {
    let routes = status.routes.iter().filter(|route| route.port == port);
    let mut ids: Vec<_> = routes.flat_map(|route| &route.upstreams).map(|u| u.container_id.clone()).collect();
    ids.sort();
    ids
}

/// Waits for a condition, and fails after [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {caller}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A port that is free now and that no other test of this process gets.
pub(crate) fn free_port() -> u16 {
    // Below the range outgoing connections take theirs from; the process id keeps processes apart.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 40).unwrap() * 400 + 14_000;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 400;
        if std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A serving container of project `shop` that listens at `address`.
pub(crate) fn container(id: &str, gateway_port: u16, address: SocketAddr) -> Container {
    let labels = [
        (label::MANAGED, "true".to_owned()),
        (label::ROLE, "app".to_owned()),
        (label::PROJECT, "shop".to_owned()),
        (label::ENVIRONMENT, "default".to_owned()),
        (label::PORT, address.port().to_string()),
        (label::GATEWAY_PORT, gateway_port.to_string()),
    ];
    Container {
        id: id.to_owned(),
        name: format!("shop-{id}"),
        created_unix_s: 100,
        activity: Activity::Running,
        labels: HashMap::from(labels.map(|(name, value)| (name.to_owned(), value))),
        addresses: BTreeMap::from([("net".to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST))]),
    }
}

/// The same container with a label.
pub(crate) fn labelled(mut container: Container, name: &str, value: &str) -> Container {
    container.labels.insert(name.to_owned(), value.to_owned());
    container
}

/// The same container under the name its state asks for.
pub(crate) fn named(mut container: Container, suffix: &str) -> Container {
    container.name.push_str(suffix);
    container
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Got {
    /// The code of a problem document.
    pub(crate) fn problem_code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let document: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(document["status"], self.status.as_u16());
        assert_eq!(document["message"], document["detail"]);
        document["code"].as_str().unwrap().to_owned()
    }
}

/// One request on a connection of its own.
pub(crate) async fn request(port: u16, method: Method, path: &str, body: &str) -> Result<Got, String> {
    let exchange = exchange((Ipv4Addr::LOCALHOST, port).into(), method, path, body);
    timeout(PATIENCE, exchange).await.map_err(|_| "no answer in time".to_owned())?
}

async fn exchange(address: SocketAddr, method: Method, path: &str, body: &str) -> Result<Got, String> {
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "app.example");
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Got { status: parts.status, headers: parts.headers, body })
}

/// A GET that must be answered somehow.
pub(crate) fn get(port: u16, path: &'static str) -> impl Future<Output = Got> {
    get_from((Ipv4Addr::LOCALHOST, port).into(), path)
}

/// A GET that must be answered somehow, from any address.
pub(crate) async fn get_from(address: SocketAddr, path: &'static str) -> Got {
    timeout(PATIENCE, exchange(address, Method::GET, path, "")).await.unwrap().unwrap()
}

/// A connection to write and read bytes on.
pub(crate) struct Raw {
    stream: TcpStream,
    seen: String,
}

impl Raw {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        Self { stream, seen: String::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads until `wanted` has come, and gives all that came up to its end.
    pub(crate) async fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(wanted) {
                let rest = self.seen.split_off(at + wanted.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(self.read().await > 0, "closed before {wanted:?}, after {:?}", self.seen);
        }
    }

    /// Reads until the other side closes, and gives the rest.
    pub(crate) async fn rest(mut self) -> String {
        while self.read().await > 0 {}
        self.seen
    }

    async fn read(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("nothing came in time");
        // A reset is an end too.
        let count = read.unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        count
    }
}
