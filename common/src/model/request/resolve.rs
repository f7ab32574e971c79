//! Resolution: every field parsed, every default filled in, every secret sealed, every error named by its field.

mod cluster;
mod pipeline;

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

pub use cluster::{CLUSTER_TOKEN_MAX_BYTES, cluster_token_context};
pub use pipeline::{PIPELINE_JOB_MAX_BYTES, PIPELINE_TIMEOUT_MAX_S};

use super::{DeploymentRequest, HealthRequest, ResourceRequest, SupportRequest};
use crate::model::{
    AddressPolicy, BranchName, BuildMode, CredentialSource, DeploymentSpec, EnvName, EnvironmentName,
    HealthSpec, Hostname, ImageReference, Project, Reference, RepositoryAddress, ResourceSpec, RevisionSpec,
    ServerAddress, SupportName, SupportSpec, TargetName,
};
use crate::secrets::{Sealed, Sealer, SecretText};

/// A field that was refused, and why. Never repeats the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InvalidField {
    /// Path of the field, e.g. `supports[0].image`.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// How much one request may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimits {
    /// Replicas of one deployment.
    pub replicas_max: u32,
    /// Support containers of one deployment.
    pub supports_max: usize,
    /// Host names of one deployment.
    pub hostnames_max: usize,
    /// Environment variables of one container.
    pub env_count_max: usize,
    /// Names and values of all environment variables together.
    pub env_total_max_bytes: usize,
    /// Longest repository token.
    pub token_max_bytes: usize,
    /// Longest health check deadline.
    pub health_deadline_max_ms: u64,
    /// Least memory of a replica; an engine refuses less.
    pub memory_min_bytes: u64,
    /// Most memory of a replica.
    pub memory_max_bytes: u64,
    /// Most CPU of a replica, in thousandths of a core.
    pub cpu_max_millis: u32,
    /// Most processes of a replica.
    pub pids_max: u32,
}

/// What resolution needs to know of the installation.
#[derive(Debug, Clone, Copy)]
pub struct ResolveContext<'a> {
    /// Which addresses are accepted.
    pub addresses: &'a AddressPolicy,
    /// How much a request may ask for.
    pub limits: &'a RequestLimits,
    /// The configured targets; the first is the default.
    pub targets: &'a [TargetName],
    /// Those of them that are Kubernetes clusters.
    pub clusters: &'a [TargetName],
    /// Those of them whose API server has a configured address, with this address.
    pub servers: &'a [(TargetName, ServerAddress)],
    /// Seals the secrets.
    pub sealer: &'a Sealer,
}

/// Place under which a project's repository token is sealed.
#[must_use]
pub fn token_context(project: &Project) -> String {
    format!("project/{}/repository-token", project.slug)
}

/// Place under which the environment variables of a project's containers are sealed.
#[must_use]
pub fn env_context(project: &Project) -> String {
    format!("project/{}/env", project.slug)
}

impl DeploymentRequest {
    /// Resolves the request.
    ///
    /// # Errors
    /// All fields that were refused, each with its reason.
    pub fn resolve(
        &self,
        context: &ResolveContext<'_>,
    ) -> Result<(Project, DeploymentSpec), Vec<InvalidField>> {
        let mut errors = Errors::default();
        let repository =
            errors.take("repository_url", RepositoryAddress::parse(&self.repository_url, context.addresses));
        let Some(repository) = repository else {
            self.resolve_rest(None, context, &mut errors);
            return Err(errors.0);
        };
        let project = Project::of(&repository);
        let spec = self.resolve_rest(Some((&project, repository)), context, &mut errors);
        match spec {
            Some(spec) if errors.0.is_empty() => Ok((project, spec)),
            _ => Err(errors.0),
        }
    }

