//! The name server of Erlang nodes (EPMD), one for each broker.
//!
//! It does what `epmd` does, and one thing more: which port a peer's name leads to is decided by the test, so that
//! the connection between two nodes of a cluster can run over a line that can be cut. It runs in the test process;
//! no daemon is left behind.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::process_control::{free_port, in_background, spawn_in_background};

/// A node announces itself; the connection stays open for as long as it is there.
const ALIVE_REQUEST: u8 = 120;
/// The answer, with a creation of four bytes.
const ALIVE_ANSWER: u8 = 118;
/// Where is the node of this name?
const PORT_REQUEST: u8 = 122;
const PORT_ANSWER: u8 = 119;
/// Which nodes are there?
const NAMES_REQUEST: u8 = 110;
const FOUND: u8 = 0;
const NOT_FOUND: u8 = 1;
/// An Erlang node that others may see.
const NODE_TYPE: u8 = 77;
const PROTOCOL_TCP: u8 = 0;
const VERSION_HIGHEST: u16 = 6;
const VERSION_LOWEST: u16 = 5;
/// Bytes of an announcement before the name: tag, port, type, protocol, two versions, length of the name.
const ALIVE_HEAD_BYTES: usize = 11;

#[derive(Debug)]
struct Names {
    /// Decided beforehand, whoever is there.
    routes: BTreeMap<String, u16>,
    /// Announced by those who are there.
    announced: Mutex<BTreeMap<String, u16>>,
}

impl Names {
    fn port(&self, name: &str) -> Option<u16> {
        let announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        self.routes.get(name).or_else(|| announced.get(name)).copied()
    }

    fn announce(&self, name: &str, port: u16) {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), port);
    }

    fn forget(&self, name: &str) {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn list(&self) -> String {
        let announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        announced.iter().map(|(name, port)| format!("name {name} at port {port}\n")).collect()
    }
}

/// A running name server; it ends with this value.
#[derive(Debug)]
pub(super) struct NameServer {
    port: u16,
    task: JoinHandle<()>,
}

impl NameServer {
    /// Starts it with these names leading to these ports on 127.0.0.1.
    pub(super) async fn start(routes: BTreeMap<String, u16>) -> anyhow::Result<Self> {
        let port = free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = in_background(async move {
            TcpListener::bind(address).await.context("the name server's port is taken")
        })
        .await?;
        let names = Arc::new(Names { routes, announced: Mutex::new(BTreeMap::new()) });
        let task = spawn_in_background(async move {
            let mut connections = JoinSet::new();
            loop {
                if let Ok((connection, _)) = listener.accept().await {
                    let names = Arc::clone(&names);
                    connections.spawn(async move { answer(connection, &names, port).await });
                }
                while connections.try_join_next().is_some() {}
            }
        })?;
        Ok(Self { port, task })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One question, and its answer. An end or an error of the connection ends it.
async fn answer(mut connection: TcpStream, names: &Names, own_port: u16) -> std::io::Result<()> {
    let length = connection.read_u16().await?;
    let mut request = vec![0; usize::from(length)];
    connection.read_exact(&mut request).await?;
    match request.split_first() {
        Some((&ALIVE_REQUEST, _)) => stay_announced(connection, names, &request).await,
        Some((&PORT_REQUEST, name)) => {
            let name = String::from_utf8_lossy(name).into_owned();
            connection.write_all(&port_answer(&name, names.port(&name))).await
        }
        Some((&NAMES_REQUEST, _)) => {
            connection.write_all(&u32::from(own_port).to_be_bytes()).await?;
            connection.write_all(names.list().as_bytes()).await
        }
        Some(_) | None => Ok(()),
    }
}

/// Keeps a node announced until its connection ends.
async fn stay_announced(mut connection: TcpStream, names: &Names, request: &[u8]) -> std::io::Result<()> {
    let Some((name, port)) = announcement(request) else { return Ok(()) };
    names.announce(&name, port);
    // Tells one life of a node from the next; any number that changes will do.
    let creation = u32::try_from(uuid::Uuid::now_v7().as_u128() % 1_000_000_000).unwrap_or_default() + 4;
    let mut answer = vec![ALIVE_ANSWER, FOUND];
    answer.extend(creation.to_be_bytes());
    let written = connection.write_all(&answer).await;
    let mut rest = [0; 16];
    while written.is_ok() && connection.read(&mut rest).await.is_ok_and(|length| length > 0) {}
    names.forget(&name);
    written
}

fn announcement(request: &[u8]) -> Option<(String, u16)> {
    let port = u16::from_be_bytes(request.get(1..3)?.try_into().ok()?);
    let length_at = ALIVE_HEAD_BYTES - 2;
    let length = u16::from_be_bytes(request.get(length_at..ALIVE_HEAD_BYTES)?.try_into().ok()?);
    let name = request.get(ALIVE_HEAD_BYTES..ALIVE_HEAD_BYTES + usize::from(length))?;
    Some((String::from_utf8_lossy(name).into_owned(), port))
}

fn port_answer(name: &str, port: Option<u16>) -> Vec<u8> {
    let Some(port) = port else { return vec![PORT_ANSWER, NOT_FOUND] };
    let mut answer = vec![PORT_ANSWER, FOUND];
    answer.extend(port.to_be_bytes());
    answer.extend([NODE_TYPE, PROTOCOL_TCP]);
    answer.extend(VERSION_HIGHEST.to_be_bytes());
    answer.extend(VERSION_LOWEST.to_be_bytes());
    answer.extend(u16::try_from(name.len()).unwrap_or_default().to_be_bytes());
    answer.extend(name.as_bytes());
    answer.extend([0, 0]);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_read_and_a_port_is_answered() {
        let mut request = vec![ALIVE_REQUEST, 0x30, 0x39, NODE_TYPE, PROTOCOL_TCP, 0, 6, 0, 5, 0, 2];
        request.extend(b"t1\0\0");
        assert_eq!(announcement(&request), Some(("t1".to_owned(), 12345)));
        assert_eq!(announcement(&request[..12]), None);
        assert_eq!(port_answer("t1", None), [PORT_ANSWER, NOT_FOUND]);
        let answer = port_answer("t1", Some(12345));
        assert_eq!(answer, [119, 0, 0x30, 0x39, 77, 0, 0, 6, 0, 5, 0, 2, b't', b'1', 0, 0]);
    }
}
