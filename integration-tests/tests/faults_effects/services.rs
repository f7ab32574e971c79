//! The broker and the Redis that all lanes share, and the requests that clients of the API make.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::distributed::{DistributedOptions, DistributedSlipway};
use slipway_integration_tests::process_control::in_background;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Longest wait for the queue to be empty once all jobs have ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// One API and two workers; each of them works on one job at a time.
pub(crate) async fn options() -> anyhow::Result<DistributedOptions> {
    let broker = RabbitMq::shared().await?;
    let options = DistributedOptions::new(vec![broker.url()], redis().await?.url());
    Ok(options.with(1, 2).variable("SLIPWAY__WORKER__BACKOFF_MIN_MS", "200"))
}

async fn redis() -> anyhow::Result<Arc<RedisServer>> {
    static SHARED: OnceCell<Arc<RedisServer>> = OnceCell::const_new();
    let started = SHARED.get_or_try_init(|| {
        in_background(async { Ok(Arc::new(RedisServer::start(RedisOptions::default()).await?)) })
    });
    started.await.cloned()
}

/// One request with the first token, whatever the method.
pub(crate) async fn request(
    slipway: &DistributedSlipway,
    method: reqwest::Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<(u16, Value)> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let mut request = client.request(method, format!("{}{path}", slipway.api_process(0)?.base_url()));
    if let Some(body) = body {
        request = request.json(body);
    }
    slipway.api(0)?.request(request).await
}

/// Stores a credential.
pub(crate) async fn store_credential(
    slipway: &DistributedSlipway,
    name: &str,
    user: &str,
    secret: &str,
) -> anyhow::Result<()> {
    let body = json!({ "username": user, "secret": secret });
    let path = format!("/credentials/{name}");
    let (status, answer) = request(slipway, reqwest::Method::PUT, &path, Some(&body)).await?;
    ensure!(status < 300, "PUT {path} answered {status}: {answer}");
    Ok(())
}

/// How often each kind of event is in the history of a deployment.
pub(crate) async fn count_events(
    slipway: &DistributedSlipway,
    id: &str,
    matches: impl Fn(&Value) -> bool,
) -> anyhow::Result<usize> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let address = format!("{}/deployments/{id}/events", slipway.api_process(0)?.base_url());
    let answer = client.get(address).bearer_auth(slipway.token()).send().await?.error_for_status()?;
    let text = answer.text().await?;
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| serde_json::from_str(data.trim()).with_context(|| data.to_owned()))
        .collect::<Result<_, _>>()?;
    ensure!(!events.is_empty(), "the history of {id} is empty: {text}");
    Ok(events.iter().filter(|event| matches(event)).count())
}

/// Waits until no job is in any queue of this Slipway, neither ready nor with a worker.
pub(crate) async fn wait_drained(slipway: &DistributedSlipway) -> anyhow::Result<()> {
    let broker = RabbitMq::shared().await?;
    let own = format!("{}.jobs.", slipway.prefix());
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    loop {
        let told = broker.ctl(&["list_queues", "--no-table-headers", "name", "messages"]).await?;
        let queues = told.lines().filter(|line| line.starts_with(&own));
        let filled: Vec<&str> = queues.filter(|line| !line.trim_end().ends_with("\t0")).collect();
        if filled.is_empty() {
            ensure!(told.contains(&own), "no queue is called {own}*: {told}");
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("jobs are left in {filled:?}\n{}", slipway.logs());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
