//! The inbox: deliveries are limited, verified, kept once and answered with nothing to read, whatever they say and whatever
//! is away.

use std::time::{Duration, Instant};

use base64::Engine as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slipway_common::agenda::{List, Next};
use slipway_common::ledger::Offset;
use slipway_common::model::{CommitFact, Delivery, DeliveryKind, EventKind, Facts, HookId, Stage, WorkerId};
use slipway_common::record::Record;
use slipway_common::webhook::sign;

use crate::doubles::Mood;
use crate::projects::register;
use crate::server::{Answer, DEADLINE, Server};

/// Mutated deliveries that are sent, of all forges together.
const FUZZED: usize = 1_500;
const COMMIT: &str = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7";

/// A registered project's hook and what a forge knows of it.
#[derive(Clone)]
struct Forge {
    name: &'static str,
    slug: String,
    path: String,
    signing_secret: String,
    token: Option<String>,
}

impl Forge {
    async fn register(server: &Server, name: &'static str, project: &str) -> Self {
        let (slug, stored) = register(server, project, &json!({ "forge": name })).await;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            name,
            slug,
            path: format!("/webhooks/{name}/{}", stored["hook"]["id"].as_str().unwrap()),
            signing_secret: text(&stored["secrets"]["signing_secret"]).unwrap(),
            token: text(&stored["secrets"]["token"]),
        }
    }

    /// A delivery as this forge sends it.
    fn delivery(&self, server: &Server, event: &str, id: &str, body: &[u8]) -> reqwest::RequestBuilder {
        let request = server.anonymous("POST", &self.path).header("content-type", "application/json");
        let hex = || hmac_hex(self.signing_secret.as_bytes(), body);
        let request = match self.name {
            "gitlab" => {
                let secret = self.signing_secret.clone().into();
                let signed = sign(&secret, id, Timestamp::now(), body).unwrap();
                let pairs = signed.pairs().map(|(name, value)| (name, value.to_owned()));
                pairs.into_iter().fold(request.header("x-gitlab-event", event), |request, (name, value)| {
                    request.header(name, value)
                })
            }
            "github" => request
                .header("x-github-event", event)
                .header("x-github-delivery", id)
                .header("x-hub-signature-256", format!("sha256={}", hex())),
            _ => request
                .header("x-gitea-event", event)
                .header("x-gitea-delivery", id)
                .header("x-gitea-signature", hex()),
        };
        request.body(body.to_vec())
    }

    async fn send(&self, server: &Server, event: &str, id: &str, body: &Value) -> Answer {
        server.send(self.delivery(server, event, id, &serde_json::to_vec(body).unwrap())).await
    }

    /// What it calls a push.
    fn push_event(&self) -> &'static str {
        if self.name == "gitlab" { "Push Hook" } else { "push" }
    }
}

/// A secret that nobody has.
fn signing_secret(byte: u8) -> String {
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode([byte; 32]))
}

/// HMAC-SHA-256 (RFC 2104) of a key that is no longer than a block.
fn hmac_hex(key: &[u8], body: &[u8]) -> String {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        block
    };
    assert!(key.len() <= 64);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(body).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn push(branch: &str) -> Value {
    json!({
        "object_kind": "push", "event_name": "push", "ref": format!("refs/heads/{branch}"),
        "before": "0".repeat(40), "after": COMMIT, "checkout_sha": COMMIT, "total_commits_count": 1,
        "project": { "id": 15, "path_with_namespace": "team/shop", "default_branch": "main",
            "git_http_url": "http://169.254.169.254/latest.git" },
        "repository": { "clone_url": "http://169.254.169.254/latest.git" },
        "commits": [{ "id": COMMIT, "message": "More of it", "added": ["a"], "modified": [], "removed": [] }],
        "head_commit": { "id": COMMIT }, "deleted": false,
    })
}

/// The deliveries in the ledger.
async fn kept(server: &Server) -> Vec<Delivery> {
    let records = server.backend.ledger.read(Offset(1), 100_000).await.unwrap();
    let delivery = |(_, record)| {
        if let Record::DeliveryReceived(delivery) = record { Some(delivery) } else { None }
    };
    records.into_iter().filter_map(delivery).collect()
}

