//! stop: take the deployment out of service and remove what only it needed.

use slipway_common::model::TargetName;

use super::apply::docker::{drain_policy, scope};
use super::apply::kubernetes;
use super::{Run, StageError, StageResult};
use crate::docker;
use crate::failpoint::{self, Moment, Place};
use crate::targets::Target;

pub(super) async fn perform(run: &Run<'_>, target: &TargetName) -> Result<StageResult, StageError> {
    let removed = match run.tools.target(target)? {
        Target::Docker => stop_on_docker(run).await?,
        Target::Kubernetes(target) => {
            failpoint::reach(Place::Stop, Moment::Inside).await;
            kubernetes::stop(run, target).await?
        }
    };
    Ok(StageResult {
        skipped: removed.is_empty().then(|| "nothing of it was running".to_owned()),
        ..StageResult::default()
    })
}

/// Removes what an interrupted or failed apply left of this deployment.
pub(super) async fn clean_up(run: &Run<'_>, target: &TargetName) -> Result<(), StageError> {
    match run.tools.target(target)? {
        Target::Docker => stop_on_docker(run).await.map(|_| ()),
        Target::Kubernetes(target) => kubernetes::give_way(run, target).await,
    }
}

async fn stop_on_docker(run: &Run<'_>) -> Result<Vec<String>, StageError> {
    let engine = run.tools.engine()?;
    let deployment = run.message.deployment.to_string();
    failpoint::reach(Place::Stop, Moment::Inside).await;
    let removed =
        docker::stop(&engine, &scope(run)?, Some(&deployment), run.fence, &drain_policy(run), run.journal)
            .await?;
    for name in &removed {
        run.say(&format!("Removed {name}"));
    }
    Ok(removed)
}
