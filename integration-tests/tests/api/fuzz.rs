//! Random requests made from the OpenAPI document: no answer is a fault of the server, and every one is documented.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use slipway_common::inquiry::Answer;

use crate::pods::answering;
use crate::server::Server;

/// Requests that are sent.
const REQUESTS: usize = 3_000;

/// A request that may or may not make sense.
#[derive(Debug, Clone)]
struct Attempt {
    operation: usize,
    segment: usize,
    text: String,
    parameters: Vec<(usize, usize)>,
    body: Option<Value>,
    with_token: bool,
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u32..70_000).prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("https://git.example.com/team/shop")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn bodies() -> impl Strategy<Value = Value> {
    let fields = prop::sample::select(vec![
        "repository_url",
        "branch",
        "revision",
        "environment",
        "target",
        "cluster",
        "port",
        "replicas",
        "env",
        "supports",
        "image",
        "build",
        "commit",
        "repository_token",
        "credential",
        "health",
        "resources",
        "forge",
        "pipeline",
        "pull_credential",
        "environments",
        "review",
        "notify",
        "hook",
        "rotate_hook",
        "to",
        "secret",
        "username",
        "host",
        "name",
        "cpu_target",
        "replicas_max",
        "amount",
        "extra",
    ]);
    prop_oneof![
        values(),
        prop::collection::btree_map(fields, values(), 0..5).prop_map(|mut map| {
            map.entry("repository_url").or_insert(json!("https://git.example.com/team/shop"));
            json!(map)
        }),
    ]
}

fn attempts() -> impl Strategy<Value = Attempt> {
    let parameters = prop::collection::vec((any::<usize>(), any::<usize>()), 0..4);
    (
        any::<usize>(),
        any::<usize>(),
        any::<String>(),
        parameters,
        prop::option::of(bodies()),
        prop::bool::weighted(0.95),
    )
        .prop_map(|(operation, segment, text, parameters, body, with_token)| Attempt {
            operation,
            segment,
            text,
            parameters,
            body,
            with_token,
        })
}

/// An operation of the document.
struct Operation {
    method: String,
    template: String,
    parameters: Vec<(String, String)>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            operations.push(Operation {
                method: method.to_uppercase(),
                template: template.clone(),
                parameters: parameters.map(|one| (text(&one["in"]), text(&one["name"]))).collect(),
            });
        }
    }
    operations
}

/// Puts a request together. Streams are not followed: they would go on until their job ends.
fn build(
    server: &Server,
    operations: &[Operation],
    ids: &[String],
    attempt: &Attempt,
) -> reqwest::RequestBuilder {
    let operation = &operations[attempt.operation % operations.len()];
    let escaped: String = url::form_urlencoded::byte_serialize(attempt.text.as_bytes()).collect();
    let segment = match attempt.segment % 3 {
        0 if !escaped.is_empty() => escaped,
        _ => ids[attempt.segment % ids.len()].clone(),
    };
    let is_path = |part: &str| part.starts_with('{');
    let parts: Vec<&str> = operation
        .template
        .split('/')
        .map(|part| if is_path(part) { segment.as_str() } else { part })
        .collect();
    let mut request = if attempt.with_token {
        server.request(&operation.method, &parts.join("/"))
    } else {
        server.anonymous(&operation.method, &parts.join("/"))
    };
    let texts = [
        "1",
        "0",
        "-1",
        "true",
        "active",
        "clone",
        "x",
        "",
        "https://git.example.com/team/shop",
        "é",
        "9999999999",
    ];
    for (name, value) in &attempt.parameters {
        if operation.parameters.is_empty() {
            break;
        }
        let (place, name) = &operation.parameters[name % operation.parameters.len()];
        let value = texts[value % texts.len()];
        request = match place.as_str() {
            "query" if name != "follow" => request.query(&[(name, value)]),
            "header" => request.header(name, value),
            _ => request,
        };
    }
    match &attempt.body {
        Some(body) => request.json(body),
        None => request,
    }
}

#[tokio::test]
async fn b1_no_request_is_answered_with_a_fault_or_in_an_undocumented_way() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for failure in [None, Some(slipway_common::model::Stage::Build)] {
        ids.push(server.deploy("shop").await);
        let job = server.carry_out(failure).await;
        ids.push(job.id.to_string());
    }
    let worker = answering(&server, |_| Answer::UnknownPod);
    let mut operations = operations(server.conformity.document());
    operations.retain(|operation| !operation.template.ends_with("/events"));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = attempts();
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..REQUESTS {
        let attempt = strategy.new_tree(&mut runner).unwrap().current();
        let answer = server.send(build(&server, &operations, &ids, &attempt)).await;
        assert!(answer.status < 500, "{attempt:?}: {}", answer.text());
        *statuses.entry(answer.status).or_insert(0_u32) += 1;
    }
    worker.abort();
    for expected in [200, 202, 400, 401, 404, 409, 422] {
        assert!(statuses.contains_key(&expected), "{expected} never happened: {statuses:?}");
    }
}
