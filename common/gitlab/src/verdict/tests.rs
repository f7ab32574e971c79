//! Tests of verdicts: a table of what can be seen, and what it means.

use jiff::SignedDuration;

use super::*;

const APPEAR_MAX: Duration = Duration::from_secs(120);

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

fn before_s(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn pipeline(id: u64, source: &str, status: PipelineStatus) -> Pipeline {
    Pipeline {
        id,
        sha: "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567".to_owned(),
        r#ref: "main".to_owned(),
        status,
        source: source.to_owned(),
        web_url: format!("https://git.test/group/app/-/pipelines/{id}"),
        yaml_errors: None,
        created_at: Some(before_s(600)),
    }
}

fn job(id: u64, name: &str, status: PipelineStatus) -> PipelineJob {
    let ran = matches!(status, PipelineStatus::Running | PipelineStatus::Success | PipelineStatus::Failed);
    PipelineJob {
        id,
        name: name.to_owned(),
        stage: "build".to_owned(),
        status,
        allow_failure: false,
        failure_reason: (status == PipelineStatus::Failed).then(|| "script_failure".to_owned()),
        web_url: format!("https://git.test/group/app/-/jobs/{id}"),
        runner: ran.then(|| "runner one".to_owned()),
        created_at: Some(before_s(600)),
        queued_at: None,
        started_at: ran.then(|| before_s(500)),
    }
}

fn may_fail(job: PipelineJob) -> PipelineJob {
    PipelineJob { allow_failure: true, ..job }
}

fn queued_s(job: PipelineJob, seconds: i64) -> PipelineJob {
    PipelineJob { queued_at: Some(before_s(seconds)), ..job }
}

fn because(job: PipelineJob, reason: &str) -> PipelineJob {
    PipelineJob { failure_reason: Some(reason.to_owned()), ..job }
}

fn ci(file_exists: bool, auto_devops: bool, jobs_enabled: bool) -> CiSetup {
    CiSetup { file: ".gitlab-ci.yml".to_owned(), file_exists, auto_devops, jobs_enabled }
}

fn seen<'a>(pipelines: &'a [Pipeline], jobs: &'a [PipelineJob], job: Option<&'a str>) -> Seen<'a> {
    Seen {
        pipelines,
        jobs,
        job,
        ci: None,
        commit_message: None,
        since: before_s(300),
        appear_max: APPEAR_MAX,
    }
}

/// The verdict in short: `built 12`, `waits …` or `code job`.
fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Waits(reason) => format!("waits: {reason}"),
        Verdict::Built { pipeline } => format!("built {pipeline}"),
        Verdict::Failed { code, job: Some(job), .. } => format!("{code} job {job}"),
        Verdict::Failed { code, job: None, .. } => (*code).to_owned(),
    }
}

fn of_push(status: PipelineStatus, jobs: &[PipelineJob], job: Option<&str>) -> String {
    short(&judge(&seen(&[pipeline(12, "push", status)], jobs, job), now()))
}

fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Failed { reason, hint, .. } => {
            assert!(hint.ends_with('.'), "a hint is a sentence: {hint}");
            reason
        }
        Verdict::Waits(reason) => reason,
        Verdict::Built { .. } => panic!("nothing to explain"),
    }
}

#[test]
fn a_pipeline_without_a_named_job_is_judged_as_a_whole() {
    use PipelineStatus as S;
    let table = [
        (S::Created, "waits: Pipeline 12 has not begun yet."),
        (S::WaitingForResource, "waits: Pipeline 12 waits for a resource that others use."),
        (S::Preparing, "waits: Pipeline 12 is being prepared."),
        (S::WaitingForCallback, "waits: Pipeline 12 waits for another service."),
        (S::Pending, "waits: Pipeline 12 waits for a runner."),
        (S::Running, "waits: Pipeline 12 is running."),
        (S::Canceling, "waits: Pipeline 12 is being cancelled."),
        (S::Other, "waits: Pipeline 12 is in a state that is not known here."),
        (S::Manual, "waits: Pipeline 12 waits until somebody starts a job by hand."),
        (S::Scheduled, "waits: Pipeline 12 waits for the time it is planned for."),
        (S::Success, "built 12"),
        (S::Failed, "pipeline_failed"),
        (S::Canceled, "pipeline_cancelled"),
        (S::Skipped, "pipeline_skipped"),
    ];
    for (status, expected) in table {
        let jobs = [job(1, "image", S::Created)];
        assert_eq!(of_push(status, &jobs, None), expected, "{status:?}");
    }
}

