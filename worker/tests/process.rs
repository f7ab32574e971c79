//! The process `slipway-worker` with nothing to work with: it is there, says what it lacks, and ends when told to.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use slipway_common::health::{ProbeError, probe};

/// A port on which nobody listens: bound once and let go.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).expect("loopback has free ports").port()
}

#[expect(clippy::disallowed_methods, reason = "this test is about the program itself")]
fn command(data: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipway-worker"));
    command
        .env("SLIPWAY__DATA__DIR", data)
        .env("SLIPWAY__HEALTH__LISTEN", "127.0.0.1:0")
        .env("SLIPWAY__BROKER__URLS", format!("amqp://ada:hunter2@127.0.0.1:{}/%2f", free_port()))
        .env("SLIPWAY__REDIS__URL", format!("redis://:hunter2@127.0.0.1:{}/0", free_port()));
    command
}

/// A worker that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn u11_a_worker_without_broker_and_store_is_alive_and_not_ready() {
    let data = tempfile::tempdir().unwrap();
    let mut worker = Running(command(data.path()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(worker.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().rsplit_once("http://").unwrap().1.parse().unwrap();

    probe(address, "/livez").await.expect("it is alive");
    let begun = Instant::now();
    let missing = loop {
        match probe(address, "/readyz").await {
            Err(ProbeError::Unwell { status: 503, body, .. }) if body.contains("\"queue\"") => break body,
            Err(ProbeError::Unwell { .. }) if begun.elapsed() < Duration::from_secs(20) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("it says {other:?}"),
        }
    };
    assert!(missing.contains("\"store\"") && missing.contains("\"ledger\""), "{missing}");
    assert!(!missing.contains("hunter2"), "{missing}");
    probe(address, "/metrics").await.expect("it counts");

    let mut asked = command(data.path());
    asked.env("SLIPWAY__HEALTH__LISTEN", address.to_string()).arg("--probe");
    assert_eq!(asked.status().unwrap().code(), Some(1));

    let pid = rustix::process::Pid::from_child(&worker.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let begun = Instant::now();
    let ended = loop {
        if let Some(ended) = worker.0.try_wait().unwrap() {
            break ended;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn shown_settings_hold_no_password_and_wrong_ones_are_a_usage_error() {
    let data = tempfile::tempdir().unwrap();
    let shown = command(data.path()).arg("--check-config").output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success() && text.contains("[broker]") && !text.contains("hunter2"), "{text}");
    let wrong = command(data.path()).env("SLIPWAY__WORKER__SLOTS", "0").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("worker.slots"));
}
