//! Whole deployments on a real engine with a real registry: what is there afterwards, and what was ever made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bollard::Docker;
use bollard::query_parameters::{EventsOptions, PushImageOptions, RemoveImageOptions, TagImageOptions};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use slipway_common::model::label;
use slipway_integration_tests::distributed::{DistributedSlipway, ended_as};
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::effects::{
    Effect, EffectKind, Ended, JobHistory, check, commits, containers, images, manifests,
    record_reference_updates,
};
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use slipway_integration_tests::registry::{PASSWORD, Registry, USER};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::plan::{self, Scenario};
use crate::services;

const BASE_IMAGE: &str = "slipway-test/static:effects-matrix";
const REPLICAS: usize = 2;
/// Where images are pushed to, below the registry.
const TEAM: &str = "team";
/// Longest time from a request to the armed point.
pub(crate) const HALT_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time from a crash to the end of the job.
const END_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest wait for the engine to tell of a container it has made.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Slipway, a Git host, an engine and two registries.
pub(crate) struct EngineLane {
    pub(crate) docker: Docker,
    pub(crate) git: GitServer,
    pub(crate) registry: Registry,
    pub(crate) slipway: DistributedSlipway,
    open: Registry,
    created: Created,
    projects: Vec<String>,
}

/// One application and its jobs.
pub(crate) struct Project {
    pub(crate) repository: String,
    pub(crate) url: String,
    pub(crate) slug: String,
    version: u32,
    jobs: Vec<JobHistory>,
}

/// An accepted job.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) job: String,
    pub(crate) deployment: String,
}

impl EngineLane {
    /// Workers reach the engine at `engine`, the test at `host`. Images are pushed to `registry_at`, which leads to
    /// the registry, or to the registry itself.
    pub(crate) async fn start(
        engine: &str,
        host: &str,
        registry: Option<(Registry, String)>,
    ) -> anyhow::Result<Self> {
        let docker = docker_engine::connect(host)?;
        docker_engine::base_image(&docker, BASE_IMAGE).await?;
        let (registry, registry_at) = match registry {
            Some(given) => given,
            None => {
                let own = Registry::start().await?;
                let at = own.host().to_owned();
                (own, at)
            }
        };
        let options = services::options()
            .await?
            .variable("SLIPWAY__DOCKER__HOST", engine)
            .variable("SLIPWAY__DOCKER__DRAIN_MS", "100")
            .variable("SLIPWAY__DOCKER__STOP_GRACE_S", "1")
            .variable("SLIPWAY__DOCKER__IMAGES_KEEP", "1")
            .variable("SLIPWAY__DOCKER__PUSH_TO", &format!("{registry_at}/{TEAM}"))
            .variable("SLIPWAY__DOCKER__PUSH_CREDENTIAL", "registry")
            .variable("SLIPWAY__TEMPLATES__BASE_IMAGES__STATIC", BASE_IMAGE);
        let slipway = DistributedSlipway::start_apis(options).await?;
        services::store_credential(&slipway, "registry", USER, PASSWORD).await?;
        Ok(Self {
            created: Created::watch(&docker),
            docker,
            git: GitServer::start().await?,
            registry,
            slipway,
            open: Registry::start_open().await?,
            projects: Vec::new(),
        })
    }

    /// A crash at every point that the engine or the registry is behind. What needs no build deploys an image.
    pub(crate) async fn crash_everywhere(&mut self) -> anyhow::Result<()> {
        let ready = json!({ "image": BASE_IMAGE });
        let mut built = self.project().await?;
        let mut given = self.project().await?;
        self.slipway.disarm_workers().await?;
        for (project, more) in [(&mut built, json!({})), (&mut given, ready.clone())] {
            let first = self.deploy(project, more).await?;
            self.ends_well(project, &first).await?;
        }
        for point in plan::points(Scenario::Build) {
            self.next_version(&mut built).await?;
            self.crash_at(&mut built, &point, json!({})).await.with_context(|| point)?;
        }
        for point in plan::points(Scenario::Redeployment) {
            self.crash_at(&mut given, &point, ready.clone()).await.with_context(|| point)?;
        }
        let mut removals = plan::points(Scenario::Removal).into_iter();
        for point in plan::points(Scenario::FirstDeployment) {
            let mut project = self.project().await?;
            self.crash_at(&mut project, &point, ready.clone()).await.with_context(|| point)?;
            if let Some(point) = removals.next() {
                self.crash_while_stopping(&project, &point).await.with_context(|| point)?;
            }
        }
        ensure!(removals.next().is_none(), "every removal has a deployment to remove");
        for point in plan::points(Scenario::Pull) {
            let mut project = self.project().await?;
            let image = self.offer_image(&point).await?;
            self.crash_at(&mut project, &point, json!({ "image": image })).await.with_context(|| point)?;
            self.forget_image(&image).await?;
        }
        services::wait_drained(&self.slipway).await
    }

