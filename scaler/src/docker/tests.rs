//! Counts changed and use measured on a stand-in for an engine.

mod fake;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};
use slipway_common::metric::{Measured, MetricError, MetricEvent, MetricSubscription};
use slipway_common::model::autoscaler::Place;
use slipway_common::model::label;
use tokio::net::TcpListener;
use tokio::time::Instant;

use self::fake::{Container, Fake};
use super::*;

/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The right to act, for so many steps.
struct Held {
    fence: u64,
    steps: usize,
    asked: AtomicUsize,
}

impl Held {
    fn with_fence(fence: u64) -> Self {
        Self { fence, steps: usize::MAX, asked: AtomicUsize::new(0) }
    }
}

impl Guard for Held {
    fn fence(&self) -> Result<u64, TargetError> {
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        if before < self.steps { Ok(self.fence) } else { Err(TargetError::LeaseLost) }
    }
}

/// A deployment whose replicas listen on one port of this machine.
struct Stand {
    subject: Subject,
    listener: TcpListener,
}

impl Stand {
    async fn new() -> Self {
        let place =
            Place { project: "shop-a1b2c3".parse().unwrap(), environment: "default".parse().unwrap() };
        let (deployment, target) = (DeploymentId::generate(), "docker".parse().unwrap());
        let subject = Subject { place, deployment, target };
        Self { subject, listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap() }
    }

    fn name(&self, suffix: &str) -> String {
        format!("slipway-shop-a1b2c3-default-{}-{suffix}", self.subject.deployment.short())
    }

    fn names<const N: usize>(&self, suffixes: [&str; N]) -> Vec<String> {
        suffixes.iter().map(|suffix| self.name(suffix)).collect()
    }

    /// A replica as a deploy job makes it; `suffix` is its number and the suffix of its state.
    fn replica(&self, suffix: &str, state: &'static str) -> Container {
        let number = suffix.split('-').next().unwrap();
        let port = self.listener.local_addr().unwrap().port();
        let body = json!({
            "Image": "sha256:feed",
            "Env": ["A=1"],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {
                (label::MANAGED): "true", (label::ROLE): label::ROLE_APP, (label::PROJECT): "shop-a1b2c3",
                (label::ENVIRONMENT): "default", (label::DEPLOYMENT): self.subject.deployment.to_string(),
                (label::REPLICA): number, (label::PORT): port.to_string(), (label::NETWORK): "net",
                (label::SPEC_HASH): "one", (label::FENCE): "5",
            },
            "HostConfig": {
                "NetworkMode": "net", "Memory": 268_435_456, "NanoCpus": 500_000_000,
                "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
            },
        });
        let name = self.name(suffix);
        Container { id: format!("id-{suffix}"), name, state, body }
    }

    fn with_label(&self, suffix: &str, key: &str, value: &str) -> Container {
        let mut replica = self.replica(suffix, "running");
        replica.body["Labels"][key] = Value::from(value);
        replica.name = format!("other-{suffix}");
        replica.id = format!("other-{suffix}");
        replica
    }
}

fn target(fake: &Fake) -> DockerTarget {
    DockerTarget::new(DockerSettings {
        name: "docker".parse().unwrap(),
        host: fake.host.clone(),
        drain: Duration::from_millis(10),
        stop_grace_s: 1,
        sample_interval: Duration::from_millis(20),
    })
}

fn seen(replicas: u32, ready: u32, unfinished: u32) -> Seen {
    Seen { replicas, ready, unfinished, hands_off: None }
}

