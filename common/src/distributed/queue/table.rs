//! What this process has in its hands: deliveries nobody works on yet, and the claims it handed out. Pure: time
//! comes in as an argument, and what a delivery is, is left open.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::model::{JobId, JobMessage, WorkerId};

/// Projects whose last turn is remembered.
const TURNS_MAX: usize = 1_024;

/// A delivery of the broker, as far as the table cares.
pub(super) trait Promise {
    /// Whether acknowledging it can still reach the broker. One that is not live comes again by itself.
    fn is_live(&self) -> bool;
}

/// What stands at the broker for a claimed job.
#[derive(Debug)]
pub(super) enum Hold<D> {
    /// The delivery, not acknowledged yet.
    Delivery(D),
    /// A guard copy in a delay queue; the delivery is acknowledged.
    Guarded,
    /// Somebody is busy with it right now.
    Busy,
}

/// A delivery nobody works on.
#[derive(Debug)]
pub(super) struct Waiting<D> {
    /// The job.
    pub(super) message: Arc<JobMessage>,
    /// Generation of the copy.
    pub(super) generation: u64,
    /// Not due before (microseconds since 1970).
    pub(super) until: Option<i64>,
    /// Not looked at before: another process has the job.
    pub(super) not_before: Option<Instant>,
    /// When it came.
    pub(super) arrived: Instant,
    /// Token and count of the claim of this process that expired on it; zeros when there was none.
    pub(super) expired: (u64, u32),
    /// What stands for it at the broker.
    pub(super) hold: Hold<D>,
}

/// A claim that was handed out.
#[derive(Debug)]
pub(super) struct Held<D> {
    pub(super) message: Arc<JobMessage>,
    pub(super) worker: WorkerId,
    pub(super) generation: u64,
    pub(super) token: u64,
    pub(super) deliveries: u32,
    pub(super) expires: Timestamp,
    /// Since when the present delivery is held.
    pub(super) since: Instant,
    pub(super) hold: Hold<D>,
}

/// What a claim looks like to who renews or ends it.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) message: Arc<JobMessage>,
    pub(super) worker: WorkerId,
    pub(super) generation: u64,
    pub(super) token: u64,
    pub(super) deliveries: u32,
    /// Whether something unacknowledged or a guard copy stands for the job, so that nobody else is given it.
    pub(super) is_backed: bool,
}

/// What this process has in its hands.
#[derive(Debug)]
pub(super) struct Table<D> {
    waiting: VecDeque<Waiting<D>>,
    claims: HashMap<JobId, Held<D>>,
    turns: HashMap<String, u64>,
    turn: u64,
}

impl<D> Default for Table<D> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), claims: HashMap::new(), turns: HashMap::new(), turn: 0 }
    }
}

impl<D: Promise> Table<D> {
    /// Takes a delivery in. When it is the lost delivery of a claim that goes on here, come again, or its guard copy,
    /// the claim has it back; otherwise it waits.
    pub(super) fn arrive(&mut self, waiting: Waiting<D>) {
        if let Some(held) = self.claims.get_mut(&waiting.message.id)
            && held.generation == waiting.generation
            && waiting.until.is_none()
        {
            let is_bare = match &held.hold {
                Hold::Delivery(delivery) => !delivery.is_live(),
                Hold::Guarded => true,
                Hold::Busy => false,
            };
            if is_bare {
                held.hold = waiting.hold;
                held.since = waiting.arrived;
                return;
            }
        }
        self.waiting.push_back(waiting);
    }

    /// Gives back what [`Self::next`] answered: it keeps its place at the front.
    pub(super) fn give_back(&mut self, waiting: Waiting<D>) {
        self.waiting.push_front(waiting);
    }

    /// The next job to look at: a claim of this process that expired, else the oldest delivery of the project that
    /// was served longest ago.
    pub(super) fn next(&mut self, now: Timestamp, clock: Instant) -> Option<Waiting<D>> {
        self.forget_lost(now);
        if let Some(expired) = self.take_expired(now, clock) {
            return Some(expired);
        }
        let (index, project) = self.next_index(now, clock)?;
        self.turn += 1;
        if self.turns.len() >= TURNS_MAX {
            self.turns.clear();
        }
        self.turns.insert(project, self.turn);
        self.waiting.remove(index)
    }

    /// Forgets what the broker has taken back: deliveries of a connection that ended, and claims on such that
    /// nobody renewed.
    fn forget_lost(&mut self, now: Timestamp) {
        self.waiting.retain(|waiting| is_backed(&waiting.hold));
        self.claims
            .retain(|_, held| held.expires > now || matches!(held.hold, Hold::Busy) || is_backed(&held.hold));
    }

    fn take_expired(&mut self, now: Timestamp, clock: Instant) -> Option<Waiting<D>> {
        let expired =
            self.claims.iter().find(|(_, held)| held.expires <= now && !matches!(held.hold, Hold::Busy));
        let job = *expired?.0;
        let held = self.claims.remove(&job)?;
        Some(Waiting {
            message: held.message,
            generation: held.generation,
            until: None,
            not_before: None,
            arrived: clock,
            expired: (held.token, held.deliveries),
            hold: held.hold,
        })
    }

    fn next_index(&self, now: Timestamp, clock: Instant) -> Option<(usize, String)> {
        let mut best: Option<(u64, usize, &str)> = None;
        for (index, waiting) in self.waiting.iter().enumerate() {
            if !self.is_eligible(waiting, now, clock) {
                continue;
            }
            let project = waiting.message.project.slug.as_str();
            let turn = self.turns.get(project).copied().unwrap_or(0);
            if best.is_none_or(|(least, _, _)| turn < least) {
                best = Some((turn, index, project));
            }
        }
        best.map(|(_, index, project)| (index, project.to_owned()))
    }

