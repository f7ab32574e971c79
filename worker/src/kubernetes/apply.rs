//! Puts a deployment on the cluster, a step at a time: `advance` does what can be done now and says what is waited for.
//! Run again after any interruption it goes on from what the inventory says.
//!
//! Everything is tried first (dry run), so that an object that is refused changes nothing. Nobody waits in here: the job
//! is parked until something changes.

mod failing;
mod namespace;
mod owner;
mod prune;
mod scaled;
mod unchanged;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use self::failing::Finding;
use super::address;
use super::cluster::{Cluster, Key, Mode};
use super::drift;
use super::error::KubernetesError;
use super::health::{self, Rollout};
use super::inventory::{self, Inventory, Owned, Phase, Read};
use super::kind::Kind;
use super::render::{Manifest, hostnames, render};
use super::state::Workloads;
use super::wanted::Wanted;
use super::watch::Watch;
use crate::docker::LogSink;

pub use prune::stop;

/// Objects of one deployment that are tried or applied at once.
const AT_ONCE: usize = 4;
/// How much longer than its own deadline a rollout may take before Slipway takes the cluster for stuck.
const DEADLINE_SLACK: Duration = Duration::from_secs(60);
/// A rollout younger than this is judged by what the watch has seen; an older one that the watch has not seen complete is
/// looked at directly, so that a watch that went silent delays nothing for longer.
const WATCH_TRUSTED_FOR: SignedDuration = SignedDuration::from_secs(8);

/// How far an apply is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Something must change first.
    Waiting {
        /// What is waited for.
        reason: String,
        /// The Deployments that must come up, and the generations they were applied in.
        deployments: BTreeMap<String, i64>,
    },
    /// Everything runs.
    Done(Applied),
}

/// What runs after an apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The namespace.
    pub namespace: String,
    /// Where the application answers.
    pub url: Option<String>,
    /// All objects, as `Kind name`.
    pub objects: Vec<String>,
}

/// The cluster, and what is known of it without asking.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The connection.
    pub cluster: &'a Cluster,
    /// What its watches have seen.
    pub watch: &'a Watch,
}

/// Moves the deployment forward as far as it can go now. `said` is what the last step waited for.
///
/// # Errors
/// [`KubernetesError::Rollout`] when the application does not come up, [`KubernetesError::Rejected`] and its like when an
/// object is refused (nothing was changed then), [`KubernetesError::Stale`] when a newer job has worked in the namespace,
/// and what any call may return.
pub async fn advance(
    place: Place<'_>,
    wanted: &Wanted,
    said: Option<&str>,
    log: &dyn LogSink,
) -> Result<Progress, KubernetesError> {
    let manifests = render(wanted, place.cluster.settings())?;
    let read = begin(place, wanted, &manifests, log).await?;
    let read = match read.inventory.phase {
        Phase::Applying | Phase::Supports => {
            for support in &wanted.supports {
                if let Some(reason) = awaited(place, wanted, &read, &support.name, said, log).await? {
                    return Ok(waiting(&read, reason));
                }
            }
            apply_app(place, wanted, &manifests, read).await?
        }
        Phase::Rollout | Phase::Complete => read,
    };
    if let Some(reason) = awaited(place, wanted, &read, &wanted.app(), said, log).await? {
        return Ok(waiting(&read, reason));
    }
    finish(place, wanted, &manifests, read, log).await
}

/// Applies everything of `wanted` and prunes the rest, without waiting for it to come up.
///
/// # Errors
/// As [`advance`].
pub async fn put(place: Place<'_>, wanted: &Wanted, log: &dyn LogSink) -> Result<(), KubernetesError> {
    let manifests = render(wanted, place.cluster.settings())?;
    let read = begin(place, wanted, &manifests, log).await?;
    let read = apply_app(place, wanted, &manifests, read).await?;
    prune::prune(place.cluster, wanted, &manifests, &read, log).await
}

