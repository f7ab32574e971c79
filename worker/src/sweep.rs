//! Sweeps: looks where the refs of registered projects stand, and deploys what moved. Deliveries only say that a project is to
//! be looked at now; each is looked at every interval anyway, so that a lost one costs time and nothing else.
//!
//! This file claims from the agenda and settles; `gate` keeps hosts apart, `pace` says when a project's turn is, `look` looks
//! at one, `decide` decides, `rules`, `own` and `changed` find out what it asks, `submit` and `review` do what was decided,
//! `roster` goes through all projects.

mod changed;
mod decide;
mod fault;
mod gate;
mod look;
mod own;
mod pace;
mod review;
mod roster;
mod rules;
mod submit;
mod version;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::agenda::{Due, List, Next};
use slipway_common::model::registered::RegisteredProject;
use slipway_common::model::registered::state::SweepState;
use slipway_common::model::{EventId, ProjectSlug};
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::fault::Fault;
use self::gate::{Admission, Gates};
use self::rules::Files;
use crate::consume::STALL_LIMIT;
use crate::figures::Count;
use crate::hold::{self, Held};
use crate::stage::Tools;

/// Longest wait for an entry before the agenda is looked at again.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Pause after a part of Slipway could not be used.
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// Shortest time between two looks at one project, however many deliveries arrive.
const GAP: Duration = Duration::from_millis(500);
/// For how many looks at once there is one of which the host is being asked; the others wait or fetch.
const CLAIMED_PER_TURN: usize = 4;
/// A project whose claim was lost while it was looked at here is left alone for this long: that look comes to its end.
const OVERLONG_PAUSE: Duration = Duration::from_secs(5);

/// Sweeps until `stop`.
pub(crate) async fn sweep(tools: Arc<Tools>, stop: CancellationToken) {
    let sweeper = Arc::new(Sweeper::new(tools));
    tokio::join!(take_turns(&sweeper, &stop), roster::keep(&sweeper.tools, &stop));
}

/// What all looks of this process share.
#[derive(Debug)]
struct Sweeper {
    tools: Arc<Tools>,
    gates: Gates,
    files: Files,
    /// Turns to ask a host.
    turns: Semaphore,
    /// Projects that are being looked at here.
    at_work: Mutex<HashSet<String>>,
}

/// What becomes of an entry.
#[derive(Debug)]
enum Ended {
    /// The project was looked at, and is again after this pause.
    Looked(SweepState, Duration),
    /// It was not, for reasons of its own, and is after this pause.
    Later(Duration),
    /// There is no such project.
    Gone,
}

/// Claims what is due and has it looked at.
async fn take_turns(sweeper: &Arc<Sweeper>, stop: &CancellationToken) {
    let tools = &sweeper.tools;
    let progress = tools.liveness.watch("sweep", STALL_LIMIT);
    let mut looks = JoinSet::new();
    while !stop.is_cancelled() {
        progress.mark();
        while let Some(ended) = looks.try_join_next() {
            tell(ended);
        }
        let room = sweeper.claimed_max().saturating_sub(looks.len());
        if room == 0 {
            tokio::select! {
                ended = looks.join_next() => ended.into_iter().for_each(tell),
                () = tokio::time::sleep(IDLE_WAIT) => {}
                () = stop.cancelled() => {}
            }
            continue;
        }
        let claimed = if tools.recorder.store_is_there().await { sweeper.claim(room).await } else { None };
        match claimed {
            Some(due) if due.is_empty() => tokio::select! {
                () = tools.backend.agenda.wait(List::Sweeps, IDLE_WAIT) => {}
                () = stop.cancelled() => {}
            },
            Some(due) => {
                for due in due {
                    looks.spawn(attend(Arc::clone(sweeper), due, stop.clone()));
                }
            }
            None => tokio::select! {
                () = tokio::time::sleep(FAULT_PAUSE) => {}
                () = stop.cancelled() => {}
            },
        }
    }
    while let Some(ended) = looks.join_next().await {
        progress.mark();
        tell(ended);
    }
}

fn tell(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a look at a project ended unexpectedly; it is looked at again");
    }
}

/// Attends to one entry and settles it.
async fn attend(sweeper: Arc<Sweeper>, due: Due, stop: CancellationToken) {
    let last = due.memo.as_deref().and_then(SweepState::from_memo);
    let agenda = sweeper.tools.backend.agenda.as_ref();
    let ended = {
        let (held, cancel) = (Held::Entry { agenda, list: List::Sweeps, due: &due }, stop.child_token());
        let mut attending = std::pin::pin!(sweeper.attend(&due, last.as_ref(), &cancel));
        tokio::select! {
            ended = &mut attending => ended,
            () = held.keep() => {
                cancel.cancel();
                attending.await
            }
        }
    };
    let now = Timestamp::now();
    let (next, memo) = match &ended {
        Ended::Looked(state, pause) => {
            (Next::At(pace::after(now, *pause)), serde_json::to_string(state).ok())
        }
        Ended::Later(pause) => (Next::At(pace::after(now, *pause)), due.memo.clone()),
        Ended::Gone => (Next::Gone, None),
    };
    match agenda.settle(List::Sweeps, &due, next, memo.as_deref(), now).await {
        Ok(true) => {}
        Ok(false) => tracing::debug!(project = due.key, "somebody else has looked at it since"),
        Err(error) => {
            sweeper.tools.recorder.store_failed(&error);
            tracing::debug!(project = due.key, error = chain(&error), "it is looked at again");
        }
    }
}

