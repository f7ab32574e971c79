//! What is deployed of a ref that moved, and that it is deployed once.

use std::sync::atomic::AtomicU64;

use secrecy::SecretString;
use slipway_common::config::Config;
use slipway_common::model::{BranchName, DeploymentState, EnvironmentName, Job, Stage, SupportSpec};
use slipway_common::record::StoredCredential;
use slipway_common::secrets::Sealed;
use tokio_util::sync::CancellationToken;

use super::super::Sweeper;
use super::super::tests::{keep, registered};
use super::*;
use crate::project_file;
use crate::stage::{Source, nothing_to_do};
use crate::testing::Installation;

/// A registered project, and what a look at it needs.
struct Scene {
    installation: Installation,
    sweeper: Sweeper,
    project: RegisteredProject,
    requests: AtomicU64,
}

fn wanted(number: u32, before: Option<Head>) -> Wanted {
    Wanted {
        environment: EnvironmentName::default_name(),
        reference: "refs/heads/main".to_owned(),
        revision: format!("{number:040x}"),
        branch: BranchName::parse("main").ok(),
        merge_request: None,
        is_fork: false,
        target: None,
        replicas: None,
        hostnames: Vec::new(),
        before,
    }
}

impl Scene {
    async fn open() -> Self {
        let installation = Installation::open();
        let project = registered("https://git.example.com/team/shop");
        keep(&installation, &project).await;
        let sweeper = Sweeper::new(installation.tools());
        Self { installation, sweeper, project, requests: AtomicU64::new(0) }
    }

    async fn look(&self) -> Look<'_> {
        let (tools, project) = (&self.sweeper.tools, &self.project);
        let cancel = CancellationToken::new();
        let source = Source::of_project(tools, &project.project, &project.spec, &cancel).await.unwrap();
        Look { sweeper: &self.sweeper, project, source, delivered_at: None, requests: &self.requests }
    }

    async fn send(&self, wanted: &Wanted) -> bool {
        let spec = spec_of(&self.project, wanted, None, &self.sweeper.tools.settings.sweeps.limits).unwrap();
        send(&self.look().await, wanted, spec, None).await.unwrap()
    }

    async fn head(&self) -> Option<Head> {
        let heads = self.installation.backend.projects.heads(&self.project.project.slug).await.unwrap();
        heads.into_iter().next()
    }

    /// The jobs of all deployments, newest first.
    async fn jobs(&self) -> Vec<Job> {
        let store = &self.installation.backend.store;
        let page = store.deployments(&DeploymentFilter::default(), &Page::default()).await.unwrap();
        page.deployments.into_iter().flat_map(|deployment| deployment.jobs).collect()
    }
}

#[tokio::test]
async fn two_looks_at_the_same_move_make_one_deployment() {
    let scene = Scene::open().await;
    assert!(scene.send(&wanted(1, None)).await);
    assert!(!scene.send(&wanted(1, None)).await, "the other look has seen where it stood before, too");
    let head = scene.head().await.unwrap();
    assert_eq!((head.reference.as_str(), head.revision), ("refs/heads/main", wanted(1, None).revision));
    let jobs = scene.jobs().await;
    assert_eq!((jobs.len(), head.deployment), (1, Some(jobs[0].deployment)));
    let depth = scene.installation.backend.agenda.depth(List::Reports, Timestamp::now()).await.unwrap();
    assert_eq!(depth.0 + depth.1, 1, "its results are told");
}

#[tokio::test]
async fn a_look_that_comes_late_does_not_set_back_what_a_later_one_did() {
    let scene = Scene::open().await;
    scene.send(&wanted(1, None)).await;
    scene.send(&wanted(2, scene.head().await)).await;
    assert!(!scene.send(&wanted(1, None)).await);
    assert_eq!(scene.head().await.unwrap().revision, wanted(2, None).revision);
}

