//! The gateway as a process of its own: what it says when the engine is away, and how it ends.

use std::{path::Path, process::Stdio, time::Duration};

use http::StatusCode;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::support::{PATIENCE, eventually, get_from};

/// The binary with a socket nobody listens on, and the address of its status page.
async fn start(socket: &Path) -> (Child, std::net::SocketAddr) {
    drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    let engine = format!("unix://{}", socket.display());
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_slipway-gateway"))
        .args(["--docker-host", &engine, "--status-listen", "127.0.0.1:0"])
        .env_clear()
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let address = async {
        loop {
            let line = log.next_line().await.unwrap().expect("the log ended before the status page was open");
            if let Some((_, rest)) = line.split_once("the status page is open") {
                // Behind the field's name, which a terminal would see in colour.
                let start = rest.find("127.").unwrap();
                break rest[start..].trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            }
        }
    };
    let address = timeout(PATIENCE, address).await.expect("no status page in time");
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    (gateway, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_engine_it_says_so_and_ends_cleanly_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let (mut gateway, page) = start(&directory.path().join("docker.sock")).await;
    let health = get_from(page, "/healthz").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    let status = timeout(PATIENCE, async {
        loop {
            let status: serde_json::Value =
                serde_json::from_str(&get_from(page, "/status").await.body).unwrap();
            if !status["stale_since"].is_null() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let status = status.await.expect("the engine's absence is not reported");
    assert_eq!(status["ready"], false);
    assert!(status["stale_reason"].as_str().unwrap().starts_with("cannot list the containers"), "{status}");
    let pid = gateway.id().unwrap().to_string();
    assert!(Command::new("/bin/kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = timeout(PATIENCE, gateway.wait()).await.expect("it did not end in time").unwrap();
    assert!(ended.success(), "{ended}");
    eventually(|| std::net::TcpStream::connect(page).is_err()).await;
}
