//! One look at one deployment: everybody who is to be told something is told it at the same time, each by itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use slipway_common::agenda::{Agenda, Due, Next};
use slipway_common::model::DeploymentId;
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forge::{self, Subject};
use super::hosts::{Entry, Hosts};
use super::listeners::{self, Letter};
use super::look::{Looked, Silence, is_repeated, look};
use super::pace::{Came, Fault, Pace, Turn, Verdict, jitter, later};
use super::post::{self, Sender};
use super::told::{Told, ToldForge, ToldTo, Trouble, mark};
use super::until::Until;
use super::wanted::{Wanted, wanted};
use crate::figures::Count;
use crate::stage::Tools;

/// After this long nothing new is begun in a look: others wait for its place.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// An open job is looked at again after this long, should nobody have noted it.
const OPEN_PAUSE: Duration = Duration::from_secs(60);
/// How often a deployment that is not there is looked for, each time after twice as long.
const MISSED_MAX: u32 = 10;
/// Half of the first pause of these.
const MISSED_PAUSE: Duration = Duration::from_millis(250);

/// What everybody who tells results shares.
#[derive(Debug)]
pub(super) struct Reporter {
    tools: Arc<Tools>,
    hosts: Arc<Hosts>,
    /// Absent when TLS cannot be set up here.
    sender: Option<Sender>,
    stop: CancellationToken,
}

/// Somebody who is told of one deployment.
struct Ear<'a> {
    deployment: DeploymentId,
    name: &'a str,
    pace: &'a Pace,
}

impl Reporter {
    pub(super) fn new(tools: &Arc<Tools>, stop: &CancellationToken) -> Self {
        let settings = &tools.settings.reports;
        let sender = Sender::new(settings.timeout);
        if let Err(error) = &sender {
            tracing::error!(error = chain(error), "outgoing webhooks cannot be sent from here");
        }
        Self {
            tools: Arc::clone(tools),
            hosts: Arc::new(Hosts::new(settings.per_host_at_once)),
            sender: sender.ok(),
            stop: stop.clone(),
        }
    }

    /// The agenda it works on.
    pub(super) fn agenda(&self) -> &dyn Agenda {
        self.tools.backend.agenda.as_ref()
    }

    /// Tells what is missing. Answers when the entry comes up again, and with which memo.
    pub(super) async fn tell(&self, due: &Due) -> Result<(Next, Option<String>), StoreError> {
        let Ok(id) = due.key.parse::<DeploymentId>() else { return Ok((Next::Gone, None)) };
        let settings = &self.tools.settings.reports;
        let mut told = Told::of(due.memo.as_deref());
        let looked = match look(&self.tools, id, told.oldest_cursor()).await? {
            Ok(looked) => looked,
            Err(Silence::Unknown) => return Ok(look_again(told, settings.keep)),
            Err(Silence::NotRegistered) => return Ok((Next::Gone, None)),
        };
        told.missed = 0;
        told.as_of = Some(looked.deployment.updated_at);
        let now = Timestamp::now();
        let forgotten_before = now.checked_sub(settings.keep).unwrap_or(Timestamp::MIN);
        let mut wanted = wanted(&looked.seen(settings.public_url.as_deref(), forgotten_before));
        let may_be_past = !looked.is_newest && looked.is_settled() && told.forge.statuses.is_empty();
        if may_be_past && !wanted.statuses.is_empty() && is_repeated(&self.tools, &looked.deployment).await? {
            // Nobody remembers it, and what the commit shows now is of the newer one.
            wanted.statuses.clear();
        }
        let pace =
            Pace { now, seen: looked.last, give_up: settings.give_up, jitter: jitter(&due.key, due.token) };
        let (told, again) = self.tell_all(&looked, &wanted, told, &pace).await;
        Ok((next(&looked, again, settings.keep, Timestamp::now()), told.memo()))
    }

