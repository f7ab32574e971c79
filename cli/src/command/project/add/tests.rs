//! A set-up step by step, and what is left when one of its steps fails.

use clap::Parser as _;

use super::super::testing::{gitlab, token};
use super::*;
use crate::args::{Cli, ClientCommand, Command, ProjectCommand};
use crate::client::fake::{self, Answer, Requests, asked, body};

const INFO: &str = r#"{"id":1,"path_with_namespace":"group/shop",
    "container_registry_image_prefix":"registry.example.com:5050/group/shop",
    "permissions":{"project_access":{"access_level":40}}}"#;
const TOKEN_INFO: &str = r#"{"scopes":["api"]}"#;
const DEPLOY_TOKEN: &str = r#"{"id":8,"username":"gitlab+deploy-token-8","token":"gldt-of-a-test"}"#;
const CREATED: &str = r#"{"slug":"shop-1a2b3c","forge":"gitlab",
    "hook":{"url":"http://127.0.0.1:8640/webhooks/gitlab/0198"},
    "secrets":{"signing_secret":"whsec_a","token":"token-a"}}"#;
const KEPT: &str = r#"{"slug":"shop-1a2b3c","repository_url":"https://gitlab.example.com/group/shop","forge":"gitlab",
    "target":"local","hook":{"url":"http://127.0.0.1:8640/webhooks/gitlab/0198"},
    "updated_at":"2026-11-20T10:00:00Z"}"#;

fn answer(status: u16, body: &'static str) -> Answer {
    Answer::Json(status, body)
}

fn args(flags: &[&str]) -> AddArgs {
    let line = ["slipway", "project", "add", "https://gitlab.example.com/group/shop"];
    let command = Cli::try_parse_from(line.iter().chain(flags)).unwrap().command;
    let Command::Client(ClientCommand::Project(ProjectCommand::Add(args))) = command else {
        panic!("{command:?}")
    };
    args.0
}

/// A set-up against a server and a GitLab that follow these scripts; when it fails, what is left after it was undone. What
/// each was asked.
async fn set_up(
    server: Vec<Answer>,
    forge: Vec<Answer>,
) -> (Result<Value, CommandError>, Vec<String>, Requests, Requests) {
    set_up_with(&[], server, forge).await
}

/// The same, with more flags.
async fn set_up_with(
    flags: &[&str],
    server: Vec<Answer>,
    forge: Vec<Answer>,
) -> (Result<Value, CommandError>, Vec<String>, Requests, Requests) {
    let (gitlab, repository, forge_requests) = gitlab(forge).await;
    let (client, requests) = fake::client(server).await;
    let usual = ["-e", "production=main", "--public-url", "https://slipway.example.com"];
    let args = args(&[&usual[..], flags].concat());
    let mut steps = Steps::new(&client, &gitlab, true);
    let done = steps.take(&args, &repository, &token(), request(&args).unwrap()).await;
    let left = if done.is_err() { steps.undone().await } else { Vec::new() };
    (done, left, requests, forge_requests)
}

/// What the server answers until the project is registered.
fn registered() -> Vec<Answer> {
    vec![answer(404, "{}"), answer(201, "{}"), answer(201, "{}"), answer(201, CREATED)]
}

/// What GitLab answers until the deploy token is made.
fn found() -> Vec<Answer> {
    vec![answer(200, INFO), answer(200, TOKEN_INFO), answer(201, DEPLOY_TOKEN)]
}

fn with(mut first: Vec<Answer>, more: Vec<Answer>) -> Vec<Answer> {
    first.extend(more);
    first
}

