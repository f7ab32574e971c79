//! apply: make the target run the image, and nothing else, in the project's environment.

pub(super) mod docker;
pub(super) mod kubernetes;

use std::collections::BTreeMap;

use secrecy::SecretString;
use slipway_common::model::request::env_context;
use slipway_common::model::{DeploymentSpec, EnvName, Facts};
use slipway_common::secrets::Sealed;

use super::{Outcome, Run, StageError};
use crate::targets::Target;

pub(super) async fn perform(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
) -> Result<Outcome, StageError> {
    match run.tools.target(&spec.target)? {
        Target::Docker => docker::perform(run, spec, facts).await.map(Outcome::done),
        Target::Kubernetes(target) => kubernetes::perform(run, spec, facts, target).await,
    }
}

/// The variables of one container, opened.
fn open_env(
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
