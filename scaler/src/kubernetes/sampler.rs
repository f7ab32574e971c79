//! Measures the pods of a cluster's deployments again and again, and passes on what is new. Without
//! measurements nothing is passed on, and numbers of replicas are held.

mod news;

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use slipway_cluster::labels;
use slipway_common::metric::{MetricError, MetricEvent, Metrics};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::news::Published;
use super::api::{Api, CallError};
use super::object::{ObjectName, Pod, PodMetrics};
use super::pod::Wanted;
use super::reading::Reading;
use super::{ClusterSettings, EACH_MAX, exposition};
use crate::number;
use crate::target::Subject;

/// Events of one message: with the longest names it stays within what is read.
const EVENTS_AT_ONCE: usize = 200;
/// Kubelets asked at once.
const KUBELETS_AT_ONCE: usize = 8;
/// How far a pause may be from the interval, so that clusters and scalers are not in step.
const JITTER: f64 = 0.1;
/// Longest pause after rounds that failed.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Failures in a row beyond which pauses grow no more.
const DOUBLINGS_MAX: u32 = 6;
/// The same trouble is said at most once in this time.
const SAID_PAUSE: Duration = Duration::from_secs(60);

/// Measures pods.
#[derive(Debug)]
pub(super) struct Sampler {
    settings: Arc<ClusterSettings>,
    api: Arc<Api>,
    metrics: Arc<dyn Metrics>,
    published: Published,
    said: HashMap<&'static str, Instant>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("pods cannot be measured: {0}")]
    Call(#[from] CallError),
    #[error("pods cannot be measured: the cluster has no metrics API; install metrics-server")]
    NoMetricsApi,
    #[error("pods cannot be measured: no kubelet answers; the last one: {0}")]
    NoKubelet(CallError),
    #[error(transparent)]
    Publish(#[from] MetricError),
}

impl Sampler {
    pub(super) fn new(settings: Arc<ClusterSettings>, api: Arc<Api>, metrics: Arc<dyn Metrics>) -> Self {
        Self { settings, api, metrics, published: Published::default(), said: HashMap::new() }
    }

    /// Measures until `stop`.
    pub(super) async fn run(mut self, subjects: &watch::Receiver<Arc<[Subject]>>, stop: &CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let pause = pause(self.settings.sample_interval, failures, random());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let all = Arc::clone(&subjects.borrow());
            let wanted = wanted(&all, &self.settings);
            let measured = tokio::select! {
                () = stop.cancelled() => return,
                measured = self.round(&wanted) => measured,
            };
            failures = match measured {
                Ok(()) => 0,
                Err(error) => {
                    self.warn("round", &error.to_string());
                    failures.saturating_add(1)
                }
            };
        }
    }

    async fn round(&mut self, wanted: &Wanted) -> Result<(), RoundError> {
        self.published.retain(wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let (pods, readings) = if self.settings.kubelet {
            let pods = self.pods(wanted).await?;
            let readings = self.of_kubelets(&pods).await?;
            (pods, readings)
        } else {
            tokio::try_join!(
                async { self.pods(wanted).await.map_err(RoundError::from) },
                self.of_metrics_api(wanted)
            )?
        };
        let source = if self.settings.kubelet { "kubelet" } else { "metrics.k8s.io" };
        let news = self.published.news(source, wanted, &pods, &readings, Timestamp::now());
        if news.unbounded > 0 {
            let reason = format!("{} pods have neither a limit nor a request of CPU", news.unbounded);
            self.warn("unbounded", &reason);
        }
        self.publish(&news.events).await
    }

    async fn publish(&mut self, events: &[MetricEvent]) -> Result<(), RoundError> {
        for some in events.chunks(EVENTS_AT_ONCE) {
            self.metrics.publish(some).await?;
            self.published.note(some);
        }
        Ok(())
    }

    /// The pods that may be replicas of the subjects.
    async fn pods(&self, wanted: &Wanted) -> Result<Vec<Pod>, CallError> {
        let of_subject = |pod: Pod| pod.subject(wanted).is_some().then_some(pod);
        self.listed("/api/v1", wanted, of_subject).await
    }

    /// What `metrics.k8s.io` has measured.
    async fn of_metrics_api(&self, wanted: &Wanted) -> Result<HashMap<ObjectName, Reading>, RoundError> {
        let reading = |of: PodMetrics| Some((of.metadata.object_name(), Reading::of(&of)?));
        match self.listed("/apis/metrics.k8s.io/v1beta1", wanted, reading).await {
            Ok(readings) => Ok(readings.into_iter().collect()),
            Err(error) if error.has_status(404) => Err(RoundError::NoMetricsApi),
            Err(error) => Err(error.into()),
        }
    }

    /// What `of` makes of the objects called `pods` of an API group, of the subjects at least: namespace by namespace
    /// where they are few.
    async fn listed<T: DeserializeOwned, U: Send>(
        &self,
        group: &str,
        wanted: &Wanted,
        of: impl Fn(T) -> Option<U> + Send + Sync,
    ) -> Result<Vec<U>, CallError> {
        let managed = labels::managed();
        if wanted.len() > EACH_MAX {
            return self.api.list(&format!("{group}/pods"), Some(&managed), of).await;
        }
        let asked: Vec<(String, String)> = wanted
            .keys()
            .map(|ObjectName { namespace, name }| {
                let path = format!("{group}/namespaces/{namespace}/pods");
                (path, format!("{managed},{}={name}", labels::NAME))
            })
            .collect();
        let lists = asked.iter().map(|(path, selector)| self.api.list(path, Some(selector), &of));
        Ok(try_join_all(lists).await?.into_iter().flatten().collect())
    }

    /// What the kubelets of these pods' nodes have measured. Those that do not answer are left out.
    async fn of_kubelets(&mut self, pods: &[Pod]) -> Result<HashMap<ObjectName, Reading>, RoundError> {
        let nodes: BTreeSet<String> = pods.iter().map(|pod| pod.spec.node_name.clone()).collect();
        let nodes: Vec<String> = nodes.into_iter().filter(|node| is_name(node)).collect();
        let api = Arc::clone(&self.api);
        let asked = stream::iter(nodes).map(move |node| {
            let api = Arc::clone(&api);
            async move { api.kubelet_resources(&node).await.map(|text| (text, Timestamp::now())) }
        });
        let answers: Vec<Result<(String, Timestamp), CallError>> =
            asked.buffer_unordered(KUBELETS_AT_ONCE).collect().await;
        let (mut readings, mut silent, mut all) = (HashMap::new(), None, 0_usize);
        for answer in answers {
            match answer {
                Ok((text, read_at)) => {
                    all += 1;
                    readings.extend(exposition::readings(&text, read_at));
                }
                Err(error) => silent = Some(error),
            }
        }
        match silent {
            Some(error) if all == 0 => Err(RoundError::NoKubelet(error)),
            Some(error) => {
                self.warn("kubelet", &error.to_string());
                Ok(readings)
            }
            None => Ok(readings),
        }
    }

    /// Says what is wrong, unless it was said lately.
    fn warn(&mut self, kind: &'static str, reason: &str) {
        let now = Instant::now();
        let is_new = self.said.get(kind).is_none_or(|said| now.duration_since(*said) >= SAID_PAUSE);
        if is_new {
            self.said.insert(kind, now);
            tracing::warn!(cluster = %self.settings.name, reason, "measurements are missing");
        }
    }
}

/// The subjects that are on this cluster. Pure.
fn wanted(all: &[Subject], settings: &ClusterSettings) -> Wanted {
    let here = all.iter().filter(|subject| subject.target == settings.name);
    here.map(|subject| (ObjectName::of(subject), subject.clone())).collect()
}

/// Whether a node may be called so: what is asked of it becomes part of a path. Pure.
fn is_name(node: &str) -> bool {
    let is_letter =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    node.bytes().all(is_letter) && node.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// How long to wait after so many failures in a row; `random` is from 0 to 1. Pure.
fn pause(interval: Duration, failures: u32, random: f64) -> Duration {
    let backed_off = interval.saturating_mul(2_u32.saturating_pow(failures.min(DOUBLINGS_MAX)));
    let spread = 1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0);
    backed_off.min(PAUSE_MAX.max(interval)).mul_f64(spread)
}

/// A number from 0 to 1, another one each time.
fn random() -> f64 {
    // Each state of the standard library's hash maps begins with keys of its own.
    let bits = RandomState::new().hash_one(0_u8);
    number::from_u64(bits) / number::from_u64(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_are_spread() {
        let interval = Duration::from_secs(5);
        let of = |failures: u32, random: f64| pause(interval, failures, random).as_secs_f64();
        assert!((of(0, 0.5) - 5.0).abs() < 1e-9);
        assert!((of(0, 0.0) - 4.5).abs() < 1e-9 && (of(0, 1.0) - 5.5).abs() < 1e-9);
        assert!((of(1, 0.5) - 10.0).abs() < 1e-9);
        assert!((of(u32::MAX, 0.5) - 30.0).abs() < 1e-9);
        let slow = Duration::from_secs(90);
        assert!((pause(slow, 3, 0.5).as_secs_f64() - 90.0).abs() < 1e-9);
    }

    #[test]
    fn random_numbers_differ() {
        let some: Vec<f64> = (0..8).map(|_| random()).collect();
        assert!(some.iter().all(|number| (0.0..=1.0).contains(number)), "{some:?}");
        assert!(some.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.0), "{some:?}");
    }

    #[test]
    fn a_node_is_asked_by_a_name_only() {
        assert!(is_name("node-1.example.com") && is_name("a"));
        for other in ["", ".", "..", "a/b", "../secrets", "a b", "a?x", "A"] {
            assert!(!is_name(other), "{other}");
        }
    }
}