    /// Resolves all fields, so that one answer names everything that is wrong.
    fn resolve_rest(
        &self,
        repository: Option<(&Project, RepositoryAddress)>,
        context: &ResolveContext<'_>,
        errors: &mut Errors,
    ) -> Option<DeploymentSpec> {
        let reference = self.reference(errors);
        let environment = match &self.environment {
            Some(name) => errors.take("environment", name.parse()),
            None => Some(EnvironmentName::default_name()),
        };
        let target = self.target(context, errors);
        let replicas = self.replicas.unwrap_or(1);
        // A cluster keeps an application that rests; an engine would have nothing to keep.
        let is_cluster = target.as_ref().is_some_and(|target| context.clusters.contains(target));
        let replicas_min = u32::from(!is_cluster);
        errors.check("replicas", (replicas_min..=context.limits.replicas_max).contains(&replicas), || {
            format!("must be from {replicas_min} to {}", context.limits.replicas_max)
        });
        errors.check("port", self.port != Some(0), || "must be from 1 to 65535".to_owned());
        let image: Option<Option<ImageReference>> = match &self.image {
            Some(text) => errors.take("image", text.parse()).map(Some),
            None => Some(None),
        };
        let build = self.build.unwrap_or_default();
        self.check_build(build, errors);
        let project = repository.as_ref().map(|(project, _)| *project);
        let place = project.map(env_context).unwrap_or_default();
        check_env_size(self, context.limits, errors);
        let env = seal_env("env", &self.env, &place, context, errors);
        let supports = seal_supports(&self.supports, &place, context, errors);
        let hostnames = hostnames(&self.hostnames, target.as_ref(), context, errors);
        let credential = self.credential(project, context, errors);
        let pipeline = pipeline::resolve(self.pipeline.as_ref(), build, errors);
        let pull_credential = match &self.pull_credential {
            Some(name) => errors.take("pull_credential", name.parse()),
            None => None,
        };
        let cluster_token = cluster::token(self.cluster.as_ref(), project, target.as_ref(), context, errors);
        let health = health(self.health.as_ref(), context.limits, errors);
        let resources = resources(self.resources.as_ref(), context.limits, errors);
        let (_, repository) = repository?;
        Some(DeploymentSpec {
            repository,
            reference: reference?,
            environment: environment?,
            target: target?,
            port: self.port,
            replicas,
            env,
            supports,
            hostnames,
            image: image?,
            build,
            pipeline,
            pull_credential,
            foreign: false,
            commit: self.commit.unwrap_or_default(),
            credential,
            cluster_token,
            health,
            resources,
        })
    }

    fn reference(&self, errors: &mut Errors) -> Option<Reference> {
        match (&self.branch, &self.revision) {
            (Some(_), Some(_)) => {
                errors.add("revision", "give either `branch` or `revision`, not both");
                None
            }
            (Some(branch), None) => errors.take("branch", BranchName::parse(branch)).map(Reference::Branch),
            (None, Some(revision)) => {
                errors.take("revision", RevisionSpec::parse(revision)).map(Reference::Revision)
            }
            (None, None) => Some(Reference::DefaultBranch),
        }
    }

    fn target(&self, context: &ResolveContext<'_>, errors: &mut Errors) -> Option<TargetName> {
        let targets = context.targets;
        let names = || targets.iter().map(TargetName::as_str).collect::<Vec<_>>().join(", ");
        let server = self.cluster.as_ref().and_then(|cluster| cluster.server.as_deref());
        match (&self.target, server) {
            (None, None) => {
                errors.check("target", !targets.is_empty(), || "no target is configured".to_owned());
                targets.first().cloned()
            }
            (None, Some(server)) => cluster::target_at(server, context, errors),
            (Some(name), server) => {
                let wanted: TargetName = errors.take("target", name.parse())?;
                let is_known = targets.contains(&wanted);
                errors
                    .check("target", is_known, || format!("no target is called that; there is: {}", names()));
                if let Some(server) = server.filter(|_| is_known) {
                    cluster::check_server(server, &wanted, context, errors);
                }
                Some(wanted)
            }
        }
    }

