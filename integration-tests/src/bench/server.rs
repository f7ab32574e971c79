//! `slipway up` as the measurements need it: with the worker kept out of the way or not, and the requests sent to it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::git_server::{Fault, GitServer, TreeFile};
use crate::gitlab::delivery::Delivery;
use crate::slipway_process::SlipwayProcess;

/// Longest wait for one answer; a request that takes longer counts as an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// No engine answers there, so that none is loaded with what is not measured.
const NO_ENGINE: &str = "unix:///nonexistent/docker.sock";

/// What the worker does while requests are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerLoad {
    /// Its only slot is taken by a clone from a host that never answers.
    Idle,
    /// The default slots work through the accepted jobs, each of which fails at the engine and is tried again.
    Busy,
}

/// A server whose queue fills, with the host that keeps its worker waiting.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub process: SlipwayProcess,
    /// Deployments that were there before the measurement.
    pub before: u64,
    stalled: Option<String>,
    _host: GitServer,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(load: WorkerLoad) -> Result<Self> {
        let host = GitServer::start().await?;
        let url = host.create_repo("bench/stalled", &[TreeFile::new("index.html", "never read\n")]).await?;
        host.set_fault(Fault::Stall);
        let engine = format!("[docker]\nhost = \"{NO_ENGINE}\"\n");
        match load {
            WorkerLoad::Busy => {
                let process = SlipwayProcess::start(&engine, &[]).await?;
                Ok(Self { process, before: 0, stalled: None, _host: host })
            }
            WorkerLoad::Idle => {
                let settings = format!("{engine}[worker]\nslots = 1\n[git]\nlow_speed_time_s = 300\n");
                let process = SlipwayProcess::start(&settings, &[]).await?;
                let id = process.deploy(&json!({ "repository_url": url })).await?;
                process.wait_for(&id, |deployment| deployment["status"] == "preparing").await?;
                Ok(Self { process, before: 1, stalled: Some(id), _host: host })
            }
        }
    }

    /// Fails when the worker did not stay where it was kept.
    ///
    /// # Errors
    /// When it left, or cannot be asked.
    pub async fn check_worker(&self) -> Result<()> {
        if let Some(id) = &self.stalled {
            let deployment = self.process.deployment(id).await?;
            ensure!(deployment["status"] == "preparing", "the worker was not idle: {deployment}");
        }
        Ok(())
    }

    /// How many deployments the server knows.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn deployments(&self) -> Result<u64> {
        let (status, body) = self.process.request("GET", "/deployments?limit=1", None).await?;
        ensure!(status == 200, "GET /deployments answered {status}: {body}");
        body["total"].as_u64().context("the list has no total")
    }
}

/// The request for project number `index`: one of its own, so that no deployment supersedes another.
#[must_use]
pub fn deployment_of(index: u32, load: WorkerLoad) -> Value {
    let repository_url = format!("https://git.example.com/bench/site-{index}");
    match load {
        WorkerLoad::Idle => json!({
            "repository_url": repository_url, "branch": "main", "repository_token": "glpat-bench-5d1e8a"
        }),
        // With an image there is nothing to clone, and no foreign host is asked.
        WorkerLoad::Busy => json!({
            "repository_url": repository_url, "branch": "main", "repository_token": "glpat-bench-5d1e8a",
            "image": "bench.invalid/site:1", "port": 8080
        }),
    }
}

/// A client that costs little: plain HTTP/1.1 over kept connections.
#[derive(Debug, Clone)]
pub struct FastClient {
    client: Client<HttpConnector, Full<Bytes>>,
    address: String,
    authorization: String,
}

impl FastClient {
    /// For this process.
    #[must_use]
    pub fn of(process: &SlipwayProcess) -> Self {
        Self::new(process.address().to_owned(), process.token())
    }

    /// For the API at this address (`http://host:port`), with a token of it.
    #[must_use]
    pub fn new(address: String, token: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            address,
            authorization: format!("Bearer {token}"),
        }
    }

    /// One request, its answer read to the end.
    ///
    /// # Errors
    /// What was wrong, when the status is not `expected` or there is no answer in time.
    pub async fn send(self, method: &str, path: &str, body: Bytes, expected: u16) -> Result<(), String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        self.exchange(request, |status| status == expected).await
    }

    /// One delivery of a forge to this address, its answer read to the end.
    ///
    /// # Errors
    /// What was wrong, when it was not taken or there is no answer in time.
    pub async fn deliver(self, url: &str, delivery: Delivery) -> Result<(), String> {
        let named = delivery.headers.iter();
        let request = named
            .fold(Request::post(url), |request, (name, value)| request.header(name.as_str(), value.as_str()));
        let request = request.body(Full::new(delivery.body)).map_err(|error| error.to_string())?;
        self.exchange(request, |status| (200..300).contains(&status)).await
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        is_expected: impl Fn(u16) -> bool,
    ) -> Result<(), String> {
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            if is_expected(status) {
                return Ok(());
            }
            Err(format!("status {status}: {}", String::from_utf8_lossy(&body)))
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| "no answer in time".to_owned())?
    }
}
