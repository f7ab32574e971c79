//! The probe: asks a process on this machine how it is, for health checks of containers without further programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longest wait for the answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest answer that is read.
const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a process does not count as well.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It could not be asked.
    #[error("no answer from {address}")]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: Cause,
    },
    /// It says that it is not well.
    #[error("{address} answers {status}: {body}")]
    Unwell {
        /// Where.
        address: SocketAddr,
        /// The status.
        status: u16,
        /// What it says.
        body: String,
    },
}

/// Asks the process that listens on `listen` for `path`; fine when it answers 200.
///
/// # Errors
/// When it does not answer in time, or answers anything else.
pub async fn probe(listen: SocketAddr, path: &str) -> Result<(), ProbeError> {
    let address = reachable(listen);
    match get(address, path).await {
        Ok((200, _)) => Ok(()),
        Ok((status, body)) => Err(ProbeError::Unwell { address, status, body }),
        Err(source) => Err(ProbeError::NoAnswer { address, source }),
    }
}

/// The address a client on this machine uses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// One GET: status and body.
pub(super) async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), Cause> {
    tokio::time::timeout(PROBE_TIMEOUT, ask(address, path))
        .await
        .map_err(|_| format!("nothing within {} s", PROBE_TIMEOUT.as_secs()))?
}

async fn ask(address: SocketAddr, path: &str) -> Result<(u16, String), Cause> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get(path)
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answered = &mut exchange => answered,
        ended = &mut connection => {
            ended?;
            exchange.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_is_not_there_is_not_well() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(probe(address, "/livez").await, Err(ProbeError::NoAnswer { .. })));
    }

    #[test]
    fn a_process_on_all_addresses_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:1".parse().unwrap()), "127.0.0.1:1".parse().unwrap());
        assert_eq!(reachable("[::]:2".parse().unwrap()), "[::1]:2".parse().unwrap());
        assert_eq!(reachable("192.0.2.1:3".parse().unwrap()), "192.0.2.1:3".parse().unwrap());
    }
}