#[test]
fn a_pipeline_without_jobs_was_skipped_though_a_status_from_outside_keeps_it_running() {
    use PipelineStatus as S;
    let pipelines = [pipeline(12, "push", S::Running)];
    let of = |since: Timestamp| {
        let input = Seen { since, ..seen(&pipelines, &[], None) };
        short(&judge(&input, now()))
    };
    assert_eq!(of(before_s(119)), "waits: Pipeline 12 is running.");
    assert_eq!(of(before_s(120)), "pipeline_skipped");
    let invalid =
        [Pipeline { yaml_errors: Some("jobs:build".to_owned()), ..pipeline(12, "push", S::Running) }];
    assert_eq!(short(&judge(&seen(&invalid, &[], None), now())), "pipeline_invalid");
    let skipped = [job(1, "image", S::Skipped), job(2, "test", S::Skipped)];
    assert_eq!(of_push(S::Running, &skipped, Some("image")), "pipeline_skipped");
}

#[test]
fn a_named_job_is_judged_by_itself_and_else_with_its_pipeline() {
    use PipelineStatus as S;
    let table = [
        (S::Running, S::Running, "waits: Pipeline 12 is running."),
        (S::Running, S::Success, "built 12"),
        (S::Pending, S::Success, "built 12"),
        (S::Running, S::Failed, "pipeline_failed job 1"),
        (S::Running, S::Canceled, "pipeline_cancelled"),
        (S::Running, S::Created, "waits: Pipeline 12 is running."),
        (S::Manual, S::Success, "built 12"),
        (S::Scheduled, S::Success, "built 12"),
        (S::Manual, S::Manual, "waits: Job `image` of pipeline 12 waits until somebody starts it by hand."),
        (
            S::Scheduled,
            S::Scheduled,
            "waits: Job `image` of pipeline 12 waits for the time it is planned for.",
        ),
        (S::Manual, S::Created, "waits: Pipeline 12 waits until somebody starts a job by hand."),
        (S::Manual, S::Skipped, "pipeline_skipped"),
        (S::Manual, S::Failed, "pipeline_failed job 1"),
        (S::Manual, S::Canceled, "pipeline_cancelled"),
        (S::Success, S::Success, "built 12"),
        (S::Success, S::Failed, "pipeline_failed job 1"),
        (S::Success, S::Skipped, "pipeline_skipped"),
        (S::Success, S::Canceled, "pipeline_cancelled"),
        (S::Success, S::Manual, "waits: Job `image` of pipeline 12 waits until somebody starts it by hand."),
        (S::Success, S::Running, "waits: Pipeline 12 succeeded, but its job `image` is running."),
        (S::Failed, S::Failed, "pipeline_failed job 1"),
        (S::Failed, S::Success, "built 12"),
        (S::Canceled, S::Success, "built 12"),
        (S::Canceled, S::Canceled, "pipeline_cancelled"),
        (S::Skipped, S::Skipped, "pipeline_skipped"),
    ];
    for (of_pipeline, of_job, expected) in table {
        let jobs = [job(1, "image", of_job)];
        assert_eq!(of_push(of_pipeline, &jobs, Some("image")), expected, "{of_pipeline:?} {of_job:?}");
    }
}

#[test]
fn a_pipeline_without_the_named_job_brings_no_image_once_nothing_more_happens() {
    use PipelineStatus as S;
    let others = [job(1, "test", S::Success)];
    let unfinished = [job(1, "test", S::Success), job(2, "deploy", S::Created)];
    assert_eq!(of_push(S::Running, &unfinished, Some("image")), "waits: Pipeline 12 is running.");
    for status in [S::Running, S::Success, S::Manual, S::Scheduled] {
        assert_eq!(of_push(status, &others, Some("image")), "image_job_missing", "{status:?}");
    }
    let told = reason(judge(&seen(&[pipeline(12, "push", S::Success)], &others, Some("image")), now()));
    assert_eq!(told, "Pipeline 12 has no job `image`, which was to push the image.");
}

#[test]
fn a_job_that_somebody_may_start_holds_up_nothing() {
    use PipelineStatus as S;
    let built = || job(1, "image", S::Success);
    let optional = || may_fail(job(2, "deploy", S::Manual));
    assert_eq!(of_push(S::Running, &[built(), optional()], None), "built 12");
    let needed = [built(), job(2, "deploy", S::Manual)];
    assert_eq!(of_push(S::Running, &needed, None), "waits: Pipeline 12 is running.");
    assert_eq!(of_push(S::Running, &[optional()], None), "waits: Pipeline 12 is running.");
    let wanted = [job(1, "test", S::Success), may_fail(job(2, "image", S::Manual))];
    let waits = "waits: Job `image` of pipeline 12 waits until somebody starts it by hand.";
    assert_eq!(of_push(S::Running, &wanted, Some("image")), waits);
    let skipped = [job(1, "image", S::Skipped), optional()];
    assert_eq!(of_push(S::Running, &skipped, None), "pipeline_skipped");
}

