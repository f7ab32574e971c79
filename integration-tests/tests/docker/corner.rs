//! One test's own corner of the engine, and what most tests do there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, RemoveImageOptions};
use slipway_integration_tests::docker_engine::{
    assert_no_leftovers, base_image, connect, docker_host, remove_all, skip, unique_name,
};
use slipway_worker::docker::labels::RoutingState;
use slipway_worker::docker::{
    ApplySpec, BuildLimits, BuildRequest, DockerError, DrainPolicy, Engine, EngineSettings, HealthCheck,
    LogSink, Resources, RestartPolicy, Scope, Usage, apply, build, ensure_image, observe, stop,
};
use slipway_worker::source::MemoryTree;
use tokio_util::sync::CancellationToken;

/// Value of a variable that must appear nowhere but in the container.
pub(crate) const SECRET: &str = "canary-7f3a91-secret";

/// Collects the lines of a run.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn line(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

impl Lines {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

/// One test's corner of the engine: its own project and base image.
pub(crate) struct Corner {
    pub(crate) engine: Engine,
    pub(crate) docker: Docker,
    pub(crate) scope: Scope,
    pub(crate) base: String,
    pub(crate) log: Lines,
}

impl Corner {
    pub(crate) async fn new(prefix: &str) -> Option<Self> {
        let host = match docker_host().await {
            Ok(host) => host,
            Err(reason) => {
                skip(&reason);
                return None;
            }
        };
        let engine = Engine::connect(&EngineSettings::at(&host)).unwrap();
        let docker = connect(&host).unwrap();
        let project = unique_name(prefix);
        let base = format!("{project}-base:latest");
        base_image(&docker, &base).await.unwrap();
        let scope = Scope::new(project, "default").unwrap();
        Some(Self { engine, docker, scope, base, log: Lines::default() })
    }

    pub(crate) fn label(&self) -> String {
        format!("io.slipway.project={}", self.scope.project())
    }

    pub(crate) fn request(&self, commit: &str) -> BuildRequest {
        BuildRequest {
            project: self.scope.project().to_owned(),
            deployment: "d-build".to_owned(),
            job: "j-build".to_owned(),
            commit: commit.to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            tag: format!("{}:{commit}", self.scope.project()),
            labels: BTreeMap::new(),
            build_args: BTreeMap::new(),
            pull_base: false,
            limits: BuildLimits { timeout_ms: 60_000, network: false, ..BuildLimits::default() },
            registry_auth: Vec::new(),
        }
    }

    pub(crate) async fn build(
        &self,
        commit: &str,
        dockerfile: &str,
    ) -> Result<slipway_worker::docker::Built, DockerError> {
        let tree = MemoryTree::of([("Dockerfile", dockerfile.replace("BASE", &self.base))]);
        self.build_tree(commit, tree).await
    }

    pub(crate) async fn build_tree(
        &self,
        commit: &str,
        tree: MemoryTree,
    ) -> Result<slipway_worker::docker::Built, DockerError> {
        let cancel = CancellationToken::new();
        build(&self.engine, &self.request(commit), Arc::new(tree), &self.log, &cancel).await
    }

    pub(crate) async fn base_id(&self) -> String {
        ensure_image(&self.engine, &self.base, None, &self.log).await.unwrap()
    }

    pub(crate) fn spec(&self, deployment: &str, fence: u64, image_id: &str) -> ApplySpec {
        ApplySpec {
            scope: self.scope.clone(),
            deployment: deployment.to_owned(),
            job: format!("job-{fence}"),
            fence,
            image_id: image_id.to_owned(),
            port: 8080,
            replicas: 1,
            env: BTreeMap::from([("APP_TOKEN".to_owned(), SECRET.into())]),
            resources: Resources { memory_bytes: 64 * 1024 * 1024, cpu_millis: 500, pids: 50 },
            supports: Vec::new(),
            health: HealthCheck {
                path: Some("/index.html".to_owned()),
                interval_ms: 50,
                timeout_ms: 1000,
                deadline_ms: 4000,
                successes: 2,
            },
            gateway_port: None,
            drain: DrainPolicy { drain_ms: 200, stop_timeout_s: 2 },
            restart: RestartPolicy::UnlessStopped,
        }
    }

    pub(crate) async fn apply(
        &self,
        spec: &ApplySpec,
    ) -> Result<slipway_worker::docker::Applied, DockerError> {
        apply(&self.engine, spec, &self.log, &CancellationToken::new()).await
    }

    /// Names of the scope's application containers with their state.
    pub(crate) async fn routing(&self) -> Vec<(String, RoutingState)> {
        let live = observe(&self.engine, &self.scope, Usage::Skip).await.unwrap();
        live.replicas.into_iter().map(|replica| (replica.deployment, replica.routing)).collect()
    }

    pub(crate) async fn inspect(&self, name: &str) -> ContainerInspectResponse {
        self.docker.inspect_container(name, None::<InspectContainerOptions>).await.unwrap()
    }

    pub(crate) async fn finish(self) {
        let policy = DrainPolicy { drain_ms: 0, stop_timeout_s: 1 };
        stop(&self.engine, &self.scope, None, u64::MAX, &policy, &self.log).await.unwrap();
        assert_no_leftovers(&self.docker, &self.label()).await.unwrap();
        remove_all(&self.docker, &self.label()).await.unwrap();
        self.docker
            .remove_image(&self.base, Some(RemoveImageOptions { force: true, ..Default::default() }), None)
            .await
            .unwrap();
    }
}
