//! One process of the distributed form: opens the installation, runs its work, says how it is, ends in good order.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{ProcessError, Signals, Startup, run_until_stopped};
use crate::Backend;
use crate::distributed::{Distributed, DistributedSettings, Figure};
use crate::health::{HealthServer, Liveness, Unready, Vitals};

/// Pause between two looks at what keeps the process from being ready.
const WATCH_PAUSE: Duration = Duration::from_millis(500);
/// Longest such look; a part that does not answer by then is not ready.
const WATCH_TIMEOUT: Duration = Duration::from_secs(5);

/// What a process does, once started.
pub struct Work {
    /// The progress of its loops.
    pub liveness: Liveness,
    /// Its metrics in the text form of Prometheus.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// What keeps it from being ready besides the installation; asked for each answer, so it must not wait.
    pub unready: Box<dyn Fn() -> Vec<Unready> + Send + Sync>,
    /// Ready once all of it has ended, after it was told to stop.
    pub stopped: BoxFuture<'static, ()>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Work").field("liveness", &self.liveness).finish_non_exhaustive()
    }
}

/// How the process is. Readiness is looked at in the background, so that no probe waits for a dependency.
struct Condition {
    distributed: Distributed,
    liveness: Liveness,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
    unready: Mutex<Vec<Unready>>,
    own: Box<dyn Fn() -> Vec<Unready> + Send + Sync>,
    stopping: CancellationToken,
}

/// Runs a process of the distributed form until a signal ends it; answers the exit code. `slots` is how many jobs it
/// works on at once, 0 for none; `start` begins its work, which ends after the token it is given.
///
/// Nothing needs to be reachable: the process is there, says that it is not ready, and works once it can.
///
/// # Errors
/// When a setting cannot be used, the health listener cannot be started, or not everything ended in time.
pub async fn serve<F: Future<Output = Result<Work, ProcessError>>>(
    name: &str,
    startup: &Startup,
    slots: u16,
    start: impl FnOnce(Backend, CancellationToken) -> F,
) -> Result<u8, ProcessError> {
    let settings = DistributedSettings::from_config(&startup.config, slots)
        .map_err(|error| ProcessError::Settings(Box::new(error)))?;
    let mut signals = Signals::watch()?;
    let distributed = Distributed::open(&settings);
    let stopping = CancellationToken::new();
    let work = start(distributed.backend(), stopping.clone()).await?;
    let condition = Arc::new(Condition {
        distributed: distributed.clone(),
        liveness: work.liveness,
        metrics: work.metrics,
        own: work.unready,
        unready: Mutex::new(vec![Unready::new("process", "it has just been started")]),
        stopping: stopping.clone(),
    });
    let vitals: Arc<dyn Vitals> = condition.clone();
    let health =
        HealthServer::start(startup.config.health.listen, vitals).await.map_err(ProcessError::Health)?;
    println!("{name} {}, health at http://{}", env!("CARGO_PKG_VERSION"), health.address());
    let watching = tokio::spawn(async move { condition.watch().await });
    let ended = run_until_stopped(&mut signals, || async {
        stopping.cancel();
        distributed.stop_taking().await;
        work.stopped.await;
        distributed.close().await;
    })
    .await;
    watching.abort();
    ended
}

impl Condition {
    /// Looks again and again what is not ready; logs it once each time that changes.
    async fn watch(&self) {
        let mut known: Option<Vec<String>> = None;
        loop {
            let looked = tokio::time::timeout(WATCH_TIMEOUT, self.distributed.readiness()).await;
            let unready: Vec<Unready> = match looked {
                Ok(missing) => missing.into_iter().map(|(part, reason)| Unready::new(part, reason)).collect(),
                Err(_) => vec![Unready::new("installation", "it does not say whether it is ready")],
            };
            let parts: Vec<String> = unready.iter().map(|one| one.part.clone()).collect();
            if known.as_ref() != Some(&parts) {
                tell(&unready);
                known = Some(parts);
            }
            *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = unready;
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }
}

impl Vitals for Condition {
    fn stalled(&self) -> Vec<Unready> {
        self.liveness.stalled()
    }

    fn unready(&self) -> Vec<Unready> {
        let mut unready = self.unready.lock().unwrap_or_else(PoisonError::into_inner).clone();
        unready.extend((self.own)());
        if self.stopping.is_cancelled() {
            unready.push(Unready::new("process", "it is stopping"));
        }
        unready
    }

    fn metrics(&self) -> String {
        let figures = self.distributed.figures();
        let lines: Vec<String> = figures.iter().map(line).collect();
        format!("{}{}", (self.metrics)(), lines.concat())
    }
}

fn tell(unready: &[Unready]) {
    if unready.is_empty() {
        tracing::info!("ready");
    }
    for one in unready {
        tracing::warn!(part = one.part, reason = one.reason, "not ready");
    }
}

fn line(figure: &Figure) -> String {
    let (kind, end) = if figure.is_counter { ("counter", "_total") } else { ("gauge", "") };
    let name = format!("slipway_{}{end}", figure.name);
    format!("# HELP {name} {}\n# TYPE {name} {kind}\n{name} {}\n", figure.help, figure.value)
}
