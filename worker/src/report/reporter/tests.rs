//! Receivers of outgoing webhooks that take, refuse, redirect or are away.

use std::collections::BTreeMap;
use std::sync::Mutex;

use secrecy::SecretString;
use slipway_common::agenda::List;
use slipway_common::contract::sample;
use slipway_common::model::registered::{Forge, Outgoing, RegisteredProject, outgoing_context};
use slipway_common::model::{EventKind, JobMessage};
use slipway_common::record::Record;
use slipway_common::submit::submit;
use slipway_common::webhook::{generate_signing_secret, sign};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::report::report;
use crate::testing::Installation;

const TAKEN: &str = "204 No Content";
const FAULT: &str = "500 Internal Server Error";
const GONE: &str = "410 Gone";
const DEADLINE: Duration = Duration::from_secs(20);

/// A request as a receiver got it.
#[derive(Debug, Clone)]
struct Got {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Got {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn kind(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["type"].as_str().unwrap().to_owned()
    }

    /// Whether it is signed with the secret, by what the receiver sees alone.
    fn is_signed_with(&self, secret: &SecretString) -> bool {
        let at = Timestamp::from_second(self.headers["webhook-timestamp"].parse().unwrap()).unwrap();
        let signed = sign(secret, self.id(), at, self.body.as_bytes()).unwrap();
        self.headers["webhook-signature"] == signed.signature
    }
}

/// A receiver that answers in turn as it was told, and with the last answer from then on.
#[derive(Debug)]
struct Fake {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    async fn with(answers: &[&str]) -> Self {
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=known-to-the-receiver", listener.local_addr().unwrap());
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let kept = Arc::clone(&got);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                let count = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(request);
                    kept.len()
                };
                let answer = answers.get(count - 1).or(answers.last()).unwrap();
                let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        });
        Self { url, got, task }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn kinds(&self) -> Vec<String> {
        self.got().iter().map(Got::kind).collect()
    }
}

async fn read_request(stream: &mut TcpStream) -> Got {
    let mut bytes = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let count = stream.read(&mut part).await.unwrap();
        assert!(count > 0, "the request ends early");
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let headers: BTreeMap<String, String> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        if body.len() >= headers["content-length"].parse::<usize>().unwrap() {
            return Got { headers, body: body.to_owned() };
        }
    }
}

/// An installation with one deployment, up to its success, of a project with receivers.
struct Scene {
    installation: Installation,
    tools: Arc<Tools>,
    message: JobMessage,
    secret: SecretString,
}

impl Scene {
    async fn with(urls: &[&str]) -> Self {
        let installation = Installation::open();
        let tools = installation.tools();
        let secret = generate_signing_secret().unwrap();
        let project = project(&tools, &secret, urls);
        installation.backend.record(&Record::ProjectStored(Box::new(project))).await.unwrap();
        let message = sample::pushed_job("shop", "refs/heads/main", &"1".repeat(40), Timestamp::now());
        submit(&installation.backend, &message).await.unwrap();
        Self { installation, tools, message, secret }
    }

    /// It is deployed, by a worker that records what happens.
    async fn deploy(&self) {
        for event in sample::course(&self.message, 1, self.message.accepted_at) {
            self.tools.recorder.record(Record::Event(event)).await.unwrap();
        }
    }

    fn reporter(&self) -> Reporter {
        Reporter::new(&self.tools, &CancellationToken::new())
    }

    fn due(&self, memo: Option<String>) -> Due {
        Due { key: self.message.deployment.to_string(), token: 1, due_at: Timestamp::now(), memo }
    }
}

fn project(tools: &Tools, secret: &SecretString, urls: &[&str]) -> RegisteredProject {
    let mut project = sample::registered("shop", Timestamp::now());
    project.forge = Forge::Gitea;
    let place = outgoing_context(&project.project.slug);
    let outgoing = urls
        .iter()
        .map(|url| Outgoing { url: (*url).to_owned(), secret: tools.sealer.seal(&place, secret).unwrap() });
    project.notify.outgoing = outgoing.collect();
    project
}

