//! Bodies pass as they come, both ways, and so do the bytes after an upgrade.

use std::time::{Duration, Instant};

use slipway_gateway::GatewaySettings;

use crate::support::{Fixture, Raw, app::App, container, eventually, free_port, unchecked};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: app.example\r\nconnection: keep-alive, Upgrade\r\n\
                         upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn start(settings: GatewaySettings) -> (App, u16, Fixture) {
    let app = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(settings, vec![container("a", port, app.address)]).await;
    fixture.listening(port).await;
    (app, port, fixture)
}

#[tokio::test]
async fn a_chunk_arrives_before_the_body_ends() {
    let (app, port, _fixture) = start(unchecked()).await;
    let mut client = Raw::connect(port).await;
    client.send("GET /drip HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.until("one").await;
    app.open_gate();
    client.until("two").await;
    client.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn request_and_response_stream_at_the_same_time() {
    let (_app, port, _fixture) = start(unchecked()).await;
    let mut client = Raw::connect(port).await;
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for part in ["first", "other", "third"] {
        client.send(&format!("5\r\n{part}\r\n")).await;
        client.until(part).await;
    }
    client.send("0\r\n\r\n").await;
    client.until("\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_silent_response_is_cut() {
    let settings = GatewaySettings { stream_idle_timeout_ms: 200, ..unchecked() };
    let (_app, port, _fixture) = start(settings).await;
    let mut client = Raw::connect(port).await;
    client.send("GET /drip HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.until("one").await;
    assert!(!client.rest().await.contains("0\r\n\r\n"), "a body cut short must not look complete");
}

#[tokio::test]
async fn a_websocket_is_tunnelled_and_counts_as_a_request_under_way() {
    let (_app, port, fixture) = start(unchecked()).await;
    let mut client = Raw::connect(port).await;
    client.send(HANDSHAKE).await;
    let head = client.until("\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"),
        "{head}"
    );
    for message in ["hello", "again"] {
        client.send(message).await;
        client.until(message).await;
    }
    let outstanding = || fixture.gateway.status().routes[0].upstreams[0].outstanding;
    assert_eq!(outstanding(), 1);
    drop(client);
    eventually(|| outstanding() == 0).await;
}

#[tokio::test]
async fn a_tunnel_outlives_its_replica_only_by_the_drain_limit() {
    let settings = GatewaySettings { drain_limit_ms: 300, ..unchecked() };
    let (_app, port, fixture) = start(settings).await;
    let mut client = Raw::connect(port).await;
    client.send(HANDSHAKE).await;
    client.until("\r\n\r\n").await;
    let removed = Instant::now();
    fixture.set(port, Vec::new()).await;
    client.send("still here").await;
    client.until("still here").await;
    assert_eq!(client.rest().await, "");
    assert!(removed.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_silent_tunnel_ends() {
    let settings = GatewaySettings { stream_idle_timeout_ms: 200, ..unchecked() };
    let (_app, port, _fixture) = start(settings).await;
    let mut client = Raw::connect(port).await;
    client.send(HANDSHAKE).await;
    client.until("\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
}
