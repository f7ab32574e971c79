//! What happens on a cluster, as its watches tell it: the workloads Slipway made, and who serves which host name. Jobs
//! that wait for a rollout are woken by it.

mod seen;
mod waker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::Api;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use slipway_common::queue::JobQueue;
use slipway_common::telemetry::chain;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::seen::Seen;
use self::waker::Waker;
use super::cluster::Cluster;
use super::drift::Ownerships;
use super::kind::Kind;
use super::labels;
use super::state::Workloads;

pub use self::waker::Interest;

/// A watch is asked for again after this long, so that one that died silently is noticed.
const WATCH_SECONDS: u32 = 60;
/// Pause before a cluster that cannot be connected to is tried again.
const CONNECT_PAUSE: Duration = Duration::from_secs(5);
/// Objects that are listed at once; a page is held in memory whole.
const PAGE_SIZE: u32 = 100;
/// What is watched.
const WATCHED: [Kind; 6] =
    [Kind::Deployment, Kind::ReplicaSet, Kind::Pod, Kind::Ingress, Kind::Service, Kind::ServiceAccount];
/// Failed connections in a row after which the settings are read anew: certificates may have been replaced.
const CUT_OFF_MAX: u32 = 3;

/// The watches of one cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    waker: Waker,
}

impl Watch {
    /// A watch that has seen nothing yet; [`Watch::run`] makes it see.
    #[must_use]
    pub fn new(queue: Arc<dyn JobQueue>) -> Self {
        Self { seen: Arc::default(), waker: Waker::new(queue) }
    }

    /// Watches until `stop`.
    pub async fn run(&self, cluster: Cluster, stop: CancellationToken) {
        let mut watches = JoinSet::new();
        for kind in WATCHED {
            let (this, cluster) = (self.clone(), cluster.clone());
            watches.spawn(async move { this.keep_watching(kind, &cluster).await });
        }
        stop.cancelled().await;
        watches.shutdown().await;
    }

    /// The workloads of a namespace, once everything was seen at least once.
    #[must_use]
    pub fn workloads(&self, namespace: &str) -> Option<Workloads> {
        self.lock().workloads(namespace)
    }

    /// Who owns the fields of Slipway's objects in a namespace, once everything was seen at least once.
    #[must_use]
    pub fn ownerships(&self, namespace: &str) -> Option<Ownerships> {
        self.lock().ownerships(namespace)
    }

    /// The namespaces that serve a host name.
    #[must_use]
    pub fn namespaces_of(&self, hostname: &str) -> Vec<String> {
        self.lock().namespaces_of(hostname)
    }

    /// Has a job woken when what it waits for comes true, or turns out otherwise.
    pub fn wake(&self, namespace: &str, interest: Interest) {
        self.waker.register(namespace, interest);
        self.tell(namespace);
    }

    async fn keep_watching(&self, kind: Kind, cluster: &Cluster) {
        loop {
            let client = match cluster.watching_client().await {
                Ok(client) => client,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the cluster cannot be watched");
                    tokio::time::sleep(CONNECT_PAUSE).await;
                    continue;
                }
            };
            let objects: Api<DynamicObject> = Api::all_with(client, &kind.resource());
            let mut config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE_SIZE);
            if kind != Kind::Ingress {
                config = config.labels(&labels::managed());
            }
            let mut events = watcher::watcher(objects, config).default_backoff().boxed();
            let mut cut_off = 0;
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        cut_off = 0;
                        self.take(kind, event);
                    }
                    Err(error) => {
                        tracing::debug!(kind = kind.as_str(), error = chain(&error), "a watch was cut off");
                        cut_off += 1;
                        if is_unauthorized(&error) || cut_off >= CUT_OFF_MAX {
                            break;
                        }
                    }
                }
            }
            // What was refused or cut off may have been renewed: the next client reads it anew.
            cluster.forget_client();
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }

    fn take(&self, kind: Kind, event: Event<DynamicObject>) {
        let touched = self.lock().take(kind, event);
        for namespace in touched {
            self.tell(&namespace);
        }
    }

    /// Wakes the job that waits in `namespace`, if what it waits for has come true.
    fn tell(&self, namespace: &str) {
        if !self.waker.is_interested(namespace) {
            return;
        }
        if let Some(workloads) = self.workloads(namespace) {
            self.waker.tell(namespace, &workloads);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_unauthorized(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 401,
        watcher::Error::WatchError(status) => status.code == 401,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}
