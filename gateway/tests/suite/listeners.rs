//! Ports open, close, wait for each other, and belong to one application.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use http::StatusCode;
use slipway_gateway::{GatewaySettings, route::label};

use crate::support::{Fixture, app::App, container, eventually, free_port, get, labelled, unchecked};

#[tokio::test]
async fn a_port_in_use_is_reported_and_retried_and_hurts_nobody_else() {
    let app = App::start("a").await;
    let (taken, other) = (free_port(), free_port());
    let squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
    let containers = vec![container("a", taken, app.address), container("b", other, app.address)];
    let fixture = Fixture::start(unchecked(), containers).await;
    fixture.listening(other).await;
    assert_eq!(get(other, "/").await.status, StatusCode::OK);
    fixture
        .until(|status| {
            let route = status.routes.iter().find(|route| route.port == taken);
            route.is_some_and(|route| !route.listening && route.bind_error.is_some())
        })
        .await;
    drop(squatter);
    fixture.listening(taken).await;
    assert_eq!(get(taken, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn of_two_applications_on_one_port_the_older_is_served() {
    let (young, old) = (App::start("young").await, App::start("old").await);
    let port = free_port();
    let mut older = labelled(container("z", port, old.address), label::PROJECT, "zoo");
    older.created_unix_s = 50;
    let fixture = Fixture::start(unchecked(), vec![container("a", port, young.address), older]).await;
    fixture.listening(port).await;
    for _ in 0..4 {
        assert_eq!(get(port, "/").await.body, "old");
    }
    let status = fixture.gateway.status();
    assert_eq!(status.conflicts.len(), 1);
    assert_eq!((status.conflicts[0].port, status.conflicts[0].refused.project.as_str()), (port, "shop"));
}

#[tokio::test]
async fn a_port_nobody_declares_any_more_closes_after_the_grace_time() {
    let app = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, app.address)]).await;
    fixture.listening(port).await;
    fixture.feed(Some(Vec::new()));
    fixture.until(|status| status.routes.is_empty()).await;
    eventually(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()).await;
    fixture.set(port, vec![container("b", port, app.address)]).await;
    fixture.listening(port).await;
    assert_eq!(get(port, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn within_the_grace_time_the_port_answers_that_nothing_is_there() {
    let app = App::start("a").await;
    let port = free_port();
    let settings = GatewaySettings { listener_grace_ms: 3_600_000, ..unchecked() };
    let fixture = Fixture::start(settings, vec![container("a", port, app.address)]).await;
    fixture.listening(port).await;
    fixture.set(port, Vec::new()).await;
    assert_eq!(get(port, "/").await.problem_code(), "no_replicas");
    fixture.set(port, vec![container("a", port, app.address)]).await;
    assert_eq!(get(port, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn ports_outside_its_range_are_left_to_other_gateways() {
    let app = App::start("a").await;
    let mut ports = [free_port(), free_port()];
    ports.sort_unstable();
    let containers = vec![container("a", ports[0], app.address), container("b", ports[1], app.address)];
    let settings = GatewaySettings { port_min: ports[1], port_max: ports[1], ..unchecked() };
    let fixture = Fixture::start(settings, containers).await;
    fixture.listening(ports[1]).await;
    assert_eq!(get(ports[1], "/").await.status, StatusCode::OK);
    assert!(fixture.gateway.status().routes.iter().all(|route| route.port == ports[1]));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, ports[0])).is_err());
}

#[tokio::test]
async fn no_more_ports_open_than_allowed() {
    let app = App::start("a").await;
    let mut ports = [free_port(), free_port()];
    ports.sort_unstable();
    let containers = vec![container("a", ports[0], app.address), container("b", ports[1], app.address)];
    let fixture = Fixture::start(GatewaySettings { listeners_max: 1, ..unchecked() }, containers).await;
    fixture.listening(ports[0]).await;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, ports[1])).is_err());
}
