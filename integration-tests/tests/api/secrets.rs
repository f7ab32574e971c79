//! A canary in every place where a secret goes in is found in no place where it must not be: answers, files, logs.

use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::server::Server;

const CANARY: &str = "canary/7f31+secret&value";

/// Whether the canary was seen in a log line.
static IN_LOGS: AtomicBool = AtomicBool::new(false);
/// Whether log lines were looked at at all.
static LOGS_SEEN: AtomicBool = AtomicBool::new(false);

/// Every form the canary might take.
fn forms() -> Vec<Vec<u8>> {
    let hex: String = CANARY.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    let encoded: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    let mut forms = vec![CANARY.into(), hex.to_uppercase().into(), hex.into(), encoded.into()];
    // Inside something longer, base64 looks different for each of three positions; the edges depend on neighbours.
    for shift in 0..3 {
        let shifted = format!("{}{CANARY}", "x".repeat(shift));
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(shifted);
        forms.push(text.as_bytes()[4..text.len() - 3].to_vec());
    }
    forms
}

fn holds_canary(bytes: &[u8]) -> bool {
    forms().iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
}

/// Looks at log lines without keeping them.
#[derive(Clone, Copy)]
struct Sniffer;

impl io::Write for Sniffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGS_SEEN.store(true, Ordering::SeqCst);
        if bytes.len() < 1 << 20 && holds_canary(bytes) {
            IN_LOGS.store(true, Ordering::SeqCst);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Sniffer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[test]
fn the_oracle_finds_what_it_looks_for() {
    assert!(holds_canary(format!("a {CANARY} b").as_bytes()));
    let hidden = base64::engine::general_purpose::STANDARD.encode(format!("{{\"token\":\"{CANARY}\"}}"));
    assert!(holds_canary(hidden.as_bytes()));
    assert!(!holds_canary(b"nothing"));
}

#[tokio::test]
async fn s11_no_answer_no_file_and_no_log_line_holds_a_secret() {
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    subscriber.with_writer(Sniffer).init();
    let server = Server::start().await;
    let mut answers = Vec::new();
    let full = json!({
        "repository_url": "https://git.example.com/team/shop", "repository_token": CANARY,
        "env": { "A": CANARY }, "supports": [{ "name": "db", "image": "b:1", "env": { "B": CANARY } }],
    });
    let accepted = server.post("/deployments", &full).await.expect(202);
    let id = accepted.json()["id"].as_str().unwrap().to_owned();
    answers.push(accepted);
    for bad in [
        json!({ "repository_url": CANARY }),
        json!({ "repository_url": "https://a/b", "env": CANARY }),
        json!({ "repository_url": "https://a/b", "port": CANARY }),
        json!({ "repository_token": CANARY }),
        json!({ "repository_url": "https://a/b", "repository_token": [CANARY] }),
        json!({ "repository_url": "https://git.example.com/t/s", "cluster": { "token": CANARY } }),
        json!({ "repository_url": "https://git.example.com/t/s", "cluster": { "server": CANARY } }),
        json!([CANARY]),
    ] {
        answers.push(server.post("/deployments", &bad).await.expect(422));
    }
    let broken = server.request("POST", "/deployments").header("content-type", "application/json");
    answers.push(server.send(broken.body(format!("{{\"env\":\"{CANARY}"))).await.expect(400));
    let older = "/deployments/?username=a&repository_url=https://git.example.com/t/s&repository_name=s&container_port=1";
    answers.push(server.send(server.request("POST", older).header("gitlab-token", CANARY)).await.expect(202));
    let stored = json!({ "secret": CANARY });
    answers.push(server.send(server.request("PUT", "/credentials/c").json(&stored)).await.expect(201));
    let keyed = server.request("POST", "/deployments").header("Idempotency-Key", "k").json(&full);
    answers.push(server.send(keyed).await.expect(202));
    answers.push(server.send(server.anonymous("GET", "/tokens").bearer_auth(CANARY)).await.expect(401));
    server.carry_out(None).await;
    for path in ["/deployments", "/credentials", "/credentials/c", "/tokens", "/metrics", "/readyz"] {
        answers.push(server.get(path).await.expect(200));
    }
    for rest in ["", "/events", "/logs"] {
        answers.push(server.get(&format!("/deployments/{id}{rest}")).await.expect(200));
    }
    for answer in &answers {
        assert!(!holds_canary(&answer.body), "{}", answer.text());
        assert!(answer.headers.values().all(|value| !holds_canary(value.as_bytes())));
    }
    let mut files = 0;
    for entry in std::fs::read_dir(server.folder.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        assert!(!holds_canary(&std::fs::read(&path).unwrap()), "{}", path.display());
        files += 1;
    }
    assert!(files >= 2, "the database and its log were looked at");
    assert!(LOGS_SEEN.load(Ordering::SeqCst) && !IN_LOGS.load(Ordering::SeqCst));
}