#[test]
fn a_failed_job_that_may_fail_is_not_to_be_blamed() {
    use PipelineStatus as S;
    let jobs = [may_fail(job(1, "lint", S::Failed)), job(2, "test", S::Failed), job(3, "image", S::Skipped)];
    assert_eq!(of_push(S::Failed, &jobs, Some("image")), "pipeline_failed job 2");
    let only_lint = [may_fail(job(1, "lint", S::Failed)), job(3, "image", S::Success)];
    assert_eq!(of_push(S::Success, &only_lint, Some("image")), "built 12");
    assert_eq!(of_push(S::Success, &only_lint, None), "built 12");
    assert_eq!(of_push(S::Failed, &only_lint, None), "built 12", "a status from outside failed");
    assert_eq!(of_push(S::Failed, &[], None), "pipeline_failed", "no job tells better");
}

#[test]
fn of_several_failed_jobs_the_image_job_is_blamed_else_the_first() {
    use PipelineStatus as S;
    let jobs = [job(3, "image", S::Failed), job(2, "test", S::Failed), job(1, "lint", S::Failed)];
    assert_eq!(of_push(S::Failed, &jobs, Some("image")), "pipeline_failed job 3");
    assert_eq!(of_push(S::Failed, &jobs, None), "pipeline_failed job 1");
}

#[test]
fn a_failure_names_job_stage_and_cause() {
    let pipelines = [pipeline(12, "push", PipelineStatus::Failed)];
    let told = |failure: &str| {
        let jobs = [because(job(1, "image", PipelineStatus::Failed), failure)];
        reason(judge(&seen(&pipelines, &jobs, None), now()))
    };
    assert_eq!(
        told("script_failure"),
        "Job `image` in stage `build` of pipeline 12 failed: its script failed."
    );
    assert_eq!(told("a_new_one"), "Job `image` in stage `build` of pipeline 12 failed: `a_new_one`.");
    assert_eq!(
        told("ci_quota_exceeded"),
        "Job `image` in stage `build` of pipeline 12 failed: the quota of compute minutes is used up."
    );
}

#[test]
fn a_job_no_runner_took_is_told_from_one_that_took_too_long() {
    let pipelines = [pipeline(12, "push", PipelineStatus::Failed)];
    let verdict = |job: PipelineJob| short(&judge(&seen(&pipelines, &[job], None), now()));
    let failed = || job(1, "image", PipelineStatus::Failed);
    let never_began = || PipelineJob { runner: None, started_at: None, ..failed() };
    assert_eq!(verdict(because(never_began(), "no_matching_runner")), "pipeline_no_runner job 1");
    assert_eq!(verdict(because(never_began(), "stuck_or_timeout_failure")), "pipeline_no_runner job 1");
    assert_eq!(verdict(because(failed(), "stuck_or_timeout_failure")), "pipeline_failed job 1");
}

#[test]
fn a_job_that_waits_long_for_a_runner_is_said_to() {
    use PipelineStatus as S;
    let waiting = |seconds| queued_s(job(1, "image", S::Pending), seconds);
    let told = "waits: Job `image` of pipeline 12 has waited 60 s for a runner, and none has taken it yet.";
    assert_eq!(of_push(S::Pending, &[waiting(60)], Some("image")), told);
    assert_eq!(of_push(S::Running, &[waiting(60)], None), told, "whether it is named or not");
    assert_eq!(of_push(S::Pending, &[waiting(59)], Some("image")), "waits: Pipeline 12 waits for a runner.");
    let taken = PipelineJob { runner: Some("runner one".to_owned()), ..waiting(90) };
    assert_eq!(of_push(S::Pending, &[taken], Some("image")), "waits: Pipeline 12 waits for a runner.");
}

#[test]
fn the_age_of_a_job_is_its_wait_only_while_nothing_ran() {
    use PipelineStatus as S;
    let waiting = job(2, "image", S::Pending);
    assert_eq!(
        of_push(S::Pending, std::slice::from_ref(&waiting), Some("image")),
        "waits: Job `image` of pipeline 12 has waited 600 s for a runner, and none has taken it yet."
    );
    let later = [job(1, "test", S::Success), waiting];
    assert_eq!(of_push(S::Running, &later, Some("image")), "waits: Pipeline 12 is running.");
}

#[test]
fn the_image_job_goes_before_others_that_wait_for_a_runner() {
    use PipelineStatus as S;
    let jobs = [queued_s(job(1, "test", S::Pending), 300), queued_s(job(2, "image", S::Pending), 70)];
    let told = |job| of_push(S::Pending, &jobs, job);
    assert!(told(Some("image")).contains("`image` of pipeline 12 has waited 70 s"));
    assert!(told(None).contains("`test` of pipeline 12 has waited 300 s"));
}

