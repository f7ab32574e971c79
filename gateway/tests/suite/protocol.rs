//! HTTP as it is spoken: fields of one connection, old versions, HEAD, 100-continue, ambiguous framing.

use http::{Method, StatusCode};

use crate::support::{Fixture, Raw, app::App, container, free_port, get, request, unchecked};

async fn start() -> (App, u16, Fixture) {
    let app = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, app.address)]).await;
    fixture.listening(port).await;
    (app, port, fixture)
}

#[tokio::test]
async fn fields_of_one_connection_end_at_the_gateway_in_both_directions() {
    let (_app, port, _fixture) = start().await;
    let mut client = Raw::connect(port).await;
    client
        .send(
            "GET /headers?q=1 HTTP/1.1\r\nhost: app.example\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\n\
             keep-alive: timeout=1\r\nte: trailers\r\nproxy-authorization: secret\r\nx-end: 2\r\n\
             x-forwarded-for: 198.51.100.9\r\nx-forwarded-proto: https\r\n\r\n",
        )
        .await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.contains("x-end: 2"), "{head}");
    assert!(!head.contains("x-private") && !head.contains("keep-alive"), "{head}");
    let mut lines: Vec<_> =
        client.until("x-forwarded-host: app.example\n").await.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "GET /headers?q=1 HTTP/1.1",
            "host: app.example",
            "x-end: 2",
            "x-forwarded-for: 198.51.100.9, 127.0.0.1",
            "x-forwarded-host: app.example",
            "x-forwarded-proto: http",
        ]
    );
}

#[tokio::test]
async fn a_request_framed_twice_reaches_the_replica_as_one_and_ends_the_connection() {
    let (app, port, _fixture) = start().await;
    for framing in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ] {
        let before = app.requests();
        let mut client = Raw::connect(port).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        client.send(&format!("POST /headers HTTP/1.1\r\nhost: a\r\n{framing}\r\n0\r\n\r\n{smuggled}")).await;
        let answer = client.rest().await;
        assert!(!answer.contains("content-length: 4"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
        assert_eq!(app.requests(), before + 1);
    }
}

#[tokio::test]
async fn requests_that_break_the_protocol_are_refused() {
    let (app, port, _fixture) = start().await;
    for (head, status) in [
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost : a\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n", "501"),
    ] {
        let mut client = Raw::connect(port).await;
        client.send(&format!("{head}\r\n")).await;
        let line = client.until("\r\n").await;
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {line}");
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let (_app, port, _fixture) = start().await;
    let mut client = Raw::connect(port).await;
    client.send("GET /headers HTTP/1.0\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(answer.contains(&format!("host: 127.0.0.1:{port}\n")), "{answer}");
}

#[tokio::test]
async fn head_has_the_length_and_no_body_and_the_connection_goes_on() {
    let (_app, port, _fixture) = start().await;
    let mut client = Raw::connect(port).await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(client.until("\r\n\r\n").await.contains("content-length: 1\r\n"));
    }
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.until("\r\n\r\na").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it() {
    let (_app, port, _fixture) = start().await;
    let mut client = Raw::connect(port).await;
    client
        .send("POST /length HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        .await;
    client.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("abc").await;
    assert!(client.until("\r\n\r\n3").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn connections_to_a_replica_are_used_again() {
    let (app, port, _fixture) = start().await;
    for _ in 0..10 {
        assert_eq!(get(port, "/").await.status, StatusCode::OK);
    }
    let posted = request(port, Method::POST, "/length", "abc").await.unwrap();
    assert_eq!(posted.body, "3");
    assert!(app.connections() <= 2, "{} connections for requests one after another", app.connections());
}
