//! The Docker target: what runs of a deployment on one engine, how its count is changed there, and what it uses. Names
//! and labels are the contract in `slipway_common::model::label`. Deploy jobs and the scaler change a place only under
//! the same lease, so never at once.

mod container;
mod copy;
mod engine;
mod found;
mod health;
mod measure;
mod plan;
mod sample;
mod scale;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use slipway_common::config::Config;
use slipway_common::metric::Metrics;
use slipway_common::model::{DeploymentId, TargetName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::engine::Engine;
use self::scale::Scaling;
use crate::target::{Guard, Seen, Subject, TargetError};

/// Where the engine is when nothing says otherwise.
const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

/// Settings of the Docker target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettings {
    /// Name of the target.
    pub name: TargetName,
    /// Where the engine is: `unix:///path`, an absolute path of a socket, `tcp://host:port` or `http://host:port`.
    pub host: String,
    /// How long a replica that is taken away may finish what it had.
    pub drain: Duration,
    /// Seconds a container has to end after SIGTERM.
    pub stop_grace_s: u32,
    /// How often containers are measured.
    pub sample_interval: Duration,
}

impl DockerSettings {
    /// The settings of the engine, if it is a target and does not only build. `docker_host_env` is the value of
    /// `DOCKER_HOST`, which counts where the configuration names no engine.
    #[must_use]
    pub fn from_config(config: &Config, docker_host_env: Option<String>) -> Option<Self> {
        let docker = &config.docker;
        let mut named = [Some(docker.host.clone()), docker_host_env].into_iter().flatten();
        let host = named.find(|host| !host.is_empty());
        docker.enabled.then(|| Self {
            name: docker.name.clone(),
            host: host.unwrap_or_else(|| DOCKER_SOCKET.to_owned()),
            drain: Duration::from_millis(docker.drain_ms),
            stop_grace_s: docker.stop_grace_s,
            sample_interval: Duration::from_millis(config.scaler.docker_sample_interval_ms),
        })
    }
}

/// One Docker engine as the scaler uses it. Cheap to clone; connects when it is first needed.
#[derive(Debug, Clone)]
pub struct DockerTarget {
    settings: Arc<DockerSettings>,
    engine: Engine,
}

impl DockerTarget {
    /// The target of these settings.
    #[must_use]
    pub fn new(settings: DockerSettings) -> Self {
        Self { engine: Engine::at(&settings.host), settings: Arc::new(settings) }
    }

    /// What runs of each deployment. Who is not there is not in the answer.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn look(&self) -> Result<HashMap<DeploymentId, Seen>, TargetError> {
        Ok(found::seen(&found::apps(&self.engine).await?))
    }

    /// Makes exactly `to` replicas of the deployment serve, as copies of one that serves, and finishes what was left
    /// half done. Answers how many serve. To be called only under the lease on the place's replicas, which `guard` tells
    /// about: it is asked right before each call that changes something.
    ///
    /// # Errors
    /// When nothing of the deployment serves, when a newer job has worked in the place, when
    /// replicas do not come up (those that did are kept, the others removed), and when the engine does not do its part.
    pub async fn scale(&self, subject: &Subject, to: u32, guard: &dyn Guard) -> Result<u32, TargetError> {
        self.scaling(subject, guard).scale(to).await
    }

    /// Finishes what was left half done, without another count in mind: replicas that start are checked and serve or
    /// are removed, those that drain are ended. To be called under the same lease as [`Self::scale`].
    ///
    /// # Errors
    /// As [`Self::scale`], but that something of the deployment serves is not needed.
    pub async fn settle(&self, subject: &Subject, guard: &dyn Guard) -> Result<(), TargetError> {
        self.scaling(subject, guard).settle().await
    }

    /// Measures the containers of those `subjects` that run here, and publishes what they use, until `stop` or until
    /// nobody names subjects any more. An engine that is away is waited for.
    pub async fn sample(
        self,
        subjects: watch::Receiver<Arc<[Subject]>>,
        metrics: Arc<dyn Metrics>,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sample::run(&self.engine, &self.settings, subjects, metrics) => {}
        }
    }

    fn scaling<'a>(&'a self, subject: &'a Subject, guard: &'a dyn Guard) -> Scaling<'a> {
        Scaling { engine: &self.engine, settings: &self.settings, subject, guard }
    }
}

#[cfg(test)]
mod tests;
