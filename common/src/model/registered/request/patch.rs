//! A registered project after a patch: what it was, written as a request, with what the patch names in it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    EnvironmentRequest, NotifyRequest, Partial, ProjectContext, ProjectPatch, ProjectRequest, Registration,
    ReviewRequest, WebhookRequest, secret,
};
use crate::model::registered::{
    EnvironmentRule, Hook, NotifySettings, On, Outgoing, RegisteredProject, ReviewRule,
};
use crate::model::request::{HealthRequest, InvalidField, PipelineRequest, ResourceRequest, SupportRequest};
use crate::model::{
    BuildMode, CredentialSource, DeploymentSpec, EnvName, HealthSpec, PipelineSpec, ResourceSpec, SupportSpec,
};
use crate::secrets::{Sealed, SecretText};

impl ProjectPatch {
    /// The project after this patch.
    ///
    /// # Errors
    /// All fields that were refused, each with its reason.
    pub fn apply(
        &self,
        before: &RegisteredProject,
        context: &ProjectContext<'_>,
    ) -> Result<Registration, Vec<InvalidField>> {
        let rotates = self.rotate_hook || self.hook.is_some();
        let request = self.over(before);
        let Registration { mut project, mut made } =
            request.resolve_over(context, self.known_webhooks(before))?;
        let set = std::mem::take(&mut project.spec.env);
        project.spec.env = self.env(before, set, context)?;
        if self.supports.is_none() {
            project.spec.supports.clone_from(&before.spec.supports);
        }
        project.hook = if rotates {
            let secrets = secret::replaced(project.hook.secrets, &before.hook.secrets, context.now);
            Hook { id: before.hook.id, secrets }
        } else {
            (made.signing_secret, made.token) = (None, None);
            before.hook.clone()
        };
        project.user.clone_from(&before.user);
        project.created_at = before.created_at;
        Ok(Registration { project, made })
    }

    /// The project as it would have been asked for. Secrets are not in it: they stay where they are.
    fn over(&self, before: &RegisteredProject) -> ProjectRequest {
        let spec = &before.spec;
        let build = chosen(&self.build, || Some(spec.build));
        // Settings of a pipeline that is no longer asked for go with it, unless they are named.
        let pipeline = || (build == Some(BuildMode::Gitlab)).then(|| PipelineRequest::from(&spec.pipeline));
        ProjectRequest {
            repository_url: spec.repository.to_string(),
            forge: Some(before.forge),
            credential: chosen(&self.credential, || credential(spec)),
            target: chosen(&self.target, || Some(spec.target.to_string())),
            build,
            commit: chosen(&self.commit, || Some(spec.commit)),
            pipeline: merged(&self.pipeline, pipeline),
            pull_credential: chosen(&self.pull_credential, || spec.pull_credential.as_ref().map(name)),
            port: chosen(&self.port, || spec.port),
            replicas: chosen(&self.replicas, || Some(spec.replicas)),
            env: self.env_set(),
            supports: chosen(&self.supports, || Some(supports(&spec.supports))).unwrap_or_default(),
            health: merged(&self.health, || Some(HealthRequest::from(&spec.health))),
            resources: merged(&self.resources, || Some(ResourceRequest::from(&spec.resources))),
            environments: chosen(&self.environments, || {
                Some(before.environments.iter().map(EnvironmentRequest::from).collect())
            })
            .unwrap_or_default(),
            review: merged(&self.review, || before.review.as_ref().map(ReviewRequest::from)),
            notify: merged(&self.notify, || Some(NotifyRequest::from(&before.notify))),
            hook: self.hook.clone(),
            made: chosen(&self.made, || Some(before.made.clone())),
        }
    }

    /// Variables that get a value.
    fn env_set(&self) -> BTreeMap<String, SecretText> {
        let named = self.env.iter().flatten().flatten();
        named.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
    }

    /// All variables: those before, without those taken away, with those that were `set`.
    fn env(
        &self,
        before: &RegisteredProject,
        set: BTreeMap<EnvName, Sealed>,
        context: &ProjectContext<'_>,
    ) -> Result<BTreeMap<EnvName, Sealed>, Vec<InvalidField>> {
        let mut all = match &self.env {
            Some(None) => BTreeMap::new(),
            None | Some(Some(_)) => before.spec.env.clone(),
        };
        let changed: Vec<&String> = self.env.iter().flatten().flatten().map(|(name, _)| name).collect();
        all.retain(|name, _| !changed.iter().any(|changed| *changed == name.as_str()));
        all.extend(set);
        let limit = context.deployments.limits.env_count_max;
        if all.len() <= limit {
            return Ok(all);
        }
        let reason = format!("would have {} variables, more than the limit of {limit}", all.len());
        Err(vec![InvalidField { field: "env".to_owned(), reason }])
    }