    /// Tells everybody at the same time. Answers when the first of them is tried again, if somebody is.
    async fn tell_all(
        &self,
        looked: &Looked,
        wanted: &Wanted,
        mut told: Told,
        pace: &Pace,
    ) -> (Told, Option<Timestamp>) {
        let until = Until::new(LOOK_MAX, &self.stop);
        let letter = Letter { messages: &wanted.messages, last: looked.last };
        let forge = self.tell_forge(looked, wanted, std::mem::take(&mut told.forge), pace, &until);
        let topic = self.tell_topic(looked, letter, std::mem::take(&mut told.topic), pace, &until);
        let outgoing = (0..looked.project.notify.outgoing.len())
            .map(|place| self.tell_receiver(looked, place, letter, &told, pace, &until));
        let (forge, topic, receivers) = tokio::join!(forge, topic, join_all(outgoing));
        let again = receivers.iter().map(|(_, _, again)| *again).chain([forge.1, topic.1]).flatten().min();
        told.receivers = receivers.into_iter().map(|(mark, told, _)| (mark, told)).collect();
        (told.seen, told.forge, told.topic) = (looked.last, forge.0, topic.0);
        (told, again)
    }

    async fn tell_forge(
        &self,
        looked: &Looked,
        wanted: &Wanted,
        mut told: ToldForge,
        pace: &Pace,
        until: &Until,
    ) -> (ToldForge, Option<Timestamp>) {
        if told.missing(wanted).is_empty() {
            told.trouble = None;
            return (told, None);
        }
        let turn = pace.turn(told.trouble.as_ref());
        if turn != Turn::Now {
            return (told, turn.again());
        }
        let host = forge::host_of(&looked.project);
        let came = match self.hosts.enter(&host, Instant::now()) {
            Entry::Busy => Came::Busy,
            Entry::Away(left) => Came::Away(left),
            Entry::Open(inside) => {
                let came = match forge::open(&self.tools, &looked.project).await {
                    Ok(gitlab) => {
                        let (tools, deployment) = (&*self.tools, &looked.deployment);
                        let of = Subject { tools, gitlab: &gitlab, deployment };
                        forge::tell(of, wanted, &mut told, until).await
                    }
                    Err(fault) => Came::Failed(fault),
                };
                match &came {
                    Came::Failed(fault) if !fault.is_refused => {
                        inside.failed(fault.retry_after, Instant::now());
                    }
                    Came::Told | Came::Busy | Came::Away(_) | Came::Failed(_) => inside.works(),
                }
                came
            }
        };
        let ear = Ear { deployment: looked.deployment.id, name: &host, pace };
        let (trouble, again) = self.decide(&ear, told.trouble.take(), &came);
        told.trouble = trouble;
        (told, again)
    }

    async fn tell_topic(
        &self,
        looked: &Looked,
        letter: Letter<'_>,
        mut told: ToldTo,
        pace: &Pace,
        until: &Until,
    ) -> (ToldTo, Option<Timestamp>) {
        if letter.is_told(&mut told) {
            told.trouble = None;
            return (told, None);
        }
        let turn = pace.turn(told.trouble.as_ref());
        if turn != Turn::Now {
            return (told, turn.again());
        }
        let place = format!("{}.{}", looked.deployment.project.slug, looked.deployment.environment);
        let came = listeners::publish(&self.tools, &place, letter, &mut told, until).await;
        let ear = Ear { deployment: looked.deployment.id, name: "the topic", pace };
        self.heard(&ear, told, letter, &came)
    }

    /// Tells the receiver at this place of the project's list; answers its mark, too.
    async fn tell_receiver(
        &self,
        looked: &Looked,
        place: usize,
        letter: Letter<'_>,
        all: &Told,
        pace: &Pace,
        until: &Until,
    ) -> (String, ToldTo, Option<Timestamp>) {
        let Some(outgoing) = looked.project.notify.outgoing.get(place) else {
            return (String::new(), ToldTo::default(), None);
        };
        let mark = mark(&outgoing.url);
        let mut told = all.receiver(&mark);
        if letter.is_told(&mut told) {
            told.trouble = None;
            return (mark, told, None);
        }
        let turn = pace.turn(told.trouble.as_ref());
        if turn != Turn::Now {
            return (mark, told, turn.again());
        }
        let receiver = listeners::receiver(&self.tools, &looked.project, outgoing);
        let (name, came) = match (receiver, &self.sender) {
            (Ok(receiver), Some(sender)) => {
                let ways = (sender, &self.hosts);
                let came = listeners::send(&self.tools, ways, &receiver, letter, &mut told, until).await;
                (post::host_of(&receiver.url), came)
            }
            (Err(fault), _) => ("an outgoing webhook".to_owned(), Came::Failed(fault)),
            (Ok(receiver), None) => (post::host_of(&receiver.url), Came::Failed(no_sender())),
        };
        let ear = Ear { deployment: looked.deployment.id, name: &name, pace };
        let (told, again) = self.heard(&ear, told, letter, &came);
        (mark, told, again)
    }

