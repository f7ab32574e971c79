//! What the stand-in knows: its projects and everything in them, its tokens, what goes wrong, and what was asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::access::Token;
use super::environments::{Deployment, Environment};
use super::hooks::Hook;
use super::merge_requests::MergeRequest;
use super::pipelines::{Pipeline, Plan};
use super::results::Status;

/// Requests in one window of the rate limit.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    pub(super) limit: u32,
    pub(super) window: Duration,
    pub(super) began: Instant,
    pub(super) observed: u32,
}

/// Which requests are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Those of the REST interface.
    Api,
    /// Those of Git.
    Git,
}

/// What goes wrong with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They are answered after this time.
    Slow(Duration),
    /// They are answered with this status and a page for people, as a load balancer does.
    Status(u16),
    /// They are answered as if the rate limit were exceeded.
    TooMany {
        /// When to come again, in seconds.
        retry_after_s: u32,
    },
}

/// A fault, whom it meets, and how often.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) place: Place,
    /// A part of the path; empty for every path.
    pub(super) path: String,
    pub(super) fault: Fault,
    /// `None` until it is taken away.
    pub(super) times: Option<u32>,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct LoggedRequest {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Interface or Git.
    pub place: Place,
    /// Name of the token it came with; never the token.
    pub token: Option<String>,
    /// When.
    pub at: Instant,
    /// How it was answered; `None` while it is not.
    pub status: Option<u16>,
}

/// A masked or plain CI variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its value.
    pub value: String,
    /// Whether job logs hide it.
    pub masked: bool,
}

/// A deploy token: for Git and the registry, not for the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployToken {
    /// Its number.
    pub id: u64,
    /// What it is called.
    pub name: String,
    /// The user name it goes with, which is checked.
    pub username: String,
    /// The token.
    pub value: String,
    /// What it may do.
    pub scopes: Vec<String>,
}

/// One project and everything in it.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its number.
    pub id: u64,
    /// `group/name`.
    pub path: String,
    /// Where the stand-in is: `http://127.0.0.1:<port>`.
    pub instance: String,
    /// The branch it calls its default.
    pub default_branch: String,
    /// Whether everybody may read it.
    pub public: bool,
    /// Whether nothing may be changed any more.
    pub archived: bool,
    /// Whether pipelines run at all.
    pub builds_enabled: bool,
    /// Whether a repository without a CI file gets a pipeline all the same.
    pub auto_devops: bool,
    /// Another place of the CI file.
    pub ci_config_path: Option<String>,
    /// Where its images are pushed to, without a tag.
    pub image_prefix: Option<String>,
    /// The project it was forked from.
    pub forked_from: Option<u64>,
    /// What its pipelines are made of from now on.
    pub plan: Plan,
    /// Its webhooks.
    pub hooks: Vec<Hook>,
    /// Its deploy tokens.
    pub deploy_tokens: Vec<DeployToken>,
    /// Its CI variables.
    pub variables: BTreeMap<String, Variable>,
    /// Its pipelines, oldest first.
    pub pipelines: Vec<Pipeline>,
    /// Statuses of its commits, oldest first.
    pub statuses: Vec<Status>,
    /// Its environments.
    pub environments: Vec<Environment>,
    /// What was told of deployments, oldest first.
    pub deployments: Vec<Deployment>,
    /// Its merge requests.
    pub merge_requests: Vec<MergeRequest>,
}

impl Project {
    /// A private project with pipelines and nothing in it.
    #[must_use]
    pub fn new(id: u64, path: &str, instance: &str) -> Self {
        Self {
            id,
            path: path.to_owned(),
            instance: instance.to_owned(),
            default_branch: "main".to_owned(),
            public: false,
            archived: false,
            builds_enabled: true,
            auto_devops: false,
            ci_config_path: None,
            image_prefix: None,
            forked_from: None,
            plan: Plan::default(),
            hooks: Vec::new(),
            deploy_tokens: Vec::new(),
            variables: BTreeMap::new(),
            pipelines: Vec::new(),
            statuses: Vec::new(),
            environments: Vec::new(),
            deployments: Vec::new(),
            merge_requests: Vec::new(),
        }
    }

    /// The address to clone.
    #[must_use]
    pub fn clone_url(&self) -> String {
        format!("{}/{}.git", self.instance, self.path)
    }

    /// The address for people.
    #[must_use]
    pub fn web_url(&self) -> String {
        format!("{}/{}", self.instance, self.path)
    }

    /// Where its CI file is.
    #[must_use]
    pub fn ci_file(&self) -> &str {
        self.ci_config_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(".gitlab-ci.yml")
    }

    /// The newest pipeline of a commit that a push, a tag or a person started.
    #[must_use]
    pub fn pipeline_of(&self, sha: &str) -> Option<&Pipeline> {
        self.pipelines.iter().rev().find(|pipeline| pipeline.sha == sha && pipeline.source != "external")
    }

    /// The latest word on a commit under this name.
    #[must_use]
    pub fn status_of(&self, sha: &str, name: &str) -> Option<&Status> {
        self.statuses.iter().rev().find(|status| status.sha == sha && status.name == name)
    }
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) projects: Vec<Project>,
    pub(super) tokens: Vec<Token>,
    pub(super) rules: Vec<Rule>,
    pub(super) rate: Option<Rate>,
    pub(super) log: Vec<LoggedRequest>,
    pub(super) deliveries: Vec<super::hooks::Sent>,
    pub(super) lose_hooks: bool,
    last_id: u64,
}

impl World {
    /// A number nothing else has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// By its number or its path.
    pub(super) fn project(&self, name: &str) -> Option<&Project> {
        let id: Option<u64> = name.parse().ok();
        self.projects.iter().find(|project| Some(project.id) == id || project.path == name)
    }

    /// Changes a project; what changes it can have new numbers.
    pub(super) fn change<T>(
        &mut self,
        id: u64,
        change: impl FnOnce(&mut Project, &mut dyn FnMut() -> u64) -> T,
    ) -> Option<T> {
        let mut last = self.last_id;
        let project = self.projects.iter_mut().find(|project| project.id == id)?;
        let done = change(project, &mut || {
            last += 1;
            last
        });
        self.last_id = last;
        Some(done)
    }
}

/// As most answers have times: `2026-01-02T03:04:05.678Z`.
pub(super) fn iso(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// As pipeline hooks have times: `2026-01-02 03:04:05 UTC`.
pub(super) fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