#[tokio::test]
async fn a_ref_that_comes_back_to_where_it_stood_is_deployed_again() {
    let scene = Scene::open().await;
    for _ in 0..3 {
        assert!(scene.send(&wanted(1, None)).await);
        let gone = vec![(EnvironmentName::default_name(), "refs/heads/main".to_owned())];
        let slug = scene.project.project.slug.clone();
        let record = Record::HeadsSeen { slug, seen: Vec::new(), gone, at: Timestamp::now() };
        scene.installation.backend.record(&record).await.unwrap();
    }
    assert_eq!(scene.jobs().await.len(), 3);
    for number in [1, 2, 1, 2] {
        assert!(scene.send(&wanted(number, scene.head().await)).await);
    }
    assert_eq!(scene.jobs().await.len(), 7);
}

#[tokio::test]
async fn o4_of_many_pushes_the_newest_alone_waits() {
    let scene = Scene::open().await;
    for number in 1..=10 {
        scene.send(&wanted(number, scene.head().await)).await;
    }
    let jobs = scene.jobs().await;
    let newest = jobs.iter().filter(|job| job.state == JobState::Queued).count();
    assert_eq!(newest, 1);
    let head = scene.head().await.unwrap();
    for job in jobs.iter().filter(|job| Some(job.deployment) != head.deployment) {
        assert!(matches!(job.state, JobState::Superseded { .. }), "{:?}", job.state);
    }
}

#[tokio::test]
async fn a_commit_whose_file_is_wrong_is_a_deployment_whose_first_stage_tells_it() {
    let scene = Scene::open().await;
    let quiet = NotifySwitches { notes: Some(false), ..NotifySwitches::default() };
    assert!(refuse(&scene.look().await, &wanted(1, None), Some(quiet)).await.unwrap());
    assert!(!refuse(&scene.look().await, &wanted(1, None), Some(quiet)).await.unwrap());
    let head = scene.head().await.unwrap();
    let store = &scene.installation.backend.store;
    let deployment = store.deployment(head.deployment.unwrap()).await.unwrap().unwrap();
    assert_eq!(deployment.state, DeploymentState::Queued);
    let passed = nothing_to_do(Stage::Clone, &deployment.spec, &deployment.facts);
    assert!(passed.is_none(), "the file is looked at");
    assert_eq!(deployment.trigger.unwrap().notify, Some(quiet));
    let depth = scene.installation.backend.queue.depth(Timestamp::now()).await.unwrap();
    assert_eq!(depth.ready, 1, "a worker takes it, whatever becomes of this process");
}

#[tokio::test]
async fn a_credential_for_any_registry_is_not_given_to_one_that_a_file_names() {
    let scene = Scene::open().await;
    let look = scene.look().await;
    let sealer = &scene.sweeper.tools.sealer;
    for (host, is_unbound) in [(None, true), (Some("registry.example.com"), false)] {
        let secret = sealer.seal("credential/registry", &SecretString::from("s3cret")).unwrap();
        let credential = StoredCredential {
            name: "registry".parse().unwrap(),
            username: None,
            host: host.map(str::to_owned),
            secret,
            updated_at: Timestamp::now(),
        };
        scene.installation.backend.record(&Record::CredentialStored(credential)).await.unwrap();
        assert_eq!(super::is_unbound(&look, &rich().spec).await.unwrap(), is_unbound, "{host:?}");
    }
    assert!(!super::is_unbound(&look, &scene.project.spec).await.unwrap(), "there is none");
    let with = |image: Option<&str>| {
        let mut spec = rich().spec;
        spec.pipeline.image = image.map(|image| image.parse().unwrap());
        spec
    };
    let registered = with(Some("registry.example.com/team/shop"));
    assert!(!names_another_registry(&registered, &with(Some("registry.example.com/team/shop/web"))));
    assert!(!names_another_registry(&with(None), &with(None)));
    for elsewhere in ["registry.example.com.evil.example/x", "evil.example/x", "shop"] {
        assert!(names_another_registry(&registered, &with(Some(elsewhere))), "{elsewhere}");
        assert!(names_another_registry(&with(None), &with(Some(elsewhere))), "{elsewhere}");
    }
}

fn sealed() -> Sealed {
    serde_json::from_str("\"c2VjcmV0\"").unwrap()
}

