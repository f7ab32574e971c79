//! Applying records: directly, when they were just appended, and chunk by chunk in the ledger's order.
//!
//! Both read what they need, fold it here and write it by one script that compares; who loses the comparison reads
//! again. Direct application may run ahead of the ledger; the projector, coming behind, confirms what it finds in the
//! ledger's order and puts right what is not, so that the store is what a replay would make of the ledger.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::RedisStore;
use super::codec::{from_json, to_json, unreadable};
use super::desk::{Desk, Known, Step, is_refusal, refusal};
use super::plan::{Plan, Span};
use super::scripts::{COMMIT, LOAD};
use crate::distributed::redis::RedisFault;
use crate::model::{DeploymentId, Event};
use crate::record::Record;
use crate::state::Illegal;
use crate::store::StoreError;

/// Attempts at a write that others keep overtaking.
const ATTEMPTS_MAX: u32 = 100;
/// Longest pause before an attempt, per attempt before it, up to [`PAUSE_STEPS_MAX`] times.
const PAUSE_STEP_US: u64 = 500;
const PAUSE_STEPS_MAX: u64 = 20;
/// Events read from a history at a time.
const HISTORY_PAGE: u64 = 500;

/// What became of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committed {
    Done,
    Conflict,
    Gone,
}

/// What became of a chunk of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// It is in the projection up to this offset; the rest is to be given again.
    Done {
        /// The last offset.
        to: u64,
    },
    /// The projection is another one by now, or somebody else got further.
    Gone,
}

/// What `load.lua` answers.
type Loaded = (
    Option<String>,
    Option<String>,
    Vec<Option<u64>>,
    Vec<Option<u64>>,
    Vec<Option<String>>,
    Vec<Option<u64>>,
);

