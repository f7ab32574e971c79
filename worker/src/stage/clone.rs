//! clone: pin the revision and bring its objects into the mirror.

use slipway_common::model::{DeploymentSpec, Facts, SourceFact};

use super::source_of::Source;
use super::{Run, StageError, StageResult};
use crate::failpoint::{self, Moment, Place};

pub(super) async fn perform(run: &Run<'_>, spec: &DeploymentSpec) -> Result<StageResult, StageError> {
    let source = Source::open(run, spec).await?;
    run.say(&format!("Reading {}", spec.repository.as_str()));
    let resolved = source.mirror.resolve(&spec.reference, source.credential.as_ref()).await?;
    failpoint::reach(Place::Clone, Moment::Inside).await;
    let branch = resolved.branch.as_ref().map(ToString::to_string);
    let tree = source.tree(&resolved.revision, branch.as_deref()).await?;
    let files = crate::source::SourceTree::entries(&tree).len();
    let of = branch.as_deref().map(|branch| format!(" of branch {branch}")).unwrap_or_default();
    run.say(&format!("Pinned {}{of}: {files} files", resolved.revision));
    let fact = SourceFact { revision: resolved.revision, branch };
    Ok(StageResult::of(Facts { source: Some(fact), ..Facts::default() }))
}
