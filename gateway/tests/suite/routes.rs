//! Health, the engine's absence, and the reasons a client is given.

use std::sync::atomic::Ordering;

use http::StatusCode;
use slipway_gateway::{GatewayStatus, UpstreamHealth, route::label};

use crate::support::{Fixture, app::App, container, free_port, get, labelled, named, quick, unchecked};

fn all_are(status: &GatewayStatus, health: UpstreamHealth) -> bool {
    status.routes[0].upstreams.iter().all(|upstream| upstream.health == health)
}

#[tokio::test]
async fn unhealthy_replicas_get_nothing_and_come_back() {
    let (a, b) = (App::start("a").await, App::start("b").await);
    let port = free_port();
    let checked = |id, app: &App| labelled(container(id, port, app.address), label::HEALTH_PATH, "/health");
    let fixture = Fixture::start(quick(), vec![checked("a", &a), checked("b", &b)]).await;
    fixture.listening(port).await;
    a.set_healthy(false);
    fixture.until(|status| status.routes[0].upstreams[0].health == UpstreamHealth::Unhealthy).await;
    for _ in 0..6 {
        assert_eq!(get(port, "/").await.body, "b");
    }
    b.set_healthy(false);
    fixture.until(|status| all_are(status, UpstreamHealth::Unhealthy)).await;
    let got = get(port, "/").await;
    assert_eq!((got.status, got.problem_code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "all_unhealthy"));
    let status = fixture.gateway.status();
    assert_eq!(status.routes[0].upstreams[0].last_failure.as_deref(), Some("health check answered 500"));
    b.shared.healthy.store(true, Ordering::SeqCst);
    fixture.until(|status| status.routes[0].upstreams[1].health == UpstreamHealth::Healthy).await;
    assert_eq!(get(port, "/").await.body, "b");
}

#[tokio::test]
async fn a_replica_without_a_path_is_checked_by_connecting() {
    let a = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(quick(), vec![container("a", port, a.address)]).await;
    fixture.listening(port).await;
    assert!(all_are(&fixture.gateway.status(), UpstreamHealth::Healthy));
    a.stop();
    fixture.until(|status| all_are(status, UpstreamHealth::Unhealthy)).await;
    assert_eq!(get(port, "/").await.problem_code(), "all_unhealthy");
}

#[tokio::test]
async fn a_starting_replica_is_not_routed_until_it_is_renamed() {
    let a = App::start("a").await;
    let port = free_port();
    let serving = container("a", port, a.address);
    let fixture = Fixture::start(unchecked(), vec![named(serving.clone(), "-starting")]).await;
    fixture.listening(port).await;
    let got = get(port, "/").await;
    assert_eq!((got.status, got.problem_code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "no_replicas"));
    fixture.set(port, vec![serving.clone()]).await;
    assert_eq!(get(port, "/").await.body, "a");
    fixture.set(port, vec![named(serving, "-draining")]).await;
    assert_eq!(get(port, "/").await.problem_code(), "no_replicas");
}

#[tokio::test]
async fn the_last_good_routes_stay_while_the_engine_is_away() {
    let a = App::start("a").await;
    let port = free_port();
    let containers = vec![container("a", port, a.address)];
    let fixture = Fixture::start(quick(), containers.clone()).await;
    fixture.listening(port).await;
    fixture.feed(None);
    fixture.until(|status| status.stale_since.is_some()).await;
    let first = fixture.gateway.status();
    assert!(first.stale_reason.as_deref().unwrap().contains("the engine is away"), "{first:?}");
    for _ in 0..5 {
        assert_eq!(get(port, "/").await.body, "a");
    }
    fixture.until(|status| status.route_age_ms > Some(300)).await;
    assert!(fixture.metric("slipway_gateway_route_age_seconds") > 0.3);
    assert_eq!(fixture.gateway.status().stale_since, first.stale_since);
    a.stop();
    fixture.until(|status| all_are(status, UpstreamHealth::Unhealthy)).await;
    assert_eq!(get(port, "/").await.problem_code(), "engine_unreachable");
    fixture.feed(Some(containers));
    fixture.until(|status| status.stale_since.is_none()).await;
    assert_eq!(get(port, "/").await.problem_code(), "all_unhealthy");
}

#[tokio::test]
async fn an_engine_that_is_away_at_the_start_is_waited_for() {
    let a = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(unchecked(), Vec::new()).await;
    fixture.feed(None);
    fixture.until(|status| status.stale_since.is_some()).await;
    fixture.feed(Some(vec![container("a", port, a.address)]));
    fixture.listening(port).await;
    assert_eq!(get(port, "/").await.body, "a");
}

#[tokio::test]
async fn a_container_that_cannot_be_routed_is_named() {
    let a = App::start("a").await;
    let port = free_port();
    let broken = labelled(container("b", port, a.address), label::PORT, "none");
    let fixture = Fixture::start(unchecked(), vec![container("a", port, a.address), broken]).await;
    fixture.listening(port).await;
    let status = fixture.gateway.status();
    assert_eq!(status.rejected.len(), 1);
    assert_eq!(status.rejected[0].container, "shop-b");
    assert_eq!(get(port, "/").await.body, "a");
}