    /// A repository with a static site that has neither Dockerfile nor CI file.
    pub(crate) async fn project(&mut self) -> anyhow::Result<Project> {
        let repository = format!("group/{}", docker_engine::unique_name("effects"));
        let url = self.git.create_repo(&repository, &[page(1)]).await?;
        record_reference_updates(&self.git, &repository).await?;
        Ok(Project { repository, url, slug: String::new(), version: 1, jobs: Vec::new() })
    }

    async fn next_version(&self, project: &mut Project) -> anyhow::Result<()> {
        project.version += 1;
        self.git.commit(&project.repository, "main", &[page(project.version)], "Next").await?;
        Ok(())
    }

    /// Kills the worker that halts at `point`; the other one brings the deployment to its end.
    pub(crate) async fn crash_at(
        &mut self,
        project: &mut Project,
        point: &str,
        more: Value,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let halt = self.slipway.arm_workers(point).await?;
        let armed = begun.elapsed();
        let accepted = self.deploy(project, more).await?;
        halt.wait(&self.slipway, HALT_TIMEOUT).await?.kill().await?;
        let killed = begun.elapsed();
        self.ends_well(project, &accepted).await?;
        println!(
            "{point}: armed after {armed:?}, killed after {killed:?}, ended after {:?}",
            begun.elapsed()
        );
        Ok(())
    }

    async fn crash_while_stopping(&mut self, project: &Project, point: &str) -> anyhow::Result<()> {
        let halt = self.slipway.arm_workers(point).await?;
        let deployment = &project.jobs.last().context("nothing to stop")?.deployment;
        let path = format!("/deployments/{deployment}");
        let (status, body) = services::request(&self.slipway, reqwest::Method::DELETE, &path, None).await?;
        ensure!(status == 202, "DELETE answered {status}: {body}");
        halt.wait(&self.slipway, HALT_TIMEOUT).await?.kill().await?;
        let told = self.slipway.api(0)?.wait_terminal(deployment, END_TIMEOUT).await?;
        ensure!(told["status"] == "stopped", "ended as {told:#}\n{}", self.slipway.logs());
        docker_engine::assert_no_leftovers(&self.docker, &format!("{}={}", label::PROJECT, project.slug))
            .await
    }

