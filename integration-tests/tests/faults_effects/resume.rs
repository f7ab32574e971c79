//! Crashes in one stage after another: what the stages before had done is not done again.

use anyhow::{Context as _, ensure};
use serde_json::json;
use slipway_integration_tests::effects::{Effect, EffectKind};

use crate::engine::{EngineLane, Project};
use crate::services;

const STAGES: [&str; 5] = ["clone", "template", "commit", "build", "apply"];
/// One crash in every stage that has another before it; in two of them at its end as well, where the most is done.
const POINTS: [&str; 7] = [
    "template.inside",
    "commit.before",
    "commit.after",
    "build.before",
    "build.after",
    "apply.before",
    "apply.inside",
];

/// What had happened outside at one moment.
#[derive(Debug, PartialEq, Eq)]
struct Outside {
    pushes: usize,
    commits: Vec<Effect>,
    images: Vec<Effect>,
    manifests: Vec<Effect>,
}

impl Outside {
    async fn look(lane: &EngineLane, project: &Project) -> anyhow::Result<Self> {
        let mut effects = lane.effects(project).await?;
        effects.sort();
        let of = |kind: EffectKind| effects.iter().filter(|it| it.kind == kind).cloned().collect();
        Ok(Self {
            pushes: lane.pushes(project),
            commits: of(EffectKind::Commit),
            images: of(EffectKind::Image),
            manifests: of(EffectKind::Manifest),
        })
    }
}

pub(crate) async fn crash_in_each_stage(lane: &mut EngineLane) -> anyhow::Result<()> {
    for point in POINTS {
        let mut project = lane.project().await?;
        crash_in_stage(lane, &mut project, point).await.with_context(|| point)?;
    }
    Ok(())
}

async fn crash_in_stage(lane: &mut EngineLane, project: &mut Project, point: &str) -> anyhow::Result<()> {
    let stage = point.split_once('.').context("no stage")?.0;
    let halt = lane.slipway.arm_workers(point).await?;
    let accepted = lane.deploy(project, json!({})).await?;
    let halted = halt.wait(&lane.slipway, crate::engine::HALT_TIMEOUT).await?;
    let before = Outside::look(lane, project).await?;
    halted.kill().await?;
    lane.ends_well(project, &accepted).await?;
    let after = Outside::look(lane, project).await?;
    let at = STAGES.iter().position(|it| *it == stage).context("an unknown stage")?;
    if at > 2 {
        ensure!(before.pushes > 0 && !before.commits.is_empty(), "the commit stage had pushed: {before:#?}");
        ensure!(before.pushes == after.pushes, "{} pushes, then {}", before.pushes, after.pushes);
        ensure!(before.commits == after.commits, "{before:#?}, then {after:#?}");
    }
    if at > 3 {
        ensure!(
            !before.images.is_empty() && !before.manifests.is_empty(),
            "the image was there: {before:#?}"
        );
        ensure!(
            before.images == after.images && before.manifests == after.manifests,
            "{before:#?}, {after:#?}"
        );
    }
    for (index, name) in STAGES.iter().enumerate() {
        let begun = services::count_events(&lane.slipway, &accepted.deployment, |event| {
            event["event"] == "stage_started" && event["stage"] == *name
        })
        .await?;
        let most = if index == at { 2 } else { 1 };
        ensure!((1..=most).contains(&begun), "{name} began {begun} times after a crash in {stage}");
    }
    Ok(())
}
