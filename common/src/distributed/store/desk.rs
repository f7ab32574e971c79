//! The desk: what was read for a chunk of records, and what folding them makes of it. Pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::codec::{after, from_json, lifetime_ms, micros, split, to_json};
use super::plan::{self, EventWrite, Plan, Refused, Reserved, Span, Write};
use crate::model::{Deployment, DeploymentId, Event, EventId, EventKind, JobMessage};
use crate::record::Record;
use crate::state;
use crate::store::{Reservation, StoreError};

/// How much longer than needed Redis keeps a reservation, since its clock is not ours.
pub(super) const CLOCK_GRACE: Duration = Duration::from_secs(60);

/// What is known of one event before it is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Folded; its number.
    Folded(u64),
    /// Refused by the ledger's order after this many events.
    Refused(u64),
    /// New.
    New,
}

/// What became of an event in the ledger's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has its place.
    Taken,
    /// Events after it in the ledger are before it in the history: the history must be put in order first.
    OutOfOrder,
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) epoch: String,
    known: HashMap<EventId, Known>,
    sheets: HashMap<DeploymentId, Sheet>,
    /// Deployments that get a place among the others, in its order.
    placed: Vec<DeploymentId>,
    refused: Vec<(EventId, u64)>,
    entries: Vec<plan::Entry>,
    reservations: Vec<Reserved>,
}

/// One deployment on the desk.
#[derive(Debug)]
struct Sheet {
    /// Number of events it was read with.
    expected: u64,
    body: Body,
    count: u64,
    confirmed: u64,
    confirmed_changed: bool,
    /// Whether the ledger gives it its place among the others now.
    placed: bool,
    events: Vec<(u64, Event)>,
    dropped: Vec<EventId>,
}

#[derive(Debug)]
enum Body {
    Absent,
    Stored(String),
    Read(Box<Deployment>),
}

impl Sheet {
    fn new(stored: Option<String>, confirmed: Option<u64>) -> Result<Self, StoreError> {
        let (count, body) = match stored {
            None => (0, Body::Absent),
            Some(stored) => {
                let (count, body) = split(&stored)?;
                (count, Body::Stored(body.to_owned()))
            }
        };
        let confirmed = confirmed.unwrap_or_default().min(count);
        Ok(Self { expected: count, body, count, confirmed, ..Self::absent() })
    }

    fn absent() -> Self {
        Self {
            expected: 0,
            body: Body::Absent,
            count: 0,
            confirmed: 0,
            confirmed_changed: false,
            placed: false,
            events: Vec::new(),
            dropped: Vec::new(),
        }
    }

    fn read(&mut self) -> Result<(), StoreError> {
        if let Body::Stored(body) = &self.body {
            self.body = Body::Read(Box::new(from_json("deployment", body)?));
        }
        Ok(())
    }

    /// Folds the event at the end of the history.
    fn fold(&mut self, event: &Event) -> Result<(), StoreError> {
        self.read()?;
        match &mut self.body {
            Body::Read(deployment) => state::apply(deployment, event).map_err(StoreError::Illegal)?,
            Body::Absent | Body::Stored(_) => self.body = Body::Read(Box::new(begin(event)?)),
        }
        self.count += 1;
        self.events.push((self.count, event.clone()));
        Ok(())
    }

    fn confirm(&mut self, count: u64) -> Result<(), StoreError> {
        if self.confirmed == 0 {
            self.placed = true;
            self.read()?;
        }
        self.confirmed = count;
        self.confirmed_changed = true;
        Ok(())
    }

    fn write(&self, id: DeploymentId) -> Result<Write, StoreError> {
        let mut write = Write {
            id: id.to_string(),
            expected: self.expected.to_string(),
            count: self.count,
            body: None,
            confirmed: self.confirmed_changed.then_some(self.confirmed),
            placed: self.placed,
            state: "",
            in_service: false,
            place: String::new(),
            indexes: Vec::new(),
            events: Vec::new(),
            dropped: self.dropped.iter().map(ToString::to_string).collect(),
        };
        if let Body::Read(deployment) = &self.body
            && (self.placed || !(self.events.is_empty() && self.dropped.is_empty()))
        {
            write.body = Some(to_json("deployment", deployment)?);
            write.state = deployment.state.as_str();
            write.in_service = deployment.state.in_service();
            write.place = deployment.serial_key();
            write.indexes = plan::indexes(deployment);
            write.events = self.events.iter().map(event_write).collect::<Result<_, _>>()?;
        }
        Ok(write)
    }
}