/// A project with everything that is not for others.
fn rich() -> RegisteredProject {
    let mut project = registered("https://git.example.com/team/shop");
    project.spec.env.insert("PASSWORD".parse().unwrap(), sealed());
    project.spec.cluster_token = Some(sealed());
    project.spec.pull_credential = Some("registry".parse().unwrap());
    project.spec.build = BuildMode::Gitlab;
    project.spec.hostnames = vec!["shop.example.com".parse().unwrap()];
    project.spec.supports = vec![SupportSpec {
        name: "db".parse().unwrap(),
        image: "postgres:18".parse().unwrap(),
        port: None,
        env: [("POSTGRES_PASSWORD".parse().unwrap(), sealed())].into(),
    }];
    project
}

fn limits() -> RequestLimits {
    Config::load(None, Vec::new()).unwrap().limits
}

fn spec(project: &RegisteredProject, wanted: &Wanted, file: Option<&str>) -> DeploymentSpec {
    let file = file.map(|text| project_file::parse(text).unwrap());
    spec_of(project, wanted, file.as_ref(), &limits()).unwrap()
}

#[test]
fn a_branch_is_pinned_to_its_commit_and_everything_else_to_the_commit_alone() {
    let project = registered("https://git.example.com/team/shop");
    let of_branch = spec(&project, &wanted(1, None), None);
    assert!(matches!(of_branch.reference, Reference::Pinned { .. }));
    let of_tag = spec(&project, &Wanted { branch: None, ..wanted(1, None) }, None);
    assert!(matches!(of_tag.reference, Reference::Revision(_)));
    let wrong = Wanted { revision: "-x".to_owned(), ..wanted(1, None) };
    assert!(reference_of(&wrong).is_err());
}

#[test]
fn code_of_others_gets_nothing_secret() {
    let of_fork = Wanted { is_fork: true, merge_request: Some(7), ..wanted(1, None) };
    let spec = spec(&rich(), &of_fork, Some("commit: push\nbuild: gitlab\n"));
    assert!(spec.env.is_empty() && spec.hostnames.is_empty());
    assert!(spec.supports.iter().all(|support| support.env.is_empty()));
    assert_eq!((spec.cluster_token, spec.pull_credential), (None, None));
    assert_eq!((spec.commit, spec.build), (CommitMode::None, BuildMode::Auto));
    assert!(spec.foreign, "nor is the installation's own lent to its build");
    assert!(matches!(spec.reference, Reference::Revision(_)), "nothing can be pushed");
}

#[test]
fn a_merge_request_of_the_project_has_its_variables_and_no_names_of_others() {
    let of_request = Wanted { merge_request: Some(7), ..wanted(1, None) };
    let spec = spec(&rich(), &of_request, None);
    assert_eq!((spec.env.len(), spec.hostnames.len()), (1, 0));
}

#[test]
fn the_rule_comes_before_the_file_and_the_file_before_the_registration() {
    let file = Some("replicas: 3\nport: 9000\n");
    let plain = spec(&rich(), &wanted(1, None), file);
    assert_eq!((plain.replicas, plain.port, plain.hostnames.len()), (3, Some(9000), 1));
    assert!(plain.cluster_token.is_some());
    let of_rule = Wanted {
        replicas: Some(5),
        target: Some("elsewhere".parse().unwrap()),
        hostnames: vec!["other.example.com".parse().unwrap()],
        ..wanted(1, None)
    };
    let spec = spec(&rich(), &of_rule, file);
    assert_eq!((spec.replicas, spec.target.as_str()), (5, "elsewhere"));
    assert_eq!(spec.hostnames, of_rule.hostnames);
    assert_eq!(spec.cluster_token, None, "it is for the other target");
}

#[test]
fn the_file_asks_for_no_more_than_the_installation_allows() {
    let file = project_file::parse("replicas: 4000000000\n").unwrap();
    let project = registered("https://git.example.com/team/shop");
    let refused = spec_of(&project, &wanted(1, None), Some(&file), &limits());
    assert!(matches!(refused, Err(Fault::File(ProjectFileError::Invalid { .. }))));
}