#[test]
fn the_engine_is_the_configured_one_then_that_of_the_environment_then_the_local_socket() {
    let load = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(None, pairs).unwrap()
    };
    let host = |config: &Config, env: Option<&str>| {
        DockerSettings::from_config(config, env.map(str::to_owned)).map(|settings| settings.host)
    };
    let named = load(&[("SLIPWAY__DOCKER__HOST", "tcp://engine:2375")]);
    assert_eq!(host(&named, Some("unix:///elsewhere")).as_deref(), Some("tcp://engine:2375"));
    let unnamed = load(&[]);
    assert_eq!(host(&unnamed, Some("unix:///elsewhere")).as_deref(), Some("unix:///elsewhere"));
    assert_eq!(host(&unnamed, Some("")).as_deref(), Some(DOCKER_SOCKET));
    assert_eq!(host(&unnamed, None).as_deref(), Some(DOCKER_SOCKET));
    let mut builds_only = load(&[]);
    builds_only.docker.enabled = false;
    assert_eq!(host(&builds_only, None), None);
}

#[tokio::test]
async fn growing_copies_a_replica_that_serves() {
    let stand = Stand::new().await;
    let fake = Fake::with(vec![stand.replica("2", "running")]).await;
    let serving = target(&fake).scale(&stand.subject, 3, &Held::with_fence(9)).await;
    assert_eq!(serving, Ok(3));
    assert_eq!(fake.names(), stand.names(["1", "2", "3"]));
    let (original, copy) = (fake.container(&stand.name("2")), fake.container(&stand.name("3")));
    assert_eq!(copy.state, "running");
    assert_eq!((&copy.body["Image"], &copy.body["Env"]), (&json!("sha256:feed"), &json!(["A=1"])));
    assert_eq!(
        copy.body["HostConfig"], original.body["HostConfig"],
        "limits, and once it serves the restart policy"
    );
    let labels = &copy.body["Labels"];
    assert_eq!(
        (&labels[label::REPLICA], &labels[label::FENCE]),
        (&json!("3"), &original.body["Labels"][label::FENCE])
    );
    assert_eq!(labels[label::SPEC_HASH], "one");
    let seen_now = target(&fake).look().await.unwrap();
    assert_eq!(seen_now[&stand.subject.deployment], seen(3, 3, 0));
}

#[tokio::test]
async fn shrinking_ends_the_routing_before_it_ends_the_youngest() {
    let stand = Stand::new().await;
    let fake = Fake::with(["1", "2", "10"].map(|number| stand.replica(number, "running")).to_vec()).await;
    assert_eq!(target(&fake).scale(&stand.subject, 2, &Held::with_fence(9)).await, Ok(2));
    assert_eq!(fake.names(), stand.names(["1", "2"]));
    let (serving, draining) = (stand.name("10"), stand.name("10-draining"));
    let steps = [format!("rename {serving}"), format!("stop {draining}"), format!("remove {draining}")];
    assert_eq!(fake.changes(), steps);
}

#[tokio::test]
async fn replicas_that_exit_are_removed_and_told_and_the_others_stay() {
    let stand = Stand::new().await;
    let fake = Fake::with(vec![stand.replica("1", "running")]).await;
    fake.let_new_ones_exit();
    let error = target(&fake).scale(&stand.subject, 3, &Held::with_fence(9)).await.unwrap_err();
    assert_eq!(error.fault().code, "replica_exited");
    assert!(error.to_string().contains("code 3"), "{error}");
    assert_eq!(fake.names(), stand.names(["1"]));
}

#[tokio::test]
async fn what_a_crash_left_starting_is_gone_on_with() {
    let stand = Stand::new().await;
    let containers = vec![
        stand.replica("1", "running"),
        stand.replica("2-starting", "created"),
        stand.replica("3-starting", "running"),
    ];
    let fake = Fake::with(containers).await;
    assert_eq!(target(&fake).scale(&stand.subject, 3, &Held::with_fence(9)).await, Ok(3));
    assert_eq!(fake.names(), stand.names(["1", "2", "3"]));
    assert!(!fake.changes().iter().any(|change| change.starts_with("create")), "{:?}", fake.changes());
}