    /// Posts a request for the project with these fields too.
    pub(crate) async fn deploy(&mut self, project: &mut Project, more: Value) -> anyhow::Result<Accepted> {
        let mut request = json!({
            "repository_url": project.url,
            "replicas": REPLICAS,
            "health": { "path": "/", "interval_ms": 100 },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            request[key] = value.clone();
        }
        let (deployment, job) = self.slipway.api(0)?.accept(&request, None).await?;
        let (_, told) = self.slipway.api(0)?.deployment(&deployment).await?;
        project.slug = told["project_slug"].as_str().context("no project")?.to_owned();
        self.projects.push(project.slug.clone());
        Ok(Accepted { job, deployment })
    }

    /// The job succeeds, and everything it was to do is there once.
    pub(crate) async fn ends_well(&self, project: &mut Project, accepted: &Accepted) -> anyhow::Result<()> {
        let told = self.slipway.api(0)?.wait_terminal(&accepted.deployment, END_TIMEOUT).await;
        let told = told.with_context(|| self.slipway.logs())?;
        let ended =
            told["jobs"].as_array().into_iter().flatten().find(|it| it["id"] == accepted.job.as_str());
        let ended = ended.and_then(ended_as).with_context(|| format!("not in {told:#}"))?;
        ensure!(
            ended == Ended::Succeeded && told["status"] == "active",
            "ended as {told:#}\n{}",
            self.slipway.logs()
        );
        project.record(accepted, &told);
        let effects = self.effects(project).await?;
        let violations = check(&project.jobs, &effects);
        ensure!(violations.is_empty(), "{violations:#?}\n{effects:#?}");
        self.check_amounts(project, accepted, &told, &effects).await
    }

    /// What the checker cannot know: that nothing else is there, and that nothing was made and thrown away.
    async fn check_amounts(
        &self,
        project: &Project,
        accepted: &Accepted,
        told: &Value,
        effects: &[Effect],
    ) -> anyhow::Result<()> {
        let of = |kind: EffectKind| effects.iter().filter(move |effect| effect.kind == kind);
        let running = of(EffectKind::Container).count();
        ensure!(running == REPLICAS, "{running} containers: {effects:#?}");
        let created = self.created.count(&accepted.job, REPLICAS).await;
        ensure!(created == REPLICAS, "{created} containers were created for {REPLICAS} replicas");
        let Some(commit) = told["facts"]["commit"]["revision"].as_str() else { return Ok(()) };
        let built = of(EffectKind::Image).filter(|effect| effect.place == commit).count();
        ensure!(built == 1, "{built} images of {commit}: {effects:#?}");
        let place = format!("{TEAM}/{}:{commit}", project.slug);
        let pushed: Vec<&Effect> = of(EffectKind::Manifest).filter(|effect| effect.place == place).collect();
        ensure!(pushed.len() == 1, "{} manifests at {place}: {effects:#?}", pushed.len());
        let told = told["facts"]["image"]["pushed"].as_str().unwrap_or_default();
        ensure!(told.ends_with(&pushed[0].value), "{told} is not {}", pushed[0].value);
        Ok(())
    }

    /// Everything that is there of a project.
    pub(crate) async fn effects(&self, project: &Project) -> anyhow::Result<Vec<Effect>> {
        let mut effects = commits(&self.git, &project.repository).await?;
        effects.extend(containers(&self.docker, &project.slug).await?);
        effects.extend(images(&self.docker, &project.slug).await?);
        let own = format!("{TEAM}/{}:", project.slug);
        let pushed = manifests(&self.registry).await?;
        effects.extend(pushed.into_iter().filter(|effect| effect.place.starts_with(&own)));
        Ok(effects)
    }

    /// Pushes attempted at a project's repository, whatever became of them.
    pub(crate) fn pushes(&self, project: &Project) -> usize {
        let at_it =
            |target: &str| target.contains(&project.repository) && target.ends_with("/git-receive-pack");
        self.git.requests().iter().filter(|it| it.method == "POST" && at_it(&it.target)).count()
    }

    /// Puts an image into the open registry that the engine does not have under this name.
    async fn offer_image(&self, tag: &str) -> anyhow::Result<String> {
        let repository = format!("{}/{TEAM}/offered", self.open.host());
        let options = TagImageOptions { repo: Some(repository.clone()), tag: Some(tag.to_owned()) };
        self.docker.tag_image(BASE_IMAGE, Some(options)).await?;
        let options = PushImageOptions { tag: Some(tag.to_owned()), ..PushImageOptions::default() };
        let mut output = self.docker.push_image(&repository, Some(options), None);
        while let Some(message) = output.next().await {
            message.context("offering an image")?;
        }
        drop(output);
        let image = format!("{repository}:{tag}");
        self.forget_image(&image).await?;
        Ok(image)
    }

    async fn forget_image(&self, image: &str) -> anyhow::Result<()> {
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        self.docker.remove_image(image, Some(options), None).await.map(drop).context("forgetting an image")
    }

    /// Ends the workers and removes what the lane made on the engine.
    pub(crate) async fn clean_up(&mut self) -> anyhow::Result<()> {
        self.slipway.kill_workers().await?;
        for project in std::mem::take(&mut self.projects) {
            docker_engine::remove_all(&self.docker, &format!("{}={project}", label::PROJECT)).await?;
        }
        Ok(())
    }
}

impl Project {
    /// Only the newest deployment has containers; each job has the commit it pushed.
    fn record(&mut self, accepted: &Accepted, told: &Value) {
        for earlier in &mut self.jobs {
            earlier.wanted.retain(|(kind, _)| *kind != EffectKind::Container);
        }
        let replicas = (1..=REPLICAS).map(|replica| format!("default {} {replica}", label::ROLE_APP));
        let mut wanted: Vec<(EffectKind, String)> =
            replicas.map(|place| (EffectKind::Container, place)).collect();
        if told["facts"]["commit"]["generated"] == true {
            wanted.push((EffectKind::Commit, format!("{} refs/heads/main", self.repository)));
        }
        self.jobs.push(JobHistory {
            job: accepted.job.clone(),
            deployment: accepted.deployment.clone(),
            ended: Some(Ended::Succeeded),
            wanted,
        });
    }
}

/// Every replica the engine has created since the watch began, by its job.
struct Created {
    jobs: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Created {
    fn watch(docker: &Docker) -> Self {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["create".to_owned()]),
        ]);
        let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
        let (jobs, docker) = (Arc::<Mutex<Vec<String>>>::default(), docker.clone());
        let seen = Arc::clone(&jobs);
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(docker.events(Some(options)));
            while let Some(Ok(event)) = events.next().await {
                let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                // Containers a build makes for its steps have no role.
                let is_app = attributes.get(label::ROLE).is_some_and(|role| role == label::ROLE_APP);
                if let Some(job) = attributes.get(label::JOB).filter(|_| is_app) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(job.clone());
                }
            }
        });
        Self { jobs, task }
    }

    /// How many were created for the job, once the engine had time to tell of `expected`.
    async fn count(&self, job: &str, expected: usize) -> usize {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        loop {
            let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let count = jobs.iter().filter(|it| *it == job).count();
            if count >= expected || Instant::now() > deadline {
                return count;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn page(version: u32) -> TreeFile {
    TreeFile::new("index.html", format!("<!doctype html><title>{version}</title><p>version {version}\n"))
}
