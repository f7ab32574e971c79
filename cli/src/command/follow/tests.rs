//! Watching over lost connections and restarts.

use super::*;
use crate::client::fake::{self, Answer, header};

const STARTED: &str = "id: 1\nevent: stage_started\ndata: {\"job\":\"j\",\"at\":\"2026-01-01T00:00:00Z\",\"stage\":\"clone\",\"attempt\":1}\n\n";
const OTHER_FAILED: &str =
    "id: 2\nevent: failed\ndata: {\"job\":\"other\",\"at\":\"2026-01-01T00:00:00Z\"}\n\n";
const SUCCEEDED: &str = "id: 3\nevent: succeeded\ndata: {\"job\":\"j\",\"at\":\"2026-01-01T00:00:00Z\"}\n\n";
const AT_WORK: &str = r#"{"id":"d","project_path":"g/r","environment":"default","target":"docker","status":"preparing",
    "created_at":"2026-01-01T00:00:00Z","jobs":[{"id":"j","state":{"status":"running","stage":"clone","attempt":1}}]}"#;
const CANCELLED: &str = r#"{"id":"d","project_path":"g/r","environment":"default","target":"docker","status":"stopped",
    "created_at":"2026-01-01T00:00:00Z","jobs":[{"id":"j","state":{"status":"cancelled"}}]}"#;

fn watched() -> Watched {
    Watched { deployment: "d".to_owned(), job: "j".to_owned() }
}

async fn watch(script: Vec<Answer>) -> (Result<Outcome, CommandError>, Vec<String>) {
    let (client, heads) = fake::client(script).await;
    let mut progress = Progress::start(true, "d");
    let outcome = until_end(&client, &watched(), &mut progress).await;
    let heads = heads.lock().unwrap().clone();
    (outcome, heads)
}

#[tokio::test]
async fn a_cut_stream_goes_on_after_the_last_event_seen() {
    let (outcome, heads) = watch(vec![
        Answer::Events { text: STARTED, cut: true },
        Answer::Events { text: SUCCEEDED, cut: false },
    ])
    .await;
    assert_eq!(outcome.unwrap(), Outcome::Succeeded);
    assert_eq!(header(&heads[0], "last-event-id"), None);
    assert_eq!(header(&heads[1], "last-event-id").as_deref(), Some("1"));
}

#[tokio::test]
async fn the_end_of_another_job_is_not_the_end() {
    let (outcome, _) = watch(vec![
        Answer::Events { text: OTHER_FAILED, cut: true },
        Answer::Events { text: SUCCEEDED, cut: false },
    ])
    .await;
    assert_eq!(outcome.unwrap(), Outcome::Succeeded);
}

#[tokio::test]
async fn a_stream_that_ends_early_is_checked_against_the_deployment() {
    let (outcome, _) = watch(vec![
        Answer::Events { text: STARTED, cut: false },
        Answer::Json(200, AT_WORK),
        Answer::Events { text: STARTED, cut: false },
        Answer::Json(200, CANCELLED),
    ])
    .await;
    assert_eq!(outcome.unwrap(), Outcome::Overtaken);
}

#[tokio::test]
async fn a_refusal_ends_the_watch() {
    let (outcome, _) = watch(vec![Answer::Json(404, r#"{"title":"Not Found","detail":"gone"}"#)]).await;
    assert!(matches!(outcome, Err(CommandError::Client(ClientError::Refused(_)))));
}

#[test]
fn every_outcome_has_its_exit_code() {
    for (name, exit) in [
        ("succeeded", Some(Exit::Done)),
        ("failed", Some(Exit::Failed)),
        ("cancelled", Some(Exit::Overtaken)),
        ("superseded", Some(Exit::Overtaken)),
        ("stage_finished", None),
    ] {
        assert_eq!(Outcome::of_event(name).map(Outcome::exit), exit, "{name}");
    }
}
