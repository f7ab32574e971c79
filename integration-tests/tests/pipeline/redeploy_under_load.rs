//! A redeploy under 200 requests a second loses none: worker and gateway in one process, sharing nothing but the
//! engine, and a load generator that keeps its own schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::world::{World, page};
use anyhow::{Context as _, ensure};
use slipway_gateway::{Gateway, GatewaySettings};
use slipway_integration_tests::docker_engine;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const REQUESTS_PER_SECOND: u64 = 200;
const REDEPLOYS: usize = 3;
const PORTS: (u16, u16) = (17_600, 18_599);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redeploy_under_load_loses_no_request() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let extra = [
        ("SLIPWAY__DOCKER__DRAIN_MS", "1000"),
        ("SLIPWAY__GATEWAY__PORT_MIN", "17600"),
        ("SLIPWAY__GATEWAY__PORT_MAX", "18599"),
    ];
    let world = World::start(&host, &extra).await.expect("the world starts");
    let outcome = redeploy_under_load(&world).await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the engine is cleaned up");
}

async fn redeploy_under_load(world: &World) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let gateway = Gateway::start(gateway_settings(), world.docker.clone(), shutdown.clone()).await?;
    let (path, url) = world.static_site("version 0").await?;
    let mut request = world.request(&url);
    request.replicas = Some(2);
    let first = world.deploy(&request).await?;
    let address = first.facts.inventory.and_then(|it| it.url).context("no address")?;
    wait_served(&address).await?;
    let load = Load::start(&address)?;
    for version in 1..=REDEPLOYS {
        world.git.commit(&path, "main", &[page(&format!("version {version}"))], "Next").await?;
        let deployment = world.deploy(&request).await?;
        let now = deployment.facts.inventory.and_then(|it| it.url);
        ensure!(now.as_deref() == Some(address.as_str()), "the address is stable: {now:?}");
    }
    let served = load.stop().await;
    ensure!(
        served.lost == 0,
        "lost {} of {} requests, the first by: {:?}",
        served.lost,
        served.sent,
        served.first_loss
    );
    ensure!(served.sent > REQUESTS_PER_SECOND, "only {} requests were sent", served.sent);
    let last = reqwest::get(&address).await?.text().await?;
    ensure!(last.contains(&format!("version {REDEPLOYS}")), "{last}");
    shutdown.cancel();
    gateway.stopped().await;
    Ok(())
}

/// The gateway's part of the engine: other tests and other gateways have theirs.
fn gateway_settings() -> GatewaySettings {
    GatewaySettings { port_min: PORTS.0, port_max: PORTS.1, ..GatewaySettings::default() }
}

async fn wait_served(address: &str) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !reqwest::get(address).await.is_ok_and(|answer| answer.status().is_success()) {
        ensure!(tokio::time::Instant::now() < deadline, "{address} does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Requests on a schedule of their own: a slow answer delays no later request.
struct Load {
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    first_loss: Arc<std::sync::Mutex<Option<String>>>,
    sender: tokio::task::JoinHandle<u64>,
}

/// What became of the requests.
struct Served {
    sent: u64,
    lost: u64,
    first_loss: Option<String>,
}

impl Load {
    fn start(address: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicU64::new(0));
        let first_loss = Arc::new(std::sync::Mutex::new(None));
        let (address, stopping, losing, losses) =
            (address.to_owned(), Arc::clone(&stop), Arc::clone(&lost), Arc::clone(&first_loss));
        let sender = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / REQUESTS_PER_SECOND));
            let mut requests = JoinSet::new();
            let mut sent = 0;
            while !stopping.load(Ordering::Relaxed) {
                ticks.tick().await;
                let (request, losing, losses) =
                    (client.get(&address).send(), Arc::clone(&losing), Arc::clone(&losses));
                requests.spawn(async move {
                    let outcome = match request.await {
                        Ok(answer) if answer.status().is_success() => {
                            answer.text().await.map(drop).map_err(|e| format!("{e:?}"))
                        }
                        Ok(answer) => Err(format!("{} {:?}", answer.status(), answer.text().await)),
                        Err(error) => Err(format!("{error:?}")),
                    };
                    if let Err(loss) = outcome {
                        losing.fetch_add(1, Ordering::Relaxed);
                        losses.lock().expect("nobody panics with it").get_or_insert(loss);
                    }
                });
                sent += 1;
            }
            requests.join_all().await;
            sent
        });
        Ok(Self { stop, lost, first_loss, sender })
    }

    async fn stop(self) -> Served {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.await.unwrap_or_default();
        let first_loss = self.first_loss.lock().expect("nobody panics with it").take();
        Served { sent, lost: self.lost.load(Ordering::Relaxed), first_loss }
    }
}
