//! Payloads that lie beside the checkout: read every one, and verify the signatures that belong to them. They are no
//! part of the repository; without them this says so.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use super::*;
use crate::model::registered::HookSecretKind;
use crate::webhook::{Headers, OpenSecret, verify};

const FOLDER_VARIABLE: &str = "SLIPWAY_TEST_PAYLOADS";
const VECTORS: &str = "signature_vectors.json";
const EVENTS: [&str; 6] = ["push", "create", "delete", "ping", "pull_request", "Push Hook"];

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    if folder.is_none() {
        writeln!(std::io::stderr(), "SKIP payloads: {FOLDER_VARIABLE} not set").ok();
    }
    folder
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found
}

/// What a file of GitLab must say, by its event.
fn fits(body: &Value, parsed: &Result<Parsed, Unreadable>) -> bool {
    let event = body["object_kind"].as_str().or(body["event_name"].as_str());
    let kind = parsed.as_ref().ok().and_then(|parsed| parsed.kind.as_ref());
    match event {
        Some("push" | "tag_push") => matches!(kind, Some(DeliveryKind::Push { .. })),
        Some("pipeline" | "build") => matches!(kind, Some(DeliveryKind::Pipeline { .. })),
        Some("merge_request") if body["object_attributes"]["iid"].is_u64() => {
            matches!(kind, Some(DeliveryKind::MergeRequest { .. }))
        }
        _ => kind.is_none(),
    }
}

#[test]
fn given_payloads_are_read() {
    let Some(folder) = folder() else { return };
    let files = files_in(&folder);
    assert!(!files.is_empty(), "{FOLDER_VARIABLE} holds no payloads");
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        for forge in [Forge::Gitlab, Forge::Github, Forge::Gitea] {
            for event in EVENTS {
                drop(parse(forge, event, None, &bytes));
            }
        }
        if path.starts_with(folder.join("gitlab")) {
            let body: Value = serde_json::from_slice(&bytes).unwrap();
            let parsed = parse(Forge::Gitlab, "", None, &bytes);
            assert!(fits(&body, &parsed), "{}: {parsed:?}", path.display());
        }
        let is_push = path.file_name().is_some_and(|name| name.to_string_lossy().contains("push"));
        if is_push && !path.starts_with(folder.join("gitlab")) {
            let parsed = parse(Forge::Gitea, "push", None, &bytes);
            let kind = parsed.as_ref().ok().and_then(|parsed| parsed.kind.as_ref());
            assert!(matches!(kind, Some(DeliveryKind::Push { .. })), "{}: {parsed:?}", path.display());
        }
    }
}

fn accepts(forge: Forge, all: &[(&str, &str)], body: &[u8], secret: &str, at: Timestamp) -> bool {
    let headers = Headers::collect(all.iter().map(|(name, value)| (*name, value.as_bytes())));
    let secret = OpenSecret { kind: HookSecretKind::Signing, secret: SecretString::from(secret) };
    verify(forge, &headers, body, &[secret], at, Duration::ZERO).is_ok()
}

#[test]
fn given_signatures_verify() {
    let Some(folder) = folder() else { return };
    let Ok(vectors) = std::fs::read(folder.join(VECTORS)) else {
        writeln!(std::io::stderr(), "SKIP signatures: no {VECTORS} in {FOLDER_VARIABLE}").ok();
        return;
    };
    let vectors: Value = serde_json::from_slice(&vectors).unwrap();
    let body_of = |vector: &Value| std::fs::read(folder.join(vector["file"].as_str().unwrap())).unwrap();
    for vector in vectors["gitlab"].as_array().unwrap() {
        let second = vector["webhook_timestamp"].as_i64().unwrap();
        let (time, body) = (second.to_string(), body_of(vector));
        let all = [
            ("webhook-id", vector["webhook_id"].as_str().unwrap()),
            ("webhook-timestamp", time.as_str()),
            ("webhook-signature", vector["webhook_signature"].as_str().unwrap()),
        ];
        let (secret, at) =
            (vector["signing_token"].as_str().unwrap(), Timestamp::from_second(second).unwrap());
        assert!(accepts(Forge::Gitlab, &all, &body, secret, at), "{vector}");
        assert!(!accepts(Forge::Gitlab, &all, &body[1..], secret, at), "{vector}");
    }
    for vector in vectors["github_gitea"].as_array().unwrap() {
        let (secret, body) = (vector["secret"].as_str().unwrap(), body_of(vector));
        for (forge, name, field) in [
            (Forge::Github, "x-hub-signature-256", "x_hub_signature_256"),
            (Forge::Gitea, "x-gitea-signature", "x_gitea_signature"),
            (Forge::Gitea, "x-forgejo-signature", "x_forgejo_signature"),
        ] {
            let all = [(name, vector[field].as_str().unwrap())];
            assert!(accepts(forge, &all, &body, secret, Timestamp::UNIX_EPOCH), "{name}: {vector}");
            assert!(!accepts(forge, &all, &body[1..], secret, Timestamp::UNIX_EPOCH), "{name}: {vector}");
        }
    }
}