/// Waits until the project is to be looked at, and takes that off the agenda.
async fn wait_for_look(server: &Server, slug: &str) {
    let begun = Instant::now();
    loop {
        let now = Timestamp::now();
        let due = server.backend.agenda.claim(List::Sweeps, 10, Duration::from_secs(1), now).await.unwrap();
        if let Some(due) = due.iter().find(|due| due.key == slug) {
            let rest = Next::Rest(Duration::from_secs(3_600));
            server.backend.agenda.settle(List::Sweeps, due, rest, None, now).await.unwrap();
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{slug} is not to be looked at");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_empty(answer: &Answer) {
    assert!(answer.body.is_empty(), "{}", answer.text());
}

#[tokio::test]
async fn a_push_of_every_forge_is_kept_and_has_its_project_looked_at() {
    let server = Server::start().await;
    for (name, project) in [("gitlab", "a"), ("github", "b"), ("gitea", "c")] {
        let forge = Forge::register(&server, name, project).await;
        wait_for_look(&server, &forge.slug).await;
        is_empty(&forge.send(&server, forge.push_event(), "one", &push("main")).await.expect(202));
        let deliveries = kept(&server).await;
        let delivery = deliveries.last().unwrap();
        assert_eq!((delivery.project.as_str(), delivery.id.as_str()), (forge.slug.as_str(), "one"));
        let kind =
            DeliveryKind::Push { reference: "refs/heads/main".to_owned(), revision: Some(COMMIT.to_owned()) };
        assert_eq!(delivery.kind, kind);
        wait_for_look(&server, &forge.slug).await;
    }
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("slipway_deliveries_total{forge=\"github\",outcome=\"taken\"} 1"), "{metrics}");
}

#[tokio::test]
async fn i5_the_same_delivery_a_hundred_times_is_kept_once() {
    let server = Server::start().await;
    let forge = Forge::register(&server, "gitlab", "shop").await;
    let body = push("main");
    let answers = join_all((0..50).map(|_| forge.send(&server, "Push Hook", "one", &body))).await;
    answers.iter().for_each(is_empty);
    let taken = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!((taken, answers.iter().filter(|answer| answer.status == 200).count()), (1, 49));
    for _ in 0..50 {
        forge.send(&server, "Push Hook", "one", &body).await.expect(200);
    }
    assert_eq!(kept(&server).await.len(), 1);
    forge.send(&server, "Push Hook", "two", &body).await.expect(202);
    assert_eq!(kept(&server).await.len(), 2);
}

#[tokio::test]
async fn s14_a_captured_delivery_is_no_second_one() {
    let server = Server::start().await;
    let forge = Forge::register(&server, "gitlab", "shop").await;
    let body = serde_json::to_vec(&push("main")).unwrap();
    let captured = forge.delivery(&server, "Push Hook", "one", &body);
    server.send(captured.try_clone().unwrap()).await.expect(202);
    server.send(captured).await.expect(200);
    assert_eq!(kept(&server).await.len(), 1);
}

#[tokio::test]
async fn s13_what_does_not_prove_itself_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let gitlab = Forge::register(&server, "gitlab", "a").await;
    let github = Forge::register(&server, "github", "b").await;
    let no_json = b"{ this is no JSON";
    let post = |forge: &Forge| server.anonymous("POST", &forge.path).body(no_json.to_vec());
    let late = Timestamp::now() - jiff::SignedDuration::from_mins(6);
    let early = Timestamp::now() + jiff::SignedDuration::from_mins(6);
    let signed = |at: Timestamp| {
        let signed = sign(&gitlab.signing_secret.clone().into(), "one", at, no_json).unwrap();
        let pairs = signed.pairs().map(|(name, value)| (name, value.to_owned()));
        pairs.into_iter().fold(post(&gitlab), |request, (name, value)| request.header(name, value))
    };
    let by_other = sign(&signing_secret(9).into(), "one", Timestamp::now(), no_json).unwrap();
    let wrong = by_other.pairs().into_iter();
    let wrong = wrong.fold(post(&gitlab), |request, (name, value)| request.header(name, value));
    // The right token beside a wrong signature does not help.
    let wrong = wrong.header("x-gitlab-token", gitlab.token.clone().unwrap());
    let hex = hmac_hex(github.signing_secret.as_bytes(), b"another body");
    for (request, code) in [
        (post(&gitlab), "signature_missing"),
        (post(&gitlab).header("x-gitlab-token", "a token of somebody else"), "signature_wrong"),
        (wrong, "signature_wrong"),
        (signed(late), "signature_expired"),
        (signed(early), "signature_expired"),
        (post(&gitlab).header("webhook-signature", "v1,truncated"), "signature_unreadable"),
        (post(&github), "signature_missing"),
        (post(&github).header("x-hub-signature-256", format!("sha256={hex}")), "signature_wrong"),
        (post(&github).header("x-hub-signature-256", "sha256=12"), "signature_unreadable"),
    ] {
        let refused = server.send(request).await.expect_problem(401, code);
        assert!(!refused.header("www-authenticate").is_empty());
    }
    server.send(signed(Timestamp::now())).await.expect(200);
    let by_token = post(&gitlab).header("x-gitlab-token", gitlab.token.clone().unwrap());
    server.send(by_token).await.expect(200);
    assert!(kept(&server).await.is_empty());
}

