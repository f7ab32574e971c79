//! One world for one test of the Kubernetes target: the real control plane of the test run, the embedded backend, and a
//! worker in this process that has the chart's rights and no others. What it did is read from the API server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use slipway_common::Backend;
use slipway_common::config::Config;
use slipway_common::embedded::{Embedded, EmbeddedSettings};
use slipway_common::model::job::JOB_MESSAGE_VERSION;
use slipway_common::model::request::ResolveContext;
use slipway_common::model::{
    AddressPolicy, Deployment, DeploymentId, DeploymentRequest, DeploymentState, Event, EventKind, Facts,
    JobId, JobKind, JobMessage, LiveState, Project, Stage,
};
use slipway_common::record::Record;
use slipway_common::secrets::{KEY_LENGTH_BYTES, Sealer};
use slipway_common::submit::submit;
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane};
use slipway_integration_tests::pace;
use slipway_scaler::{Scaler, ScalerHandle, ScalerSettings};
use slipway_worker::{Worker, WorkerHandle, WorkerSettings};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rights;

/// Name of the target.
pub(crate) const TARGET: &str = "production";
/// Domain of the target.
pub(crate) const DOMAIN: &str = "apps.example.com";
/// Longest wait for anything on an idle machine.
const TIMEOUT: Duration = Duration::from_secs(90);

/// An image by digest; simulated nodes need no registry, and fail as the name tells them to.
pub(crate) fn image(name: &str) -> String {
    format!("registry.example.com/{name}@sha256:{}", "a".repeat(64))
}

/// Everything one test needs.
pub(crate) struct World {
    pub(crate) plane: Arc<ControlPlane>,
    pub(crate) backend: Backend,
    pub(crate) sealer: Sealer,
    config: Config,
    data: TempDir,
    _embedded: Embedded,
    worker: Option<WorkerHandle>,
    shutdown: CancellationToken,
}

impl World {
    /// Starts a worker; `extra` are settings over the defaults, as environment variables.
    pub(crate) async fn start(plane: Arc<ControlPlane>, extra: &[(&str, &str)]) -> anyhow::Result<Self> {
        let server = plane.server_url().to_owned();
        Self::start_at(plane, &server, None, extra).await
    }

    /// The same through another address of the API server, whose certificate `ca_pem` vouches for.
    pub(crate) async fn start_at(
        plane: Arc<ControlPlane>,
        server: &str,
        ca_pem: Option<&str>,
        extra: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        rights::grant(&plane).await?;
        let data = tempfile::tempdir()?;
        let (ca_file, token_file) = (data.path().join("ca.crt"), data.path().join("token"));
        std::fs::write(&ca_file, ca_pem.unwrap_or(plane.ca_pem()))?;
        std::fs::write(&token_file, plane.token_for(ClusterUser::Worker))?;
        let (ca_file, token_file) = (ca_file.display().to_string(), token_file.display().to_string());
        let fixed = [
            ("SLIPWAY__DOCKER__ENABLED", "false"),
            ("SLIPWAY__DOCKER__HOST", "/nonexistent/docker.sock"),
            ("SLIPWAY__KUBERNETES__PRODUCTION__SERVER", server),
            ("SLIPWAY__KUBERNETES__PRODUCTION__CA_FILE", &ca_file),
            ("SLIPWAY__KUBERNETES__PRODUCTION__TOKEN_FILE", &token_file),
            ("SLIPWAY__KUBERNETES__PRODUCTION__DOMAIN", DOMAIN),
            ("SLIPWAY__KUBERNETES__PRODUCTION__TROUBLE_MAX_S", "5"),
            ("SLIPWAY__KUBERNETES__PRODUCTION__DRAIN_S", "1"),
            ("SLIPWAY__WORKER__BACKOFF_MIN_MS", "100"),
            ("SLIPWAY__WORKER__OBSERVE_INTERVAL_MS", "200"),
        ];
        let variables =
            fixed.iter().chain(extra).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::load(None, variables)?;
        let embedded = Embedded::open(data.path(), &EmbeddedSettings::default())?;
        let mut world = Self {
            plane,
            backend: embedded.backend(),
            sealer: Sealer::new(&[3; KEY_LENGTH_BYTES]),
            config,
            data,
            _embedded: embedded,
            worker: None,
            shutdown: CancellationToken::new(),
        };
        world.start_worker().await?;
        Ok(world)
    }

