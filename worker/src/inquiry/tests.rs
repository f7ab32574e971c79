//! Tests of what is answered without a target, and of what decides.

use slipway_common::inquiry::TAIL_LINES_DEFAULT;
use slipway_common::model::{DeploymentId, InquiryId};

use super::*;
use crate::docker::labels::RoutingState;
use crate::testing::{Installation, Mood};

const LONG: Duration = Duration::from_secs(30);

fn log_of(deployment: DeploymentId, pod: &str) -> Inquiry {
    let what = Asked::Log { container: None, previous: false, tail_lines: TAIL_LINES_DEFAULT };
    Inquiry { id: InquiryId::generate(), deployment, pod: pod.to_owned(), what }
}

fn code(answer: &Answer) -> &str {
    match answer {
        Answer::Failed { code, .. } => code,
        Answer::UnknownPod => "unknown_pod",
        Answer::UnknownContainer { .. } => "unknown_container",
        Answer::Log { .. } | Answer::Events(_) => "found",
    }
}

/// Whatever cannot be answered is said: an asker that hears nothing would wait in vain.
#[tokio::test]
async fn every_question_is_answered() {
    let installation = Installation::open();
    let (tools, stop) = (installation.tools(), CancellationToken::new());
    let answering = tokio::spawn(answer_questions(Arc::clone(&tools), stop.clone()));
    let deployment = installation.accept().await.deployment;
    let ask = async |inquiry: Inquiry| {
        let sealed = tools.backend.inquiries.ask(&inquiry, LONG).await.unwrap();
        Answer::open(&sealed, &tools.sealer, inquiry.id).unwrap()
    };
    let elsewhere = ask(log_of(deployment, "shop-1")).await;
    assert_eq!(code(&elsewhere), "target_unknown", "the sample's target is another: {elsewhere:?}");
    let long = "a".repeat(300);
    for hostile in ["", "../../secrets", "..%2F..%2Fsecrets", "shop\0", "a/b", "A", &long] {
        assert_eq!(ask(log_of(deployment, hostile)).await, Answer::UnknownPod, "{hostile:?}");
    }
    assert_eq!(ask(log_of(DeploymentId::generate(), "shop-1")).await, Answer::UnknownPod);
    installation.store.set(Mood::Away);
    assert_eq!(code(&ask(log_of(deployment, "shop-1")).await), "store_unavailable");
    stop.cancel();
    answering.await.unwrap();
}

/// A question that comes while as many are answered as may be waits for its turn.
#[tokio::test]
async fn more_questions_than_are_answered_at_once_are_all_answered() {
    let installation = Installation::open();
    let (tools, stop) = (installation.tools(), CancellationToken::new());
    let mut askers = JoinSet::new();
    for _ in 0..AT_ONCE * 5 {
        let tools = Arc::clone(&tools);
        let inquiry = log_of(DeploymentId::generate(), "shop-1");
        askers.spawn(async move { tools.backend.inquiries.ask(&inquiry, LONG).await.is_ok() });
    }
    let answering = tokio::spawn(answer_questions(tools, stop.clone()));
    assert!(askers.join_all().await.into_iter().all(|answered| answered));
    stop.cancel();
    answering.await.unwrap();
}

#[test]
fn the_newest_lines_are_kept_within_their_limit() {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert_eq!(newest(lines(&["one", "two", "three"]), 10), (lines(&["two", "three"]), true));
    assert_eq!(newest(lines(&["one", "two"]), 8), (lines(&["one", "two"]), false));
    assert_eq!(newest(lines(&["longer"]), 6), (Vec::new(), true));
    assert_eq!(newest(Vec::new(), 0), (Vec::new(), false));
    let Answer::Log { lines, truncated, .. } = of_lines("web", vec!["x".repeat(1_023); 65], false) else {
        panic!("no log")
    };
    assert_eq!((lines.len() * 1_024, truncated), (LOG_MAX_BYTES, true));
}

#[test]
fn lines_are_asked_for_within_their_limit() {
    assert_eq!([0, 1, 500, TAIL_LINES_MAX + 1].map(line_count), [1, 1, 500, TAIL_LINES_MAX]);
}

fn container(name: &str, deployment: &str) -> docker::LiveReplica {
    docker::LiveReplica {
        container_id: format!("id-of-{name}"),
        name: name.to_owned(),
        deployment: deployment.to_owned(),
        state: "running".to_owned(),
        routing: RoutingState::Serving,
        image_id: String::new(),
        started_at: None,
        restarts: 0,
        exit_code: None,
        oom_killed: false,
        ip: None,
        port: None,
        memory_bytes: None,
        cpu_millis: None,
    }
}

#[test]
fn containers_of_another_deployment_are_unknown() {
    let seen = docker::LiveState {
        replicas: vec![container("web-1", "one"), container("web-2", "two")],
        supports: vec![container("db", "older")],
        observed_at: jiff::Timestamp::UNIX_EPOCH,
    };
    let found = |deployment: &str, name: &str| belonging(&seen, deployment, name).is_some();
    assert!(found("one", "web-1") && found("two", "web-2"));
    assert!(!found("one", "web-2") && !found("three", "web-1") && !found("one", "id-of-web-1"));
    assert!(found("one", "db"), "a support is kept from one deployment to the next");
    assert!(found("older", "db"), "it is still its own");
    assert!(!found("three", "db"), "who has nothing there has no support there");
}
