//! What flags become a patch, and what is asked of the server.

use clap::{Parser as _, ValueEnum as _};
use serde_json::json;

use super::*;
use crate::args::{Cli, ClientCommand, Command, ProjectCommand};
use crate::client::fake::{self, Answer, asked, body};

const SHOWN: &str = r#"{"slug":"shop-1a2b3c","repository_url":"https://gitlab.example.com/group/shop",
    "forge":"gitlab","target":"local","build":"gitlab",
    "pipeline":{"image":"registry.example.com/shop","job":"image","timeout_s":60},
    "health":{"interval_ms":100,"timeout_ms":200,"deadline_ms":300},
    "environments":[{"name":"production","branch":"main"}],
    "review":{"paths":["app/**"],"environments_max":3,"ttl_h":72,"forks":true},
    "hook":{"url":"http://127.0.0.1:8640/webhooks/gitlab/0198"},"updated_at":"2026-11-20T10:00:00Z"}"#;
const CHANGED: &str = r#"{"slug":"shop-1a2b3c","repository_url":"https://gitlab.example.com/group/shop",
    "forge":"gitlab","target":"local","hook":{"url":"http://127.0.0.1:8640/webhooks/gitlab/0198"},
    "updated_at":"2026-11-20T10:00:00Z",
    "secrets":{"webhooks":[{"url":"https://a.example/x","secret":"whsec_a"}]}}"#;

fn args(flags: &str) -> SetProjectArgs {
    let line = ["slipway", "project", "set", "shop-1a2b3c"].into_iter().chain(flags.split_whitespace());
    let command = Cli::try_parse_from(line).unwrap().command;
    let Command::Client(ClientCommand::Project(ProjectCommand::Set(args))) = command else {
        panic!("{command:?}")
    };
    args.0
}

fn patched(flags: &str) -> Value {
    serde_json::to_value(patch(&args(flags)).unwrap()).unwrap()
}

#[test]
fn every_flag_is_in_the_patch_as_the_api_takes_it() {
    let flags = "--credential forge -e production=tag:v* -e staging=release/* -e staging=main \
                 --paths staging=app/** --paths staging=lib/** --target edge --build gitlab \
                 --commit merge-request --pipeline-job image --pipeline-timeout-s 900 \
                 --pull-credential registry --port 8080 --replicas 3 --set A=b=c --unset-env B \
                 --health-path /healthz --review-ttl-h 24 --review-max 5 --review-forks --no-statuses \
                 --no-deployments --no-notes --webhook https://a.example/x --webhook https://b.example/x";
    let paths = json!(["app/**", "lib/**"]);
    let expected = json!({
        "credential": "forge", "target": "edge", "build": "gitlab", "commit": "merge_request",
        "pipeline": { "job": "image", "timeout_s": 900 }, "pull_credential": "registry", "port": 8080,
        "replicas": 3, "env": { "A": "b=c", "B": null }, "health": { "path": "/healthz" },
        "environments": [
            { "name": "production", "tag": "v*" },
            { "name": "staging", "branch": "release/*", "paths": paths },
            { "name": "staging", "branch": "main", "paths": paths },
        ],
        "review": { "ttl_h": 24, "environments_max": 5, "forks": true },
        "notify": {
            "statuses": false, "deployments": false, "notes": false,
            "webhooks": [{ "url": "https://a.example/x" }, { "url": "https://b.example/x" }],
        },
    });
    assert_eq!(patched(flags), expected);
    serde_json::from_value::<ProjectPatch>(expected).unwrap();
}

#[test]
fn a_patch_has_nothing_that_was_not_given() {
    for (flags, expected) in [
        ("--port 80", json!({ "port": 80 })),
        ("--review", json!({ "review": {} })),
        ("--review-forks=false", json!({ "review": { "forks": false } })),
        ("--review-max 2", json!({ "review": { "environments_max": 2 } })),
        ("--no-notes", json!({ "notify": { "notes": false } })),
        (
            "--webhook https://a.example",
            json!({ "notify": { "webhooks": [{ "url": "https://a.example" }] } }),
        ),
        ("--pipeline-timeout-s 9", json!({ "pipeline": { "timeout_s": 9 } })),
        ("-e live=main", json!({ "environments": [{ "name": "live", "branch": "main" }] })),
        ("--unset-env A --unset-env B", json!({ "env": { "A": null, "B": null } })),
        ("--unset port --replicas 2", json!({ "port": null, "replicas": 2 })),
    ] {
        assert_eq!(patched(flags), expected, "{flags}");
    }
}

#[test]
fn whatever_can_be_unset_is_null() {
    for field in Unset::value_variants() {
        let name = field.to_possible_value().unwrap().get_name().to_owned();
        let sent = patched(&format!("--unset {name}"));
        let expected: Value = [(name.replace('-', "_"), Value::Null)].into_iter().collect();
        assert_eq!(sent, expected);
        serde_json::from_value::<ProjectPatch>(sent).unwrap();
    }
    assert_eq!(patched("--unset review --unset port"), json!({ "review": null, "port": null }));
}

#[test]
fn a_variable_that_is_passed_on_must_be_there() {
    let path = std::env::var("PATH").unwrap();
    assert_eq!(patched("--set-from-env PATH"), json!({ "env": { "PATH": path } }));
    let missing = patch(&args("--set-from-env SLIPWAY_TEST_NOBODY_SETS_THIS"));
    assert!(matches!(missing, Err(CommandError::Secret { .. })), "{missing:?}");
}

#[tokio::test]
async fn one_request_suffices_and_names_nothing_else() {
    let (client, requests) = fake::client(vec![Answer::Json(200, CHANGED)]).await;
    changed(&client, &args("--port 80 --unset review --no-notes --health-path /healthz")).await.unwrap();
    assert_eq!(asked(&requests), ["patch /projects/shop-1a2b3c"]);
    let expected = json!({
        "port": 80, "review": null, "notify": { "notes": false }, "health": { "path": "/healthz" },
    });
    assert_eq!(body(&requests, 0), expected);
}

#[tokio::test]
async fn the_answer_brings_the_rules_and_the_secrets_of_new_webhooks() {
    let (client, _) = fake::client(vec![Answer::Json(200, CHANGED), Answer::Json(200, CHANGED)]).await;
    let args = args("--webhook https://a.example/x");
    let answer = changed(&client, &args).await.unwrap();
    let made: ProjectCreated = read(&client, answer).unwrap();
    let secrets = &made.secrets.webhooks;
    assert_eq!((secrets.len(), secrets[0].url.as_str()), (1, "https://a.example/x"));
    assert_eq!(run(&client, &args, false).await.unwrap(), Exit::Done);
    let shown: ProjectCreated = serde_json::from_str(SHOWN).unwrap();
    assert!(shown.secrets.webhooks.is_empty(), "no other answer has them");
}

#[tokio::test]
async fn what_the_server_refuses_is_told() {
    let refusal = r#"{"title":"No","status":422,"code":"invalid_fields","detail":"build"}"#;
    let (client, _) = fake::client(vec![Answer::Json(422, refusal)]).await;
    let refused = run(&client, &args("--build gitlab"), true).await;
    assert!(matches!(refused, Err(CommandError::Client(_))), "{refused:?}");
}
