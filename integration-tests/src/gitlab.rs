//! A GitLab for tests and demonstrations, written from its documented contract: real Git over HTTP and the REST
//! interface below it on one address, tokens with scopes and roles, pipelines with their life, hooks with all their
//! headers. What a test wants to go wrong, it says; everything that was asked is logged.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::git_server::{GitServer, TreeFile};
use crate::line::Line;
use crate::registry::Registry;

mod access;
mod answer;
pub mod delivery;
mod environments;
mod files;
mod git;
mod hooks;
mod merge_requests;
pub mod payload;
mod pipelines;
mod proposals;
mod results;
mod route;
pub mod runner;
pub mod samples;
mod server;
mod settings;
mod workshop;
mod world;

pub use access::{DEVELOPER, GUEST, MAINTAINER, REPORTER, Token};
pub use environments::{Deployment, Environment};
pub use hooks::{Events, Hook, HookAnswer, Sent};
pub use merge_requests::{MergeRequest, Note};
pub use pipelines::{End, Pipeline, PipelineJob, Plan, PlannedJob};
pub use results::Status;
pub use workshop::BranchPush;
pub use world::{DeployToken, Fault, LoggedRequest, Place, Project, Variable};

use server::Server;
use world::{Rate, Rule};

/// Longest wait for the answer of a hook, as GitLab has it.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a pipeline to appear.
const PIPELINE_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A running stand-in. Dropping it closes every connection and deletes its repositories.
#[derive(Debug)]
pub struct GitlabServer {
    server: Arc<Server>,
    line: Line,
    /// Where the developers of all projects have their clones.
    workshop: GitServer,
    developer: String,
}

