//! Waiting until replicas are healthy, and telling what is wrong with one that is not: it ended, it listens
//! nowhere, or it answers wrongly.

use std::net::SocketAddr;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::super::LogSink;
use super::super::engine::Engine;
use super::super::error::DockerError;
use super::super::labels::RoutingState;
use super::replicas::Replica;
use super::spec::ApplySpec;
use super::{address_in, container, last_lines};

/// What one check saw.
enum Seen {
    Healthy,
    /// No connection.
    Closed,
    /// A connection, but not the answer wanted.
    Wrong(String),
}

/// Waits until every replica is healthy, notes its address, and from then on has the engine restart it.
pub(super) async fn wait_for_all(
    engine: &Engine,
    spec: &ApplySpec,
    replicas: &mut [Replica],
    log: &dyn LogSink,
) -> Result<(), DockerError> {
    try_join_all(replicas.iter_mut().map(|replica| async move {
        replica.ip = wait_for(engine, spec, replica).await?;
        container::set_restart(engine, &replica.id, spec.restart).await?;
        if replica.state == RoutingState::Starting {
            log.line(&format!("{} is healthy", replica.base_name()));
        }
        Ok(())
    }))
    .await
    .map(|_each| ())
}

async fn wait_for(engine: &Engine, spec: &ApplySpec, replica: &Replica) -> Result<String, DockerError> {
    let deadline = Instant::now() + Duration::from_millis(spec.health.deadline_ms);
    let mut passed = 0;
    loop {
        let inspected = container::inspect(engine, &replica.id).await?;
        let container = inspected.ok_or_else(|| DockerError::Engine {
            operation: "wait for health",
            status: 409,
            reason: format!("{} was removed meanwhile", replica.base_name()),
        })?;
        check_alive(engine, spec, replica, &container).await?;
        let ip = address_in(&spec.scope.network_name(), &container);
        let seen = match ip.as_deref().and_then(|ip| ip.parse().ok()) {
            Some(ip) => check(spec, SocketAddr::new(ip, spec.port)).await,
            None => Seen::Closed,
        };
        passed = if matches!(seen, Seen::Healthy) { passed + 1 } else { 0 };
        if let Some(ip) = ip.filter(|_known| passed >= spec.health.successes.max(1)) {
            return Ok(ip);
        }
        if Instant::now() >= deadline {
            return Err(not_healthy(engine, spec, replica, &container, seen).await);
        }
        tokio::time::sleep(Duration::from_millis(spec.health.interval_ms)).await;
    }
}

/// Tells at once when the container has ended, rather than at the deadline.
async fn check_alive(
    engine: &Engine,
    spec: &ApplySpec,
    replica: &Replica,
    container: &ContainerInspectResponse,
) -> Result<(), DockerError> {
    let Some(state) = container.state.as_ref() else { return Ok(()) };
    if state.running == Some(true) && state.restarting != Some(true) {
        return Ok(());
    }
    let name = replica.base_name().to_owned();
    let log_tail = last_lines(engine, spec, &replica.id).await;
    if state.oom_killed == Some(true) {
        let limit_bytes = spec.resources.memory_bytes;
        return Err(DockerError::OutOfMemory { container: name, limit_bytes, log_tail });
    }
    Err(DockerError::Exited { container: name, exit_code: state.exit_code.unwrap_or(-1), log_tail })
}

async fn not_healthy(
    engine: &Engine,
    spec: &ApplySpec,
    replica: &Replica,
    container: &ContainerInspectResponse,
    seen: Seen,
) -> DockerError {
    let log_tail = last_lines(engine, spec, &replica.id).await;
    let name = replica.base_name().to_owned();
    match seen {
        Seen::Closed => {
            let exposed = exposed_by_image(engine, container, spec.port).await;
            DockerError::PortUnreachable { container: name, port: spec.port, exposed, log_tail }
        }
        Seen::Wrong(last) => {
            let deadline_ms = spec.health.deadline_ms;
            DockerError::Unhealthy { container: name, deadline_ms, last, log_tail }
        }
        Seen::Healthy => DockerError::Unhealthy {
            container: name,
            deadline_ms: spec.health.deadline_ms,
            last: "the check passes, but not often enough in a row".to_owned(),
            log_tail,
        },
    }
}

/// Ports the image itself says it exposes, other than `port`.
async fn exposed_by_image(engine: &Engine, container: &ContainerInspectResponse, port: u16) -> Vec<String> {
    let Some(image) = container.image.as_deref() else { return Vec::new() };
    // Only to explain an error: without an answer the explanation is shorter.
    let inspected = engine.call("inspect image", engine.docker().inspect_image(image)).await.ok();
    let exposed = inspected.and_then(|image| image.config).and_then(|config| config.exposed_ports);
    let own = format!("{port}/tcp");
    exposed.unwrap_or_default().into_iter().filter(|exposed| *exposed != own).collect()
}

async fn check(spec: &ApplySpec, address: SocketAddr) -> Seen {
    let limit = Duration::from_millis(spec.health.timeout_ms);
    let Ok(Ok(stream)) = tokio::time::timeout(limit, TcpStream::connect(address)).await else {
        return Seen::Closed;
    };
    let Some(path) = spec.health.path.as_deref() else { return Seen::Healthy };
    match tokio::time::timeout(limit, get(stream, address, path)).await {
        Ok(Ok(status)) if (200..400).contains(&status) => Seen::Healthy,
        Ok(Ok(status)) => Seen::Wrong(format!("{path} answers {status}")),
        Ok(Err(error)) => Seen::Wrong(format!("{path} gives no HTTP answer: {error}")),
        Err(_elapsed) => Seen::Wrong(format!("{path} does not answer within {} ms", spec.health.timeout_ms)),
    }
}

/// One GET over `stream`; the body is not read.
async fn get(
    stream: TcpStream,
    address: SocketAddr,
    path: &str,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get(path)
        .header(http::header::HOST, address.to_string())
        .header(http::header::USER_AGENT, "slipway-health")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        answer = &mut answer => Ok(answer?.status().as_u16()),
        ended = &mut connection => {
            ended?;
            Ok(answer.await?.status().as_u16())
        }
    }
}