    fn known_webhooks<'a>(&self, before: &'a RegisteredProject) -> &'a [Outgoing] {
        match &self.notify {
            Some(None) => &[],
            None | Some(Some(_)) => &before.notify.outgoing,
        }
    }
}

/// What the patch says of a field; what it says nothing of stays.
fn chosen<T: Clone>(patch: &Option<Option<T>>, before: impl FnOnce() -> Option<T>) -> Option<T> {
    match patch {
        Some(wanted) => wanted.clone(),
        None => before(),
    }
}

/// The same of an object, of which the patch may name a part.
fn merged<T: Serialize + DeserializeOwned + Default>(
    patch: &Option<Option<Partial<T>>>,
    before: impl FnOnce() -> Option<T>,
) -> Option<T> {
    match patch {
        Some(Some(wanted)) => Some(wanted.over(before())),
        Some(None) => None,
        None => before(),
    }
}

fn name(name: &impl ToString) -> String {
    name.to_string()
}

fn credential(spec: &DeploymentSpec) -> Option<String> {
    match &spec.credential {
        Some(CredentialSource::Named(name)) => Some(name.to_string()),
        Some(CredentialSource::Inline(_)) | None => None,
    }
}

/// The containers beside the application, without their variables.
fn supports(supports: &[SupportSpec]) -> Vec<SupportRequest> {
    let request = |support: &SupportSpec| SupportRequest {
        name: support.name.to_string(),
        image: support.image.as_str().to_owned(),
        port: support.port,
        env: BTreeMap::new(),
    };
    supports.iter().map(request).collect()
}

impl From<&PipelineSpec> for PipelineRequest {
    fn from(spec: &PipelineSpec) -> Self {
        let PipelineSpec { image, job, timeout_s } = spec;
        Self {
            image: image.as_ref().map(|image| image.as_str().to_owned()),
            job: job.clone(),
            timeout_s: *timeout_s,
        }
    }
}

impl From<&HealthSpec> for HealthRequest {
    fn from(spec: &HealthSpec) -> Self {
        let HealthSpec { path, interval_ms, timeout_ms, deadline_ms } = spec;
        Self {
            path: path.clone(),
            interval_ms: Some(*interval_ms),
            timeout_ms: Some(*timeout_ms),
            deadline_ms: Some(*deadline_ms),
        }
    }
}

impl From<&ResourceSpec> for ResourceRequest {
    fn from(spec: &ResourceSpec) -> Self {
        let ResourceSpec { memory_bytes, cpu_millis, pids } = *spec;
        Self { memory_bytes: Some(memory_bytes), cpu_millis: Some(cpu_millis), pids: Some(pids) }
    }
}

impl From<&EnvironmentRule> for EnvironmentRequest {
    fn from(rule: &EnvironmentRule) -> Self {
        let EnvironmentRule { environment, on, paths, target, replicas, hostnames } = rule;
        let (branch, tag, default_branch) = match on {
            On::DefaultBranch => (None, None, Some(true)),
            On::Branch(pattern) => (Some(pattern.to_string()), None, None),
            On::Tag(pattern) => (None, Some(pattern.to_string()), None),
        };
        Self {
            name: environment.to_string(),
            branch,
            tag,
            default_branch,
            paths: paths.iter().map(ToString::to_string).collect(),
            target: target.as_ref().map(name),
            replicas: *replicas,
            hostnames: hostnames.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&ReviewRule> for ReviewRequest {
    fn from(rule: &ReviewRule) -> Self {
        let ReviewRule { target, paths, environments_max, ttl_h, forks } = rule;
        Self {
            target: target.as_ref().map(name),
            paths: paths.iter().map(ToString::to_string).collect(),
            environments_max: Some(*environments_max),
            ttl_h: Some(*ttl_h),
            forks: Some(*forks),
        }
    }
}

impl From<&NotifySettings> for NotifyRequest {
    fn from(settings: &NotifySettings) -> Self {
        let NotifySettings { statuses, deployments, notes, outgoing } = settings;
        let webhook = |outgoing: &Outgoing| WebhookRequest { url: outgoing.url.clone(), secret: None };
        Self {
            statuses: Some(*statuses),
            deployments: Some(*deployments),
            notes: Some(*notes),
            webhooks: Some(outgoing.iter().map(webhook).collect()),
        }
    }
}
