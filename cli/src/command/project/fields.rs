//! From the flags that `slipway project add` and `set` share to fields of their requests. What no flag says
//! is not in them.

use std::collections::BTreeMap;

use slipway_common::model::registered::request::{
    EnvironmentRequest, NotifyRequest, ReviewRequest, WebhookRequest,
};
use slipway_common::model::request::{HealthRequest, PipelineRequest};
use slipway_common::secrets::SecretText;

use crate::args::project::{NotifyFlags, ProjectFlags, ReviewFlags, RuleArg};
use crate::command::CommandError;

/// Variables of the application.
///
/// # Errors
/// When one that is to be passed on is not set.
pub(super) fn env(flags: &ProjectFlags) -> Result<BTreeMap<String, SecretText>, CommandError> {
    let mut env = BTreeMap::new();
    for name in &flags.set_from_env {
        let value = std::env::var(name).map_err(|_| CommandError::Secret {
            reason: format!("the variable {name} is not set, or is not UTF-8"),
        })?;
        env.insert(name.clone(), SecretText::from(value));
    }
    for pair in &flags.set {
        env.insert(pair.key.clone(), SecretText::from(pair.value.clone()));
    }
    Ok(env)
}

/// Which branch or tag goes into which environment. Paths are those of every rule of their environment.
pub(super) fn environments(flags: &ProjectFlags) -> Vec<EnvironmentRequest> {
    let paths = |environment: &str| {
        let named = flags.paths.iter().filter(|paths| paths.key == environment);
        named.map(|paths| paths.value.clone()).collect()
    };
    let request = |rule: &RuleArg| EnvironmentRequest {
        name: rule.environment.clone(),
        branch: (!rule.is_tag).then(|| rule.pattern.clone()),
        tag: rule.is_tag.then(|| rule.pattern.clone()),
        paths: paths(&rule.environment),
        ..EnvironmentRequest::default()
    };
    flags.environments.iter().map(request).collect()
}

/// What is waited for of a pipeline.
pub(super) fn pipeline(flags: &ProjectFlags) -> Option<PipelineRequest> {
    let (job, timeout_s) = (flags.pipeline_job.clone(), flags.pipeline_timeout_s);
    let is_given = job.is_some() || timeout_s.is_some();
    is_given.then(|| PipelineRequest { job, timeout_s, ..PipelineRequest::default() })
}

/// When a replica is healthy.
pub(super) fn health(flags: &ProjectFlags) -> Option<HealthRequest> {
    let path = flags.health_path.clone();
    path.map(|path| HealthRequest { path: Some(path), ..HealthRequest::default() })
}

/// What merge requests get. Any of the flags asks for it.
pub(super) fn review(flags: &ReviewFlags) -> Option<ReviewRequest> {
    (*flags != ReviewFlags::default()).then(|| ReviewRequest {
        environments_max: flags.review_max,
        ttl_h: flags.review_ttl_h,
        forks: flags.review_forks,
        ..ReviewRequest::default()
    })
}

/// Who is told of results.
pub(super) fn notify(flags: &NotifyFlags) -> Option<NotifyRequest> {
    let webhook = |url: &String| WebhookRequest { url: url.clone(), secret: None };
    let webhooks = || flags.webhooks.iter().map(webhook).collect();
    (*flags != NotifyFlags::default()).then(|| NotifyRequest {
        statuses: flags.no_statuses.then_some(false),
        deployments: flags.no_deployments.then_some(false),
        notes: flags.no_notes.then_some(false),
        webhooks: (!flags.webhooks.is_empty()).then(webhooks),
    })
}
