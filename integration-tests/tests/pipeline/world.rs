//! One world for one pipeline test: a Git server with a token, an engine, the embedded backend and a worker in this
//! process. What the worker did is read from the places where it did it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptions;
use jiff::Timestamp;
use slipway_api::{Api, ApiHandle, ApiSettings, Beside};
use slipway_common::Backend;
use slipway_common::config::Config;
use slipway_common::embedded::{Embedded, EmbeddedSettings};
use slipway_common::model::job::JOB_MESSAGE_VERSION;
use slipway_common::model::request::ResolveContext;
use slipway_common::model::{
    AddressPolicy, Deployment, DeploymentId, DeploymentRequest, DeploymentState, Event, EventKind, Facts,
    JobId, JobKind, JobMessage, Stage, TargetName,
};
use slipway_common::record::{Record, StoredCredential};
use slipway_common::secrets::{KEY_LENGTH_BYTES, Sealer, SecretText};
use slipway_common::submit::submit;
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use slipway_worker::{Worker, WorkerHandle, WorkerSettings};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The token the Git server wants.
pub(crate) const TOKEN: &str = "glpat-pipeline-canary-7c1f";
/// Image that serves `/usr/share/nginx/html` on port 8080.
pub(crate) const BASE_IMAGE: &str = "slipway-test/static:pipeline";
const TIMEOUT: Duration = Duration::from_secs(90);

/// Everything one test needs.
pub(crate) struct World {
    pub(crate) git: GitServer,
    pub(crate) host: String,
    pub(crate) docker: Docker,
    pub(crate) backend: Backend,
    pub(crate) data: TempDir,
    sealer: Sealer,
    config: Config,
    _embedded: Embedded,
    worker: Option<WorkerHandle>,
    shutdown: CancellationToken,
    projects: std::sync::Mutex<Vec<String>>,
}