    async fn start_worker(&mut self) -> anyhow::Result<()> {
        let settings = WorkerSettings::from_config(&self.config, self.data.path())?;
        let worker =
            Worker::start(settings, self.backend.clone(), self.sealer.clone(), self.shutdown.clone()).await?;
        self.worker = Some(worker);
        Ok(())
    }

    /// Starts a scaler on the same backend. It has the chart's rights for scalers and no others.
    pub(crate) fn start_scaler(&self, stop: &CancellationToken) -> anyhow::Result<ScalerHandle> {
        let token_file = self.data.path().join("scaler-token");
        std::fs::write(&token_file, self.plane.token_for(ClusterUser::Scaler))?;
        let mut config = self.config.clone();
        for cluster in config.kubernetes.values_mut() {
            cluster.token_file = token_file.display().to_string();
        }
        Ok(Scaler::start(&ScalerSettings::alone(&config), self.backend.clone(), stop))
    }

    /// The file the worker reads its token from.
    pub(crate) fn token_file(&self) -> std::path::PathBuf {
        self.data.path().join("token")
    }

    /// The file with the certificates the worker trusts.
    pub(crate) fn ca_file(&self) -> std::path::PathBuf {
        self.data.path().join("ca.crt")
    }

    /// A request for an image under a repository that no other test has.
    pub(crate) fn request(&self, image_name: &str) -> DeploymentRequest {
        let unique = self.plane.namespace();
        let mut request = DeploymentRequest::new(format!("https://git.example.com/{unique}/shop"));
        request.image = Some(image(image_name));
        request.port = Some(8080);
        request
    }

    /// Submits a request as the API does.
    pub(crate) async fn submit(&self, request: &DeploymentRequest) -> anyhow::Result<DeploymentId> {
        let (addresses, targets) = (AddressPolicy::default(), self.config.targets());
        let servers = self.config.servers();
        let context = ResolveContext {
            addresses: &addresses,
            limits: &self.config.limits,
            targets: &targets,
            clusters: &targets,
            servers: &servers,
            sealer: &self.sealer,
        };
        let (project, spec) =
            request.resolve(&context).map_err(|errors| anyhow::anyhow!("refused: {errors:?}"))?;
        let message = JobMessage {
            version: JOB_MESSAGE_VERSION,
            id: JobId::generate(),
            deployment: DeploymentId::generate(),
            project,
            environment: spec.environment.clone(),
            user: "test".to_owned(),
            accepted_at: Timestamp::now(),
            request: None,
            trigger: None,
            kind: JobKind::Deploy { spec: Box::new(spec), facts: Facts::default() },
        };
        submit(&self.backend, &message).await?;
        Ok(message.deployment)
    }

    /// Submits a stop job for a deployment.
    pub(crate) async fn stop(&self, id: DeploymentId) -> anyhow::Result<Deployment> {
        let deployment = self.deployment(id).await?;
        let message = JobMessage {
            version: JOB_MESSAGE_VERSION,
            id: JobId::generate(),
            deployment: id,
            project: deployment.project,
            environment: deployment.environment,
            user: "test".to_owned(),
            accepted_at: Timestamp::now(),
            request: None,
            trigger: None,
            kind: JobKind::Stop { target: deployment.target },
        };
        submit(&self.backend, &message).await?;
        self.ended(id).await
    }

    /// Asks for the latest job of a deployment to be cancelled, as the API does.
    pub(crate) async fn cancel(&self, id: DeploymentId) -> anyhow::Result<()> {
        let job = self.deployment(id).await?.latest_job().context("no job")?.id;
        let kind = EventKind::CancelRequested { by: "test".to_owned() };
        self.backend.record(&Record::Event(Event::of_request(id, job, Timestamp::now(), kind))).await?;
        self.backend.queue.wake(job, Timestamp::now()).await?;
        Ok(())
    }

