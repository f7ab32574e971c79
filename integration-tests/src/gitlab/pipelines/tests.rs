//! Tests of the life of pipelines.

use super::*;

fn project(jobs: Vec<PlannedJob>) -> Project {
    let mut project = Project::new(1, "group/shop", "http://127.0.0.1:1");
    project.plan.jobs = jobs;
    project
}

fn begin(project: &mut Project, message: &str) -> u64 {
    let mut last = 0;
    let new = NewPipeline {
        sha: "a".repeat(40),
        reference: "main".to_owned(),
        tag: false,
        source: "push",
        message: message.to_owned(),
        skip: asks_to_skip(message),
    };
    let number = || {
        last += 1;
        last
    };
    project.begin_pipeline(new, number).expect("a pipeline")
}

fn finish(project: &mut Project, id: u64, job: &str, how: &End) -> &'static str {
    let pipeline = project.pipelines.iter_mut().find(|it| it.id == id).expect("the pipeline");
    end(pipeline.job_mut(job).expect("the job"), how, "");
    project.refresh_pipeline(id);
    project.pipelines[0].status
}

#[test]
fn stages_come_one_after_another_and_a_failure_skips_the_rest() {
    let jobs = || vec![PlannedJob::new("build", "image"), PlannedJob::new("test", "unit")];
    let mut good = project(jobs());
    let id = begin(&mut good, "A change");
    assert_eq!(good.pipelines[0].status, "pending");
    assert_eq!(finish(&mut good, id, "image", &End::Success), "running");
    assert_eq!(good.pipelines[0].jobs[1].status, "pending");
    assert_eq!(finish(&mut good, id, "unit", &End::Success), "success");
    let mut bad = project(jobs());
    let id = begin(&mut bad, "A change");
    assert_eq!(finish(&mut bad, id, "image", &End::Failed("script_failure".to_owned())), "failed");
    assert_eq!(bad.pipelines[0].jobs[1].status, "skipped");
}

#[test]
fn a_forgiven_failure_is_a_success_and_a_manual_job_blocks() {
    let mut job = PlannedJob::new("build", "image");
    job.allow_failure = true;
    let mut forgiven = project(vec![job]);
    let id = begin(&mut forgiven, "A change");
    assert_eq!(finish(&mut forgiven, id, "image", &End::Failed("script_failure".to_owned())), "success");
    let mut job = PlannedJob::new("build", "image");
    job.manual = true;
    let mut manual = project(vec![job]);
    begin(&mut manual, "A change");
    assert_eq!(manual.pipelines[0].status, "manual");
}

#[test]
fn a_commit_can_ask_for_no_pipeline() {
    let mut skipped = project(vec![PlannedJob::new("build", "image")]);
    begin(&mut skipped, "Words only [Skip CI]");
    assert_eq!((skipped.pipelines[0].status, skipped.pipelines[0].jobs.len()), ("skipped", 0));
    assert!(!asks_to_skip("skip ci"));
}

#[test]
fn yaml_that_is_not_valid_fails_at_once_and_rules_can_let_none_begin() {
    let mut invalid = project(vec![PlannedJob::new("build", "image")]);
    invalid.plan.yaml_error = Some("jobs:build config should be a hash".to_owned());
    begin(&mut invalid, "A change");
    assert_eq!(invalid.pipelines[0].status, "failed");
    assert!(invalid.pipelines[0].yaml_errors.is_some() && invalid.pipelines[0].jobs.is_empty());
}
