//! apply: make the target run the image, and nothing else, in the project's environment.

pub(super) mod docker;
pub(super) mod kubernetes;
pub(super) mod replicas;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use slipway_common::model::autoscaler::Place;
use slipway_common::model::request::env_context;
use slipway_common::model::{DeploymentSpec, EnvName, Facts};
use slipway_common::secrets::Sealed;

use self::replicas::{Size, size};
use super::{Outcome, Run, StageError, stop};
use crate::targets::Target;

/// Pause before a target that could not be left is tried again.
const LEAVE_AGAIN: Duration = Duration::from_secs(10);

pub(super) async fn perform(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
) -> Result<Outcome, StageError> {
    let outcome = match run.tools.target(&spec.target)? {
        Target::Docker => Outcome::done(docker::perform(run, spec, facts).await?),
        Target::Kubernetes(target) => kubernetes::perform(run, spec, facts, target).await?,
    };
    if !matches!(outcome, Outcome::Done(_)) {
        return Ok(outcome);
    }
    match stop::leave_other_targets(run, &spec.target).await? {
        None => Ok(outcome),
        // It serves already: that what served before is still there makes it no failure.
        Some(reason) => Ok(Outcome::Waits { reason, longest: LEAVE_AGAIN }),
    }
}

/// With how many replicas the deployment is put on its target.
async fn size_for(run: &Run<'_>, spec: &DeploymentSpec) -> Result<Size, StageError> {
    let (project, environment) = (run.message.project.slug.clone(), run.message.environment.clone());
    size(run.tools.backend.autoscalers.as_ref(), &Place { project, environment }, spec.replicas).await
}

/// The variables of one container, opened.
pub(super) fn open_env(
    run: &Run<'_>,
    env: &BTreeMap<EnvName, Sealed>,
) -> Result<BTreeMap<String, SecretString>, StageError> {
    let place = env_context(&run.message.project);
    env.iter()
        .map(|(name, sealed)| {
            let value = run.tools.sealer.open(&place, sealed).map_err(StageError::Secret)?;
            Ok((name.to_string(), value))
        })
        .collect()
}