/// Takes the namespace for this job: tries all objects, writes down that they are its own, and applies those the
/// application needs. What an earlier run of the job has done is left alone.
async fn begin(
    place: Place<'_>,
    wanted: &Wanted,
    manifests: &[Manifest],
    log: &dyn LogSink,
) -> Result<Read, KubernetesError> {
    let cluster = place.cluster;
    let name = wanted.namespace();
    let before = inventory::read(cluster, &name).await?;
    if let Some(read) = &before {
        read.check_fence(wanted.fence)?;
        if is_of_job(&read.inventory, wanted) && read.inventory.phase != Phase::Applying {
            return Ok(read.clone());
        }
    }
    let made = if before.is_none() { namespace::ensure(cluster, wanted, log).await? } else { None };
    let known = before.as_ref().map(|read| &read.inventory);
    let done = unchanged::of(place.watch, wanted, manifests, known);
    let open: Vec<&Manifest> =
        manifests.iter().filter(|manifest| !done.contains(&Owned::of(manifest))).collect();
    let tried = try_all(place, wanted, &open, before.as_ref(), made.is_some()).await;
    if let (Err(error), Some(uid)) = (&tried, &made) {
        namespace::take_back(cluster, &name, uid, error, log).await;
    }
    tried?;
    let read = claim(cluster, wanted, manifests, before, &done).await?;
    let needed: Vec<&Manifest> = open.into_iter().filter(|manifest| !comes_last(manifest, wanted)).collect();
    let made = apply_all(cluster, wanted, &needed).await?;
    log.line(&format!(
        "Applied {} objects in the namespace {name}; {} are unchanged",
        needed.len(),
        done.len()
    ));
    let inventory = made.added_to(Inventory { phase: Phase::Supports, ..read.inventory.clone() });
    // Without anything to wait for, the next step writes the same down again.
    if wanted.supports.is_empty() {
        return Ok(read.saying(inventory));
    }
    inventory::write(cluster, wanted, Some(&read), inventory).await
}

fn waiting(read: &Read, reason: String) -> Progress {
    Progress::Waiting { reason, deployments: read.inventory.generations.clone() }
}

fn is_of_job(inventory: &Inventory, wanted: &Wanted) -> bool {
    inventory.job == wanted.job && inventory.deployment == wanted.deployment
}

/// Whether the object waits for the support containers.
fn comes_last(manifest: &Manifest, wanted: &Wanted) -> bool {
    manifest.kind == Kind::Ingress || (manifest.kind == Kind::Deployment && manifest.name == wanted.app())
}

/// Checks whose the names and host names are, and has the API server check every object; changes nothing. In a namespace
/// that was made for this nothing can be anybody else's.
async fn try_all(
    place: Place<'_>,
    wanted: &Wanted,
    manifests: &[&Manifest],
    before: Option<&Read>,
    is_new: bool,
) -> Result<(), KubernetesError> {
    owner::check_hostnames(place.watch, wanted, &hostnames(wanted, place.cluster.settings()))?;
    let known = before.map(|read| read.inventory.objects.as_slice()).unwrap_or_default();
    let (known, unknown): (Vec<&Manifest>, Vec<&Manifest>) =
        manifests.iter().copied().partition(|manifest| known.contains(&Owned::of(manifest)));
    for manifest in unknown.iter().filter(|manifest| !is_new && manifest.kind.is_readable()) {
        owner::check(place.cluster, wanted, manifest).await?;
    }
    let tried = send_all(place.cluster, wanted, &unknown, Mode::DryRun).await;
    tried.map_err(|error| owner::of_another(error, &unknown))?;
    send_all(place.cluster, wanted, &known, Mode::ForcedDryRun).await.map(|_| ())
}

/// Writes down that the objects are the deployment's, before any of them is.
async fn claim(
    cluster: &Cluster,
    wanted: &Wanted,
    manifests: &[Manifest],
    before: Option<Read>,
    done: &BTreeSet<Owned>,
) -> Result<Read, KubernetesError> {
    let known = before.as_ref().map(|read| read.inventory.clone()).unwrap_or_default();
    let begun_at = if is_of_job(&known, wanted) { known.begun_at } else { Timestamp::now() };
    let mut objects: Vec<Owned> = manifests.iter().map(Owned::of).chain(known.objects.clone()).collect();
    objects.sort();
    objects.dedup();
    let kept = unchanged::kept(known, done);
    let inventory = Inventory {
        deployment: wanted.deployment.clone(),
        job: wanted.job.clone(),
        fence: wanted.fence,
        phase: Phase::Applying,
        begun_at,
        objects,
        ..kept
    };
    inventory::write(cluster, wanted, before.as_ref(), inventory).await
}

