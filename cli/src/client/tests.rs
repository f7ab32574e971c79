//! What the client does when a connection is lost, a server refuses, or answers nonsense.

use serde_json::{Value, json};

use super::fake::{self, Answer, header};
use super::*;

#[test]
fn only_loopback_is_local() {
    for (server, local) in [
        ("http://127.0.0.1:8640", true),
        ("http://[::1]:8640", true),
        ("http://localhost:1", true),
        ("http://10.0.0.1", false),
        ("https://127.0.0.1.example.com", false),
    ] {
        assert_eq!(is_local(&server.parse().unwrap()), local, "{server}");
    }
}

#[tokio::test]
async fn a_lost_post_is_repeated_under_the_same_key() {
    let script = vec![Answer::Cut, Answer::Json(202, r#"{"id":"x"}"#)];
    let (client, heads) = fake::client(script).await;
    let answer: Value = client.post(&["deployments"], &json!({}), "key-1").await.unwrap();
    assert_eq!(answer["id"], "x");
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 2);
    for head in heads.iter() {
        assert_eq!(header(head, "idempotency-key").as_deref(), Some("key-1"));
        assert_eq!(header(head, "authorization").as_deref(), Some("bearer slw_test"));
    }
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let refusal = r#"{"title":"Unprocessable","status":422,"code":"invalid_fields","detail":"no"}"#;
    let (client, heads) = fake::client(vec![Answer::Json(422, refusal)]).await;
    let error = client.post::<_, Value>(&["deployments"], &json!({}), "key-1").await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(problem) if problem.code == "invalid_fields"));
    assert_eq!(heads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_told_apart() {
    let (client, _) = fake::client(vec![Answer::Json(200, "<html>")]).await;
    let error = client.get::<Value>(&["deployments"], &[]).await.unwrap_err();
    assert!(matches!(error, ClientError::Answer { .. }), "{error}");
}

#[tokio::test]
async fn a_path_segment_cannot_become_two() {
    let (client, heads) = fake::client(vec![Answer::Json(200, "{}")]).await;
    let _: Value = client.get(&["deployments", "../tokens?x"], &[]).await.unwrap();
    assert!(heads.lock().unwrap()[0].starts_with("get /deployments/..%2ftokens%3fx http"));
}
