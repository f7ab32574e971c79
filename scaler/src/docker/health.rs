//! Waiting until a replica is healthy, as a deploy job does, and telling what is wrong with one that is not.

use std::net::SocketAddr;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerState};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::container;
use super::engine::Engine;
use crate::target::TargetError;

/// Deadline for becoming healthy.
const DEADLINE: Duration = Duration::from_secs(120);
/// Time between two checks.
const INTERVAL: Duration = Duration::from_millis(500);
/// Deadline of one connection and of one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// When a replica is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// Network it is reached through.
    pub(super) network: String,
    /// Port it must listen on.
    pub(super) port: u16,
    /// Path that must answer 200 to 399; without it, a connection suffices.
    pub(super) path: Option<String>,
}

/// What one check saw.
enum Probe {
    Healthy,
    /// No connection.
    Closed,
    /// A connection, but not the answer wanted.
    Wrong(String),
}

/// Waits until the container is healthy.
pub(super) async fn wait(engine: &Engine, id: &str, name: &str, check: &Check) -> Result<(), TargetError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        // One that is gone was removed by somebody else.
        let found = container::inspect(engine, id).await?.ok_or(TargetError::Changed)?;
        check_alive(name, found.state.as_ref())?;
        let probe = match address(&found, check) {
            Some(address) => probe(address, check.path.as_deref()).await,
            None => Probe::Closed,
        };
        let last = match probe {
            Probe::Healthy => return Ok(()),
            Probe::Closed => format!("nobody listens on port {}", check.port),
            Probe::Wrong(last) => last,
        };
        if Instant::now() >= deadline {
            let reason = format!("{name} was not healthy within {} s: {last}", DEADLINE.as_secs());
            return Err(TargetError::Refused { code: "replica_unhealthy", reason });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Tells at once when the container has ended, rather than at the deadline.
fn check_alive(name: &str, state: Option<&ContainerState>) -> Result<(), TargetError> {
    let Some(state) = state else { return Ok(()) };
    if state.running == Some(true) && state.restarting != Some(true) {
        return Ok(());
    }
    let reason = if state.oom_killed == Some(true) {
        format!("{name} used more memory than its limit before it was healthy")
    } else {
        format!("{name} exited with code {} before it was healthy", state.exit_code.unwrap_or(-1))
    };
    Err(TargetError::Refused { code: "replica_exited", reason })
}

/// Where the replica listens, once it has an address.
fn address(found: &ContainerInspectResponse, check: &Check) -> Option<SocketAddr> {
    let networks = found.network_settings.as_ref()?.networks.as_ref()?;
    let endpoint = networks.get(&check.network)?;
    let given = [&endpoint.ip_address, &endpoint.global_ipv6_address];
    let ip = given.into_iter().flatten().find_map(|address| address.parse().ok())?;
    Some(SocketAddr::new(ip, check.port))
}

async fn probe(address: SocketAddr, path: Option<&str>) -> Probe {
    let Ok(Ok(stream)) = tokio::time::timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await else {
        return Probe::Closed;
    };
    let Some(path) = path else { return Probe::Healthy };
    match tokio::time::timeout(ANSWER_TIMEOUT, get(stream, address, path)).await {
        Ok(Ok(status)) if (200..400).contains(&status) => Probe::Healthy,
        Ok(Ok(status)) => Probe::Wrong(format!("{path} answers {status}")),
        Ok(Err(error)) => Probe::Wrong(format!("{path} gives no HTTP answer: {error}")),
        Err(_elapsed) => {
            Probe::Wrong(format!("{path} does not answer within {} s", ANSWER_TIMEOUT.as_secs()))
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers every connection with `answer`.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                if stream.read(&mut head).await.is_ok() {
                    stream.write_all(answer.as_bytes()).await.ok();
                }
            }
        });
        address
    }

    fn state(value: serde_json::Value) -> ContainerState {
        serde_json::from_value(value).unwrap()
    }

    fn refusal(state: &ContainerState) -> (String, String) {
        let fault = check_alive("shop-2", Some(state)).unwrap_err().fault();
        (fault.code, fault.reason)
    }

    #[test]
    fn a_replica_that_ended_is_told_with_its_exit_code_or_the_memory_limit() {
        assert!(check_alive("shop-2", Some(&state(json!({"Running": true})))).is_ok());
        let (code, reason) = refusal(&state(json!({"Running": false, "ExitCode": 3})));
        assert_eq!(code, "replica_exited");
        assert!(reason.contains("code 3"), "{reason}");
        let killed = state(json!({"Running": false, "ExitCode": 137, "OOMKilled": true}));
        assert!(refusal(&killed).1.contains("memory"));
        let looping = state(json!({"Running": true, "Restarting": true, "ExitCode": 1}));
        assert_eq!(refusal(&looping).0, "replica_exited");
    }

    #[test]
    fn the_address_is_that_of_the_named_network() {
        let check = Check { network: "net-b".to_owned(), port: 8080, path: None };
        let found = |addresses: serde_json::Value| -> ContainerInspectResponse {
            serde_json::from_value(json!({"NetworkSettings": {"Networks": addresses}})).unwrap()
        };
        let both = found(json!({"net-a": {"IPAddress": "10.0.0.1"}, "net-b": {"IPAddress": "10.0.0.2"}}));
        assert_eq!(address(&both, &check), Some("10.0.0.2:8080".parse().unwrap()));
        assert_eq!(address(&found(json!({"net-b": {"IPAddress": ""}})), &check), None);
        let six = found(json!({"net-b": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}));
        assert_eq!(address(&six, &check), Some("[fd00::2]:8080".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_path_must_answer_200_to_399() {
        let good = server("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(probe(good, Some("/healthz")).await, Probe::Healthy));
        let bad = server("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n").await;
        let Probe::Wrong(last) = probe(bad, Some("/healthz")).await else { panic!("it is not healthy") };
        assert_eq!(last, "/healthz answers 500");
        assert!(matches!(probe(server("nonsense\r\n\r\n").await, Some("/")).await, Probe::Wrong(_)));
        assert!(matches!(probe(bad, Some("no path")).await, Probe::Wrong(_)));
    }

    #[tokio::test]
    async fn without_a_path_a_connection_is_enough() {
        assert!(matches!(probe(server("").await, None).await, Probe::Healthy));
        let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        assert!(matches!(probe(closed, None).await, Probe::Closed));
    }
}
