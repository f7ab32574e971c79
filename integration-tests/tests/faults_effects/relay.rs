//! A TCP port in front of the engine's socket, so that a line to it can be cut.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// Passes everything both ways until it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port in front of `host` (`unix://<path>` or `tcp://<host>:<port>`).
    pub(crate) async fn start(host: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding the relay")?;
        let address = listener.local_addr()?;
        let task = match host.split_once("://") {
            Some(("unix", path)) => {
                let path = path.to_owned();
                tokio::spawn(serve(listener, move || UnixStream::connect(path.clone())))
            }
            Some(("tcp", target)) => {
                let target = target.to_owned();
                tokio::spawn(serve(listener, move || TcpStream::connect(target.clone())))
            }
            Some(_) | None => bail!("no relay can be put in front of {host}"),
        };
        Ok(Self { address, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S, Connecting>(listener: TcpListener, connect: impl Fn() -> Connecting)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Connecting: Future<Output = std::io::Result<S>>,
{
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let Ok(mut server) = connect().await else { continue };
        connections.spawn(async move {
            // Either end may go at any time; that is what it is for.
            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
        });
    }
}
