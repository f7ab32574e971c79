//! What leaves finishes what it has begun, and nothing new reaches it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use slipway_gateway::{GatewaySettings, ops};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Fixture, Raw, app::App, container, eventually, free_port, get, named, request, unchecked,
};

#[tokio::test]
async fn a_removed_replica_finishes_its_request_while_new_ones_go_elsewhere() {
    let (a, b) = (App::start("a").await, App::start("b").await);
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, a.address)]).await;
    fixture.listening(port).await;
    let hanging = tokio::spawn(get(port, "/hang"));
    eventually(|| a.requests() == 1).await;
    let draining = named(container("a", port, a.address), "-draining");
    fixture.set(port, vec![draining, container("b", port, b.address)]).await;
    for _ in 0..5 {
        assert_eq!(get(port, "/").await.body, "b");
    }
    a.open_gate();
    let finished = hanging.await.unwrap();
    assert_eq!((finished.status, finished.body.as_str()), (StatusCode::OK, "a"));
    assert_eq!(a.requests(), 1);
    // Its connection is not kept for a replica that left.
    eventually(|| a.connections() == 0).await;
}

#[tokio::test]
async fn the_idle_connections_of_a_removed_replica_close() {
    let settings = GatewaySettings { upstream_idle_timeout_ms: 3_600_000, ..unchecked() };
    let a = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(settings, vec![container("a", port, a.address)]).await;
    fixture.listening(port).await;
    for _ in 0..3 {
        get(port, "/").await;
    }
    eventually(|| a.connections() == 1).await;
    fixture.set(port, Vec::new()).await;
    eventually(|| a.connections() == 0).await;
}

#[tokio::test]
async fn the_drain_limit_ends_a_request_that_does_not_finish() {
    let settings = GatewaySettings { drain_limit_ms: 200, ..unchecked() };
    let a = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(settings, vec![container("a", port, a.address)]).await;
    fixture.listening(port).await;
    let hanging = tokio::spawn(get(port, "/never"));
    eventually(|| a.requests() == 1).await;
    let draining = named(container("a", port, a.address), "-draining");
    fixture.set(port, vec![draining]).await;
    let got = hanging.await.unwrap();
    assert_eq!((got.status, got.problem_code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_broken"));
}

#[tokio::test]
async fn a_gateway_that_stops_finishes_its_requests_and_closes_idle_clients() {
    let a = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, a.address)]).await;
    fixture.listening(port).await;
    let mut idle = Raw::connect(port).await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.until("\r\n\r\na").await;
    let hanging = tokio::spawn(get(port, "/hang"));
    eventually(|| a.requests() == 2).await;
    let Fixture { gateway, shutdown, .. } = fixture;
    drop(shutdown);
    let stopped = tokio::spawn(gateway.stopped());
    assert_eq!(idle.rest().await, "");
    eventually(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_err()).await;
    assert!(!stopped.is_finished());
    a.open_gate();
    assert_eq!(hanging.await.unwrap().status, StatusCode::OK);
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_stops_waits_no_longer_than_the_drain_limit() {
    let settings = GatewaySettings { drain_limit_ms: 200, ..unchecked() };
    let a = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(settings, vec![container("a", port, a.address)]).await;
    fixture.listening(port).await;
    let hanging = tokio::spawn(get(port, "/never"));
    eventually(|| a.requests() == 1).await;
    let Fixture { gateway, shutdown, .. } = fixture;
    let begun = Instant::now();
    drop(shutdown);
    gateway.stopped().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(hanging.await.unwrap().problem_code(), "upstream_broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_swap_under_load_without_a_failed_request() {
    let apps = [App::start("a").await, App::start("b").await, App::start("c").await, App::start("d").await];
    let port = free_port();
    let ids = ["a", "b", "c", "d"];
    let containers: Vec<_> =
        ids.iter().zip(&apps).map(|(id, app)| container(id, port, app.address)).collect();
    let pair = |round: usize| vec![containers[round % 4].clone(), containers[(round + 1) % 4].clone()];
    let fixture = Fixture::start(unchecked(), pair(0)).await;
    fixture.listening(port).await;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(15));
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    pace.tick().await;
                    let (method, path) =
                        if client % 2 == 0 { (Method::GET, "/") } else { (Method::POST, "/length") };
                    match request(port, method, path, "body").await {
                        Ok(got) if got.status == StatusCode::OK => {}
                        other => failures.push(format!("{other:?}")),
                    }
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                failures
            })
        })
        .collect();
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        round += 1;
        fixture.set(port, pair(round)).await;
        let target = sent.load(Ordering::SeqCst) + 10;
        eventually(|| sent.load(Ordering::SeqCst) >= target).await;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        assert_eq!(client.await.unwrap(), Vec::<String>::new());
    }
    assert!(round > 20 && sent.load(Ordering::SeqCst) > 400, "{round} swaps, {sent:?} requests");
}

#[tokio::test]
async fn the_operators_page_tells_health_metrics_and_routes() {
    let a = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, a.address)]).await;
    fixture.listening(port).await;
    let shutdown = CancellationToken::new();
    let listen = "127.0.0.1:0".parse().unwrap();
    let page = ops::serve(listen, &fixture.gateway, shutdown.clone()).await.unwrap().port();
    get(port, "/").await;
    assert_eq!(get(page, "/healthz").await.status, StatusCode::OK);
    let metrics = get(page, "/metrics").await.body;
    let line = format!("slipway_gateway_requests_total{{port=\"{port}\",class=\"2xx\"}} 1");
    assert!(metrics.contains(&line), "{metrics}");
    assert!(metrics.contains("slipway_gateway_route_age_seconds "), "{metrics}");
    let status: serde_json::Value = serde_json::from_str(&get(page, "/status").await.body).unwrap();
    assert_eq!(status["routes"][0]["upstreams"][0]["health"], "healthy");
    assert_eq!(
        request(page, Method::POST, "/status", "").await.unwrap().status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    shutdown.cancel();
    eventually(|| std::net::TcpStream::connect(("127.0.0.1", page)).is_err()).await;
}
