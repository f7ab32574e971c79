//! Builds the image of one commit with the engine's classic builder, once: a second run finds what the first
//! one made by its build key.

mod outcome;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::BuildImageOptions;
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use self::outcome::Outcome;
use super::context::{ContextError, ContextLimits, ContextPlan, DOCKERFILE_MAX_BYTES};
use super::engine::{Engine, millis};
use super::error::DockerError;
use super::image::{RegistryAuth, list_images};
use super::{LogSink, labels};
use crate::failpoint::{self, Place};
use crate::source::SourceTree;
use crate::text::Redactor;

/// Length of the scheduler's period that a CPU quota is a part of.
const CPU_PERIOD_US: u32 = 100_000;

/// What a build may use.
#[derive(Debug, Clone)]
pub struct BuildLimits {
    /// How large the context may be.
    pub context: ContextLimits,
    /// Deadline of the whole build.
    pub timeout_ms: u64,
    /// Memory of each step; the engine takes at most 2 GiB − 1 here.
    pub memory_bytes: u64,
    /// Processor time of each step, in thousandths of a core.
    pub cpu_millis: u32,
    /// Whether steps may use the network.
    pub network: bool,
}

impl Default for BuildLimits {
    fn default() -> Self {
        Self {
            context: ContextLimits::default(),
            timeout_ms: 1_800_000,
            memory_bytes: 2 * 1024 * 1024 * 1024 - 1,
            cpu_millis: 2000,
            network: true,
        }
    }
}

/// One build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The project's slug.
    pub project: String,
    /// The deployment the build is for.
    pub deployment: String,
    /// The job that builds.
    pub job: String,
    /// The commit, as 40 hexadecimal digits.
    pub commit: String,
    /// Path of the Dockerfile in the repository.
    pub dockerfile: String,
    /// Name to give the image, for people; nothing relies on it.
    pub tag: String,
    /// Further labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Build arguments. Docker keeps their values in the image's history: no place for secrets.
    pub build_args: BTreeMap<String, SecretString>,
    /// Ask the registry for newer base images.
    pub pull_base: bool,
    /// What the build may use.
    pub limits: BuildLimits,
    /// Credentials for pulling base images.
    pub registry_auth: Vec<RegistryAuth>,
}

/// The image of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Content address of the image, `sha256:…`; what apply takes.
    pub image_id: String,
    /// The name it was given.
    pub tag: String,
    /// Its size.
    pub size_bytes: u64,
    /// Whether an earlier build was found.
    pub reused: bool,
}

