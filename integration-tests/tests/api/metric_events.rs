//! Metric events: passed on to whoever listens, or refused as a whole.

use serde_json::{Value, json};
use slipway_common::metric::{Heard, METRIC_EVENTS_MAX, Measured};

use crate::server::{DEADLINE, Server};

#[tokio::test]
async fn metric_events_are_passed_on_or_refused_as_a_whole() {
    let server = Server::start().await;
    let mut heard = server.backend.metrics.subscribe();
    let deployment = "01890a5d-ac96-774b-bcce-b302099a8057";
    let good = json!({
        "version": 1, "deployment": deployment, "kind": "container", "container": "shop-1",
        "at": "2026-11-27T12:00:00Z", "cpu_used_total_s": 1.5, "cpu_allowed_cores": 0.5,
    });
    let traffic = json!({
        "version": 1, "deployment": deployment, "kind": "traffic", "at": "2026-11-27T12:00:00Z",
        "arrivals_per_s": 120.5,
    });
    let bad = |name: &str, value: Value| {
        let mut bad = good.clone();
        bad[name] = value;
        bad
    };
    for refused in [
        json!({}),
        json!("x"),
        json!(null),
        bad("version", json!(2)),
        bad("deployment", json!("shop")),
        bad("container", json!("")),
        bad("kind", json!("pod")),
        bad("cpu_used_cores", json!(1)),
        json!([good, bad("at", json!("today"))]),
    ] {
        server.post("/metric-events", &refused).await.expect_problem(422, "metric_event_invalid");
    }
    let post = || server.request("POST", "/metric-events");
    server.send(post().json(&json!([]))).await.expect(202);
    server.send(post()).await.expect_problem(415, "unsupported_media_type");
    let large = post().json(&vec![good.clone(); METRIC_EVENTS_MAX]);
    server.send(large).await.expect_problem(413, "body_too_large");
    server
        .send(server.anonymous("POST", "/metric-events").json(&good))
        .await
        .expect_problem(401, "unauthorized");
    assert_eq!(server.post("/metric-events", &good).await.expect(202).json(), json!({ "accepted": 1 }));
    let several = json!([traffic, good]);
    assert_eq!(server.post("/metric-events", &several).await.expect(202).json(), json!({ "accepted": 2 }));
    let mut events = Vec::new();
    while events.len() < 3 {
        match tokio::time::timeout(DEADLINE, heard.next()).await.expect("in time") {
            Heard::Events(more) => events.extend(more),
            other @ (Heard::Refused(_) | Heard::Missed(_)) => panic!("{other:?}"),
        }
    }
    assert_eq!(events.len(), 3, "nothing of what was refused was passed on");
    assert!(matches!(&events[0].measured, Measured::Container(one) if one.cpu_used_total_s == Some(1.5)));
    assert!(matches!(&events[1].measured, Measured::Traffic(_)));
}