#[tokio::test]
async fn settling_finishes_what_was_left_half_done_and_keeps_the_count() {
    let stand = Stand::new().await;
    let containers = vec![
        stand.replica("1", "running"),
        stand.replica("2", "exited"),
        stand.replica("3-starting", "running"),
        stand.replica("4-draining", "running"),
        stand.replica("5-draining", "exited"),
    ];
    let fake = Fake::with(containers).await;
    let before = target(&fake).look().await.unwrap();
    assert_eq!(before[&stand.subject.deployment], seen(2, 1, 4));
    target(&fake).settle(&stand.subject, &Held::with_fence(9)).await.unwrap();
    assert_eq!(fake.names(), stand.names(["1", "3"]));
    let after = target(&fake).look().await.unwrap();
    assert_eq!(after[&stand.subject.deployment], seen(2, 2, 0));
}

#[tokio::test]
async fn while_nothing_serves_no_count_is_set_and_what_served_is_left() {
    let stand = Stand::new().await;
    let containers = vec![stand.replica("1", "exited"), stand.replica("2-starting", "running")];
    let fake = Fake::with(containers).await;
    let scaled = target(&fake).scale(&stand.subject, 2, &Held::with_fence(9)).await;
    assert_eq!(scaled, Err(TargetError::Absent));
    target(&fake).settle(&stand.subject, &Held::with_fence(9)).await.unwrap();
    assert_eq!(fake.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn who_was_overtaken_changes_nothing() {
    let stand = Stand::new().await;
    let mut newer = stand.with_label("3-starting", label::DEPLOYMENT, &DeploymentId::generate().to_string());
    newer.body["Labels"][label::FENCE] = json!("6");
    let own = [stand.replica("1", "running"), stand.replica("2-draining", "running")];
    let fake = Fake::with(own.into_iter().chain([newer]).collect()).await;
    let (target, held) = (target(&fake), Held::with_fence(9));
    assert_eq!(target.scale(&stand.subject, 2, &held).await, Err(TargetError::Changed));
    assert_eq!(target.settle(&stand.subject, &held).await, Err(TargetError::Changed));
    assert_eq!(fake.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn no_step_is_taken_without_the_right_to_it() {
    let stand = Stand::new().await;
    let containers =
        [stand.replica("1", "running"), stand.replica("2-draining", "running"), stand.replica("3", "exited")];
    let mut lost = 0;
    for steps in 0..20 {
        let fake = Fake::with(containers.to_vec()).await;
        let held = Held { steps, ..Held::with_fence(9) };
        let scaled = target(&fake).scale(&stand.subject, 2, &held).await;
        assert!(fake.changes().len() <= steps, "{steps} steps allowed: {:?}", fake.changes());
        match scaled {
            Ok(serving) => assert_eq!((serving, fake.names()), (2, stand.names(["1", "3"]))),
            Err(error) => {
                assert_eq!(error, TargetError::LeaseLost);
                lost += 1;
            }
        }
    }
    assert!((8..15).contains(&lost), "{lost}");
}

#[tokio::test]
async fn what_is_not_of_the_deployment_is_left_alone() {
    let stand = Stand::new().await;
    let others = [
        (label::MANAGED, "false"),
        (label::DEPLOYMENT, "01890a5d-ac96-774b-bcce-b302099a8057"),
        (label::PROJECT, "zoo-a1b2c3"),
        (label::ENVIRONMENT, "staging"),
        (label::ROLE, label::ROLE_SUPPORT),
    ];
    let mut containers = vec![stand.replica("1", "running"), stand.replica("2", "running")];
    for (place, (key, value)) in others.into_iter().enumerate() {
        containers.push(stand.with_label(&format!("{}-draining", place + 3), key, value));
    }
    let fake = Fake::with(containers).await;
    target(&fake).settle(&stand.subject, &Held::with_fence(9)).await.unwrap();
    assert_eq!(target(&fake).scale(&stand.subject, 1, &Held::with_fence(9)).await, Ok(1));
    assert_eq!(fake.names().iter().filter(|name| name.starts_with("other-")).count(), others.len());
    assert_eq!(fake.changes().len(), 3, "{:?}", fake.changes());
}

#[tokio::test]
async fn a_name_that_something_foreign_has_is_told() {
    let stand = Stand::new().await;
    let mut foreign = stand.with_label("2", label::MANAGED, "false");
    foreign.name = stand.name("2-starting");
    let fake = Fake::with(vec![stand.replica("1", "running"), foreign]).await;
    let error = target(&fake).scale(&stand.subject, 2, &Held::with_fence(9)).await.unwrap_err();
    assert_eq!(error.fault().code, "name_conflict");
    assert_eq!(fake.names(), stand.names(["1", "2-starting"]));
}

#[tokio::test]
async fn a_count_beyond_the_limits_is_refused_before_anything_is_asked() {
    let stand = Stand::new().await;
    let fake = Fake::with(vec![stand.replica("1", "running")]).await;
    for (to, code) in [(0, "invalid_input"), (65, "limit_reached")] {
        let error = target(&fake).scale(&stand.subject, to, &Held::with_fence(9)).await.unwrap_err();
        assert_eq!(error.fault().code, code);
    }
    assert_eq!(fake.changes(), Vec::<String>::new());
}

/// What was published.
#[derive(Debug, Default)]
struct Published {
    events: Mutex<Vec<MetricEvent>>,
}

#[async_trait]
impl Metrics for Published {
    async fn publish(&self, events: &[MetricEvent]) -> Result<(), MetricError> {
        self.events.lock().unwrap().extend_from_slice(events);
        Ok(())
    }

    fn subscribe(&self) -> Box<dyn MetricSubscription> {
        panic!("nobody listens here")
    }
}

impl Published {
    /// Waits for an event of this kind.
    async fn wait_for(&self, is_wanted: impl Fn(&MetricEvent) -> bool) -> MetricEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.events.lock().unwrap().iter().find(|event| is_wanted(event)).cloned();
            if let Some(event) = found {
                return event;
            }
            assert!(Instant::now() < deadline, "nothing of the kind was published");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn containers_of_subjects_are_measured_until_they_are_gone() {
    let stand = Stand::new().await;
    let stranger = stand.with_label("7", label::DEPLOYMENT, "01890a5d-ac96-774b-bcce-b302099a8057");
    let containers = vec![stand.replica("1", "running"), stand.replica("2-starting", "running"), stranger];
    let fake = Fake::with(containers).await;
    let (published, stop) = (Arc::new(Published::default()), CancellationToken::new());
    let subjects: Arc<[Subject]> = Arc::from([stand.subject.clone()]);
    let (subjects, named) = watch::channel(subjects);
    let metrics: Arc<dyn Metrics> = Arc::<Published>::clone(&published);
    let sampling = tokio::spawn(target(&fake).sample(named, metrics, stop.clone()));

    let of = |event: &MetricEvent, suffix: &str| match &event.measured {
        Measured::Container(measure) => (measure.container == stand.name(suffix)).then(|| measure.clone()),
        Measured::Traffic(_) => None,
    };
    let serving = published.wait_for(|event| of(event, "1").is_some()).await;
    assert_eq!(serving.deployment, stand.subject.deployment);
    let measure = of(&serving, "1").unwrap();
    assert_eq!((measure.cpu_used_total_s, measure.cpu_allowed_cores), (Some(2.5), 0.5));
    assert_eq!(measure.ready_since, Some("2026-11-27T12:00:00Z".parse().unwrap()));
    let starting = published.wait_for(|event| of(event, "2").is_some()).await;
    assert_eq!(of(&starting, "2").unwrap().ready_since, None);

    fake.remove(&stand.name("1"));
    published.wait_for(|event| of(event, "1").is_some_and(|measure| measure.gone)).await;
    let all = published.events.lock().unwrap().clone();
    assert!(
        all.iter().all(|event| event.deployment == stand.subject.deployment),
        "strangers are not measured"
    );

    stop.cancel();
    tokio::time::timeout(PATIENCE, sampling).await.unwrap().unwrap();
    drop(subjects);
}