impl RedisStore {
    /// Applies records ahead of the ledger, in order, until one is refused; answers the last event's number, 0 when
    /// the last is no event.
    pub(super) async fn apply_directly(&self, records: &[Record]) -> Result<u64, StoreError> {
        for attempt in 0..ATTEMPTS_MAX {
            pause(attempt).await;
            let (mut desk, ready) = self.lay_out(records).await?;
            if !ready {
                return Err(RedisFault::NotRebuilt.into());
            }
            let (mut told, mut outcome) = (Vec::new(), Ok(0));
            for record in records {
                match self.take_ahead(&mut desk, record).await {
                    Ok((number, is_new)) => {
                        outcome = Ok(number);
                        told.extend(is_new.then_some(record));
                    }
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            if told.is_empty() {
                return outcome;
            }
            match self.commit(&desk.plan(None, false)?).await? {
                Committed::Done => {
                    told.into_iter().for_each(|record| self.tell(record));
                    return outcome;
                }
                Committed::Conflict => {}
                Committed::Gone => return Err(RedisFault::NotRebuilt.into()),
            }
        }
        Err(StoreError::Unavailable { reason: "others keep writing to the same deployment".to_owned() })
    }

    /// Takes one record onto the desk; answers an event's number, and whether there is something to write.
    async fn take_ahead(&self, desk: &mut Desk, record: &Record) -> Result<(u64, bool), StoreError> {
        let Some(event) = event_of(record) else {
            desk.take(record)?;
            return Ok((0, true));
        };
        match desk.known(event.id) {
            Known::Folded(number) => Ok((number, false)),
            Known::Refused(after) => {
                let history = self.history(event.deployment, after).await?;
                Err(refusal(&history, event))
            }
            Known::New => Ok((self.fold_new(desk, event)?, true)),
        }
    }

    /// Folds an event ahead of the ledger. What the history does not know of yet, the ledger may bring at once.
    fn fold_new(&self, desk: &mut Desk, event: &Event) -> Result<u64, StoreError> {
        let folded = desk.fold(event, self.keep_finished());
        if let Err(StoreError::UnknownDeployment { .. } | StoreError::Illegal(Illegal::UnknownJob { .. })) =
            &folded
        {
            self.nudge_soon();
        }
        folded
    }

    /// Applies records of the ledger, those after offset `from`, each with its offset. All of them, or those before
    /// the first that needs a history put in order, or that one alone.
    pub(crate) async fn apply_chunk(
        &self,
        epoch: &str,
        from: u64,
        records: &[(u64, Record)],
        quiet: bool,
    ) -> Result<Chunk, StoreError> {
        let only: Vec<Record> = records.iter().map(|(_, record)| record.clone()).collect();
        for attempt in 0..ATTEMPTS_MAX {
            pause(attempt).await;
            let (mut desk, _) = self.lay_out(&only).await?;
            if desk.epoch != epoch {
                return Ok(Chunk::Gone);
            }
            let mut to = from;
            for (offset, record) in records {
                let step = match record {
                    Record::Event(event) => self.settle(&mut desk, event, to == from).await?,
                    Record::CredentialStored(_)
                    | Record::CredentialDeleted { .. }
                    | Record::TokenCreated(_)
                    | Record::TokenRevoked { .. }
                    | Record::AutoscalerStored(_)
                    | Record::AutoscalerDeleted { .. }
                    | Record::ReplicasWished(_)
                    | Record::ProjectStored(_)
                    | Record::ProjectDeleted { .. }
                    | Record::DeliveryReceived(_)
                    | Record::HeadsSeen { .. }
                    | Record::JobBuried(_)
                    | Record::JobUnburied { .. } => {
                        desk.take(record)?;
                        Step::Taken
                    }
                };
                if step == Step::OutOfOrder {
                    break;
                }
                to = *offset;
            }
            let span = Span { from: from.to_string(), to: to.to_string() };
            match self.commit(&desk.plan(Some(span), quiet)?).await? {
                Committed::Done => return Ok(Chunk::Done { to }),
                Committed::Conflict => {}
                Committed::Gone => return Ok(Chunk::Gone),
            }
        }
        Err(StoreError::Unavailable { reason: "others keep writing to the same deployments".to_owned() })
    }

    /// Gives one event its place; the first of a chunk may have its history put in order for it.
    async fn settle(&self, desk: &mut Desk, event: &Event, first: bool) -> Result<Step, StoreError> {
        let step = desk.settle(event, self.keep_finished())?;
        if step == Step::Taken || !first {
            return Ok(step);
        }
        let history = self.history(event.deployment, desk.count(event.deployment)).await?;
        tracing::info!(deployment = %event.deployment, event = %event.id, "a history is put in order");
        desk.reorder(event, history, self.keep_finished())?;
        Ok(Step::Taken)
    }

    /// Reads what the records need; and whether the projection is complete.
    async fn lay_out(&self, records: &[Record]) -> Result<(Desk, bool), StoreError> {
        let events: Vec<&Event> = records.iter().filter_map(event_of).collect();
        let deployments: BTreeSet<DeploymentId> = events.iter().map(|event| event.deployment).collect();
        let mut args = vec![events.len().to_string()];
        args.extend(events.iter().map(|event| event.id.to_string()));
        args.extend(deployments.iter().map(ToString::to_string));
        let loaded: Loaded = self.ask(&LOAD, &args[..]).await?;
        let (epoch, ready, known, refused, stored, confirmed) = loaded;
        let epoch = epoch.unwrap_or_default();
        let ready = !epoch.is_empty() && ready.as_deref() == Some(epoch.as_str());
        let mut desk = Desk::new(epoch);
        for ((event, number), refused) in events.iter().zip(known).zip(refused) {
            desk.lay_event(event.id, number, refused);
        }
        for ((id, stored), confirmed) in deployments.into_iter().zip(stored).zip(confirmed) {
            desk.lay_deployment(id, stored, confirmed)?;
        }
        Ok((desk, ready))
    }

    async fn commit(&self, plan: &Plan) -> Result<Committed, StoreError> {
        let answer: String = self.ask(&COMMIT, to_json("plan", plan)?).await?;
        match answer.as_str() {
            "done" => Ok(Committed::Done),
            "conflict" => Ok(Committed::Conflict),
            "gone" => Ok(Committed::Gone),
            other => Err(unreadable("answer", other)),
        }
    }

    /// The first `count` events of a deployment, whether the projection is complete or not.
    async fn history(&self, id: DeploymentId, count: u64) -> Result<Vec<Event>, StoreError> {
        let mut history = Vec::new();
        let mut next = 1;
        while next <= count {
            let last = count.min(next + HISTORY_PAGE - 1);
            let mut read = redis::cmd("HMGET");
            read.arg(self.redis.key("s:event"));
            (next..=last).for_each(|number| {
                read.arg(format!("{id}:{number}"));
            });
            let bodies: Vec<Option<String>> = self.ask_command(&read).await?;
            for body in bodies {
                let body = body.ok_or_else(|| unreadable("history", "an event is missing"))?;
                history.push(from_json("event", &body)?);
            }
            next = last + 1;
        }
        Ok(history)
    }
}

fn event_of(record: &Record) -> Option<&Event> {
    match record {
        Record::Event(event) => Some(event),
        Record::CredentialStored(_)
        | Record::CredentialDeleted { .. }
        | Record::TokenCreated(_)
        | Record::TokenRevoked { .. }
        | Record::AutoscalerStored(_)
        | Record::AutoscalerDeleted { .. }
        | Record::ReplicasWished(_)
        | Record::ProjectStored(_)
        | Record::ProjectDeleted { .. }
        | Record::DeliveryReceived(_)
        | Record::HeadsSeen { .. }
        | Record::JobBuried(_)
        | Record::JobUnburied { .. } => None,
    }
}

/// Waits a random little while, longer after more attempts.
async fn pause(attempt: u32) {
    if attempt == 0 {
        return;
    }
    let longest_us = PAUSE_STEP_US * u64::from(attempt).min(PAUSE_STEPS_MAX);
    let random = u64::from(Uuid::now_v7().as_fields().3[7]);
    tokio::time::sleep(Duration::from_micros(longest_us * random / 255)).await;
}

/// Whether applying failed because of the record, not because of the store.
pub(crate) fn is_refused(error: &StoreError) -> bool {
    is_refusal(error)
}