impl BuildRequest {
    /// Hash over all that decides what the build gives.
    #[must_use]
    pub fn build_key(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update(part.len().to_be_bytes());
            hash.update(part.as_bytes());
        };
        add(&self.project);
        add(&self.commit);
        add(&self.dockerfile);
        add(if self.pull_base { "pull" } else { "local" });
        add(if self.limits.network { "network" } else { "isolated" });
        for (key, value) in &self.labels {
            add(key);
            add(value);
        }
        for (name, value) in &self.build_args {
            add(name);
            add(value.expose_secret());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn image_labels(&self, build_key: &str) -> HashMap<String, String> {
        let own = [
            (labels::MANAGED, "true"),
            (labels::PROJECT, &self.project),
            (labels::COMMIT, &self.commit),
            (labels::JOB, &self.job),
            (labels::DEPLOYMENT, &self.deployment),
            (labels::BUILD_KEY, build_key),
        ];
        let given = self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        given.chain(own).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn options(&self, build_key: &str) -> BuildImageOptions {
        let memory = i32::try_from(self.limits.memory_bytes).unwrap_or(i32::MAX);
        let quota = u64::from(self.limits.cpu_millis) * u64::from(CPU_PERIOD_US) / 1000;
        let args = self.build_args.iter();
        BuildImageOptions {
            dockerfile: self.dockerfile.clone(),
            t: Some(self.tag.clone()),
            rm: true,
            forcerm: true,
            pull: self.pull_base.then(|| "true".to_owned()),
            memory: Some(memory),
            // The same figure for memory and swap together: no swap.
            memswap: Some(memory),
            cpuperiod: i32::try_from(CPU_PERIOD_US).ok(),
            cpuquota: Some(i32::try_from(quota).unwrap_or(i32::MAX)),
            buildargs: Some(
                args.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect(),
            ),
            labels: Some(self.image_labels(build_key)),
            networkmode: Some(if self.limits.network { "default" } else { "none" }.to_owned()),
            ..BuildImageOptions::default()
        }
    }
}

/// Builds the image of `request` from `tree`, or finds the one an earlier run built.
///
/// Output goes to `log` line by line. When `cancel` fires or the future is dropped, the engine stops the build and
/// removes its containers.
///
/// # Errors
/// [`DockerError::BuildFailed`] with the step and the last lines, [`DockerError::NeedsBuildKit`],
/// [`DockerError::PullFailed`] and its kin for a base image, [`DockerError::Context`], and what any call may return.
pub async fn build(
    engine: &Engine,
    request: &BuildRequest,
    tree: Arc<dyn SourceTree>,
    log: &dyn LogSink,
    cancel: &CancellationToken,
) -> Result<Built, DockerError> {
    let build_key = request.build_key();
    if let Some(built) = find_built(engine, request, &build_key).await? {
        log.line(&format!("Found {} built earlier from the same commit", built.image_id));
        return Ok(Built { reused: true, ..built });
    }
    let plan = plan_context(request, Arc::clone(&tree)).await?;
    for path in plan.skipped_submodules() {
        log.line(&format!("Left out submodule {path}: Slipway does not follow submodules"));
    }
    log.line(&format!("Sending {} bytes of build context", plan.size_bytes()));
    let limit = Duration::from_millis(request.limits.timeout_ms);
    let run = failpoint::around(Place::ImageBuild, run_build(engine, request, &build_key, plan, tree, log));
    tokio::select! {
        () = cancel.cancelled() => return Err(DockerError::Cancelled { operation: "build" }),
        ended = tokio::time::timeout(limit, run) => {
            ended.unwrap_or(Err(DockerError::TimedOut { operation: "build", limit_ms: millis(limit) }))?;
        }
    }
    find_built(engine, request, &build_key).await?.ok_or_else(|| DockerError::Engine {
        operation: "build",
        status: 0,
        reason: "the engine reported success but has no image".to_owned(),
    })
}

/// The image an earlier build with this key left, the newest if there are several.
async fn find_built(
    engine: &Engine,
    request: &BuildRequest,
    build_key: &str,
) -> Result<Option<Built>, DockerError> {
    let wanted = [
        (labels::MANAGED, "true"),
        (labels::PROJECT, request.project.as_str()),
        (labels::BUILD_KEY, build_key),
    ];
    let images = list_images(engine, wanted).await?;
    Ok(images.into_iter().max_by_key(|image| image.created).map(|image| Built {
        image_id: image.id,
        tag: request.tag.clone(),
        size_bytes: u64::try_from(image.size).unwrap_or(0),
        reused: false,
    }))
}

async fn plan_context(request: &BuildRequest, tree: Arc<dyn SourceTree>) -> Result<ContextPlan, DockerError> {
    let (dockerfile, limits) = (request.dockerfile.clone(), request.limits.context);
    let planned =
        tokio::task::spawn_blocking(move || ContextPlan::new(tree.as_ref(), &dockerfile, &limits)).await;
    planned.map_err(panicked)?.map_err(|source| DockerError::Context { source })
}

fn panicked(error: tokio::task::JoinError) -> DockerError {
    DockerError::Engine { operation: "make the build context", status: 0, reason: error.to_string() }
}

async fn run_build(
    engine: &Engine,
    request: &BuildRequest,
    build_key: &str,
    plan: ContextPlan,
    tree: Arc<dyn SourceTree>,
    log: &dyn LogSink,
) -> Result<(), DockerError> {
    // Ends the writing task too when this future is dropped.
    let stop = CancellationToken::new();
    let _stop_on_drop = stop.clone().drop_guard();
    let dockerfile = read_dockerfile(request, tree.as_ref())?;
    let (chunks, writing) = plan.stream(tree, stop);
    let credentials =
        request.registry_auth.iter().map(|auth| (auth.server.clone(), auth.credentials())).collect();
    let body = bollard::body_try_stream(ReceiverStream::new(chunks));
    let mut output = engine.docker().build_image(request.options(build_key), Some(credentials), Some(body));
    let mut outcome = Outcome::new(Redactor::new(request.build_args.values()), &dockerfile);
    while let Some(item) = output.next().await {
        outcome.take(item, log);
    }
    drop(output);
    let ended = outcome.finish(log);
    match writing.await.map_err(panicked)? {
        Ok(()) => ended,
        // The engine hung up first: its own error says why.
        Err(ContextError::Archive { .. } | ContextError::Cancelled) if ended.is_err() => ended,
        Err(source) => Err(DockerError::Context { source }),
    }
}

/// The text of the Dockerfile; the plan has checked that it is there and how large it is.
fn read_dockerfile(request: &BuildRequest, tree: &dyn SourceTree) -> Result<String, DockerError> {
    let contents = tree
        .read(&request.dockerfile, DOCKERFILE_MAX_BYTES)
        .map_err(|source| DockerError::Context { source: ContextError::Source { source } })?;
    Ok(String::from_utf8_lossy(&contents).into_owned())
}