/// The deployment that the first event of a history brings into being.
fn begin(event: &Event) -> Result<Deployment, StoreError> {
    if matches!(event.kind, EventKind::Accepted { .. }) {
        return state::begin(event).map_err(StoreError::Illegal);
    }
    Err(StoreError::UnknownDeployment { deployment: event.deployment })
}

fn event_write((number, event): &(u64, Event)) -> Result<EventWrite, StoreError> {
    let job = match &event.kind {
        EventKind::Accepted { message } => Some(message.id.to_string()),
        EventKind::StageStarted { .. }
        | EventKind::StageProgress { .. }
        | EventKind::StageFinished { .. }
        | EventKind::StageWaiting { .. }
        | EventKind::Succeeded
        | EventKind::Failed { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::Cancelled
        | EventKind::Superseded { .. }
        | EventKind::Replaced { .. }
        | EventKind::Degraded { .. }
        | EventKind::Recovered => None,
    };
    Ok(EventWrite { id: event.id.to_string(), number: *number, body: to_json("event", event)?, job })
}

/// Whether the history refused the event, rather than nobody being able to say.
pub(super) fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::Illegal(_) | StoreError::UnknownDeployment { .. })
}

/// Why `event` was refused after `history`.
pub(super) fn refusal(history: &[Event], event: &Event) -> StoreError {
    let mut sheet = Sheet::absent();
    let told = history.iter().chain([event]).find_map(|event| sheet.fold(event).err());
    told.unwrap_or_else(|| super::codec::unreadable("history", "an event was refused for no reason"))
}

impl Desk {
    pub(super) fn new(epoch: String) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Lays down what is known of an event.
    pub(super) fn lay_event(&mut self, id: EventId, number: Option<u64>, refused: Option<u64>) {
        let known = match (number, refused) {
            (Some(number), _) => Known::Folded(number),
            (None, Some(after)) => Known::Refused(after),
            (None, None) => Known::New,
        };
        self.known.insert(id, known);
    }

    /// Lays down a deployment as it is stored.
    pub(super) fn lay_deployment(
        &mut self,
        id: DeploymentId,
        stored: Option<String>,
        confirmed: Option<u64>,
    ) -> Result<(), StoreError> {
        self.sheets.insert(id, Sheet::new(stored, confirmed)?);
        Ok(())
    }

    pub(super) fn known(&self, id: EventId) -> Known {
        self.known.get(&id).copied().unwrap_or(Known::New)
    }

    /// Number of events of a deployment.
    pub(super) fn count(&self, id: DeploymentId) -> u64 {
        self.sheets.get(&id).map_or(0, |sheet| sheet.count)
    }

    fn sheet(&mut self, id: DeploymentId) -> Result<&mut Sheet, StoreError> {
        self.sheets.get_mut(&id).ok_or_else(|| super::codec::unreadable("deployment", "it was not read"))
    }

    /// Folds an event ahead of the ledger; answers its number.
    pub(super) fn fold(&mut self, event: &Event, keep: Duration) -> Result<u64, StoreError> {
        let number = self.append(event, keep)?;
        self.move_head(event, false)?;
        Ok(number)
    }

    /// Folds an event at the end of its history; answers its number.
    fn append(&mut self, event: &Event, keep: Duration) -> Result<u64, StoreError> {
        let sheet = self.sheet(event.deployment)?;
        sheet.fold(event)?;
        let number = sheet.count;
        self.known.insert(event.id, Known::Folded(number));
        self.restore_reservation(event, keep)?;
        Ok(number)
    }

    /// Gives the event its place in the ledger's order.
    pub(super) fn settle(&mut self, event: &Event, keep: Duration) -> Result<Step, StoreError> {
        let known = self.known(event.id);
        let sheet = self.sheet(event.deployment)?;
        match known {
            Known::Refused(_) => return Ok(Step::Taken),
            Known::Folded(number) if number <= sheet.confirmed => return Ok(Step::Taken),
            Known::Folded(number) if number == sheet.confirmed + 1 => {
                self.confirm(event.deployment, number)?;
                self.move_head(event, false)?;
                return Ok(Step::Taken);
            }
            Known::Folded(_) => return Ok(Step::OutOfOrder),
            Known::New if sheet.count > sheet.confirmed => return Ok(Step::OutOfOrder),
            Known::New => {}
        }
        match self.append(event, keep) {
            Ok(number) => {
                self.confirm(event.deployment, number)?;
                self.move_head(event, false)?;
            }
            Err(error) if is_refusal(&error) => self.refuse(event)?,
            Err(error) => return Err(error),
        }
        Ok(Step::Taken)
    }

