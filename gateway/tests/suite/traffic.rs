//! What is counted of requests, and for whom.

use slipway_common::model::DeploymentId;
use slipway_gateway::{Traffic, route::Container, route::label};

use crate::support::{Fixture, app::App, container, eventually, free_port, get, labelled, named, unchecked};

fn traffic(fixture: &Fixture) -> Traffic {
    let all = fixture.gateway.traffic();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

fn counted(fixture: &Fixture) -> (DeploymentId, u64, u64) {
    let traffic = traffic(fixture);
    (traffic.deployment, traffic.arrivals_total, traffic.inflight)
}

#[tokio::test]
async fn requests_count_for_the_deployment_that_serves() {
    let a = App::start("a").await;
    let (port, first, second) = (free_port(), DeploymentId::generate(), DeploymentId::generate());
    let of = |id: &str, deployment: DeploymentId, created_unix_s: i64| -> Container {
        let labelled = labelled(container(id, port, a.address), label::DEPLOYMENT, &deployment.to_string());
        Container { created_unix_s, ..labelled }
    };
    let (old, new) = (of("old", first, 100), of("new", second, 200));
    let fixture = Fixture::start(unchecked(), vec![named(old.clone(), "-starting")]).await;
    fixture.listening(port).await;
    assert_eq!(get(port, "/").await.problem_code(), "no_replicas");
    assert_eq!(counted(&fixture), (first, 1, 0), "one that no replica could take");
    fixture.set(port, vec![old.clone()]).await;
    get(port, "/").await;
    let hanging = tokio::spawn(get(port, "/hang"));
    eventually(|| counted(&fixture) == (first, 3, 1)).await;
    fixture.set(port, vec![old.clone(), new.clone()]).await;
    assert_eq!(counted(&fixture), (second, 0, 0), "what is under way at the old one is its own");
    fixture.set(port, vec![named(old, "-draining"), new]).await;
    get(port, "/").await;
    eventually(|| counted(&fixture) == (second, 1, 0)).await;
    let shown = traffic(&fixture);
    assert_eq!((shown.project.as_str(), shown.environment.as_str()), ("shop", "default"));
    let status = fixture.gateway.status();
    assert_eq!((status.routes[0].deployment, status.routes[0].arrivals_total), (Some(second), 1));
    a.open_gate();
    hanging.await.unwrap();
}

#[tokio::test]
async fn containers_without_a_deployment_are_routed_and_not_counted() {
    let a = App::start("a").await;
    let port = free_port();
    let fixture = Fixture::start(unchecked(), vec![container("a", port, a.address)]).await;
    fixture.listening(port).await;
    assert_eq!(get(port, "/").await.body, "a");
    assert!(fixture.gateway.traffic().is_empty());
}