    fn check_build(&self, build: BuildMode, errors: &mut Errors) {
        let with_image = self.image.is_some();
        errors.check("build", build != BuildMode::None || with_image, || {
            "`none` needs `image`: without a build there is nothing to run".to_owned()
        });
        let builds = matches!(build, BuildMode::Docker | BuildMode::Gitlab);
        errors.check("build", !(builds && with_image), || {
            "an `image` is run as it is; leave `build` out or set it to `none`".to_owned()
        });
        let may_ask = self.credential.is_some() || self.repository_token.is_some();
        errors.check("build", build != BuildMode::Gitlab || with_image || may_ask, || {
            "`gitlab` needs `credential` or `repository_token`: without one GitLab cannot be asked for the pipeline"
                .to_owned()
        });
    }

    fn credential(
        &self,
        project: Option<&Project>,
        context: &ResolveContext<'_>,
        errors: &mut Errors,
    ) -> Option<CredentialSource> {
        match (&self.repository_token, &self.credential) {
            (Some(_), Some(_)) => {
                errors.add("credential", "give either `repository_token` or `credential`, not both");
                None
            }
            (None, Some(name)) => errors.take("credential", name.parse()).map(CredentialSource::Named),
            (Some(token), None) => {
                let text = token.secret().expose_secret();
                let fits = (1..=context.limits.token_max_bytes).contains(&text.len());
                errors.check("repository_token", fits && text.bytes().all(|b| b.is_ascii_graphic()), || {
                    format!("must be 1 to {} printable ASCII characters", context.limits.token_max_bytes)
                });
                let place = token_context(project?);
                errors
                    .take("repository_token", context.sealer.seal(&place, token.secret()))
                    .map(CredentialSource::Inline)
            }
            (None, None) => None,
        }
    }
}

/// Collects what is wrong with a request.
#[derive(Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<InvalidField>);

impl Errors {
    pub(crate) fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(InvalidField { field: field.into(), reason: reason.into() });
    }

    pub(crate) fn check(&mut self, field: impl Into<String>, holds: bool, reason: impl FnOnce() -> String) {
        if !holds {
            self.add(field, reason());
        }
    }

    pub(crate) fn take<T, E: std::fmt::Display>(
        &mut self,
        field: impl Into<String>,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(field, error.to_string())).ok()
    }
}

fn check_env_size(request: &DeploymentRequest, limits: &RequestLimits, errors: &mut Errors) {
    let size = |env: &BTreeMap<String, SecretText>| -> usize {
        env.iter().map(|(name, value)| name.len() + value.secret().expose_secret().len()).sum()
    };
    let total = size(&request.env) + request.supports.iter().map(|support| size(&support.env)).sum::<usize>();
    errors.check("env", total <= limits.env_total_max_bytes, || {
        format!(
            "all variables together have {total} bytes, more than the limit of {}",
            limits.env_total_max_bytes
        )
    });
}

fn seal_env(
    field: &str,
    env: &BTreeMap<String, SecretText>,
    place: &str,
    context: &ResolveContext<'_>,
    errors: &mut Errors,
) -> BTreeMap<EnvName, Sealed> {
    errors.check(field, env.len() <= context.limits.env_count_max, || {
        format!("has {} variables, more than the limit of {}", env.len(), context.limits.env_count_max)
    });
    let mut sealed = BTreeMap::new();
    for (name, value) in env {
        let shown: String = name.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
        let path = format!("{field}.{shown}");
        let Some(name) = errors.take(path.clone(), name.parse::<EnvName>()) else { continue };
        errors.check(path.clone(), !value.secret().expose_secret().contains('\0'), || {
            "must not contain a NUL character".to_owned()
        });
        if let Some(value) = errors.take(path, context.sealer.seal(place, value.secret())) {
            sealed.insert(name, value);
        }
    }
    sealed
}

fn seal_supports(
    supports: &[SupportRequest],
    place: &str,
    context: &ResolveContext<'_>,
    errors: &mut Errors,
) -> Vec<SupportSpec> {
    errors.check("supports", supports.len() <= context.limits.supports_max, || {
        format!("has {} entries, more than the limit of {}", supports.len(), context.limits.supports_max)
    });
    let mut names = BTreeSet::new();
    let mut sealed = Vec::new();
    for (index, support) in supports.iter().enumerate().take(context.limits.supports_max) {
        let field = |name: &str| format!("supports[{index}].{name}");
        let name: Option<SupportName> = errors.take(field("name"), support.name.parse());
        let image: Option<ImageReference> = errors.take(field("image"), support.image.parse());
        errors.check(field("port"), support.port != Some(0), || "must be from 1 to 65535".to_owned());
        let env = seal_env(&field("env"), &support.env, place, context, errors);
        if let (Some(name), Some(image)) = (name, image) {
            errors.check(field("name"), names.insert(name.clone()), || "is used twice".to_owned());
            sealed.push(SupportSpec { name, image, port: support.port, env });
        }
    }
    sealed
}