impl GitlabServer {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound or no directory made.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding the stand-in of GitLab")?;
        let line = Line::start(listener.local_addr()?.to_string()).await?;
        let server = Arc::new(Server {
            git: GitServer::start().await?,
            client: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(HOOK_TIMEOUT)
                .build()?,
            base: format!("http://{}", line.address()),
            pushes: tokio::sync::Mutex::new(()),
            stopped: CancellationToken::new(),
            state: Mutex::default(),
        });
        tokio::spawn(server::accept(listener, Arc::clone(&server)));
        let mut gitlab = Self { server, line, workshop: GitServer::start().await?, developer: String::new() };
        gitlab.developer = gitlab.add_token("developer", &["api"], MAINTAINER);
        Ok(gitlab)
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.server.base
    }

    /// A new token for all projects, with these scopes and this role; answers its value.
    pub fn add_token(&self, name: &str, scopes: &[&str], level: u32) -> String {
        let value = format!("glpat-{}", uuid::Uuid::now_v7().simple());
        self.add_token_of(name, &value, scopes, level);
        value
    }

    /// The same with a value of the test's choice.
    pub fn add_token_of(&self, name: &str, value: &str, scopes: &[&str], level: u32) {
        let mut world = self.server.world();
        let token = Token {
            id: world.next_id(),
            name: name.to_owned(),
            value: value.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            level,
            projects: None,
            expires_at: Some("2027-12-31".to_owned()),
            revoked: false,
        };
        world.tokens.push(token);
    }

    /// Changes the tokens of this name.
    pub fn change_token(&self, name: &str, change: impl Fn(&mut Token)) {
        let mut world = self.server.world();
        world.tokens.iter_mut().filter(|token| token.name == name).for_each(change);
    }

    /// Makes a project with one commit of these files on `main`, or an empty one without files.
    ///
    /// # Errors
    /// When the plumbing fails.
    pub async fn create_project(&self, path: &str, files: &[TreeFile]) -> anyhow::Result<Project> {
        self.server.git.create_repo(path, files).await?;
        let mut world = self.server.world();
        let project = Project::new(world.next_id(), path, &self.server.base);
        world.projects.push(project.clone());
        drop(world);
        std::fs::write(self.server.git.directory(path).join("url"), project.web_url())?;
        Ok(project)
    }

    /// A fork of a project, with its default branch.
    ///
    /// # Errors
    /// When the plumbing fails.
    pub async fn fork(&self, of: &str, path: &str) -> anyhow::Result<Project> {
        let origin = self.project(of)?;
        let mut fork = self.create_project(path, &[]).await?;
        let folder = self.server.git.directory(of).display().to_string();
        let branches = "+refs/heads/*:refs/heads/*";
        self.server.git.git(path, &["fetch", "--quiet", &folder, branches], b"").await?;
        fork.forked_from = Some(origin.id);
        self.change_project(path, |project| project.forked_from = Some(origin.id))?;
        Ok(fork)
    }

    /// A project as it is now.
    ///
    /// # Errors
    /// When there is none at this path.
    pub fn project(&self, path: &str) -> anyhow::Result<Project> {
        let world = self.server.world();
        world.project(path).cloned().with_context(|| format!("there is no project {path}"))
    }

    /// Changes a project.
    ///
    /// # Errors
    /// When there is none at this path.
    pub fn change_project(&self, path: &str, change: impl FnOnce(&mut Project)) -> anyhow::Result<()> {
        let id = self.project(path)?.id;
        self.server.world().change(id, |project, _| change(project)).context("the project is gone")
    }

    /// The Git host below: its repositories, and what was pushed to them.
    #[must_use]
    pub fn git(&self) -> &GitServer {
        &self.server.git
    }

    /// Spoils requests whose path contains `path`, so often, or until [`Self::heal`].
    pub fn spoil(&self, place: Place, path: &str, fault: Fault, times: Option<u32>) {
        self.server.world().rules.push(Rule { place, path: path.to_owned(), fault, times });
    }

    /// Everybody may ask so often in so much time; the interface then answers 429.
    pub fn limit_rate(&self, limit: u32, window: Duration) {
        self.server.world().rate = Some(Rate { limit, window, began: Instant::now(), observed: 0 });
    }

    /// Accepts connections and never answers, from now on.
    ///
    /// # Errors
    /// When that is not so in time.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.line.accept_and_stay_silent().await
    }

    /// Cannot be reached from now on.
    ///
    /// # Errors
    /// When that is not so in time.
    pub async fn go_away(&self) -> anyhow::Result<()> {
        self.line.cut().await
    }

    /// Takes back everything that was spoilt.
    ///
    /// # Errors
    /// When the line does not come back in time.
    pub async fn heal(&self) -> anyhow::Result<()> {
        {
            let mut world = self.server.world();
            world.rules.clear();
            (world.rate, world.lose_hooks) = (None, false);
        }
        self.line.heal().await
    }

    /// Sends no hooks any more, or does again.
    pub fn lose_hooks(&self, lose: bool) {
        self.server.world().lose_hooks = lose;
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.server.world().log.clone()
    }

    /// How many requests so far have this method and this text in their target.
    #[must_use]
    pub fn count(&self, method: &str, target: &str) -> usize {
        let world = self.server.world();
        world.log.iter().filter(|it| it.method == method && it.target.contains(target)).count()
    }

    /// Every delivery so far, with where it went.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Sent> {
        self.server.world().deliveries.clone()
    }

    /// Waits for the pipeline of a commit that a push began.
    ///
    /// # Errors
    /// When it does not appear.
    pub async fn wait_pipeline(&self, path: &str, sha: &str) -> anyhow::Result<Pipeline> {
        let deadline = Instant::now() + PIPELINE_TIMEOUT;
        loop {
            if let Some(pipeline) = self.project(path)?.pipeline_of(sha) {
                return Ok(pipeline.clone());
            }
            if Instant::now() > deadline {
                bail!("no pipeline of {sha} in {path}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A runner takes the job of this name of the commit's pipeline.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn begin_job(&self, path: &str, sha: &str, job: &str) -> anyhow::Result<()> {
        self.with_job(path, sha, job, |job| {
            (job.status, job.has_runner) = ("running", true);
            job.started_at = Some(jiff::Timestamp::now());
        })
    }

    /// The job of this name of the commit's pipeline ends, with these last lines in its log.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn end_job(&self, path: &str, sha: &str, job: &str, end: &End, lines: &[&str]) -> anyhow::Result<()> {
        self.with_job(path, sha, job, |job| pipelines::end(job, end, &runner::trace(lines)))
    }

    /// A runner does the whole job: it pushes an image that serves `text`, tagged with the commit; answers its digest.
    ///
    /// # Errors
    /// When there is no such job, or the registry does not take the image.
    pub async fn build(
        &self,
        path: &str,
        sha: &str,
        job: &str,
        registry: &Registry,
        text: &str,
    ) -> anyhow::Result<String> {
        self.wait_pipeline(path, sha).await?;
        self.begin_job(path, sha, job)?;
        let digest = runner::push_image(registry, path, sha, text).await?;
        self.end_job(path, sha, job, &End::Success, &["$ make image", "pushed"])?;
        Ok(digest)
    }

    fn with_job(
        &self,
        path: &str,
        sha: &str,
        job: &str,
        change: impl FnOnce(&mut PipelineJob),
    ) -> anyhow::Result<()> {
        let project = self.project(path)?;
        let id = project.pipeline_of(sha).with_context(|| format!("no pipeline of {sha}"))?.id;
        let changed = self.server.world().change(project.id, |project, _| {
            let pipeline = project.pipelines.iter_mut().find(|it| it.id == id)?;
            change(pipeline.job_mut(job)?);
            project.refresh_pipeline(id);
            Some(())
        });
        changed.flatten().with_context(|| format!("no job {job}"))?;
        self.server.pipeline_changed(project.id, id);
        Ok(())
    }
}

impl Drop for GitlabServer {
    fn drop(&mut self) {
        self.server.stopped.cancel();
    }
}
