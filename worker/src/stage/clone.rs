//! clone: pin the revision and bring its objects into the mirror. What a push made is checked against the repository's own
//! file once more: it must not run by what is registered alone when the file cannot be used.

use slipway_common::model::request::RequestLimits;
use slipway_common::model::{DeploymentSpec, Facts, SourceFact};

use super::source_of::Source;
use super::{Run, StageError, StageResult};
use crate::failpoint::{self, Moment, Place};
use crate::project_file::{self, ProjectFileError};
use crate::source::SourceTree;

pub(super) async fn perform(run: &Run<'_>, spec: &DeploymentSpec) -> Result<StageResult, StageError> {
    let source = Source::open(run, spec).await?;
    run.say(&format!("Reading {}", spec.repository.as_str()));
    let resolved = source.mirror.resolve(&spec.reference, source.credential.as_ref()).await?;
    failpoint::reach(Place::Clone, Moment::Inside).await;
    let branch = resolved.branch.as_ref().map(ToString::to_string);
    let tree = source.tree(&resolved.revision, branch.as_deref()).await?;
    let files = tree.entries().len();
    let of = branch.as_deref().map(|branch| format!(" of branch {branch}")).unwrap_or_default();
    run.say(&format!("Pinned {}{of}: {files} files", resolved.revision));
    if run.is_pushed {
        let (spec, limits) = (spec.clone(), run.tools.settings.sweeps.limits.clone());
        let checked = tokio::task::spawn_blocking(move || check_file(&tree, spec, &limits)).await;
        checked.map_err(|_| StageError::Crashed)??;
    }
    let fact = SourceFact { revision: resolved.revision, branch };
    Ok(StageResult::of(Facts { source: Some(fact), ..Facts::default() }))
}

/// Whether the file of the repository, if it has one, can be used for a deployment like this.
fn check_file(
    tree: &impl SourceTree,
    mut spec: DeploymentSpec,
    limits: &RequestLimits,
) -> Result<(), ProjectFileError> {
    let Some(file) = project_file::read(tree)? else { return Ok(()) };
    file.apply(&mut spec, limits).map_err(|errors| ProjectFileError::Invalid { errors })
}

#[cfg(test)]
mod tests {
    use slipway_common::config::Config;
    use slipway_common::contract::sample;
    use slipway_common::failure::FailureClass;
    use slipway_common::model::Stage;

    use super::*;
    use crate::source::MemoryTree;

    #[test]
    fn what_a_push_made_does_not_run_past_a_file_that_cannot_be_used() {
        let limits = Config::load(None, Vec::new()).unwrap().limits;
        let check = |text: &str| {
            let tree = MemoryTree::of([("slipway.yml", text)]);
            check_file(&tree, sample::spec("shop"), &limits).map_err(StageError::from)
        };
        assert!(check_file(&MemoryTree::default(), sample::spec("shop"), &limits).is_ok(), "it has none");
        assert!(check("replicas: 2\n").is_ok());
        for bad in ["replicas: many\n", "replicas: 4000000000\n", "brnach: main\n"] {
            let error = check(bad).unwrap_err();
            assert_eq!(error.class(), FailureClass::Permanent, "trying again would not help");
            let failure = error.failure(Stage::Clone, Vec::new());
            assert_eq!(failure.code, "project_file_invalid");
            assert!(failure.reason.contains("line 1") && failure.hint.is_some(), "{failure:?}");
        }
    }
}
