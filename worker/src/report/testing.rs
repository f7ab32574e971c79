//! Deployments of a registered project as they come about: event by event.

use jiff::{SignedDuration, Timestamp};
use slipway_common::contract::sample;
use slipway_common::failure::Failure;
use slipway_common::model::registered::RegisteredProject;
use slipway_common::model::{
    Deployment, DeploymentId, Event, EventKind, Facts, InventoryFact, JobId, JobKind, JobMessage, SourceFact,
    Stage, Trigger,
};
use slipway_common::state;

use super::wanted::{Seen, Wanted, wanted};

pub(super) const REVISION: &str = "1111111111111111111111111111111111111111";
pub(super) const URL: &str = "https://shop.apps.example.com";
pub(super) const PUBLIC_URL: &str = "https://slipway.example.com/";

/// A deployment and how it came about.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) project: RegisteredProject,
    pub(super) message: JobMessage,
    pub(super) deployment: Deployment,
    pub(super) events: Vec<(u64, Event)>,
    pub(super) log: Vec<String>,
    pub(super) is_newest: bool,
    pub(super) forgotten_before: Timestamp,
}

/// The time of the event with this number.
pub(super) fn at(number: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_secs(number)
}

pub(super) fn started(stage: Stage) -> EventKind {
    EventKind::StageStarted { stage, attempt: 1 }
}

pub(super) fn finished(stage: Stage, facts: Facts) -> EventKind {
    EventKind::StageFinished { stage, facts: Box::new(facts), skipped: None }
}

pub(super) fn failed(stage: Stage) -> EventKind {
    let failure = Failure::new(stage, "clone_refused", "the host refused").with_hint("Check the token.");
    EventKind::Failed { failure }
}

impl Story {
    /// A branch was pushed.
    pub(super) fn of_push() -> Self {
        Self::of(sample::pushed_job("shop", "refs/heads/main", REVISION, at(1)))
    }

    /// A merge request was opened or pushed to.
    pub(super) fn of_merge_request(iid: u64) -> Self {
        let reference = format!("refs/merge-requests/{iid}/head");
        let mut message = sample::pushed_job("shop", &reference, REVISION, at(1));
        message.environment = format!("review-{iid}").parse().unwrap();
        let trigger = message.trigger.take().unwrap();
        Self::of(JobMessage { trigger: Some(Trigger { merge_request: Some(iid), ..trigger }), ..message })
    }

    /// Somebody asked for it.
    pub(super) fn of_request() -> Self {
        Self::of(sample::deploy_job("shop", at(1)))
    }

    pub(super) fn of(message: JobMessage) -> Self {
        let accepted = Event::accepted(&message);
        Self {
            project: sample::registered("shop", at(0)),
            deployment: state::begin(&accepted).unwrap(),
            events: vec![(1, accepted)],
            message,
            log: Vec::new(),
            is_newest: true,
            forgotten_before: Timestamp::MIN,
        }
    }

    /// Something happens in its latest job.
    pub(super) fn then(mut self, kind: EventKind) -> Self {
        let number = self.events.len() + 1;
        let when = at(i64::try_from(number).unwrap());
        let job = self.deployment.latest_job().unwrap().id;
        let event = Event { job, ..sample::event(&self.message, 1, when, kind) };
        self.fold(event);
        self
    }

    /// Another job is accepted.
    pub(super) fn then_job(mut self, change: impl FnOnce(&JobMessage) -> JobMessage) -> Self {
        let message = change(&self.message);
        self.fold(Event::accepted(&message));
        self
    }

    /// It is stopped, up to the end.
    pub(super) fn then_stopped(self) -> Self {
        let when = at(i64::try_from(self.events.len() + 1).unwrap());
        self.then_job(|message| sample::stop_job(message, when))
            .then(started(Stage::Stop))
            .then(finished(Stage::Stop, Facts::default()))
            .then(EventKind::Succeeded)
    }

    /// It comes into service at [`URL`].
    pub(super) fn then_served(self) -> Self {
        let source = SourceFact { revision: REVISION.to_owned(), branch: Some("main".to_owned()) };
        let inventory = InventoryFact {
            url: Some(URL.to_owned()),
            gateway_port: None,
            namespace: None,
            objects: Vec::new(),
        };
        self.then(started(Stage::Clone))
            .then(finished(Stage::Clone, Facts { source: Some(source), ..Facts::default() }))
            .then(started(Stage::Apply))
            .then(finished(Stage::Apply, Facts { inventory: Some(inventory), ..Facts::default() }))
            .then(EventKind::Succeeded)
    }

    /// The latest deploy job again, with another id.
    pub(super) fn then_retried(self) -> Self {
        let when = at(i64::try_from(self.events.len() + 1).unwrap());
        let id = JobId::generate();
        self.then_job(|message| JobMessage { id, accepted_at: when, ..message.clone() })
    }

    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            project: &self.project,
            deployment: &self.deployment,
            events: &self.events,
            log: &self.log,
            is_newest: self.is_newest,
            public_url: Some(PUBLIC_URL),
            forgotten_before: self.forgotten_before,
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        wanted(&self.seen())
    }

    fn fold(&mut self, event: Event) {
        state::apply(&mut self.deployment, &event).unwrap();
        let number = u64::try_from(self.events.len()).unwrap() + 1;
        self.events.push((number, event));
    }
}

/// A repair job of what is in service.
pub(super) fn repair_of(message: &JobMessage, when: Timestamp) -> JobMessage {
    let JobKind::Deploy { spec, facts } = message.kind.clone() else { panic!("it deploys") };
    let id = JobId::generate();
    JobMessage { id, accepted_at: when, kind: JobKind::Repair { spec, facts }, ..message.clone() }
}

/// Somebody else's deployment.
pub(super) fn another() -> DeploymentId {
    DeploymentId::generate()
}
