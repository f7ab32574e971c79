//! Outgoing webhooks: signed, one for each thing that happened, and tried again when the receiver was away.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use slipway_integration_tests::gitlab::delivery;
use tokio::net::TcpListener;

use crate::world::{HOOKS_ONLY, World, files, text};

/// What arrived: id, time, signatures and body.
pub(crate) type Letter = (String, String, String, Bytes);

/// A receiver that is away for its first requests.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    letters: Arc<Mutex<Vec<Letter>>>,
    refused: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Answers 503 so many times first.
    pub(crate) async fn start(refusals: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let letters: Arc<Mutex<Vec<Letter>>> = Arc::default();
        let refused = Arc::new(AtomicUsize::new(0));
        let (kept, count) = (Arc::clone(&letters), Arc::clone(&refused));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, count) = (Arc::clone(&kept), Arc::clone(&count));
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let (kept, count) = (Arc::clone(&kept), Arc::clone(&count));
                        async move { Ok::<_, Infallible>(receive(request, &kept, &count, refusals).await) }
                    });
                    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A sender that goes away is no concern of the receiver's.
                    drop(served.await);
                });
            }
        });
        Ok(Self { address, letters, refused, task })
    }

    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    request: Request<Incoming>,
    kept: &Mutex<Vec<Letter>>,
    refused: &AtomicUsize,
    refusals: usize,
) -> Response<Empty<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut answer = Response::new(Empty::new());
    if refused.fetch_add(1, Ordering::SeqCst) < refusals {
        *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
        return answer;
    }
    let header = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let letter = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), body);
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn outgoing_webhooks_are_signed_and_told_again_until_they_are_taken() {
    told().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn told() -> anyhow::Result<()> {
    let receiver = Receiver::start(2).await?;
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, commit) = world.project(&files("one")).await?;
    let secret = delivery::signing_secret();
    let url = format!("http://{}/told", receiver.address);
    let notify = json!({ "webhooks": [{ "url": url, "secret": secret }] });
    let project = world.register(&path, json!({ "notify": notify })).await?;
    let deployment = world.wait_commit(&project, "production", &commit).await?;
    let id = text(&deployment["id"])?.to_owned();
    let types = |letters: &[Letter]| -> Vec<String> {
        let bodies = letters.iter().filter_map(|(_, _, _, body)| serde_json::from_slice::<Value>(body).ok());
        bodies.filter_map(|body| body["type"].as_str().map(str::to_owned)).collect()
    };
    let succeeded = "deployment.succeeded".to_owned();
    world.eventually("the last message", |_| types(&receiver.letters()).contains(&succeeded)).await?;
    let letters = receiver.letters();
    for (letter_id, at, signatures, body) in &letters {
        ensure!(delivery::is_signed(&secret, letter_id, at, signatures, body)?, "{letter_id}");
        ensure!(!delivery::is_signed(&secret, letter_id, at, signatures, b"{}")?, "another body");
        let told: Value = serde_json::from_slice(body)?;
        ensure!(told["data"]["deployment"] == id.as_str(), "{told:#}");
        ensure!(told["data"]["environment"] == "production", "{told:#}");
        ensure!(told["data"]["project"] == project.slug.as_str(), "{told:#}");
    }
    let mut told = types(&letters);
    ensure!(told.first().map(String::as_str) == Some("deployment.queued"), "in order: {told:?}");
    let count = told.len();
    told.sort();
    told.dedup();
    ensure!(told.len() == count, "each once: {told:?}");
    let ids: std::collections::BTreeSet<_> = letters.iter().map(|(letter_id, ..)| letter_id).collect();
    ensure!(ids.len() == letters.len(), "each with an id of its own");
    let asked = receiver.refused.load(Ordering::SeqCst);
    ensure!(asked >= letters.len() + 2, "it was away twice: {asked} requests");
    let last = letters.last().context("a letter")?;
    ensure!(!String::from_utf8_lossy(&last.3).contains(&secret), "no secret in it");
    Ok(())
}