impl Sweeper {
    fn new(tools: Arc<Tools>) -> Self {
        let settings = &tools.settings.sweeps;
        Self {
            gates: Gates::new(settings.per_host_at_once),
            files: Files::default(),
            turns: Semaphore::new(settings.at_once.max(1)),
            at_work: Mutex::default(),
            tools,
        }
    }

    fn claimed_max(&self) -> usize {
        self.tools.settings.sweeps.at_once.max(1).saturating_mul(CLAIMED_PER_TURN)
    }

    /// Claims what is due; `None` when the agenda cannot be used.
    async fn claim(&self, limit: usize) -> Option<Vec<Due>> {
        // It is renewed for as long as it is looked at.
        let agenda = &self.tools.backend.agenda;
        let claimed = agenda.claim(List::Sweeps, limit, hold::TTL, Timestamp::now()).await;
        claimed.inspect_err(|error| self.tools.recorder.store_failed(error)).ok()
    }

    async fn attend(&self, due: &Due, last: Option<&SweepState>, stop: &CancellationToken) -> Ended {
        let Some(busy) = Busy::with(&self.at_work, &due.key) else { return Ended::Later(OVERLONG_PAUSE) };
        let project = match self.project(&due.key).await {
            Ok(Some(project)) => project,
            Ok(None) => return Ended::Gone,
            Err(error) => {
                self.tools.recorder.store_failed(&error);
                return Ended::Later(FAULT_PAUSE);
            }
        };
        let is_hint = pace::is_hint(due.due_at, last, self.tools.settings.sweeps.interval);
        let entering = async {
            keep_apart(last).await;
            self.gates.enter(&project.repository().origin(), is_hint).await
        };
        let admission = tokio::select! {
            admission = entering => admission,
            () = stop.cancelled() => return Ended::Later(Duration::ZERO),
        };
        let pass = match admission {
            Admission::Enter(pass) => pass,
            Admission::Later(pause) => {
                self.tools.figures.count(Count::SweepPutOff);
                return Ended::Later(pause);
            }
        };
        let delivered_at = last.filter(|_| is_hint).map(|_| due.due_at);
        let mut state = SweepState::at(Timestamp::now());
        let begun = Instant::now();
        let cancel = stop.child_token();
        let looking = look::look(self, &project, delivered_at, &pass, &cancel, &mut state);
        let looked = Box::pin(looking).await;
        self.tools.figures.sweep_took(begun.elapsed());
        drop((pass, busy));
        self.conclude(&project, last, state, looked)
    }

    async fn project(&self, key: &str) -> Result<Option<RegisteredProject>, StoreError> {
        let Ok(slug) = key.parse::<ProjectSlug>() else { return Ok(None) };
        self.tools.backend.projects.project(&slug).await
    }

    /// What a look that came to its end means for the project's entry.
    fn conclude(
        &self,
        project: &RegisteredProject,
        last: Option<&SweepState>,
        mut state: SweepState,
        looked: Result<(), Fault>,
    ) -> Ended {
        let interval = self.tools.settings.sweeps.interval;
        let slug = &project.project.slug;
        let fault = match looked {
            Ok(()) => {
                self.tools.figures.count(Count::Swept);
                return Ended::Looked(state, pace::pause(0, interval, random_share()));
            }
            Err(Fault::Stopped) => return Ended::Later(Duration::ZERO),
            Err(fault) if fault.is_slipways() => {
                if let Fault::Store(error) = &fault {
                    self.tools.recorder.store_failed(error);
                }
                tracing::debug!(project = %slug, error = chain(&fault), "the look was given up");
                return Ended::Later(FAULT_PAUSE * 4);
            }
            Err(fault) => fault,
        };
        self.tools.figures.count(Count::SweepFailed);
        let error = fault.shown();
        let is_known =
            last.and_then(|last| last.error.as_ref()).is_some_and(|known| known.code == error.code);
        if is_known {
            tracing::debug!(project = %slug, error = chain(&fault), "a look came to nothing again");
        } else {
            tracing::warn!(project = %slug, error = chain(&fault), "a look came to nothing");
        }
        state.failures = last.map_or(0, |last| last.failures).saturating_add(1);
        state.error = Some(error);
        let pause = pace::pause(state.failures, interval, random_share()).max(fault.pause_min());
        Ended::Looked(state, pause)
    }
}

/// Waits until some time has passed since the last look.
async fn keep_apart(last: Option<&SweepState>) {
    let Some(last) = last else { return };
    let left = pace::after(last.swept_at, GAP).duration_since(Timestamp::now());
    // A clock that was set back does not hold it up for longer than a gap.
    if let Ok(left) = Duration::try_from(left) {
        tokio::time::sleep(left.min(GAP)).await;
    }
}

/// From 0 to 1, from the random bits of a fresh id.
fn random_share() -> f64 {
    let bytes = EventId::generate().as_uuid().into_bytes();
    f64::from(u16::from_be_bytes([bytes[14], bytes[15]])) / f64::from(u16::MAX)
}

/// Marks a project as being looked at until it is dropped.
#[derive(Debug)]
struct Busy<'a> {
    at_work: &'a Mutex<HashSet<String>>,
    key: &'a str,
}

impl<'a> Busy<'a> {
    /// `None` when it is looked at already.
    fn with(at_work: &'a Mutex<HashSet<String>>, key: &'a str) -> Option<Self> {
        let is_new = locked(at_work).insert(key.to_owned());
        is_new.then(|| Self { at_work, key })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        locked(self.at_work).remove(self.key);
    }
}

fn locked(at_work: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    at_work.lock().unwrap_or_else(PoisonError::into_inner)
}