#[tokio::test]
async fn s13_both_secrets_are_good_while_one_takes_the_others_place() {
    let server = Server::start().await;
    let old = Forge::register(&server, "github", "shop").await;
    let path = format!("/projects/{}", old.slug);
    let rotate = server.request("PATCH", &path).json(&json!({ "rotate_hook": true }));
    let rotated = server.send(rotate).await.expect(200).json();
    let secret = rotated["secrets"]["signing_secret"].as_str().unwrap().to_owned();
    let new = Forge { signing_secret: secret, ..old.clone() };
    new.send(&server, "push", "one", &push("main")).await.expect(202);
    old.send(&server, "push", "two", &push("main")).await.expect(202);
    server.delete(&path).await.expect(204);
    new.send(&server, "push", "three", &push("main")).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn s15_and_s16_what_is_authentic_is_answered_well_whatever_it_says() {
    let server = Server::start().await;
    let gitlab = Forge::register(&server, "gitlab", "a").await;
    let github = Forge::register(&server, "github", "b").await;
    for (number, body) in [
        json!({ "object_kind": "deployment", "status": "success" }),
        json!({ "object_kind": "release", "action": "create" }),
        json!({ "event_name": "project_create" }),
        json!({ "object_kind": "push" }),
        json!({ "object_kind": 7 }),
        json!({}),
        json!([]),
        json!("text"),
        Value::Null,
    ]
    .into_iter()
    .enumerate()
    {
        is_empty(&gitlab.send(&server, "Other Hook", &format!("n{number}"), &body).await.expect(200));
    }
    for body in [b"".as_slice(), b"not JSON", b"\xff\xfe", b"payload=%7B%7D"] {
        is_empty(&server.send(gitlab.delivery(&server, "Push Hook", "raw", body)).await.expect(200));
    }
    let ping = json!({ "zen": "Less is less.", "hook_id": 1 });
    github.send(&server, "ping", "p", &ping).await.expect(200);
    assert!(kept(&server).await.is_empty());
    let zeros = "0".repeat(40);
    let removed =
        json!({ "object_kind": "push", "ref": "refs/heads/old", "after": zeros, "checkout_sha": null });
    gitlab.send(&server, "Push Hook", "gone", &removed).await.expect(202);
    let opened = json!({ "iid": 7, "action": "open" });
    let request = json!({ "object_kind": "merge_request", "object_attributes": opened });
    gitlab.send(&server, "Merge Request Hook", "mr", &request).await.expect(202);
    let kinds: Vec<DeliveryKind> = kept(&server).await.into_iter().map(|delivery| delivery.kind).collect();
    let gone = DeliveryKind::Push { reference: "refs/heads/old".to_owned(), revision: None };
    assert_eq!(kinds, [gone, DeliveryKind::MergeRequest { iid: 7 }]);
    let text = serde_json::to_string(&server.backend.ledger.read(Offset(1), 100).await.unwrap()).unwrap();
    assert!(!text.contains("169.254"), "no address of a payload is kept");
}

#[tokio::test]
async fn hooks_that_are_not_there_and_bodies_that_are_too_large_are_refused() {
    let server = Server::start_with(|settings| settings.delivery_max_bytes = 10_000).await;
    let forge = Forge::register(&server, "gitlab", "shop").await;
    let id = forge.path.rsplit('/').next().unwrap();
    for path in [
        "/webhooks/gitlab/01890a5d-ac96-774b-bcce-b302099a8057",
        "/webhooks/gitlab/nothing",
        &format!("/webhooks/github/{id}"),
        &format!("/webhooks/bitbucket/{id}"),
    ] {
        server.send(server.anonymous("POST", path).body("{}")).await.expect_problem(404, "not_found");
    }
    server.send(server.anonymous("GET", &forge.path)).await.expect_problem(405, "method_not_allowed");
    let large = vec![b' '; 10_001];
    let whole = forge.delivery(&server, "Push Hook", "one", &large);
    server.send(whole).await.expect_problem(413, "body_too_large");
    let parts: Vec<std::io::Result<Vec<u8>>> = (0..11).map(|_| Ok(vec![b' '; 1_000])).collect();
    let parts = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    let in_parts = server.anonymous("POST", &forge.path).body(parts);
    server.send(in_parts).await.expect_problem(413, "body_too_large");
    let mut fits = push("main");
    fits["padding"] = json!("x".repeat(8_000));
    forge.send(&server, "Push Hook", "two", &fits).await.expect(202);
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("outcome=\"too_large\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_delivery_that_cannot_be_kept_is_to_be_sent_again() {
    let server = Server::start().await;
    let forge = Forge::register(&server, "gitlab", "shop").await;
    for (mood, code) in [(Mood::Away, "ledger_unavailable"), (Mood::Silent, "outcome_unknown")] {
        server.faults.ledger(mood);
        let refused = forge.send(&server, "Push Hook", "one", &push("main")).await.expect_problem(503, code);
        assert!(refused.header("retry-after").parse::<u64>().is_ok());
        let ignored = json!({ "object_kind": "release" });
        forge.send(&server, "Release Hook", "other", &ignored).await.expect(200);
    }
    server.faults.ledger(Mood::Well);
    forge.send(&server, "Push Hook", "one", &push("main")).await.expect(202);
    assert_eq!(kept(&server).await.len(), 1);
}

#[tokio::test]
async fn a_store_that_is_away_or_silent_is_not_waited_for() {
    let server = Server::start().await;
    let forge = Forge::register(&server, "gitlab", "shop").await;
    wait_for_look(&server, &forge.slug).await;
    for mood in [Mood::Away, Mood::Silent] {
        server.faults.store(mood);
        for n in 0..20 {
            let begun = Instant::now();
            let id = format!("{mood:?}-{n}");
            is_empty(&forge.send(&server, "Push Hook", &id, &push("main")).await.expect(202));
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
        let unknown = "/webhooks/gitlab/01890a5d-ac96-774b-bcce-b302099a8057";
        let unsure = server.send(server.anonymous("POST", unknown).body("{}")).await;
        unsure.expect_problem(503, "hooks_unavailable");
        // Its secret may have been changed elsewhere: nobody can say that this one is wrong.
        let begun = Instant::now();
        let other = Forge { signing_secret: signing_secret(9), ..forge.clone() };
        let unsure = other.send(&server, "Push Hook", "other", &push("main")).await;
        let unsure = unsure.expect_problem(503, "hooks_unavailable");
        assert!(unsure.header("retry-after").parse::<u64>().is_ok());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    assert_eq!(kept(&server).await.len(), 40);
    server.faults.store(Mood::Well);
    let other = Forge { signing_secret: signing_secret(9), ..forge.clone() };
    let begun = Instant::now();
    while other.send(&server, "Push Hook", "other", &push("main")).await.status != 401 {
        assert!(begun.elapsed() < DEADLINE, "it is for ever unsure");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    forge.send(&server, "Push Hook", "last", &push("main")).await.expect(202);
    wait_for_look(&server, &forge.slug).await;
}

#[tokio::test]
async fn a_hook_is_known_after_a_restart_and_one_that_others_have_registered_is_found() {
    let server = Server::start().await;
    let forge = Forge::register(&server, "gitea", "shop").await;
    let server = server.restart().await;
    forge.send(&server, "push", "one", &push("main")).await.expect(202);
    let records = server.backend.ledger.read(Offset(1), 100).await.unwrap();
    let stored = records.into_iter().find_map(|(_, record)| {
        if let Record::ProjectStored(project) = record { Some(project) } else { None }
    });
    let mut elsewhere = stored.unwrap();
    elsewhere.hook.id = HookId::generate();
    let moved = Forge { path: format!("/webhooks/gitea/{}", elsewhere.hook.id), ..forge };
    server.backend.record(&Record::ProjectStored(elsewhere)).await.unwrap();
    moved.send(&server, "push", "two", &push("main")).await.expect(202);
}

#[tokio::test]
async fn news_of_a_pipeline_wake_the_job_that_waits_for_it() {
    let server = Server::start().await;
    let forge = Forge::register(&server, "gitlab", "shop").await;
    server.deploy("shop").await;
    let queue = &server.backend.queue;
    let ttl = Duration::from_secs(60);
    let claim = queue.claim(WorkerId::generate(), ttl, Timestamp::now()).await.unwrap().expect("a job");
    for stage in [Stage::Clone, Stage::Template, Stage::Commit] {
        server.report(&claim.message, EventKind::StageStarted { stage, attempt: 1 }).await;
        let revision = COMMIT.to_owned();
        let commit = CommitFact { revision, generated: false, branch: None, merge_request: None };
        let facts = Facts { commit: (stage == Stage::Commit).then_some(commit), ..Facts::default() };
        let facts = Box::new(facts);
        server.report(&claim.message, EventKind::StageFinished { stage, facts, skipped: None }).await;
    }
    server.report(&claim.message, EventKind::StageStarted { stage: Stage::Build, attempt: 1 }).await;
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    queue.park(&claim, later, Timestamp::now()).await.unwrap();
    let pipeline = |sha: &str| {
        let attributes = json!({ "id": 1, "sha": sha, "status": "success" });
        json!({ "object_kind": "pipeline", "object_attributes": attributes })
    };
    forge.send(&server, "Pipeline Hook", "other", &pipeline(&"c".repeat(40))).await.expect(202);
    forge.send(&server, "Pipeline Hook", "own", &pipeline(COMMIT)).await.expect(202);
    let begun = Instant::now();
    while queue.depth(Timestamp::now()).await.unwrap().ready == 0 {
        assert!(begun.elapsed() < DEADLINE, "it is not woken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(kept(&server).await.is_empty(), "what concerns no refs is not kept");
}

/// A change of a good delivery's bytes, or none.
#[derive(Debug, Clone)]
enum Change {
    None,
    Cut(usize),
    Byte(usize, u8),
    Field(usize, Value),
    Nested(usize),
}

fn changes() -> impl Strategy<Value = Change> {
    let values = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({ "id": { "id": [] } })),
        Just(json!("refs/heads/../../x")),
        Just(json!("0".repeat(40))),
    ];
    prop_oneof![
        1 => Just(Change::None),
        2 => any::<usize>().prop_map(Change::Cut),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        8 => (any::<usize>(), values).prop_map(|(field, value)| Change::Field(field, value)),
        1 => (1_usize..3_000).prop_map(Change::Nested),
    ]
}

fn changed(payload: &Value, change: &Change) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(payload).unwrap();
    match change {
        Change::None => {}
        Change::Cut(length) => bytes.truncate(length % (bytes.len() + 1)),
        Change::Byte(at, byte) => {
            let at = at % bytes.len();
            bytes[at] = *byte;
        }
        Change::Field(field, value) => {
            let mut payload = payload.clone();
            let object = payload.as_object_mut().unwrap();
            let name = object.keys().nth(field % object.len()).unwrap().clone();
            object.insert(name, value.clone());
            bytes = serde_json::to_vec(&payload).unwrap();
        }
        Change::Nested(depth) => bytes = format!("{{\"ref\":{}", "[".repeat(*depth)).into_bytes(),
    }
    bytes
}

fn payloads() -> Vec<(&'static str, &'static str, Value)> {
    let removed = json!({ "ref": "old", "ref_type": "branch", "repository": { "id": 1 } });
    let job =
        json!({ "object_kind": "build", "sha": COMMIT, "build_status": "failed", "commit": { "id": 7 } });
    let request =
        json!({ "object_kind": "merge_request", "object_attributes": { "iid": 7, "action": "close" } });
    vec![
        ("gitlab", "Push Hook", push("main")),
        ("gitlab", "Job Hook", job),
        ("gitlab", "Merge Request Hook", request),
        ("github", "push", push("main")),
        ("github", "delete", removed.clone()),
        ("gitea", "push", push("main")),
        ("gitea", "delete", removed),
    ]
}

#[tokio::test]
async fn no_delivery_is_answered_with_a_fault_or_in_an_undocumented_way() {
    let server = Server::start().await;
    let mut forges = Vec::new();
    for (name, project) in [("gitlab", "a"), ("github", "b"), ("gitea", "c")] {
        forges.push(Forge::register(&server, name, project).await);
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[23; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = (any::<usize>(), changes(), prop::bool::weighted(0.8));
    let payloads = payloads();
    let mut statuses = std::collections::BTreeMap::new();
    for number in 0..FUZZED {
        let (choice, change, is_signed) = strategy.new_tree(&mut runner).unwrap().current();
        let (name, event, payload) = &payloads[choice % payloads.len()];
        let forge = forges.iter().find(|forge| forge.name == *name).unwrap();
        let body = changed(payload, &change);
        let request = if is_signed {
            forge.delivery(&server, event, &format!("f{number}"), &body)
        } else {
            // Signed for another body: what is signed for itself comes through.
            forge.delivery(&server, event, &format!("f{number}"), b"another body").body(body)
        };
        let answer = server.send(request).await;
        let expected: &[u16] = if is_signed { &[200, 202] } else { &[401] };
        assert!(expected.contains(&answer.status), "{change:?}: {} {}", answer.status, answer.text());
        *statuses.entry(answer.status).or_insert(0_u32) += 1;
    }
    for expected in [200, 202, 401] {
        assert!(statuses.contains_key(&expected), "{expected} never happened: {statuses:?}");
    }
}
