//! template: decide which files are missing. The fact names them; their contents follow from the tree.

use slipway_common::model::{DeploymentSpec, Facts, Stage, TemplateFact};

use super::source_of::{Source, plan};
use super::{Run, StageError, StageResult, required};
use crate::failpoint::{self, Moment, Place};
use crate::template::TemplateError;

pub(super) async fn perform(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
) -> Result<StageResult, StageError> {
    let pinned = required(facts.source.as_ref(), Stage::Clone)?;
    let source = Source::open(run, spec).await?;
    let tree = source.tree(&pinned.revision, pinned.branch.as_deref()).await?;
    failpoint::reach(Place::Template, Moment::Inside).await;
    let (plan, _) = plan(run, spec, tree).await.inspect_err(|error| hand_back_template(run, error))?;
    let detected = plan
        .detected
        .as_ref()
        .map(|detected| format!("{} ({})", detected.family.label(), detected.evidence.join(", ")));
    if let Some(detected) = &detected {
        run.say(&format!("Recognised {detected}"));
    }
    for file in &plan.files {
        run.say(&format!("Generated {}: {}", file.path, file.why));
    }
    let fact = TemplateFact {
        generated: plan.files.iter().map(|file| file.path.clone()).collect(),
        dockerfile: plan.dockerfile_path,
        port: plan.port,
        detected,
    };
    let skipped = fact.generated.is_empty().then(|| "nothing is missing".to_owned());
    Ok(StageResult { facts: Facts { template: Some(fact), ..Facts::default() }, skipped })
}

/// A repository that fits no family gets a Dockerfile to start from: it stands in the stage's log.
fn hand_back_template(run: &Run<'_>, error: &StageError) {
    if let StageError::Template(TemplateError::NoFamily { starting_template, .. }) = error {
        run.say("A Dockerfile to start from:");
        starting_template.lines().for_each(|line| run.say(line));
    }
}