/// Applies the application itself and its host names.
async fn apply_app(
    place: Place<'_>,
    wanted: &Wanted,
    manifests: &[Manifest],
    read: Read,
) -> Result<Read, KubernetesError> {
    let is_open = |manifest: &&Manifest| {
        comes_last(manifest, wanted) && !unchanged::was_applied(&read.inventory, manifest)
    };
    let last: Vec<&Manifest> = manifests.iter().filter(is_open).collect();
    let made = apply_all(place.cluster, wanted, &last).await?;
    let inventory = made.added_to(Inventory { phase: Phase::Rollout, ..read.inventory.clone() });
    inventory::write(place.cluster, wanted, Some(&read), inventory).await
}

/// What the API server answered to objects that were applied.
struct Made {
    generations: BTreeMap<String, i64>,
    fields: BTreeMap<String, String>,
    bodies: BTreeMap<String, String>,
}

impl Made {
    fn added_to(self, mut inventory: Inventory) -> Inventory {
        inventory.generations.extend(self.generations);
        inventory.fields.extend(self.fields);
        inventory.bodies.extend(self.bodies);
        inventory
    }
}

/// Applies objects; returns the generations of the Deployments among them, and which fields are Slipway's now.
async fn apply_all(
    cluster: &Cluster,
    wanted: &Wanted,
    manifests: &[&Manifest],
) -> Result<Made, KubernetesError> {
    let objects = send_all(cluster, wanted, manifests, Mode::Apply).await?;
    let applied = || manifests.iter().zip(&objects);
    let deployments = applied().filter(|(manifest, _)| manifest.kind == Kind::Deployment);
    let generation = |object: &Value| object["metadata"]["generation"].as_i64();
    Ok(Made {
        generations: deployments
            .filter_map(|(manifest, object)| Some((manifest.name.clone(), generation(object)?)))
            .collect(),
        fields: applied()
            .map(|(manifest, object)| {
                (Owned::of(manifest).to_string(), drift::ownership_of(manifest.kind, object).fields)
            })
            .collect(),
        bodies: manifests
            .iter()
            .filter(|manifest| drift::KINDS.contains(&manifest.kind))
            .map(|manifest| (Owned::of(manifest).to_string(), unchanged::hash(manifest)))
            .collect(),
    })
}

async fn send_all(
    cluster: &Cluster,
    wanted: &Wanted,
    manifests: &[&Manifest],
    mode: Mode,
) -> Result<Vec<Value>, KubernetesError> {
    let namespace = wanted.namespace();
    // Boxed: the compiler cannot tell otherwise that what is sent at once may move between threads.
    let sent: Vec<BoxFuture<'_, Result<Value, KubernetesError>>> =
        manifests.iter().map(|manifest| send(cluster, &namespace, wanted, manifest, mode).boxed()).collect();
    stream::iter(sent).buffered(AT_ONCE).try_collect().await
}

async fn send(
    cluster: &Cluster,
    namespace: &str,
    wanted: &Wanted,
    manifest: &Manifest,
    mode: Mode,
) -> Result<Value, KubernetesError> {
    let key = Key { kind: manifest.kind, namespace, name: &manifest.name };
    // The number of replicas makes no difference to whether the object would be taken.
    if mode == Mode::Apply && manifest.kind == Kind::Deployment && manifest.name == wanted.app() {
        scaled::apply(cluster, wanted, key, &manifest.body).await
    } else {
        cluster.apply(key, &manifest.body, mode).await
    }
}

