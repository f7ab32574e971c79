//! Every limit holds, and says so.

use std::time::{Duration, Instant};

use http::StatusCode;
use slipway_gateway::GatewaySettings;
use tokio::io::AsyncReadExt;

use crate::support::{Fixture, Raw, app::App, container, eventually, free_port, get, unchecked};

async fn start(settings: GatewaySettings) -> (App, u16, Fixture) {
    let app = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(settings, vec![container("a", port, app.address)]).await;
    fixture.listening(port).await;
    (app, port, fixture)
}

#[tokio::test]
async fn a_client_slow_with_its_head_is_cut() {
    let (app, port, _fixture) = start(GatewaySettings { client_header_timeout_ms: 200, ..unchecked() }).await;
    let begun = Instant::now();
    let mut client = Raw::connect(port).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow").await;
    client.rest().await;
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&begun.elapsed()));
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn an_idle_client_is_cut() {
    let (_app, port, _fixture) =
        start(GatewaySettings { client_header_timeout_ms: 200, ..unchecked() }).await;
    let mut client = Raw::connect(port).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.until("\r\n\r\na").await;
    client.rest().await;
}

#[tokio::test]
async fn a_head_too_large_is_answered_431() {
    let (app, port, _fixture) = start(GatewaySettings { header_bytes_max: 8_192, ..unchecked() }).await;
    let mut client = Raw::connect(port).await;
    client.send(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(10_000))).await;
    client.until("HTTP/1.1 431 ").await;
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn too_many_fields_are_answered_431() {
    let (app, port, _fixture) = start(GatewaySettings { header_count_max: 10, ..unchecked() }).await;
    let mut client = Raw::connect(port).await;
    client.send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(20))).await;
    client.until("HTTP/1.1 431 ").await;
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn a_connection_above_the_limit_waits_for_room() {
    let (_app, port, fixture) =
        start(GatewaySettings { connections_per_listener_max: 1, ..unchecked() }).await;
    let mut first = Raw::connect(port).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    first.until("\r\n\r\na").await;
    let mut second = Raw::connect(port).await;
    second.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let waiting = tokio::time::timeout(Duration::from_millis(200), second.until("\r\n\r\na")).await;
    assert!(waiting.is_err(), "the second connection was served beside the first");
    assert!(fixture.metric("slipway_gateway_connections{") <= 1.0);
    drop(first);
    second.until("\r\n\r\na").await;
}

#[tokio::test]
async fn requests_above_a_replicas_limit_are_answered_503() {
    let (app, port, fixture) = start(GatewaySettings { requests_per_upstream_max: 1, ..unchecked() }).await;
    let hanging = tokio::spawn(get(port, "/hang"));
    eventually(|| app.requests() == 1).await;
    let got = get(port, "/").await;
    assert_eq!((got.status, got.problem_code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded"));
    assert_eq!(got.headers["retry-after"], "1");
    app.open_gate();
    assert_eq!(hanging.await.unwrap().status, StatusCode::OK);
    fixture.until(|status| status.routes[0].upstreams[0].outstanding == 0).await;
    assert_eq!(get(port, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_replica_that_does_not_answer_in_time_is_a_504() {
    let settings = GatewaySettings { response_header_timeout_ms: 200, ..unchecked() };
    let (app, port, fixture) = start(settings).await;
    let got = get(port, "/never").await;
    assert_eq!((got.status, got.problem_code().as_str()), (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"));
    assert_eq!(app.requests(), 1, "a request that timed out is not sent again");
    fixture.until(|status| status.routes[0].upstreams[0].outstanding == 0).await;
    eventually(|| app.connections() == 0).await;
}

#[tokio::test]
async fn a_long_upload_does_not_count_against_the_response_timeout() {
    let settings = GatewaySettings { response_header_timeout_ms: 300, ..unchecked() };
    let (_app, port, _fixture) = start(settings).await;
    let mut client = Raw::connect(port).await;
    client.send("POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n").await;
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..8 {
        pace.tick().await;
        client.send("x").await;
    }
    assert!(client.until("\r\n\r\n8").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_replica_that_breaks_off_is_a_502() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Reads the request, then closes without an answer.
            drop(stream.read(&mut [0; 4096]).await);
        }
    });
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, address)]).await;
    fixture.listening(port).await;
    let got = get(port, "/").await;
    assert_eq!((got.status, got.problem_code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_broken"));
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    let settings = GatewaySettings { connect_timeout_ms: 0, ..GatewaySettings::default() };
    assert!(settings.validate().unwrap_err().to_string().contains("connect_timeout_ms"));
}