/// The memo as it would be after every pause is over.
fn at_once(memo: Option<&str>) -> Option<String> {
    let mut told = Told::of(memo);
    let troubles = told.receivers.values_mut().filter_map(|told| told.trouble.as_mut());
    troubles.for_each(|trouble| trouble.next = Timestamp::UNIX_EPOCH);
    told.memo()
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[tokio::test]
async fn messages_are_signed_in_order_and_sent_once() {
    let receiver = Fake::with(&[TAKEN]).await;
    let scene = Scene::with(&[&receiver.url]).await;
    scene.deploy().await;
    let reporter = scene.reporter();
    let (next, memo) = reporter.tell(&scene.due(None)).await.unwrap();
    assert_eq!(receiver.kinds(), ["deployment.queued", "deployment.started", "deployment.succeeded"]);
    assert!(receiver.got().iter().all(|got| got.is_signed_with(&scene.secret)));
    let other = generate_signing_secret().unwrap();
    assert!(!receiver.got()[0].is_signed_with(&other));
    assert_eq!(receiver.got()[0].headers["content-type"], "application/json");
    assert!(matches!(next, Next::Rest(_)), "{next:?}");
    assert!(!memo.as_ref().unwrap().contains("known-to-the-receiver"), "addresses may be secret");
    let (_, again) = reporter.tell(&scene.due(memo.clone())).await.unwrap();
    assert_eq!((receiver.got().len(), again), (3, memo));
}

#[tokio::test]
async fn an_open_job_is_looked_at_again_although_nobody_notes_it() {
    let receiver = Fake::with(&[TAKEN]).await;
    let scene = Scene::with(&[&receiver.url]).await;
    let (next, _) = scene.reporter().tell(&scene.due(None)).await.unwrap();
    let Next::At(at) = next else { panic!("{next:?}") };
    let pause = at.duration_since(Timestamp::now()).as_secs();
    assert!((50..=60).contains(&pause), "{pause} s");
    assert_eq!(receiver.kinds(), ["deployment.queued"]);
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again_with_the_same_id() {
    let receiver = Fake::with(&[TAKEN, FAULT, FAULT, TAKEN]).await;
    let scene = Scene::with(&[&receiver.url]).await;
    scene.deploy().await;
    let reporter = scene.reporter();
    let (next, memo) = reporter.tell(&scene.due(None)).await.unwrap();
    let Next::At(at) = next else { panic!("{next:?}") };
    assert!(at.duration_since(Timestamp::now()).as_secs() <= 1, "{at}");
    assert_eq!(receiver.kinds(), ["deployment.queued", "deployment.started"], "nothing overtakes it");
    let (_, early) = reporter.tell(&scene.due(memo.clone())).await.unwrap();
    assert_eq!((receiver.got().len(), &early), (2, &memo), "its pause is not over");
    let (_, memo) = reporter.tell(&scene.due(at_once(memo.as_deref()))).await.unwrap();
    let (next, _) = reporter.tell(&scene.due(at_once(memo.as_deref()))).await.unwrap();
    let kinds = receiver.kinds();
    assert_eq!(kinds[1..4], ["deployment.started", "deployment.started", "deployment.started"]);
    assert_eq!(kinds[4..], ["deployment.succeeded"]);
    let got = receiver.got();
    assert!(got[1].id() == got[2].id() && got[2].id() == got[3].id());
    assert!(matches!(next, Next::Rest(_)), "{next:?}");
    assert_eq!(scene.tools.figures.counted(Count::ResultFailed), 2);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_more() {
    let receiver = Fake::with(&[TAKEN, GONE]).await;
    let scene = Scene::with(&[&receiver.url]).await;
    scene.deploy().await;
    let reporter = scene.reporter();
    let (next, memo) = reporter.tell(&scene.due(None)).await.unwrap();
    assert!(matches!(next, Next::Rest(_)), "{next:?}");
    assert_eq!(receiver.got().len(), 2);
    let kind = EventKind::Degraded { reason: "none serves".to_owned() };
    let degraded = sample::event(&scene.message, 1, Timestamp::now(), kind);
    scene.tools.recorder.record(Record::Event(degraded)).await.unwrap();
    reporter.tell(&scene.due(memo)).await.unwrap();
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Fake::with(&[TAKEN]).await;
    let redirect = format!("307 Temporary Redirect\r\nlocation: {}", elsewhere.url);
    let receiver = Fake::with(&[&redirect]).await;
    let scene = Scene::with(&[&receiver.url]).await;
    scene.deploy().await;
    let (next, _) = scene.reporter().tell(&scene.due(None)).await.unwrap();
    assert!(matches!(next, Next::At(_)), "{next:?}");
    assert_eq!((receiver.got().len(), elsewhere.got().len()), (1, 0));
}

#[tokio::test]
async fn a_receiver_that_is_away_delays_nobody_else_and_is_given_up() {
    let (away, receiver) = (nobody().await, Fake::with(&[TAKEN]).await);
    let scene = Scene::with(&[&away, &receiver.url]).await;
    scene.deploy().await;
    let (next, memo) = scene.reporter().tell(&scene.due(None)).await.unwrap();
    assert_eq!(receiver.got().len(), 3);
    assert!(matches!(next, Next::At(_)), "{next:?}");
    let mut told = Told::of(memo.as_deref());
    let trouble = told.receivers.get_mut(&mark(&away)).unwrap().trouble.as_mut().unwrap();
    let day = Duration::from_secs(25 * 3_600);
    (trouble.since, trouble.next) = (Timestamp::now().checked_sub(day).unwrap(), Timestamp::UNIX_EPOCH);
    let (next, memo) = scene.reporter().tell(&scene.due(told.memo())).await.unwrap();
    assert!(matches!(next, Next::Rest(_)), "{next:?}");
    assert_eq!(scene.tools.figures.counted(Count::ResultGivenUp), 1);
    let told = Told::of(memo.as_deref());
    assert_eq!(told.receivers[&mark(&away)].cursor, told.seen, "what comes next is told anew");
    assert_eq!(receiver.got().len(), 3);
}

#[tokio::test]
async fn nothing_is_told_of_what_is_not_registered_or_not_known() {
    let installation = Installation::open();
    let tools = installation.tools();
    let message = installation.accept().await;
    let reporter = Reporter::new(&tools, &CancellationToken::new());
    let due = |key: &str| Due { key: key.to_owned(), token: 1, due_at: Timestamp::now(), memo: None };
    let answers = [
        reporter.tell(&due(&message.deployment.to_string())).await.unwrap().0,
        reporter.tell(&due("no id")).await.unwrap().0,
        reporter.tell(&due(&DeploymentId::generate().to_string())).await.unwrap().0,
    ];
    assert!(matches!(answers, [Next::Gone, Next::Gone, Next::At(_)]), "{answers:?}");
}

#[tokio::test]
async fn a_deployment_that_is_not_there_yet_is_looked_for_ever_less_often_and_not_for_ever() {
    let installation = Installation::open();
    let reporter = Reporter::new(&installation.tools(), &CancellationToken::new());
    let key = DeploymentId::generate().to_string();
    let (mut memo, mut pauses_ms) = (None, Vec::new());
    loop {
        let due = Due { key: key.clone(), token: 1, due_at: Timestamp::now(), memo };
        let before = Timestamp::now();
        let (next, said) = reporter.tell(&due).await.unwrap();
        let Next::At(at) = next else { break };
        pauses_ms.push(at.duration_since(before).as_millis());
        memo = said;
    }
    assert_eq!(pauses_ms.len(), 10);
    assert!(pauses_ms[0] < 5_000 && pauses_ms[9] > 200_000, "{pauses_ms:?}");
    assert!(pauses_ms.is_sorted(), "{pauses_ms:?}");
}

#[tokio::test]
async fn what_a_worker_records_is_told_by_itself() {
    let receiver = Fake::with(&[TAKEN]).await;
    let scene = Scene::with(&[&receiver.url]).await;
    let stop = CancellationToken::new();
    let telling = tokio::spawn(report(Arc::clone(&scene.tools), stop.clone()));
    scene.deploy().await;
    let all_told = async {
        while receiver.got().len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, all_told).await.expect("all is told in time");
    stop.cancel();
    tokio::time::timeout(DEADLINE, telling).await.expect("it ends in time").unwrap();
    assert_eq!(receiver.kinds(), ["deployment.queued", "deployment.started", "deployment.succeeded"]);
    let key = scene.message.deployment.to_string();
    let memo = scene.installation.backend.agenda.memo(List::Reports, &key).await.unwrap();
    assert!(Told::of(memo.as_deref()).receivers.contains_key(&mark(&receiver.url)), "{memo:?}");
}
