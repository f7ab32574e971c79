//! Webhooks: who gets what, how often a receiver may fail, and what it answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::delivery::Delivery;
use super::server::Server;
use super::world::Project;

/// Failures in a row after which a hook is suspended.
const FAILURES_MAX: u32 = 3;
/// Failures in a row after which it is never called again.
const FAILURES_FOR_GOOD: u32 = 39;
/// First suspension; each further one is twice as long.
const SUSPENDED_MIN: SignedDuration = SignedDuration::from_mins(1);
const SUSPENDED_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Which events a hook gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// Branches.
    pub push: bool,
    /// Tags.
    pub tag_push: bool,
    /// Merge requests.
    pub merge_requests: bool,
    /// Pipelines.
    pub pipelines: bool,
    /// Jobs of pipelines.
    pub jobs: bool,
}

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Push,
    TagPush,
    MergeRequest,
    Pipeline,
    Job,
}

impl Event {
    fn header(self) -> &'static str {
        match self {
            Self::Push => "Push Hook",
            Self::TagPush => "Tag Push Hook",
            Self::MergeRequest => "Merge Request Hook",
            Self::Pipeline => "Pipeline Hook",
            Self::Job => "Job Hook",
        }
    }

    fn is_wanted(self, events: Events) -> bool {
        match self {
            Self::Push => events.push,
            Self::TagPush => events.tag_push,
            Self::MergeRequest => events.merge_requests,
            Self::Pipeline => events.pipelines,
            Self::Job => events.jobs,
        }
    }
}

/// A webhook of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its number.
    pub id: u64,
    /// Where it leads.
    pub url: String,
    /// What it is called.
    pub name: Option<String>,
    /// What it gets.
    pub events: Events,
    /// Signs what is sent.
    pub signing_token: Option<String>,
    /// Is sent along in clear.
    pub token: Option<String>,
    /// Whether the receiver's certificate is checked.
    pub verify_tls: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Until when it is suspended.
    pub disabled_until: Option<Timestamp>,
    /// Everything that was sent.
    pub answers: Vec<HookAnswer>,
}

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookAnswer {
    /// Such as `Push Hook`.
    pub event: String,
    /// Its id.
    pub delivery: String,
    /// The status; `None` when there was no answer.
    pub status: Option<u16>,
    /// How long the answer took.
    pub took: Option<Duration>,
    /// When it was sent.
    pub sent_at: Instant,
}

/// A delivery and where it went.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The project's number.
    pub project: u64,
    /// Where to.
    pub url: String,
    /// Headers and body.
    pub delivery: Delivery,
}

impl Hook {
    pub(super) fn new(id: u64) -> Self {
        let events =
            Events { push: true, tag_push: false, merge_requests: false, pipelines: false, jobs: false };
        Self {
            id,
            url: String::new(),
            name: None,
            events,
            signing_token: None,
            token: None,
            verify_tls: true,
            failures: 0,
            disabled_until: None,
            answers: Vec::new(),
        }
    }

    /// `executable`, `temporarily_disabled` or `disabled`.
    #[must_use]
    pub fn alert_status(&self) -> &'static str {
        if self.failures > FAILURES_FOR_GOOD {
            "disabled"
        } else if self.disabled_until.is_some_and(|until| until > Timestamp::now()) {
            "temporarily_disabled"
        } else {
            "executable"
        }
    }

    /// Counts an answer. A redirect counts as a success.
    fn note(&mut self, answer: HookAnswer) {
        let good = answer.status.is_some_and(|status| status < 400);
        self.answers.push(answer);
        if good {
            (self.failures, self.disabled_until) = (0, None);
            return;
        }
        self.failures += 1;
        if let Some(over) = self.failures.checked_sub(FAILURES_MAX + 1) {
            let times = 1_i32.checked_shl(over).filter(|times| *times > 0).unwrap_or(i32::MAX);
            let pause = SUSPENDED_MIN.checked_mul(times).unwrap_or(SUSPENDED_MAX).min(SUSPENDED_MAX);
            self.disabled_until = Timestamp::now().checked_add(pause).ok();
        }
    }
}

/// The deliveries an event makes: for every hook that wants it and may be called.
fn deliveries(project: &Project, event: Event, payload: &Value) -> Vec<(u64, String, Delivery)> {
    let wanted = project.hooks.iter().filter(|hook| event.is_wanted(hook.events));
    let callable = wanted.filter(|hook| hook.alert_status() == "executable");
    callable
        .map(|hook| {
            let mut delivery = Delivery::gitlab(event.header(), &project.instance, payload);
            if let Some(token) = &hook.token {
                delivery = delivery.with_token(token);
            }
            if let Some(secret) = &hook.signing_token {
                // Only tokens of the right form are taken.
                delivery = delivery.clone().signed(secret, Timestamp::now()).unwrap_or(delivery);
            }
            (hook.id, hook.url.clone(), delivery)
        })
        .collect()
}

impl Server {
    /// Sends an event to every hook of the project that wants it, in the background.
    pub(super) fn tell(self: &Arc<Self>, project: u64, event: Event, payload: &Value) {
        let to_send = {
            let mut world = self.world();
            if world.lose_hooks {
                return;
            }
            let Some(found) = world.projects.iter().find(|it| it.id == project) else { return };
            let to_send = deliveries(found, event, payload);
            for (_, url, delivery) in &to_send {
                world.deliveries.push(Sent { project, url: url.clone(), delivery: delivery.clone() });
            }
            to_send
        };
        for (hook, url, delivery) in to_send {
            let server = Arc::clone(self);
            tokio::spawn(async move { server.deliver(project, hook, &url, &delivery).await });
        }
    }

    async fn deliver(&self, project: u64, hook: u64, url: &str, delivery: &Delivery) {
        let sent_at = Instant::now();
        let told = delivery.send(&self.client, url).await.ok();
        let answer = HookAnswer {
            event: delivery.header("X-Gitlab-Event").unwrap_or_default().to_owned(),
            delivery: delivery.header("webhook-id").unwrap_or_default().to_owned(),
            status: told.as_ref().map(|told| told.status),
            took: told.map(|told| told.took),
            sent_at,
        };
        self.world().change(project, |project, _| {
            if let Some(hook) = project.hooks.iter_mut().find(|known| known.id == hook) {
                hook.note(answer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Option<u16>) -> HookAnswer {
        HookAnswer {
            event: "Push Hook".to_owned(),
            delivery: "1".to_owned(),
            status,
            took: None,
            sent_at: Instant::now(),
        }
    }

    #[test]
    fn the_fourth_failure_in_a_row_suspends_a_hook_and_a_success_frees_it() {
        let mut hook = Hook::new(1);
        for status in [Some(500), None, Some(404)] {
            hook.note(answer(status));
        }
        assert_eq!(hook.alert_status(), "executable");
        hook.note(answer(Some(503)));
        assert_eq!(hook.alert_status(), "temporarily_disabled");
        hook.note(answer(Some(202)));
        assert_eq!((hook.alert_status(), hook.failures), ("executable", 0));
        (0..40).for_each(|_| hook.note(answer(Some(500))));
        assert_eq!(hook.alert_status(), "disabled");
    }
}