fn hostnames(
    names: &[String],
    target: Option<&TargetName>,
    context: &ResolveContext<'_>,
    errors: &mut Errors,
) -> Vec<Hostname> {
    errors.check("hostnames", names.len() <= context.limits.hostnames_max, || {
        format!("has {} entries, more than the limit of {}", names.len(), context.limits.hostnames_max)
    });
    let is_cluster = target.is_none_or(|target| context.clusters.contains(target));
    errors.check("hostnames", names.is_empty() || is_cluster, || {
        "are for Kubernetes targets; this target gives every environment a port".to_owned()
    });
    let mut parsed = BTreeSet::new();
    for (index, name) in names.iter().enumerate().take(context.limits.hostnames_max) {
        let field = format!("hostnames[{index}]");
        if let Some(name) = errors.take(field.clone(), name.parse::<Hostname>()) {
            errors.check(field, parsed.insert(name), || "is used twice".to_owned());
        }
    }
    parsed.into_iter().collect()
}

fn health(request: Option<&HealthRequest>, limits: &RequestLimits, errors: &mut Errors) -> HealthSpec {
    let mut spec = HealthSpec::default();
    let Some(request) = request else { return spec };
    if let Some(path) = &request.path {
        let plain =
            path.starts_with('/') && path.len() <= 1_024 && path.bytes().all(|b| b.is_ascii_graphic());
        errors.check("health.path", plain, || {
            "must begin with `/` and have at most 1024 printable ASCII characters".to_owned()
        });
        spec.path = Some(path.clone());
    }
    spec.interval_ms = request.interval_ms.unwrap_or(spec.interval_ms);
    spec.timeout_ms = request.timeout_ms.unwrap_or(spec.timeout_ms);
    spec.deadline_ms = request.deadline_ms.unwrap_or(spec.deadline_ms);
    errors.check("health.interval_ms", (50..=60_000).contains(&spec.interval_ms), || {
        "must be from 50 to 60000".to_owned()
    });
    errors.check(
        "health.deadline_ms",
        (1..=limits.health_deadline_max_ms).contains(&spec.deadline_ms),
        || format!("must be from 1 to {}", limits.health_deadline_max_ms),
    );
    errors.check("health.timeout_ms", (1..=spec.deadline_ms).contains(&spec.timeout_ms), || {
        "must be from 1 to `health.deadline_ms`".to_owned()
    });
    spec
}

fn resources(request: Option<&ResourceRequest>, limits: &RequestLimits, errors: &mut Errors) -> ResourceSpec {
    let mut spec = ResourceSpec::default();
    let Some(request) = request else { return spec };
    spec.memory_bytes = request.memory_bytes.unwrap_or(spec.memory_bytes);
    spec.cpu_millis = request.cpu_millis.unwrap_or(spec.cpu_millis);
    spec.pids = request.pids.unwrap_or(spec.pids);
    let memory = limits.memory_min_bytes..=limits.memory_max_bytes;
    errors.check("resources.memory_bytes", memory.contains(&spec.memory_bytes), || {
        format!("must be from {} to {}", limits.memory_min_bytes, limits.memory_max_bytes)
    });
    errors.check("resources.cpu_millis", (10..=limits.cpu_max_millis).contains(&spec.cpu_millis), || {
        format!("must be from 10 to {}", limits.cpu_max_millis)
    });
    errors.check("resources.pids", (1..=limits.pids_max).contains(&spec.pids), || {
        format!("must be from 1 to {}", limits.pids_max)
    });
    spec
}