    /// What follows for somebody who listens. Who was given up is not told what was missed any more.
    fn heard(
        &self,
        ear: &Ear<'_>,
        mut told: ToldTo,
        letter: Letter<'_>,
        came: &Came,
    ) -> (ToldTo, Option<Timestamp>) {
        let (trouble, again) = self.decide(ear, told.trouble.take(), came);
        match trouble {
            Some(trouble) if trouble.given_up.is_some() => letter.done(&mut told),
            trouble => told.trouble = trouble,
        }
        (told, again)
    }

    /// What is remembered of somebody's trouble, and when it is tried again.
    fn decide(
        &self,
        ear: &Ear<'_>,
        before: Option<Trouble>,
        came: &Came,
    ) -> (Option<Trouble>, Option<Timestamp>) {
        if let Came::Failed(fault) = came {
            self.tools.figures.count(Count::ResultFailed);
            tell_fault(ear, before.as_ref(), fault);
        }
        match ear.pace.after(before, came) {
            Verdict::Done => (None, None),
            Verdict::Again { at, trouble } => (trouble, Some(at)),
            Verdict::GivenUp(trouble) => {
                self.tools.figures.count(Count::ResultGivenUp);
                tracing::warn!(
                    deployment = %ear.deployment,
                    receiver = ear.name,
                    tries = trouble.tries,
                    "a receiver could not be told of results for too long; it is told of what happens next"
                );
                (Some(trouble), None)
            }
        }
    }
}

/// Said once for each trouble, and again when it becomes a refusal or another one.
fn tell_fault(ear: &Ear<'_>, before: Option<&Trouble>, fault: &Fault) {
    let known = before.filter(|trouble| trouble.given_up.is_none());
    let is_new = match (known, fault.is_refused) {
        (None, _) => true,
        (Some(trouble), true) => trouble.refused.as_ref() != Some(&fault.code),
        (Some(_), false) => false,
    };
    let (deployment, receiver) = (ear.deployment, ear.name);
    let (code, reason) = (&fault.code, &fault.reason);
    match (is_new, fault.is_refused) {
        (true, true) => tracing::warn!(%deployment, receiver, code, reason, "a result was refused"),
        (true, false) => tracing::info!(%deployment, receiver, code, reason, "a result waits to be told"),
        (false, _) => tracing::debug!(%deployment, receiver, code, reason, "a result still waits to be told"),
    }
}

fn no_sender() -> Fault {
    Fault {
        code: "outgoing_tls".to_owned(),
        reason: "this worker cannot set up TLS".to_owned(),
        is_refused: true,
        retry_after: None,
    }
}

/// What becomes of the entry of a deployment that is not there, or not yet. It is looked for ever less often, and after
/// that when it is noted.
fn look_again(mut told: Told, keep: Duration) -> (Next, Option<String>) {
    told.missed = told.missed.saturating_add(1);
    if told.missed > MISSED_MAX {
        return (Next::Rest(keep), told.memo());
    }
    let pause = MISSED_PAUSE.saturating_mul(1 << told.missed);
    (Next::At(later(Timestamp::now(), pause)), told.memo())
}

/// When the entry comes up again. Pure.
fn next(looked: &Looked, again: Option<Timestamp>, keep: Duration, now: Timestamp) -> Next {
    let open = (!looked.is_settled()).then(|| later(now, OPEN_PAUSE));
    // Whoever is behind and cannot be told now would be told no more by reading on at once.
    let more = (looked.more && again.is_none()).then_some(now);
    match [open, more, again].into_iter().flatten().min() {
        Some(at) => Next::At(at),
        None => Next::Rest(keep),
    }
}

#[cfg(test)]
mod tests;