#[test]
fn an_invalid_configuration_is_repeated_in_one_line() {
    let invalid = Pipeline {
        yaml_errors: Some("jobs:image config contains unknown keys: scirpt\nsecond line".to_owned()),
        ..pipeline(12, "push", PipelineStatus::Failed)
    };
    let verdict = judge(&seen(&[invalid], &[], Some("image")), now());
    assert_eq!(short(&verdict), "pipeline_invalid");
    assert_eq!(
        reason(verdict),
        "The configuration of pipeline 12 is invalid: jobs:image config contains unknown keys: scirpt second line."
    );
}

#[test]
fn the_newest_pipeline_of_a_push_counts() {
    use PipelineStatus as S;
    let verdict = |pipelines: &[Pipeline]| short(&judge(&seen(pipelines, &[], None), now()));
    let again = [pipeline(12, "push", S::Failed), pipeline(15, "web", S::Success)];
    assert_eq!(verdict(&again), "built 15");
    let newer_fails = [pipeline(15, "api", S::Canceled), pipeline(12, "push", S::Success)];
    assert_eq!(verdict(&newer_fails), "pipeline_cancelled");
    for source in ["merge_request_event", "schedule", "trigger", "pipeline", "webide", "a_new_source", ""] {
        assert_eq!(verdict(&[pipeline(12, source, S::Success)]), "built 12", "{source}");
    }
}

#[test]
fn pipelines_of_others_count_neither_for_nor_against() {
    use PipelineStatus as S;
    for source in OTHER_SOURCES {
        let beside = [pipeline(12, "push", S::Success), pipeline(99, source, S::Failed)];
        assert_eq!(short(&judge(&seen(&beside, &[], None), now())), "built 12", "{source}");
        let alone = [pipeline(99, source, S::Success)];
        assert_eq!(short(&judge(&seen(&alone, &[], None), now())), "pipeline_missing", "{source}");
    }
}

#[test]
fn a_pipeline_may_take_its_time_to_appear() {
    let ci = ci(false, false, false);
    let at = |seconds| {
        let input = Seen { since: before_s(seconds), ci: Some(&ci), ..seen(&[], &[], None) };
        short(&judge(&input, now()))
    };
    assert_eq!(at(119), "waits: There is no pipeline of this commit yet; one is waited for since 119 s.");
    assert_eq!(at(120), "pipeline_disabled");
    assert!(at(-30).contains("since 0 s"), "a clock that is ahead");
}

#[test]
fn the_reasons_for_no_pipeline_are_told_apart() {
    let there = ci(true, false, true);
    let table = [
        (Some(ci(true, true, false)), None, "pipeline_disabled"),
        (Some(ci(false, false, false)), Some("[skip ci]"), "pipeline_disabled"),
        (Some(ci(false, false, true)), None, "pipeline_missing"),
        (Some(ci(false, false, true)), Some("x [skip ci]"), "pipeline_missing"),
        (Some(there.clone()), Some("x [skip ci]"), "pipeline_skipped"),
        (Some(there.clone()), Some("fix"), "pipeline_filtered"),
        (Some(there), None, "pipeline_filtered"),
        (Some(ci(false, true, true)), None, "pipeline_filtered"),
        (None, Some("x [skip ci]"), "pipeline_skipped"),
        (None, Some("fix"), "pipeline_missing"),
        (None, None, "pipeline_missing"),
    ];
    for (ci, commit_message, expected) in table {
        let input = Seen { ci: ci.as_ref(), commit_message, ..seen(&[], &[], None) };
        let verdict = judge(&input, now());
        assert_eq!(short(&verdict), expected, "{ci:?} {commit_message:?}");
        assert!(reason(verdict).starts_with("No pipeline of this commit appeared within 120 s"));
    }
}

#[test]
fn a_skipped_pipeline_says_who_skipped_it() {
    let pipelines = [pipeline(12, "push", PipelineStatus::Skipped)];
    let told = |commit_message| reason(judge(&Seen { commit_message, ..seen(&pipelines, &[], None) }, now()));
    for message in ["[skip ci] x", "x\n\n[ci skip]", "[SKIP-CI]", "[Ci_Skip]", "[skip-ci]"] {
        assert!(told(Some(message)).contains("the message of the commit"), "{message}");
    }
    for message in [None, Some("skip ci"), Some("[skip  ci]"), Some("[skipci]"), Some("[skip ci")] {
        assert!(told(message).contains("an option of the push"), "{message:?}");
    }
}

#[test]
fn names_from_outside_cannot_break_out_of_their_sentence() {
    let nasty = job(1, "a`\n\u{1b}[31mb\u{202e}", PipelineStatus::Failed);
    let told = reason(judge(&seen(&[pipeline(12, "push", PipelineStatus::Failed)], &[nasty], None), now()));
    assert!(told.starts_with("Job `a' [31mb` in stage"), "{told}");
    assert!(said::name(&"x".repeat(5_000)).len() <= 102);
}
