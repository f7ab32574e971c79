//! Sample data for laws and tests: requests, jobs and events that are valid in every field.

use jiff::Timestamp;
use secrecy::SecretString;

use crate::model::registered::{
    EnvironmentRule, Forge, ForgeObjects, Hook, HookSecret, HookSecretKind, NotifySettings, On,
    RegisteredProject, hook_context,
};
use crate::model::{
    AddressPolicy, DeploymentId, DeploymentSpec, EnvironmentName, Event, EventId, EventKind, Facts,
    HealthSpec, HookId, JobId, JobKind, JobMessage, PipelineSpec, Project, Reference, RepositoryAddress,
    ResourceSpec, Stage, Trigger, job::JOB_MESSAGE_VERSION,
};
use crate::model::{BuildMode, CommitMode, SourceFact};
use crate::secrets::{KEY_LENGTH_BYTES, Sealer};

/// A specification of the project called `name`.
///
/// # Panics
/// When `name` is no path of a project.
#[must_use]
pub fn spec(name: &str) -> DeploymentSpec {
    let address = format!("https://git.example.com/team/{name}");
    DeploymentSpec {
        repository: RepositoryAddress::parse(&address, &AddressPolicy::default())
            .expect("the sample name is a path segment"),
        reference: Reference::DefaultBranch,
        environment: EnvironmentName::default_name(),
        target: "local".parse().expect("`local` is a target name"),
        port: Some(8080),
        replicas: 1,
        env: std::collections::BTreeMap::new(),
        supports: Vec::new(),
        hostnames: Vec::new(),
        image: None,
        build: BuildMode::Auto,
        pipeline: PipelineSpec::default(),
        pull_credential: None,
        foreign: false,
        commit: CommitMode::Push,
        credential: None,
        cluster_token: None,
        health: HealthSpec::default(),
        resources: ResourceSpec::default(),
    }
}

/// A deploy job of a new deployment of the project called `name`.
#[must_use]
pub fn deploy_job(name: &str, accepted_at: Timestamp) -> JobMessage {
    let spec = spec(name);
    JobMessage {
        version: JOB_MESSAGE_VERSION,
        id: JobId::generate(),
        deployment: DeploymentId::generate(),
        project: Project::of(&spec.repository),
        environment: spec.environment.clone(),
        user: "ada".to_owned(),
        accepted_at,
        request: None,
        trigger: None,
        kind: JobKind::Deploy { spec: Box::new(spec), facts: Facts::default() },
    }
}

/// A stop job of the deployment that `deploy` made.
///
/// # Panics
/// Never: the sample target is a valid name.
#[must_use]
pub fn stop_job(deploy: &JobMessage, accepted_at: Timestamp) -> JobMessage {
    JobMessage {
        id: JobId::generate(),
        accepted_at,
        kind: JobKind::Stop { target: "local".parse().expect("`local` is a target name") },
        ..deploy.clone()
    }
}

/// A deploy job that a push of `reference` to `revision` made, for the project called `name`.
#[must_use]
pub fn pushed_job(name: &str, reference: &str, revision: &str, accepted_at: Timestamp) -> JobMessage {
    let trigger = Trigger {
        reference: reference.to_owned(),
        revision: revision.to_owned(),
        merge_request: None,
        delivered_at: Some(accepted_at),
        notify: None,
    };
    JobMessage { trigger: Some(trigger), ..deploy_job(name, accepted_at) }
}

/// The project called `name`, registered: its default branch goes into the default environment.
///
/// # Panics
/// When `name` is no path of a project.
#[must_use]
pub fn registered(name: &str, at: Timestamp) -> RegisteredProject {
    let spec = spec(name);
    let project = Project::of(&spec.repository);
    let secret = SecretString::from("a secret of the hook");
    let secret = Sealer::new(&[7; KEY_LENGTH_BYTES])
        .seal(&hook_context(&project.slug), &secret)
        .expect("the system has random bytes");
    let rule = EnvironmentRule {
        environment: EnvironmentName::default_name(),
        on: On::DefaultBranch,
        paths: Vec::new(),
        target: None,
        replicas: None,
        hostnames: Vec::new(),
    };
    RegisteredProject {
        project,
        forge: Forge::Gitlab,
        spec,
        environments: vec![rule],
        review: None,
        notify: NotifySettings::default(),
        hook: Hook {
            id: HookId::generate(),
            secrets: vec![HookSecret { kind: HookSecretKind::Signing, secret, until: None }],
        },
        made: ForgeObjects::default(),
        user: "ada".to_owned(),
        created_at: at,
        updated_at: at,
    }
}

/// A worker's event of the job, written under the fencing token.
#[must_use]
pub fn event(message: &JobMessage, fence: u64, at: Timestamp, kind: EventKind) -> Event {
    Event { id: EventId::generate(), deployment: message.deployment, job: message.id, fence, at, kind }
}

/// The worker's events from the beginning of the job to its success, one second apart.
#[must_use]
pub fn course(message: &JobMessage, fence: u64, start: Timestamp) -> Vec<Event> {
    let mut kinds = Vec::new();
    for stage in message.kind.stages().iter().copied() {
        let mut facts = Facts::default();
        if stage == Stage::Clone {
            facts.source = Some(SourceFact { revision: "1".repeat(40), branch: Some("main".to_owned()) });
        }
        kinds.push(EventKind::StageStarted { stage, attempt: 1 });
        kinds.push(EventKind::StageProgress { stage, message: format!("{stage} is under way") });
        kinds.push(EventKind::StageFinished { stage, facts: Box::new(facts), skipped: None });
    }
    kinds.push(EventKind::Succeeded);
    (1..).zip(kinds).map(|(second, kind)| event(message, fence, super::later(start, second), kind)).collect()
}
