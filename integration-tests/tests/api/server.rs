//! A running API over its own data folder, a client that checks every answer, and a worker that does nothing but
//! report.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use slipway_api::{Ailment, Api, ApiHandle, ApiSettings, Beside, Companion, Maintenance};
use slipway_common::Backend;
use slipway_common::config::Config;
use slipway_common::embedded::{Embedded, EmbeddedSettings, OpenError, Synchronous};
use slipway_common::failure::Failure;
use slipway_common::model::{Event, EventId, EventKind, Facts, ImageFact, JobMessage, Stage, WorkerId};
use slipway_common::record::{Record, StoredToken};
use slipway_common::secrets::{Sealer, token_sha256};
use slipway_common::store::StoreError;

use crate::conformity::Conformity;
use crate::doubles::Faults;

pub(crate) const TOKEN: &str = "slw_test-token-of-the-api-suite";
/// Longest wait for anything in this suite.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

const QUEUE_JOBS_MAX: u64 = 100_000;

/// Something in the process that is not well.
#[derive(Debug)]
struct Ailing;

#[async_trait]
impl Companion for Ailing {
    async fn ailments(&self) -> Vec<Ailment> {
        vec![Ailment {
            part: "docker".to_owned(),
            reason: "does not answer".to_owned(),
            hinders_reads: false,
        }]
    }

    fn metrics(&self) -> String {
        "companion_metric 1\n".to_owned()
    }
}

/// Rebuilds the embedded store.
#[derive(Debug)]
struct Upkeep(Embedded);

#[async_trait]
impl Maintenance for Upkeep {
    async fn rebuild_store(&self) -> Result<Option<u64>, StoreError> {
        self.0.rebuild().await.map(Some)
    }
}

/// A running API. What tests do with the backend themselves does not fail; what the API does may be told to.
pub(crate) struct Server {
    pub(crate) folder: Arc<tempfile::TempDir>,
    pub(crate) backend: Backend,
    pub(crate) faults: Faults,
    pub(crate) conformity: Arc<Conformity>,
    handle: ApiHandle,
    http: reqwest::Client,
}

/// An answer that was found to be as documented.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: bytes::Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Panics unless the status is this one.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Panics unless this is a problem with this status and code.
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["code"], code, "{}", answer.text());
        answer
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut ApiSettings)) -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), adjust, QUEUE_JOBS_MAX, None).await
    }

    /// With room for one job, and something in the process that is not well.
    pub(crate) async fn start_ailing() -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), |_| {}, 1, Some(Arc::new(Ailing))).await
    }

    /// Stops and starts again over the same folder.
    pub(crate) async fn restart(self) -> Self {
        let folder = Arc::clone(&self.folder);
        self.stop().await;
        Self::open(folder, |_| {}, QUEUE_JOBS_MAX, None).await
    }

    pub(crate) async fn stop(mut self) {
        self.handle.stop(true).await;
        self.handle.stopped().await.unwrap();
    }

    async fn open(
        folder: Arc<tempfile::TempDir>,
        adjust: impl FnOnce(&mut ApiSettings),
        queue_limit_jobs: u64,
        companion: Option<Arc<dyn Companion>>,
    ) -> Self {
        let embedded = open_data(folder.path().join("data"), queue_limit_jobs).await;
        let backend = embedded.backend();
        let token = StoredToken {
            name: "tester".to_owned(),
            sha256: token_sha256(&TOKEN.to_owned().into()),
            created_at: Timestamp::now(),
        };
        if backend.store.tokens().await.unwrap().is_empty() {
            backend.record(&Record::TokenCreated(token)).await.unwrap();
        }
        let config = Config::load(None, Vec::new()).unwrap();
        let mut settings = ApiSettings::from_config(&config, "1.2.3");
        settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        adjust(&mut settings);
        let faults = Faults::default();
        let beside = Beside { companion, maintenance: Some(Arc::new(Upkeep(embedded))) };
        let sealer = Sealer::new(&[7; 32]);
        let handle = Api::start(settings, faults.around(&backend), sealer, beside).unwrap();
        let document = serde_json::from_str(&slipway_api::openapi_document("1.2.3")).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { folder, backend, faults, conformity: Arc::new(Conformity::new(document)), handle, http }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.handle.addr()
    }

    /// A request without a token.
    pub(crate) fn anonymous(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("http://{}{path}", self.addr()))
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(method, path).bearer_auth(TOKEN)
    }

    /// Sends a request and holds its answer against the document.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let response = self.http.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, body: response.bytes().await.unwrap() };
        assert!(!answer.header("x-request-id").is_empty(), "{method} {path}: no request id");
        let checked =
            self.conformity.check(&method, &path, status, answer.header("content-type"), &answer.body);
        checked.unwrap_or_else(|wrong| panic!("{method} {path}: {wrong}"));
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    /// Deploys `project` and answers the deployment's id.
    pub(crate) async fn deploy(&self, project: &str) -> String {
        let answer = self.post("/deployments", &wish(project)).await.expect(202);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Claims the next job and reports every stage and the end of it.
    pub(crate) async fn carry_out(&self, failure: Option<Stage>) -> JobMessage {
        let (ttl, now) = (Duration::from_secs(60), Timestamp::now());
        let claim = self.backend.queue.claim(WorkerId::generate(), ttl, now).await.unwrap().expect("a job");
        for stage in claim.message.kind.stages() {
            self.report(&claim.message, EventKind::StageStarted { stage: *stage, attempt: 1 }).await;
            if failure == Some(*stage) {
                let failure = Failure::new(*stage, "did_not_work", "it did not work");
                self.report(&claim.message, EventKind::Failed { failure }).await;
                self.backend.queue.complete(&claim, Timestamp::now()).await.unwrap();
                return claim.message;
            }
            let facts = Box::new(established(*stage));
            self.report(&claim.message, EventKind::StageFinished { stage: *stage, facts, skipped: None })
                .await;
        }
        self.report(&claim.message, EventKind::Succeeded).await;
        self.backend.queue.complete(&claim, Timestamp::now()).await.unwrap();
        claim.message
    }

    /// Reports one event of a job.
    pub(crate) async fn report(&self, job: &JobMessage, kind: EventKind) {
        let (id, at) = (EventId::generate(), Timestamp::now());
        let event = Event { id, deployment: job.deployment, job: job.id, fence: 1, at, kind };
        self.backend.record(&Record::Event(event)).await.unwrap();
    }
}

/// Opens a data folder, waiting for its last owner to give it up.
async fn open_data(folder: PathBuf, queue_limit_jobs: u64) -> Embedded {
    let synchronous = Synchronous::Normal;
    let settings = EmbeddedSettings { synchronous, queue_limit_jobs, ..EmbeddedSettings::default() };
    let begun = Instant::now();
    loop {
        match Embedded::open(&folder, &settings) {
            Ok(embedded) => return embedded,
            Err(OpenError::Locked { .. }) if begun.elapsed() < DEADLINE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn established(stage: Stage) -> Facts {
    let image = ImageFact {
        digest: format!("sha256:{}", "a".repeat(64)),
        tag: "t:1".to_owned(),
        reused: false,
        pushed: None,
        port: None,
    };
    Facts { image: (stage == Stage::Build).then_some(image), ..Facts::default() }
}

/// A wish to deploy `project`.
pub(crate) fn wish(project: &str) -> Value {
    json!({ "repository_url": format!("https://git.example.com/team/{project}") })
}
