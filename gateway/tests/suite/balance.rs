//! Who gets a request, and what happens to it when that replica does not want it.

use std::{collections::BTreeMap, net::SocketAddr};

use http::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{Fixture, app::App, container, eventually, free_port, get, request, unchecked};

#[tokio::test]
async fn requests_are_spread_evenly_over_equals() {
    let (a, b) = (App::start("a").await, App::start("b").await);
    let port = free_port();
    let containers = vec![container("a", port, a.address), container("b", port, b.address)];
    let fixture = Fixture::start(unchecked(), containers).await;
    fixture.listening(port).await;
    let mut answers = BTreeMap::new();
    for _ in 0..20 {
        *answers.entry(get(port, "/").await.body).or_insert(0) += 1;
    }
    assert_eq!(answers, BTreeMap::from([("a".to_owned(), 10), ("b".to_owned(), 10)]));
}

#[tokio::test]
async fn a_busy_replica_gets_fewer_requests() {
    let (a, b) = (App::start("a").await, App::start("b").await);
    let port = free_port();
    let containers = vec![container("a", port, a.address), container("b", port, b.address)];
    let fixture = Fixture::start(unchecked(), containers).await;
    fixture.listening(port).await;
    let hanging = tokio::spawn(get(port, "/hang"));
    eventually(|| a.requests() + b.requests() == 1).await;
    let (busy, idle) = if a.requests() == 1 { (&a, &b) } else { (&b, &a) };
    for _ in 0..5 {
        get(port, "/").await;
    }
    assert_eq!((busy.requests(), idle.requests()), (1, 5));
    busy.open_gate();
    assert_eq!(hanging.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn replicas_that_are_told_of_late_are_waited_for() {
    let (gone, b) = (App::start("gone").await, App::start("b").await);
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, gone.address)]).await;
    fixture.listening(port).await;
    let address = gone.address;
    gone.stop();
    eventually(|| std::net::TcpStream::connect(address).is_err()).await;
    let waiting = tokio::spawn(async move { request(port, Method::POST, "/length", "some body").await });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    fixture.feed(Some(vec![container("b", port, b.address)]));
    let posted = waiting.await.unwrap().unwrap();
    assert_eq!((posted.status, posted.body.as_str()), (StatusCode::OK, "9"));
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_without_the_client_noticing() {
    let (gone, b) = (App::start("gone").await, App::start("b").await);
    let port = free_port();
    let containers = vec![container("a", port, gone.address), container("b", port, b.address)];
    let fixture = Fixture::start(unchecked(), containers).await;
    fixture.listening(port).await;
    let address = gone.address;
    gone.stop();
    eventually(|| std::net::TcpStream::connect(address).is_err()).await;
    for _ in 0..30 {
        let posted = request(port, Method::POST, "/length", "some body").await.unwrap();
        assert_eq!((posted.status, posted.body.as_str()), (StatusCode::OK, "9"));
    }
    let retries = fixture.metric("slipway_gateway_retries_total");
    assert!((1.0..30.0).contains(&retries), "the refusing replica is avoided after a refusal: {retries}");
    assert!(fixture.metric("slipway_gateway_upstream_failures_total") >= 1.0);
}

#[tokio::test]
async fn when_nobody_accepts_the_answer_is_502() {
    let gone = App::start("gone").await;
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, gone.address)]).await;
    fixture.listening(port).await;
    let address = gone.address;
    gone.stop();
    eventually(|| std::net::TcpStream::connect(address).is_err()).await;
    let got = get(port, "/").await;
    assert_eq!(
        (got.status, got.problem_code().as_str()),
        (StatusCode::BAD_GATEWAY, "upstream_connect_failed")
    );
}

/// A server that answers the first request of each connection, and closes it on the second without a word.
async fn once_per_connection() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                if matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    drop(stream.read(&mut buffer).await);
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_pooled_connection_that_dies_costs_a_get_nothing_and_a_post_a_502() {
    let address = once_per_connection().await;
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, address)]).await;
    fixture.listening(port).await;
    for _ in 0..6 {
        assert_eq!(get(port, "/").await.body, "ok");
    }
    assert!(fixture.metric("slipway_gateway_retries_total") >= 1.0, "no pooled connection was used");
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(request(port, Method::POST, "/", "not to be sent twice").await.unwrap().status);
    }
    assert!(statuses.contains(&StatusCode::BAD_GATEWAY), "{statuses:?}");
}
