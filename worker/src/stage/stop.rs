//! stop: take the deployment out of service and remove what only it needed.

use super::apply::{drain_policy, scope};
use super::{Run, StageError, StageResult};
use crate::docker;
use crate::failpoint::{self, Moment, Place};

pub(super) async fn perform(run: &Run<'_>) -> Result<StageResult, StageError> {
    let engine = run.tools.engine()?;
    let deployment = run.message.deployment.to_string();
    failpoint::reach(Place::Stop, Moment::Inside).await;
    let removed =
        docker::stop(&engine, &scope(run)?, Some(&deployment), run.fence, &drain_policy(run), run.journal)
            .await?;
    for name in &removed {
        run.say(&format!("Removed {name}"));
    }
    Ok(StageResult {
        skipped: removed.is_empty().then(|| "nothing of it was running".to_owned()),
        ..StageResult::default()
    })
}