    fn is_eligible(&self, waiting: &Waiting<D>, now: Timestamp, clock: Instant) -> bool {
        waiting.until.is_none_or(|until| until <= now.as_microsecond())
            && waiting.not_before.is_none_or(|at| at <= clock)
            && !self.claims.contains_key(&waiting.message.id)
    }

    /// Whether a job is claimed here that was handed out more often than this.
    pub(super) fn has_above(&self, deliveries: u32) -> bool {
        self.claims.values().any(|held| held.deliveries > deliveries)
    }

    /// Notes a claim that is being handed out.
    pub(super) fn hand_out(&mut self, held: Held<D>) {
        self.claims.insert(held.message.id, held);
    }

    /// The claim, if it is the present one and holds at `now`.
    pub(super) fn standing(&self, job: JobId, token: u64, now: Timestamp) -> Option<Standing> {
        let held = self.claims.get(&job)?;
        (held.token == token && held.expires > now).then(|| Standing {
            message: Arc::clone(&held.message),
            worker: held.worker,
            generation: held.generation,
            token: held.token,
            deliveries: held.deliveries,
            is_backed: is_backed(&held.hold),
        })
    }

    /// Extends the claim; `false` when it is not the present one.
    pub(super) fn extend(&mut self, job: JobId, token: u64, expires: Timestamp) -> bool {
        let held = self.claims.get_mut(&job).filter(|held| held.token == token);
        held.map(|held| held.expires = expires).is_some()
    }

    /// Takes the hold of a claim out for a while: nobody else ends it or hands it out meanwhile.
    pub(super) fn make_busy(&mut self, job: JobId, token: u64) -> Option<Hold<D>> {
        let held = self.claims.get_mut(&job).filter(|held| held.token == token)?;
        match held.hold {
            Hold::Busy => None,
            Hold::Delivery(_) | Hold::Guarded => Some(std::mem::replace(&mut held.hold, Hold::Busy)),
        }
    }

    /// Ends the business of [`Self::make_busy`]: a busy claim stays where it is, so it is still there.
    pub(super) fn end_busy(&mut self, job: JobId, token: u64, hold: Hold<D>) {
        if let Some(held) = self.claims.get_mut(&job).filter(|held| held.token == token) {
            held.hold = hold;
        }
    }

    /// The job and generation of a claim.
    pub(super) fn copy_of(&self, job: JobId, token: u64) -> Option<(Arc<JobMessage>, u64)> {
        let held = self.claims.get(&job).filter(|held| held.token == token)?;
        Some((Arc::clone(&held.message), held.generation))
    }

    /// Removes a claim whose hold is out with the caller; answers what it was.
    pub(super) fn forget(&mut self, job: JobId, token: u64) -> Option<Held<D>> {
        self.claims.get(&job).filter(|held| held.token == token)?;
        self.claims.remove(&job)
    }

    /// Claims whose delivery is held for longer than `longest`.
    pub(super) fn held_longer(&self, longest: Duration, clock: Instant) -> Vec<(JobId, u64)> {
        let long = self.claims.iter().filter(|(_, held)| {
            matches!(held.hold, Hold::Delivery(_)) && clock.duration_since(held.since) > longest
        });
        long.map(|(job, held)| (*job, held.token)).collect()
    }

    /// Takes out the deliveries that wait here for longer than they should: `contended` for those another process
    /// works on, `idle` for all. What is due soon anyway stays.
    pub(super) fn take_stale(
        &mut self,
        contended: Duration,
        idle: Duration,
        clock: Instant,
    ) -> Vec<Waiting<D>> {
        let is_stale = |waiting: &Waiting<D>| {
            let longest = if waiting.not_before.is_some() { contended } else { idle };
            clock.duration_since(waiting.arrived) > longest
        };
        let (stale, kept) = std::mem::take(&mut self.waiting).into_iter().partition(is_stale);
        self.waiting = kept;
        Vec::from(stale)
    }

    /// Deliveries that could be worked on, now or later.
    pub(super) fn waiting_count(&self) -> usize {
        let ready = self.waiting.iter().filter(|waiting| {
            waiting.not_before.is_none()
                && is_backed(&waiting.hold)
                && !self.claims.contains_key(&waiting.message.id)
        });
        ready.count()
    }

    /// How long until there may be something to look at; `None` when nothing is known to come.
    pub(super) fn next_due(&self, now: Timestamp, clock: Instant) -> Option<Duration> {
        let expiries = self.claims.values().map(|held| between(now, held.expires.as_microsecond()));
        let waits = self.waiting.iter().filter(|waiting| !self.claims.contains_key(&waiting.message.id));
        let waits = waits.map(|waiting| {
            let until = waiting.until.map_or(Duration::ZERO, |until| between(now, until));
            let pause = waiting.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(clock));
            until.max(pause)
        });
        expiries.chain(waits).min()
    }
}

fn is_backed<D: Promise>(hold: &Hold<D>) -> bool {
    match hold {
        Hold::Delivery(delivery) => delivery.is_live(),
        Hold::Guarded => true,
        Hold::Busy => false,
    }
}

fn between(now: Timestamp, until_us: i64) -> Duration {
    Duration::from_micros(u64::try_from(until_us.saturating_sub(now.as_microsecond())).unwrap_or(0))
}
