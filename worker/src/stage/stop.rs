//! stop: take the deployment out of service and remove what only it needed.

use slipway_common::failure::FailureClass;
use slipway_common::model::{Deployment, DeploymentId, Stage, TargetName};

use super::apply::docker::{drain_policy, scope};
use super::apply::kubernetes;
use super::turn::in_turn;
use super::{Run, StageError, StageResult};
use crate::docker;
use crate::failpoint::{self, Moment, Place};
use crate::targets::Target;

pub(super) async fn perform(run: &Run<'_>, target: &TargetName) -> Result<StageResult, StageError> {
    failpoint::reach(Place::Stop, Moment::Inside).await;
    let removed = match run.tools.target(target)? {
        Target::Docker => stop_on_docker(run, run.message.deployment).await?,
        Target::Kubernetes(target) => kubernetes::stop(run, target).await?,
    };
    Ok(StageResult {
        skipped: removed.is_empty().then(|| "nothing of it was running".to_owned()),
        ..StageResult::default()
    })
}

/// Removes what an interrupted or failed apply left of this deployment.
pub(super) async fn clean_up(run: &Run<'_>, target: &TargetName) -> Result<(), StageError> {
    match run.tools.target(target)? {
        Target::Docker => {
            failpoint::reach(Place::Stop, Moment::Inside).await;
            stop_on_docker(run, run.message.deployment).await.map(|_| ())
        }
        Target::Kubernetes(target) => kubernetes::give_way(run, target).await,
    }
}

/// Removes what served this environment on other targets, now that `target` serves it. Returns what hinders that, if
/// something does.
pub(super) async fn leave_other_targets(
    run: &Run<'_>,
    target: &TargetName,
) -> Result<Option<String>, StageError> {
    for previous in in_service(run).await? {
        if previous.id == run.message.deployment || previous.target == *target {
            continue;
        }
        let Some(left) = run.tools.targets.get(&previous.target) else {
            // Whoever gives up a target for good can still move what ran there.
            run.say(&format!(
                "The target {} is not configured any more: what runs there of {} stays",
                previous.target, previous.id
            ));
            continue;
        };
        run.say(&format!("Leaving the target {}", previous.target));
        let gone = match left {
            Target::Docker => stop_on_docker(run, previous.id).await.map(|_| ()),
            Target::Kubernetes(left) => kubernetes::leave(run, previous.id, left).await,
        };
        match gone {
            Ok(()) => {}
            Err(error) if error.class() == FailureClass::Stale => return Err(error),
            Err(error) => return Ok(Some(hindrance(run, target, &previous, &error))),
        }
    }
    Ok(None)
}

fn hindrance(run: &Run<'_>, target: &TargetName, previous: &Deployment, error: &StageError) -> String {
    let left = &previous.target;
    let reason = error.failure(Stage::Apply, Vec::new()).reason;
    let text = format!(
        "it serves on {target}; what served on {left} cannot be removed yet: {reason}. Should {left} be gone for good, \
         remove it from the settings"
    );
    run.say(&text);
    text
}

/// The deployments of this project and environment that serve.
pub(super) async fn in_service(run: &Run<'_>) -> Result<Vec<Deployment>, StageError> {
    let store = &run.tools.backend.store;
    let ids = store.in_service(&run.message.project.slug, &run.message.environment).await;
    let mut found = Vec::new();
    for id in ids.map_err(StageError::Store)? {
        found.extend(store.deployment(id).await.map_err(StageError::Store)?);
    }
    Ok(found)
}

async fn stop_on_docker(run: &Run<'_>, deployment: DeploymentId) -> Result<Vec<String>, StageError> {
    let (engine, deployment) = (run.tools.engine()?, deployment.to_string());
    let (scope, drain) = (scope(run)?, drain_policy(run));
    let stopping = docker::stop(&engine, &scope, Some(&deployment), run.fence, &drain, run.journal);
    let removed = in_turn(run, async { Ok(stopping.await?) }).await?;
    for name in &removed {
        run.say(&format!("Removed {name}"));
    }
    Ok(removed)
}
