//! The targets of this scaler, by name: looking at them, and measuring what runs there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use slipway_common::metric::Metrics;
use slipway_common::model::{DeploymentId, TargetName};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::settings::ScalerSettings;
use super::shards::Shards;
use crate::docker::DockerTarget;
use crate::kubernetes::ClusterTarget;
use crate::target::{Seen, Subject, TargetError};

/// Pause between two looks at a target.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause after looks that failed.
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(15);

/// Where deployments run.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// An engine.
    Docker(DockerTarget),
    /// A cluster.
    Kubernetes(ClusterTarget),
}

/// All targets, and the wish to be looked at soon.
#[derive(Debug)]
pub(crate) struct Targets {
    by_name: BTreeMap<TargetName, (Target, Arc<Notify>)>,
}

/// What a look at one target gave.
#[derive(Debug)]
pub(crate) struct Look {
    /// The subjects it was about.
    pub(crate) subjects: Vec<Subject>,
    /// What was seen of each; who is missing is not there.
    pub(crate) seen: Result<HashMap<DeploymentId, Seen>, TargetError>,
}

impl Targets {
    pub(crate) fn new(settings: &ScalerSettings) -> Self {
        let docker = settings
            .docker
            .iter()
            .map(|docker| (docker.name.clone(), Target::Docker(DockerTarget::new(docker.clone()))));
        let clusters = settings
            .clusters
            .iter()
            .map(|cluster| (cluster.name.clone(), Target::Kubernetes(ClusterTarget::new(cluster.clone()))));
        let with_wish = |(name, target)| (name, (target, Arc::new(Notify::new())));
        Self { by_name: docker.chain(clusters).map(with_wish).collect() }
    }

    /// The target of this name, if this scaler has it.
    pub(crate) fn get(&self, name: &TargetName) -> Option<&Target> {
        self.by_name.get(name).map(|(target, _)| target)
    }

    /// Has a target looked at soon.
    pub(crate) fn look_soon(&self, name: &TargetName) {
        if let Some((_, wish)) = self.by_name.get(name) {
            wish.notify_one();
        }
    }

    /// Looks at all targets and measures what runs there, until `stop`.
    pub(crate) fn start(
        &self,
        tasks: &mut JoinSet<()>,
        subjects: &watch::Receiver<Arc<[Subject]>>,
        looks: &mpsc::Sender<Look>,
        (metrics, shards): (&Arc<dyn Metrics>, &Shards),
        stop: &CancellationToken,
    ) {
        for (name, (target, wish)) in &self.by_name {
            let looker = Looker {
                name: name.clone(),
                target: target.clone(),
                wish: Arc::clone(wish),
                subjects: subjects.clone(),
                shards: shards.clone(),
            };
            tasks.spawn(looker.run(looks.clone(), stop.clone()));
            let (subjects, metrics, stop) = (subjects.clone(), Arc::clone(metrics), stop.clone());
            match target.clone() {
                Target::Docker(engine) => tasks.spawn(engine.sample(subjects, metrics, stop)),
                Target::Kubernetes(cluster) => tasks.spawn(cluster.sample(subjects, metrics, stop)),
            };
        }
    }
}

/// Looks at one target again and again.
struct Looker {
    name: TargetName,
    target: Target,
    wish: Arc<Notify>,
    subjects: watch::Receiver<Arc<[Subject]>>,
    shards: Shards,
}

impl Looker {
    async fn run(mut self, looks: mpsc::Sender<Look>, stop: CancellationToken) {
        let mut pause = LOOK_PAUSE;
        loop {
            let subjects = self.own();
            if !subjects.is_empty() {
                let seen = self.look(&subjects).await;
                pause = if seen.is_ok() { LOOK_PAUSE } else { (pause * 2).min(FAILED_PAUSE_MAX) };
                if looks.send(Look { subjects, seen }).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wish.notified() => {}
                changed = self.subjects.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }

    fn own(&mut self) -> Vec<Subject> {
        let all = Arc::clone(&self.subjects.borrow_and_update());
        all.iter().filter(|subject| subject.target == self.name).cloned().collect()
    }

    async fn look(&self, subjects: &[Subject]) -> Result<HashMap<DeploymentId, Seen>, TargetError> {
        match &self.target {
            Target::Docker(engine) => engine.look().await,
            Target::Kubernetes(cluster) => {
                let seen = cluster.look(subjects).await?;
                self.own_counts(cluster, subjects, &seen).await;
                Ok(seen)
            }
        }
    }

    /// Takes over the counts that a deploy would still set.
    async fn own_counts(
        &self,
        cluster: &ClusterTarget,
        subjects: &[Subject],
        seen: &HashMap<DeploymentId, Seen>,
    ) {
        for subject in subjects.iter().filter(|subject| cluster.needs_owning(&subject.deployment)) {
            let (Some(seen), Some(guard)) =
                (seen.get(&subject.deployment), self.shards.guard(&subject.place))
            else {
                continue;
            };
            if seen.hands_off.is_some() || seen.replicas == 0 {
                continue;
            }
            if let Err(error) = cluster.own(subject, seen.replicas, &guard).await {
                tracing::debug!(place = %subject.place, %error, "the replica count was not taken over");
            }
        }
    }
}
