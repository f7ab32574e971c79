//! What becomes of a deployment whose pipeline does not build the image: each reason has a code of its own, and the
//! commit's status says it.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::gitlab::{End, PlannedJob, Project};

use crate::world::{HOOKS_ONLY, Registered, World, files, text};

const SCRIPT_FAILED: &str = "script_failure";
/// Seconds a pipeline is waited for where that must come to its end.
const SHORT_S: u64 = 4;

/// One reason.
struct Case {
    name: &'static str,
    /// What GitLab is like before the push.
    prepare: fn(&mut Project),
    message: &'static str,
    /// How the image's job ends, if it does.
    end: Option<End>,
    timeout_s: u64,
    code: &'static str,
    /// What the reason must name.
    says: &'static str,
}

fn as_usual(_: &mut Project) {}

fn cases() -> Vec<Case> {
    let case = |name, code, says| Case {
        name,
        prepare: as_usual,
        message: "A change",
        end: None,
        timeout_s: 120,
        code,
        says,
    };
    vec![
        Case {
            end: Some(End::Failed(SCRIPT_FAILED.to_owned())),
            ..case("failed", "pipeline_failed", "build")
        },
        Case { end: Some(End::Canceled), ..case("cancelled", "pipeline_cancelled", "cancelled") },
        Case { message: "Words only [skip ci]", ..case("skipped", "pipeline_skipped", "skip") },
        Case {
            prepare: |project| project.ci_config_path = Some("ci/other.yml".to_owned()),
            ..case("missing", "pipeline_missing", "")
        },
        Case { prepare: |project| project.plan.filtered = true, ..case("filtered", "pipeline_filtered", "") },
        Case {
            prepare: |project| project.builds_enabled = false,
            ..case("disabled", "pipeline_disabled", "")
        },
        Case {
            prepare: |project| {
                project.plan.yaml_error = Some("jobs:build config should be a hash".to_owned());
            },
            ..case("invalid", "pipeline_invalid", "should be a hash")
        },
        Case {
            end: Some(End::Failed("stuck_or_timeout_failure".to_owned())),
            ..case("stuck", "pipeline_no_runner", "runner")
        },
        Case { timeout_s: SHORT_S, ..case("slow", "pipeline_timeout", "") },
        Case {
            prepare: |project| {
                let mut job = PlannedJob::new("build", "build");
                job.manual = true;
                project.plan.jobs = vec![job];
            },
            timeout_s: SHORT_S,
            ..case("manual", "pipeline_timeout", "")
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_a_pipeline_can_disappoint_is_told_by_its_code() {
    every_case().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn every_case() -> anyhow::Result<()> {
    let settings = format!("{HOOKS_ONLY}[pipelines]\npoll_interval_s = 1\nappear_max_s = 2\n");
    let world = World::start(&settings, "build").await?;
    let mut begun = Vec::new();
    for case in cases() {
        let path = format!("outcomes/{}", case.name);
        world.gitlab.create_project(&path, &[]).await?;
        world.gitlab.change_project(&path, case.prepare)?;
        let commit = world.gitlab.push(&path, "main", &files(case.name), case.message).await?;
        let pipeline = json!({
            "image": format!("127.0.0.1:1/{path}"), "job": "build", "timeout_s": case.timeout_s,
        });
        let project = world.register(&path, json!({ "build": "gitlab", "pipeline": pipeline })).await?;
        if let Some(end) = &case.end {
            world.gitlab.end_job(&path, &commit, "build", end, &["$ make image", "error: it broke"])?;
        }
        begun.push((case, project, commit));
    }
    for (case, project, commit) in &begun {
        fails_as_wanted(&world, case, project, commit).await.with_context(|| case.name)?;
    }
    Ok(())
}

async fn fails_as_wanted(
    world: &World,
    case: &Case,
    project: &Registered,
    commit: &str,
) -> anyhow::Result<()> {
    let deployment = world.wait_commit(project, "production", commit).await?;
    let ended = world.slipway.wait_resting(text(&deployment["id"])?).await?;
    let failure = &ended["failure"];
    ensure!(ended["status"] == "failed" && failure["code"] == case.code, "{ended:#}");
    ensure!(text(&failure["reason"])?.contains(case.says), "{failure:#}");
    ensure!(failure["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{failure:#}");
    if case.end == Some(End::Failed(SCRIPT_FAILED.to_owned())) {
        has_log(failure)?;
    }
    world
        .eventually("the commit's status", |gitlab| {
            let seen = gitlab.project(&project.path).ok();
            let status = seen.as_ref().and_then(|it| it.status_of(commit, "slipway/production"));
            status.is_some_and(|status| status.state == "failed")
        })
        .await?;
    let seen = world.gitlab.project(&project.path)?;
    let status = seen.status_of(commit, "slipway/production").context("the status")?;
    ensure!(status.description.as_deref().is_some_and(|it| it.contains(case.code)), "{status:#?}");
    Ok(())
}

/// The job's last lines, as people read them: without colours and without the marks of sections.
fn has_log(failure: &Value) -> anyhow::Result<()> {
    let lines = failure["log_tail"].as_array().context("no log lines")?;
    let text: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
    ensure!(text.iter().any(|line| line.contains("error: it broke")), "{text:#?}");
    let strange = |line: &&str| line.contains('\u{1b}') || line.contains("section_");
    ensure!(!text.iter().any(strange), "{text:#?}");
    Ok(())
}