/// What is still waited for before the Deployment `name` is up; nothing when it is.
async fn awaited(
    place: Place<'_>,
    wanted: &Wanted,
    read: &Read,
    name: &str,
    said: Option<&str>,
    log: &dyn LogSink,
) -> Result<Option<String>, KubernetesError> {
    let now = Timestamp::now();
    let seen = look(place, wanted, read, name, now).await?;
    match health::rollout(seen.deployment(name), &seen.replica_sets_of(name), &seen.pods_of(name), now) {
        Rollout::Complete => Ok(None),
        Rollout::Failing { code, reason, pod, container, certain } => {
            let finding = Finding { code, reason, pod, container, certain };
            failing::judge(place.cluster, wanted, &seen, finding, said, now, log).await.map(Some)
        }
        Rollout::Progressing { message, .. } => {
            check_deadline(wanted, &read.inventory, &message, now)?;
            Ok(Some(message))
        }
    }
}

/// The workloads of the namespace: as the watch has seen them, or as they are now.
async fn look(
    place: Place<'_>,
    wanted: &Wanted,
    read: &Read,
    name: &str,
    now: Timestamp,
) -> Result<Workloads, KubernetesError> {
    let namespace = wanted.namespace();
    let generation = read.inventory.generations.get(name).copied().unwrap_or_default();
    let is_young = now.duration_since(read.inventory.begun_at) < WATCH_TRUSTED_FOR;
    match place.watch.workloads(&namespace) {
        Some(seen)
            if seen.generation(name) >= Some(generation) && (is_young || is_complete(&seen, name, now)) =>
        {
            Ok(seen)
        }
        // Not seen yet: it is being told at this moment.
        Some(seen) if is_young => Ok(seen.without(name)),
        _ => Workloads::read(place.cluster, &namespace).await,
    }
}

fn is_complete(seen: &Workloads, name: &str, now: Timestamp) -> bool {
    let (sets, pods) = (seen.replica_sets_of(name), seen.pods_of(name));
    matches!(health::rollout(seen.deployment(name), &sets, &pods, now), Rollout::Complete)
}

/// A cluster whose controllers do not work never says that a deadline has passed.
fn check_deadline(
    wanted: &Wanted,
    inventory: &Inventory,
    message: &str,
    now: Timestamp,
) -> Result<(), KubernetesError> {
    let limit = Duration::from_millis(wanted.health.deadline_ms).saturating_add(DEADLINE_SLACK);
    let supports = if wanted.supports.is_empty() { Duration::ZERO } else { Duration::from_secs(300) };
    let limit = SignedDuration::try_from(limit.saturating_add(supports)).unwrap_or(SignedDuration::MAX);
    if now.duration_since(inventory.begun_at) < limit {
        return Ok(());
    }
    Err(KubernetesError::Rollout {
        code: "rollout_timeout".to_owned(),
        reason: format!("not up within {} s: {message}", limit.as_secs()),
        log_tail: Vec::new(),
    })
}

/// Prunes what is no longer wanted, waits for the address, and closes the inventory.
async fn finish(
    place: Place<'_>,
    wanted: &Wanted,
    manifests: &[Manifest],
    read: Read,
    log: &dyn LogSink,
) -> Result<Progress, KubernetesError> {
    let url = match address::of(place.cluster, wanted).await? {
        address::Address::Known(url) => url,
        address::Address::Awaited => {
            let waited = Timestamp::now().duration_since(read.inventory.begun_at);
            if waited
                < SignedDuration::try_from(place.cluster.settings().load_balancer_wait).unwrap_or_default()
            {
                let reason = "waiting for the load balancer's address".to_owned();
                return Ok(Progress::Waiting { reason, deployments: BTreeMap::new() });
            }
            log.line("The load balancer has no address yet; the deployment is in service without one");
            None
        }
    };
    let objects = manifests.iter().map(|manifest| Owned::of(manifest).to_string());
    let applied = Applied { namespace: wanted.namespace(), url, objects: objects.collect() };
    if read.inventory.phase != Phase::Complete {
        prune::prune(place.cluster, wanted, manifests, &read, log).await?;
    }
    Ok(Progress::Done(applied))
}