#[tokio::test]
async fn everything_is_made_and_noted() {
    let forge = with(found(), vec![answer(201, r#"{"id":7}"#), answer(200, "{}"), answer(200, "{}")]);
    let (done, _, requests, forge) = set_up(with(registered(), vec![answer(200, KEPT)]), forge).await;
    assert_eq!(done.unwrap()["slug"], "shop-1a2b3c");
    let registry = body(&requests, 2);
    assert_eq!(registry["host"], "registry.example.com:5050");
    assert_eq!(registry["secret"], "gldt-of-a-test");
    let project = body(&requests, 3);
    let name = project["credential"].as_str().unwrap().to_owned();
    assert!(name.starts_with("gitlab-shop-"), "{name}");
    assert_eq!(project["environments"][0]["branch"], "main");
    assert_eq!(project["made"]["variables"], json!([VARIABLE_URL, VARIABLE_PROJECT]), "before they are set");
    let hook = body(&forge, 3);
    assert_eq!(hook["url"], "https://slipway.example.com/webhooks/gitlab/0198");
    assert_eq!((hook["signing_token"].as_str(), hook["token"].as_str()), (Some("whsec_a"), Some("token-a")));
    assert_eq!(body(&forge, 4)["value"], "https://slipway.example.com");
    let made = &body(&requests, 4)["made"];
    assert_eq!((made["hook"].as_u64(), made["deploy_token"].as_u64()), (Some(7), Some(8)));
    assert_eq!(made["credentials"], json!([name, project["pull_credential"]]));
}

#[tokio::test]
async fn secrets_of_outgoing_webhooks_are_not_lost_on_the_way() {
    let created = r#"{"slug":"shop-1a2b3c","forge":"gitlab",
        "hook":{"url":"http://127.0.0.1:8640/webhooks/gitlab/0198"},
        "secrets":{"signing_secret":"whsec_a","token":"token-a",
            "webhooks":[{"url":"https://a.example/x","secret":"whsec_b"}]}}"#;
    let mut server = registered();
    server.pop();
    let server = with(server, vec![answer(201, created), answer(200, KEPT)]);
    let forge = with(found(), vec![answer(201, r#"{"id":7}"#), answer(200, "{}"), answer(200, "{}")]);
    let (done, _, requests, _) = set_up_with(&["--webhook", "https://a.example/x"], server, forge).await;
    let made = json!({ "webhooks": [{ "url": "https://a.example/x", "secret": "whsec_b" }] });
    assert_eq!(done.unwrap()["secrets"], made);
    assert_eq!(body(&requests, 3)["notify"], json!({ "webhooks": [{ "url": "https://a.example/x" }] }));
}

#[tokio::test]
async fn a_pull_credential_that_is_given_needs_no_deploy_token() {
    let server = vec![answer(404, "{}"), answer(201, "{}"), answer(201, CREATED), answer(200, KEPT)];
    let forge = vec![
        answer(200, INFO),
        answer(200, TOKEN_INFO),
        answer(201, r#"{"id":7}"#),
        answer(200, "{}"),
        answer(200, "{}"),
    ];
    let (done, _, requests, _) = set_up_with(&["--pull-credential", "registry"], server, forge).await;
    assert!(done.unwrap()["secrets"].is_null());
    let project = body(&requests, 2);
    assert_eq!(project["pull_credential"], "registry");
    assert_eq!(project["made"]["credentials"], json!([project["credential"]]));
}

#[tokio::test]
async fn a_project_that_is_registered_is_left_alone() {
    let (done, left, requests, forge) = set_up(vec![answer(200, KEPT)], Vec::new()).await;
    assert!(done.unwrap_err().to_string().contains("is registered"));
    assert!(left.is_empty() && forge.lock().unwrap().is_empty());
    assert_eq!(asked(&requests).len(), 1, "its credentials are neither replaced nor deleted");
}

#[tokio::test]
async fn what_was_made_but_could_not_be_noted_is_undone() {
    let ok = || answer(204, "");
    let made = vec![answer(201, r#"{"id":7}"#), answer(200, "{}"), answer(200, "{}")];
    let forge = with(with(found(), made), vec![ok(), ok(), ok(), ok()]);
    let server = with(registered(), vec![answer(503, "{}"), ok(), ok(), ok()]);
    let (done, left, requests, forge) = set_up(server, forge).await;
    assert!(done.is_err());
    assert_eq!(left, Vec::<String>::new());
    let undone: Vec<String> = asked(&forge)[6..].to_vec();
    let ends = ["/slipway_project", "/slipway_url", "/hooks/7", "/deploy_tokens/8"];
    for (asked, end) in undone.iter().zip(ends) {
        let path = asked.split('?').next().unwrap();
        assert!(path.starts_with("delete ") && path.ends_with(end), "{undone:?}");
    }
    let undone: Vec<String> = asked(&requests)[5..].to_vec();
    assert!(undone[0].starts_with("delete /projects/"), "{undone:?}");
    assert!(undone[1].starts_with("delete /credentials/gitlab-"), "{undone:?}");
    assert!(undone[2].starts_with("delete /credentials/registry-"), "{undone:?}");
}

#[tokio::test]
async fn a_hook_whose_answer_was_lost_is_found_and_removed() {
    let hooks = r#"[{"id":5,"url":"https://slipway.example.com/webhooks/gitlab/0197"},
        {"id":7,"url":"https://slipway.example.com/webhooks/gitlab/0198"}]"#;
    let ok = || answer(204, "");
    // The deploy token goes first here: there is no number of a hook.
    let forge = with(found(), vec![Answer::Cut, ok(), answer(200, hooks), ok()]);
    let (done, left, _, forge) = set_up(with(registered(), vec![ok(), ok(), ok()]), forge).await;
    assert!(matches!(done, Err(CommandError::Forge(_))), "{done:?}");
    assert_eq!(left, Vec::<String>::new());
    let asked = asked(&forge);
    assert!(asked[6].starts_with("delete ") && asked[6].ends_with("/hooks/7"), "{asked:?}");
}

#[tokio::test]
async fn a_registration_that_was_refused_is_not_undone_and_one_in_doubt_is() {
    let ok = || answer(204, "");
    let until = || vec![answer(404, "{}"), answer(201, "{}"), answer(201, "{}")];
    let refused = with(until(), vec![answer(409, "{}"), ok(), ok()]);
    let (done, left, requests, _) = set_up(refused, with(found(), vec![ok()])).await;
    assert!(done.is_err() && left.is_empty(), "{left:?}");
    assert!(asked(&requests)[4..].iter().all(|asked| asked.starts_with("delete /credentials/")));
    let in_doubt = with(until(), vec![answer(503, "{}"), answer(404, "{}"), ok(), ok()]);
    let (done, left, requests, _) = set_up(in_doubt, with(found(), vec![ok()])).await;
    assert!(done.is_err() && left.is_empty(), "{left:?}");
    assert!(asked(&requests)[4].starts_with("delete /projects/"), "{requests:?}");
}

#[tokio::test]
async fn what_cannot_be_undone_is_named() {
    let server = vec![answer(404, "{}"), answer(201, "{}"), answer(503, "{}")];
    let forge = vec![answer(200, INFO), answer(200, TOKEN_INFO), answer(403, "{}")];
    let (done, left, ..) = set_up(server, forge).await;
    assert!(matches!(done, Err(CommandError::Forge(_))), "{done:?}");
    assert!(left.len() == 1 && left[0].starts_with("credential gitlab-shop-"), "{left:?}");
}

#[test]
fn who_hosts_a_repository_is_told_by_its_host_or_said() {
    let at = |url: &str, forge: Option<Forge>| is_gitlab(forge, &repository(url).unwrap());
    assert!(at("https://gitlab.com/group/shop", None) && at("https://git.example.com/group/shop", None));
    assert!(!at("https://github.com/group/shop", None) && !at("https://GitHub.com/group/shop", None));
    assert!(at("https://github.com.example.com/group/shop", None));
    assert!(at("https://github.com/group/shop", Some(Forge::Gitlab)));
    assert!(!at("https://git.example.com/group/shop", Some(Forge::Gitea)));
}

#[test]
fn flags_become_a_registration() {
    let flags = "-e production=tag:v* -e staging=release/* --review --build gitlab --pipeline-job image \
                 --set A=b=c -n 2";
    let args = args(&flags.split_whitespace().collect::<Vec<_>>());
    let request = serde_json::to_value(request(&args).unwrap()).unwrap();
    assert_eq!(
        request,
        json!({
            "repository_url": "https://gitlab.example.com/group/shop", "build": "gitlab", "replicas": 2,
            "pipeline": { "job": "image" }, "env": { "A": "b=c" }, "review": {},
            "environments": [
                { "name": "production", "tag": "v*" }, { "name": "staging", "branch": "release/*" },
            ],
        })
    );
}

#[test]
fn every_flag_of_a_change_is_one_of_a_registration_too() {
    let flags = "-e production=main --paths production=app/** --pipeline-timeout-s 900 \
                 --pull-credential registry --health-path /healthz --review-ttl-h 24 --review-max 5 \
                 --review-forks --no-statuses --no-deployments --no-notes --webhook https://a.example/x";
    let args = args(&flags.split_whitespace().collect::<Vec<_>>());
    let request = serde_json::to_value(request(&args).unwrap()).unwrap();
    assert_eq!(
        request,
        json!({
            "repository_url": "https://gitlab.example.com/group/shop", "pipeline": { "timeout_s": 900 },
            "pull_credential": "registry", "health": { "path": "/healthz" },
            "environments": [{ "name": "production", "branch": "main", "paths": ["app/**"] }],
            "review": { "ttl_h": 24, "environments_max": 5, "forks": true },
            "notify": {
                "statuses": false, "deployments": false, "notes": false,
                "webhooks": [{ "url": "https://a.example/x" }],
            },
        })
    );
}

#[test]
fn the_address_of_a_hook_can_be_the_one_the_forge_sees() {
    let url = "http://127.0.0.1:8640/webhooks/gitlab/0198";
    assert_eq!(public(url, None).unwrap(), url);
    let base = "https://slipway.example.com/base/".parse().unwrap();
    assert_eq!(public(url, Some(&base)).unwrap(), "https://slipway.example.com/base/webhooks/gitlab/0198");
    assert!(public("http://127.0.0.1/other", Some(&base)).is_err());
}