    /// Takes what the event says of a ref, if it does.
    fn move_head(&mut self, event: &Event, is_refused: bool) -> Result<(), StoreError> {
        self.entries.extend(plan::head(event, is_refused)?);
        Ok(())
    }

    fn confirm(&mut self, id: DeploymentId, count: u64) -> Result<(), StoreError> {
        let sheet = self.sheet(id)?;
        sheet.confirm(count)?;
        if sheet.placed && !self.placed.contains(&id) {
            self.placed.push(id);
        }
        Ok(())
    }

    fn refuse(&mut self, event: &Event) -> Result<(), StoreError> {
        let after = self.sheets.get(&event.deployment).map_or(0, |sheet| sheet.confirmed);
        self.known.insert(event.id, Known::Refused(after));
        self.refused.push((event.id, after));
        self.move_head(event, true)
    }

    /// Puts a history in order: what the ledger has confirmed, then `event`, then the rest as far as it is legal.
    /// What is left out comes to its turn in the ledger later.
    pub(super) fn reorder(
        &mut self,
        event: &Event,
        history: Vec<Event>,
        keep: Duration,
    ) -> Result<(), StoreError> {
        let sheet = self.sheet(event.deployment)?;
        let confirmed = usize::try_from(sheet.confirmed).unwrap_or(usize::MAX).min(history.len());
        sheet.body = Body::Absent;
        sheet.count = 0;
        for event in &history[..confirmed] {
            sheet.fold(event)?;
        }
        sheet.events.clear();
        match sheet.fold(event) {
            Ok(()) => {
                let number = sheet.count;
                self.confirm(event.deployment, number)?;
                self.known.insert(event.id, Known::Folded(number));
                self.restore_reservation(event, keep)?;
                self.move_head(event, false)?;
            }
            Err(error) if is_refusal(&error) => {
                if history.iter().any(|other| other.id == event.id) {
                    sheet.dropped.push(event.id);
                }
                self.refuse(event)?;
            }
            Err(error) => return Err(error),
        }
        let ahead = history[confirmed..].iter().filter(|other| other.id != event.id);
        for other in ahead {
            let sheet = self.sheet(event.deployment)?;
            let known = match sheet.fold(other) {
                Ok(()) => Known::Folded(sheet.count),
                Err(_) => {
                    sheet.dropped.push(other.id);
                    Known::New
                }
            };
            self.known.insert(other.id, known);
        }
        Ok(())
    }

    /// Takes a record that is no event.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), StoreError> {
        self.entries.extend(plan::entry(record)?);
        Ok(())
    }

    /// What the desk came to.
    pub(super) fn plan(self, ledger: Option<Span>, quiet: bool) -> Result<Plan, StoreError> {
        let in_order = self.placed.iter().filter_map(|id| self.sheets.get_key_value(id));
        let others = self.sheets.iter().filter(|(_, sheet)| !sheet.placed);
        let writes = others.chain(in_order).map(|(id, sheet)| sheet.write(*id));
        Ok(Plan {
            deployments: writes.collect::<Result<_, _>>()?,
            epoch: self.epoch,
            ledger,
            quiet,
            now: micros(Timestamp::now()).to_string(),
            refused: self
                .refused
                .into_iter()
                .map(|(id, after)| Refused { id: id.to_string(), after })
                .collect(),
            entries: self.entries,
            reservations: self.reservations,
        })
    }

    /// A request's key stays bound to its job, also when Redis had forgotten it.
    fn restore_reservation(&mut self, event: &Event, keep: Duration) -> Result<(), StoreError> {
        if let EventKind::Accepted { message } = &event.kind {
            self.reservations.extend(reserved(message, keep)?);
        }
        Ok(())
    }
}

fn reserved(message: &JobMessage, keep: Duration) -> Result<Option<Reserved>, StoreError> {
    let Some(request) = &message.request else { return Ok(None) };
    let expires = after(message.accepted_at, keep);
    if expires <= micros(Timestamp::now()) {
        return Ok(None);
    }
    let reservation = Reservation {
        scope: request.scope.clone(),
        fingerprint: request.fingerprint.clone(),
        deployment: message.deployment,
        job: message.id,
        at: message.accepted_at,
    };
    Ok(Some(Reserved {
        scope: request.scope.clone(),
        body: to_json("reservation", &reservation)?,
        expires: expires.to_string(),
        keep_ms: lifetime_ms(keep, CLOCK_GRACE),
    }))
}
