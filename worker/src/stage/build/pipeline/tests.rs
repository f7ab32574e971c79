//! How a pipeline is waited for.

use slipway_common::contract::sample;
use slipway_common::model::request::token_context;
use slipway_common::model::{AddressPolicy, CredentialSource, RepositoryAddress, TemplateFact};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::journal::Journal;
use crate::testing::Installation;

fn commit(generated: bool, branch: Option<&str>) -> CommitFact {
    CommitFact { revision: "1".repeat(40), generated, branch: branch.map(str::to_owned), merge_request: None }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn settings() -> PipelineSettings {
    PipelineSettings {
        timeout: Duration::from_secs(100),
        poll_interval: Duration::from_secs(30),
        appear_max: Duration::from_secs(60),
    }
}

#[test]
fn the_wait_is_counted_from_the_beginning_of_the_stage() {
    let wait = Wait::of(&settings(), &sample::spec("shop"), at(0));
    assert_eq!(wait.left(at(40)), Some(Duration::from_secs(60)));
    assert_eq!(wait.left(at(-5)), Some(Duration::from_secs(100)), "clocks differ");
    assert_eq!((wait.left(at(100)), wait.left(at(1_000))), (None, None));
    let failure = wait.is_over("it runs").failure(Stage::Build, Vec::new());
    assert_eq!(failure.code, "pipeline_timeout");
    assert!(failure.reason.contains("100 s: it runs"), "{failure:?}");
}

#[test]
fn a_deployment_may_wait_for_another_time_than_others() {
    let mut spec = sample::spec("shop");
    spec.pipeline.timeout_s = Some(10);
    let wait = Wait::of(&settings(), &spec, at(0));
    assert_eq!((wait.timeout, wait.appear_max), (Duration::from_secs(10), Duration::from_secs(10)));
}

#[test]
fn a_generated_file_names_the_job_unless_another_is_named() {
    let mut spec = sample::spec("shop");
    let template = |generated: &[&str]| TemplateFact {
        generated: generated.iter().map(ToString::to_string).collect(),
        dockerfile: "Dockerfile".to_owned(),
        port: None,
        detected: None,
    };
    let facts = |generated| Facts { template: Some(template(generated)), ..Facts::default() };
    assert_eq!(job_of(&spec, &facts(&["Dockerfile", ".gitlab-ci.yml"])), Some("build-image"));
    assert_eq!(job_of(&spec, &facts(&["Dockerfile"])), None);
    assert_eq!(job_of(&spec, &Facts::default()), None);
    spec.pipeline.job = Some("image".to_owned());
    assert_eq!(job_of(&spec, &facts(&[".gitlab-ci.yml"])), Some("image"));
}

#[test]
fn a_commit_that_was_kept_out_of_the_repository_is_built_by_no_pipeline() {
    assert!(check_is_pushed(&commit(false, None)).is_ok());
    assert!(check_is_pushed(&commit(true, Some("main"))).is_ok());
    let failure = check_is_pushed(&commit(true, None)).unwrap_err().failure(Stage::Build, Vec::new());
    assert_eq!(failure.code, "pipeline_commit_not_pushed");
}

#[tokio::test]
async fn a_gitlab_that_is_away_makes_jobs_wait_until_their_time_is_over() {
    let installation = Installation::open();
    let (tools, message) = (installation.tools(), installation.accept().await);
    let address = "http://127.0.0.1:1/team/shop";
    let mut spec = DeploymentSpec {
        repository: RepositoryAddress::parse(address, &AddressPolicy::default()).unwrap(),
        ..sample::spec("shop")
    };
    let facts = Facts { commit: Some(commit(false, None)), ..Facts::default() };
    let (journal, cancel) =
        (Journal::new(&tools, message.deployment, message.id, 1), CancellationToken::new());
    let run = Run {
        tools: &tools,
        message: &message,
        fence: 1,
        journal: &journal,
        cancel: &cancel,
        said: None,
        is_pushed: false,
    };
    let failed = |error: StageError| error.failure(Stage::Build, Vec::new()).code;
    assert_eq!(failed(perform(&run, &spec, &facts).await.unwrap_err()), "pipeline_credential_missing");
    let token = tools.sealer.seal(&token_context(&message.project), &"glpat-0123456789".into()).unwrap();
    spec.credential = Some(CredentialSource::Inline(token));
    for _ in 0..2 {
        let Outcome::Waits { reason, longest } = perform(&run, &spec, &facts).await.unwrap() else {
            panic!("nobody can have said that the image is there")
        };
        assert!(reason.starts_with("127.0.0.1:1 is asked again later: GitLab cannot be reached"), "{reason}");
        assert!(longest <= Duration::from_secs(2), "{longest:?}");
    }
    spec.pipeline.timeout_s = Some(0);
    assert_eq!(failed(perform(&run, &spec, &facts).await.unwrap_err()), "pipeline_timeout");
}