    /// The deployment now.
    pub(crate) async fn deployment(&self, id: DeploymentId) -> anyhow::Result<Deployment> {
        self.backend.store.deployment(id).await?.context("the deployment is not known")
    }

    /// Waits for `condition`; on failure shows the deployment.
    pub(crate) async fn wait_for(
        &self,
        id: DeploymentId,
        condition: impl Fn(&Deployment) -> bool,
    ) -> anyhow::Result<Deployment> {
        let deadline = Instant::now() + pace::allowed(TIMEOUT);
        loop {
            let deployment = self.deployment(id).await?;
            if condition(&deployment) {
                return Ok(deployment);
            }
            ensure!(Instant::now() < deadline, "waited in vain: {deployment:#?}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until the deployment's latest job has ended.
    pub(crate) async fn ended(&self, id: DeploymentId) -> anyhow::Result<Deployment> {
        self.wait_for(id, |deployment| deployment.latest_job().is_some_and(|job| job.state.is_terminal()))
            .await
    }

    /// Submits and waits until the deployment is active.
    pub(crate) async fn deploy(&self, request: &DeploymentRequest) -> anyhow::Result<Deployment> {
        let id = self.submit(request).await?;
        let deployment = self.ended(id).await?;
        ensure!(deployment.state == DeploymentState::Active, "ended as {deployment:#?}");
        Ok(deployment)
    }

    /// Submits and waits for a failure with this code in this stage.
    pub(crate) async fn fails(
        &self,
        request: &DeploymentRequest,
        stage: Stage,
        code: &str,
    ) -> anyhow::Result<Deployment> {
        let id = self.submit(request).await?;
        let deployment = self.ended(id).await?;
        let failure = deployment.failure.clone().with_context(|| format!("did not fail: {deployment:#?}"))?;
        ensure!(failure.stage == stage && failure.code == code, "failed otherwise: {failure:#?}");
        ensure!(failure.hint.is_some(), "no hint: {failure:#?}");
        Ok(deployment)
    }

    /// Submits and waits for a failure with this code, with or without a hint.
    pub(crate) async fn fails_anyhow(
        &self,
        request: &DeploymentRequest,
        code: &str,
    ) -> anyhow::Result<Deployment> {
        let id = self.submit(request).await?;
        let deployment = self.ended(id).await?;
        let failure = deployment.failure.clone().with_context(|| format!("did not fail: {deployment:#?}"))?;
        ensure!(failure.code == code, "failed otherwise: {failure:#?}");
        Ok(deployment)
    }

    /// Starts the worker again, which has no connection then.
    pub(crate) async fn forget_connections(&mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        if let Some(worker) = self.worker.take() {
            worker.stopped().await;
        }
        self.shutdown = CancellationToken::new();
        self.start_worker().await
    }

    /// Asks for a deployment in service to be repaired, as the API does, and waits for the end of that.
    pub(crate) async fn repair(&self, id: DeploymentId) -> anyhow::Result<Deployment> {
        let deployment = self.deployment(id).await?;
        let message = JobMessage::repair(&deployment, JobId::generate(), "test".to_owned(), Timestamp::now());
        submit(&self.backend, &message).await?;
        self.ended(id).await
    }

    /// Waits for what the observer keeps of a deployment to be so.
    pub(crate) async fn seen(
        &self,
        deployment: &Deployment,
        is_so: impl Fn(&LiveState) -> bool,
    ) -> anyhow::Result<LiveState> {
        let deadline = Instant::now() + pace::allowed(TIMEOUT);
        loop {
            let live = self.backend.store.live(deployment.id).await?;
            match live {
                Some(live) if is_so(&live) => return Ok(live),
                last => ensure!(Instant::now() < deadline, "never seen; it is {last:#?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deletes an object, or a whole namespace, as somebody else would, and waits until it is gone.
    pub(crate) async fn delete_by_hand(&self, path: &str) -> anyhow::Result<()> {
        let (status, answer) = self.plane.request(ClusterUser::Admin, Method::DELETE, path, None).await?;
        ensure!(status.is_success(), "deleting {path}: {}", answer["message"]);
        let deadline = Instant::now() + pace::allowed(TIMEOUT);
        while self.plane.get(path).await.is_ok() {
            ensure!(Instant::now() < deadline, "{path} does not go");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The collection of a kind in the namespace of a deployment.
    pub(crate) fn collection(&self, deployment: &Deployment, plural: &str) -> String {
        let group = match plural {
            "deployments" | "replicasets" => "/apis/apps/v1",
            "ingresses" => "/apis/networking.k8s.io/v1",
            _ => "/api/v1",
        };
        format!("{group}/namespaces/{}/{plural}", namespace_of(&deployment.project, "default"))
    }

    /// One object in the namespace of a deployment.
    pub(crate) async fn object(
        &self,
        deployment: &Deployment,
        plural: &str,
        name: &str,
    ) -> anyhow::Result<Value> {
        self.plane.get(&format!("{}/{name}", self.collection(deployment, plural))).await
    }

    /// All objects of a kind in the namespace of a deployment.
    pub(crate) async fn objects(&self, deployment: &Deployment, plural: &str) -> anyhow::Result<Vec<Value>> {
        let list = self.plane.get(&self.collection(deployment, plural)).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The names of all objects of a kind in the namespace of a deployment.
    pub(crate) async fn names(&self, deployment: &Deployment, plural: &str) -> anyhow::Result<Vec<String>> {
        let objects = self.objects(deployment, plural).await?;
        Ok(objects
            .iter()
            .filter_map(|object| Some(object["metadata"]["name"].as_str()?.to_owned()))
            .collect())
    }

    /// Changes an object as the administrator, under another manager's name.
    pub(crate) async fn merge(&self, path: &str, manager: &str, patch: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}?fieldManager={manager}", self.plane.server_url());
        let client = self.client()?;
        let answer = client
            .patch(url)
            .bearer_auth(self.plane.admin_token())
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string())
            .send()
            .await?;
        let (status, object) = (answer.status(), answer.json::<Value>().await?);
        ensure!(status.is_success(), "changing {path}: {status}: {}", object["message"]);
        Ok(object)
    }

    fn client(&self) -> anyhow::Result<reqwest::Client> {
        let ca = reqwest::Certificate::from_pem(self.plane.ca_pem().as_bytes())?;
        Ok(reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([ca])
            .timeout(Duration::from_secs(60))
            .build()?)
    }

    /// Makes the namespace of a request, as somebody else would, with these labels.
    pub(crate) async fn namespace_by_hand(
        &self,
        request: &DeploymentRequest,
        labels: Value,
    ) -> anyhow::Result<String> {
        let name = self.namespace_of(request)?;
        let namespace = json!({ "metadata": { "name": name, "labels": labels } });
        self.plane.create("/api/v1/namespaces", &namespace).await?;
        Ok(name)
    }

    /// The project of a request.
    pub(crate) fn project_of(&self, request: &DeploymentRequest) -> anyhow::Result<Project> {
        let address = slipway_common::model::RepositoryAddress::parse(
            &request.repository_url,
            &AddressPolicy::default(),
        )?;
        Ok(Project::of(&address))
    }

    /// The namespace that a request is deployed to.
    pub(crate) fn namespace_of(&self, request: &DeploymentRequest) -> anyhow::Result<String> {
        Ok(namespace_of(&self.project_of(request)?, "default"))
    }

    /// Ends the worker.
    pub(crate) async fn clean_up(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        if let Some(worker) = self.worker.take() {
            tokio::time::timeout(pace::allowed(Duration::from_secs(40)), worker.stopped())
                .await
                .context("the worker hangs")?;
        }
        Ok(())
    }
}

/// Runs `body` in a world of its own and cleans up whatever happened.
pub(crate) async fn in_world(extra: &[(&str, &str)], body: impl AsyncFnOnce(&World) -> anyhow::Result<()>) {
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("the control plane starts");
    let world = World::start(plane, extra).await.expect("the world starts");
    let outcome = body(&world).await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the worker ends");
}

/// The namespace of a project's environment, as the API shows it.
pub(crate) fn namespace_of(project: &Project, environment: &str) -> String {
    format!("{}--{environment}", project.slug)
}