impl World {
    /// Starts everything; `extra` are settings over the defaults, as environment variables.
    pub(crate) async fn start(host: &str, extra: &[(&str, &str)]) -> anyhow::Result<Self> {
        let docker = docker_engine::connect(host)?;
        docker_engine::base_image(&docker, BASE_IMAGE).await?;
        let git = GitServer::start().await?;
        git.require_token(Some(TOKEN));
        let data = tempfile::tempdir()?;
        let embedded = Embedded::open(data.path(), &EmbeddedSettings::default())?;
        let backend = embedded.backend();
        let sealer = Sealer::new(&[3; KEY_LENGTH_BYTES]);
        let fixed = [
            ("SLIPWAY__DOCKER__HOST", host),
            ("SLIPWAY__DOCKER__DRAIN_MS", "100"),
            ("SLIPWAY__DOCKER__STOP_GRACE_S", "1"),
            ("SLIPWAY__WORKER__BACKOFF_MIN_MS", "100"),
            ("SLIPWAY__WORKER__ATTEMPTS_MAX", "2"),
            ("SLIPWAY__WORKER__OBSERVE_INTERVAL_MS", "200"),
            ("SLIPWAY__TEMPLATES__BASE_IMAGES__STATIC", BASE_IMAGE),
        ];
        let variables =
            fixed.iter().chain(extra).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::load(None, variables)?;
        let mut world = Self {
            git,
            host: host.to_owned(),
            docker,
            backend,
            data,
            sealer,
            config,
            _embedded: embedded,
            worker: None,
            shutdown: CancellationToken::new(),
            projects: std::sync::Mutex::default(),
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

    /// Starts an API on the same backend; it lets this machine in and is patient.
    pub(crate) fn start_api(&self) -> anyhow::Result<ApiHandle> {
        let mut settings = ApiSettings::from_config(&self.config, "0");
        settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.open_loopback = true;
        settings.answer_timeout = Duration::from_secs(30);
        Ok(Api::start(settings, self.backend.clone(), self.sealer.clone(), Beside::default())?)
    }

    /// A repository with a static site that shows `text`, and neither Dockerfile nor CI file.
    pub(crate) async fn static_site(&self, text: &str) -> anyhow::Result<(String, String)> {
        self.repository(&[page(text)]).await
    }

    /// A repository with these files; answers its path on the server and its address.
    pub(crate) async fn repository(&self, files: &[TreeFile]) -> anyhow::Result<(String, String)> {
        let path = format!("group/{}", docker_engine::unique_name("site"));
        let url = self.git.create_repo(&path, files).await?;
        Ok((path, url))
    }

    /// A request for `url` with the right token and a quick health check.
    pub(crate) fn request(&self, url: &str) -> DeploymentRequest {
        let mut request = DeploymentRequest::new(url);
        request.repository_token = Some(SecretText::from(TOKEN.to_owned()));
        request.health = serde_json::from_value(serde_json::json!({ "path": "/", "interval_ms": 100 })).ok();
        request
    }

    /// Submits a request as the API does.
    pub(crate) async fn submit(&self, request: &DeploymentRequest) -> anyhow::Result<DeploymentId> {
        let addresses = AddressPolicy::default();
        let targets: [TargetName; 1] = [self.config.docker.name.clone()];
        let context = ResolveContext {
            addresses: &addresses,
            limits: &self.config.limits,
            targets: &targets,
            clusters: &[],
            servers: &[],
            sealer: &self.sealer,
        };
        let (project, spec) =
            request.resolve(&context).map_err(|errors| anyhow::anyhow!("refused: {errors:?}"))?;
        self.projects.lock().expect("no test panics with it").push(project.slug.to_string());
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
    pub(crate) async fn stop(&self, id: DeploymentId) -> anyhow::Result<()> {
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
        Ok(submit(&self.backend, &message).await?)
    }

    /// Stores a credential, as the API does.
    pub(crate) async fn store_credential(
        &self,
        name: &str,
        user: &str,
        secret: &str,
        host: &str,
    ) -> anyhow::Result<()> {
        let secret = self.sealer.seal(&format!("credential/{name}"), &secret.to_owned().into())?;
        let stored = StoredCredential {
            name: name.parse()?,
            username: Some(user.to_owned()),
            host: Some(host.to_owned()),
            secret,
            updated_at: Timestamp::now(),
        };
        self.backend.record(&Record::CredentialStored(stored)).await?;
        Ok(())
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
        let deadline = Instant::now() + TIMEOUT;
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

    /// The containers of a project on the engine.
    pub(crate) async fn containers(&self, project: &str) -> anyhow::Result<Vec<ContainerSummary>> {
        let label = format!("io.slipway.project={project}");
        let filters = Some(HashMap::from([("label".to_owned(), vec![label])]));
        let options = ListContainersOptions { all: true, filters, ..ListContainersOptions::default() };
        Ok(self.docker.list_containers(Some(options)).await?)
    }

    /// What the first app container of a deployment answers at `path`.
    pub(crate) async fn fetch(&self, deployment: &Deployment, path: &str) -> anyhow::Result<String> {
        let wanted = deployment.id.to_string();
        let containers = self.containers(deployment.project.slug.as_str()).await?;
        let address = containers
            .into_iter()
            .filter(|it| {
                let labels = it.labels.as_ref();
                let is = |key: &str, value: &str| {
                    labels.and_then(|labels| labels.get(key)).is_some_and(|it| it == value)
                };
                is("io.slipway.deployment", &wanted) && is("io.slipway.role", "app")
            })
            .filter_map(|it| it.network_settings?.networks)
            .flatten()
            .filter_map(|(_, network)| network.ip_address)
            .find(|ip| !ip.is_empty())
            .context("no container has an address")?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        Ok(client
            .get(format!("http://{address}:8080{path}"))
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?)
    }

    /// Ends the worker and removes what was made on the engine.
    pub(crate) async fn clean_up(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        if let Some(worker) = self.worker.take() {
            tokio::time::timeout(Duration::from_secs(40), worker.stopped())
                .await
                .context("the worker hangs")?;
        }
        let projects = std::mem::take(&mut *self.projects.lock().expect("no test panics with it"));
        for project in projects {
            docker_engine::remove_all(&self.docker, &format!("io.slipway.project={project}")).await?;
        }
        Ok(())
    }
}

/// The page of a static site.
pub(crate) fn page(text: &str) -> TreeFile {
    TreeFile::new("index.html", format!("<!doctype html><title>{text}</title><p>{text}\n"))
}
