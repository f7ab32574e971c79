//! The stream of an autoscaler: what it decides and how it is, without gap or repetition, until it is deleted.

use std::time::Duration;

use serde_json::json;
use slipway_common::model::autoscaler::{Decision, Reason};

use crate::autoscalers::{append, place, put, scale, settings, state, with_autoscaler};
use crate::doubles::Mood;
use crate::server::{DEADLINE, Server};
use crate::streams::{Message, messages, read_until};

/// Whether what was streamed is as the document says.
fn check(server: &Server, schema: &str, messages: &[&Message]) {
    let schema = json!({ "components": server.conformity.document()["components"],
        "$ref": format!("#/components/schemas/{schema}") });
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for message in messages {
        let errors: Vec<String> =
            validator.iter_errors(&message.data).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {message:?}");
    }
}

#[tokio::test]
async fn decisions_are_followed_resumed_and_come_to_an_end() {
    let server = Server::start_with(|settings| {
        settings.stream_keep_alive = Duration::from_millis(200);
    })
    .await;
    let (id, path) = with_autoscaler(&server).await;
    let events = format!("{path}/events");
    append(&server, &id, &[scale(2), Decision::Hold(Reason::OnTarget)]).await;
    let open = server.request("GET", &events).send().await.unwrap();
    assert_eq!(open.headers()["content-type"], "text/event-stream");
    let follower = tokio::spawn(read_until(open, |text| {
        let seen = messages(text);
        seen.iter().any(|one| one.id == Some(3))
            && seen.iter().any(|one| one.event == "state" && one.data["replicas"] == 2)
            && text.contains(": keep-alive")
    }));
    let place = place(&server, &id).await;
    for (replicas, fence) in [(1, 1), (2, 2)] {
        let state = (place.clone(), state(&id, replicas, fence));
        server.backend.autoscalers.put_states(&[state]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    append(&server, &id, &[scale(4)]).await;
    let seen = messages(&follower.await.unwrap());
    let decisions: Vec<&Message> = seen.iter().filter(|one| one.event == "decision").collect();
    let states: Vec<&Message> = seen.iter().filter(|one| one.event == "state").collect();
    assert_eq!(decisions.iter().map(|one| one.id.unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(decisions.iter().all(|one| one.data["number"] == one.id.unwrap()));
    assert!(!states.is_empty() && states.iter().all(|one| one.id.is_none()));
    check(&server, "DecisionView", &decisions);
    check(&server, "AutoscalerStateView", &states);

    let resumed = server.request("GET", &events).header("Last-Event-ID", 2).send().await.unwrap();
    let resumed = tokio::spawn(resumed.text());
    server.delete(&path).await.expect(204);
    let rest = tokio::time::timeout(DEADLINE, resumed).await.expect("it ends").unwrap().unwrap();
    let rest = messages(&rest);
    let end = rest.last().unwrap();
    assert_eq!((end.event.as_str(), &end.data), ("end", &json!({ "deployment": id, "reason": "deleted" })));
    assert!(rest.iter().all(|one| one.id.is_none_or(|id| id == 3)), "{rest:?}");
    server.get(&events).await.expect_problem(404, "autoscaler_absent");

    put(&server, &path, &settings()).await.expect(201);
    append(&server, &id, &[scale(5)]).await;
    let anew = server.request("GET", &format!("{events}?after=3")).send().await.unwrap();
    let anew = messages(&read_until(anew, |text| text.contains("event: decision")).await);
    assert_eq!((anew[0].id, &anew[0].data["decision"]["to"]), (Some(1), &json!(5)), "it was made anew");
    let bad = server.request("GET", &events).header("Last-Event-ID", "x");
    server.send(bad).await.expect_problem(400, "invalid_header");
    server.get(&format!("{events}?after=x")).await.expect_problem(400, "invalid_query");
}

#[tokio::test]
async fn a_stream_of_decisions_that_cannot_go_on_is_cut() {
    let server = Server::start().await;
    let (_, path) = with_autoscaler(&server).await;
    let open = server.request("GET", &format!("{path}/events")).send().await.unwrap();
    assert_eq!(open.status(), 200);
    server.faults.store(Mood::Away);
    let read = tokio::time::timeout(DEADLINE, open.text()).await.expect("it does not hang");
    assert!(read.is_err(), "it looks complete: {read:?}");
}
