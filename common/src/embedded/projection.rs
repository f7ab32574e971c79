//! The projection: what the ledger's records mean for deployments, indexes, credentials, tokens and projects.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::codec::{Key, from_json, key, signed, to_json, unsigned};
use super::fault::Fault;
use super::{agenda, autoscaler, ledger, projects};
use crate::model::{Deployment, Event, EventKind};
use crate::projects::{due_by, head_of};
use crate::record::Record;
use crate::state;

/// Records read from the ledger at a time while rebuilding.
const REBUILD_CHUNK_RECORDS: usize = 500;

/// What a record other than an event is about.
pub(super) fn subject(record: &Record) -> Option<String> {
    match record {
        Record::Event(_) => None,
        Record::CredentialStored(credential) => Some(format!("credential/{}", credential.name)),
        Record::CredentialDeleted { name } => Some(format!("credential/{name}")),
        Record::TokenCreated(token) => Some(format!("token/{}", token.name)),
        Record::TokenRevoked { name } => Some(format!("token/{name}")),
        Record::AutoscalerStored(autoscaler) => Some(format!("autoscaler/{}", autoscaler.place)),
        Record::AutoscalerDeleted { place, .. } => Some(format!("autoscaler/{place}")),
        Record::ReplicasWished(wish) => Some(format!("autoscaler/{}", wish.place)),
        Record::ProjectStored(project) => Some(format!("project/{}", project.project.slug)),
        Record::ProjectDeleted { slug, .. } => Some(format!("project/{slug}")),
        // There are many of a project: each is a subject of its own, so that it is found at once.
        Record::DeliveryReceived(delivery) => Some(format!("delivery/{}/{}", delivery.project, delivery.id)),
        Record::HeadsSeen { slug, at, .. } => Some(format!("heads/{slug}/{at}")),
        Record::JobBuried(buried) => Some(format!("buried/{}", buried.id)),
        Record::JobUnburied { id } => Some(format!("buried/{id}")),
    }
}

/// Projects the record the ledger has taken at `position`; a refusal is kept beside it, and what cannot be
/// folded because a row is damaged waits for a rebuild.
pub(super) fn project_appended(connection: &Connection, position: i64, record: &Record) -> Result<(), Fault> {
    match (record, project(connection, Some(position), record)) {
        (Record::Event(event), Err(Fault::Illegal(_) | Fault::UnknownDeployment { .. })) => {
            let mut insert = connection
                .prepare_cached("INSERT OR REPLACE INTO refused (event, position) VALUES (?1, ?2)")?;
            insert.execute(params![key(event.id.as_uuid()), position])?;
            Ok(())
        }
        (_, Err(fault @ Fault::Corrupt { what: "deployment", .. })) => {
            tracing::error!(error = %fault, position, "a record could not be projected; a rebuild is needed");
            Ok(())
        }
        (_, result) => result.map(drop),
    }
}

/// Folds one record; answers an event's number in its deployment's history, 0 for other records.
pub(super) fn project(connection: &Connection, position: Option<i64>, record: &Record) -> Result<u64, Fault> {
    match record {
        Record::Event(event) => project_event(connection, position, event),
        Record::CredentialStored(credential) => {
            let body = to_json("credential", credential)?;
            connection
                .prepare_cached("INSERT OR REPLACE INTO credentials (name, body) VALUES (?1, ?2)")?
                .execute(params![credential.name.as_str(), body])?;
            Ok(0)
        }
        Record::CredentialDeleted { name } => {
            connection.prepare_cached("DELETE FROM credentials WHERE name = ?1")?.execute([name.as_str()])?;
            Ok(0)
        }
        Record::TokenCreated(token) => {
            let body = to_json("token", token)?;
            connection
                .prepare_cached("INSERT OR REPLACE INTO tokens (name, sha256, body) VALUES (?1, ?2, ?3)")?
                .execute(params![token.name, token.sha256, body])?;
            Ok(0)
        }
        Record::TokenRevoked { name } => {
            connection.prepare_cached("DELETE FROM tokens WHERE name = ?1")?.execute([name])?;
            Ok(0)
        }
        Record::AutoscalerStored(autoscaler) => autoscaler::store(connection, autoscaler).map(|()| 0),
        Record::AutoscalerDeleted { place, .. } => {
            autoscaler::delete(connection, place)?;
            autoscaler::forget(connection, place)?;
            Ok(0)
        }
        Record::ReplicasWished(wish) => autoscaler::wish(connection, wish).map(|()| 0),
        Record::ProjectStored(project) => {
            projects::store(connection, project)?;
            note_due(connection, record).map(|()| 0)
        }
        Record::ProjectDeleted { slug, .. } => projects::delete(connection, slug).map(|()| 0),
        Record::DeliveryReceived(_) => note_due(connection, record).map(|()| 0),
        Record::HeadsSeen { slug, seen, gone, .. } => projects::see(connection, slug, seen, gone).map(|()| 0),
        // What is set aside stands in the queue itself here.
        Record::JobBuried(_) | Record::JobUnburied { .. } => Ok(0),
    }
}

/// Notes the project that is to be looked at because of the record, if there is one.
fn note_due(connection: &Connection, record: &Record) -> Result<(), Fault> {
    match due_by(record) {
        Some((slug, at)) => agenda::note_project(connection, slug, at),
        None => Ok(()),
    }
}

/// What is known of a record without projecting it: the number of an event that was folded, or why it was
/// refused; `None` when the record is new.
pub(super) fn known(connection: &Connection, record: &Record) -> Result<Option<u64>, Fault> {
    let Record::Event(event) = record else {
        let appended = connection
            .prepare_cached("SELECT 1 FROM ledger WHERE subject = ?1 AND body = ?2")?
            .exists(params![subject(record), to_json("record", record)?])?;
        return Ok(appended.then_some(0));
    };
    let id = key(event.id.as_uuid());
    if let Some(number) = event_number(connection, &id)? {
        return Ok(Some(number));
    }
    let refused: Option<i64> = connection
        .prepare_cached("SELECT position FROM refused WHERE event = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    match refused {
        Some(position) => Err(refusal(connection, event, position)?),
        None => Ok(None),
    }
}

/// The tables of the projection.
const TABLES: [&str; 10] = [
    "deployments",
    "jobs",
    "events",
    "refused",
    "credentials",
    "tokens",
    "autoscalers",
    "wishes",
    "projects",
    "heads",
];

/// Empties the projection and folds the whole ledger into it; every registered project is due `now`. Answers the number
/// of records.
pub(super) fn rebuild(connection: &Connection, now: Timestamp) -> Result<u64, Fault> {
    for table in TABLES {
        connection.execute(&format!("DELETE FROM {table}"), [])?;
    }
    let mut count = 0;
    let mut next = 1;
    loop {
        let rows = ledger::rows(connection, next, REBUILD_CHUNK_RECORDS)?;
        let Some((last, _)) = rows.last() else { break };
        next = last + 1;
        for (position, body) in &rows {
            replay(connection, *position, &ledger::record(body)?)?;
            count += 1;
        }
    }
    autoscaler::forget_orphans(connection)?;
    agenda::note_projects(connection, now)?;
    Ok(count)
}

/// Projects a record again. What stands beside the autoscalers of today is not that of an earlier one at the same
/// place, which was deleted; and nobody need look again because of what was said long ago.
fn replay(connection: &Connection, position: i64, record: &Record) -> Result<(), Fault> {
    match record {
        Record::AutoscalerDeleted { place, .. } => autoscaler::delete(connection, place),
        Record::ProjectStored(project) => projects::store(connection, project),
        Record::DeliveryReceived(_) => Ok(()),
        Record::Event(_)
        | Record::CredentialStored(_)
        | Record::CredentialDeleted { .. }
        | Record::TokenCreated(_)
        | Record::TokenRevoked { .. }
        | Record::AutoscalerStored(_)
        | Record::ReplicasWished(_)
        | Record::ProjectDeleted { .. }
        | Record::HeadsSeen { .. }
        | Record::JobBuried(_)
        | Record::JobUnburied { .. } => project_appended(connection, position, record),
    }
}

fn event_number(connection: &Connection, event: &Key) -> Result<Option<u64>, Fault> {
    let number: Option<i64> = connection
        .prepare_cached("SELECT number FROM events WHERE event = ?1")?
        .query_row([event], |row| row.get(0))
        .optional()?;
    Ok(number.map(unsigned))
}

/// Why the event at `position` was refused: the fold of what the ledger had before it says so again.
fn refusal(connection: &Connection, event: &Event, position: i64) -> Result<Fault, Fault> {
    let mut select = connection
        .prepare_cached("SELECT body FROM events WHERE deployment = ?1 AND position < ?2 ORDER BY number")?;
    let mut rows = select.query(params![key(event.deployment.as_uuid()), position])?;
    let mut deployment = None;
    while let Some(row) = rows.next()? {
        let body: String = row.get(0)?;
        fold(&mut deployment, &from_json("event", &body)?)?;
    }
    match fold(&mut deployment, event) {
        Err(fault) => Ok(fault),
        Ok(()) => {
            Ok(Fault::Corrupt { what: "history", reason: "an event was refused for no reason".to_owned() })
        }
    }
}

/// Folds an event into the deployment, which the first one brings into being.
fn fold(deployment: &mut Option<Deployment>, event: &Event) -> Result<(), Fault> {
    match deployment {
        Some(deployment) => state::apply(deployment, event).map_err(Fault::Illegal),
        None if matches!(event.kind, EventKind::Accepted { .. }) => {
            *deployment = Some(state::begin(event).map_err(Fault::Illegal)?);
            Ok(())
        }
        None => Err(Fault::UnknownDeployment { deployment: event.deployment }),
    }
}

fn project_event(connection: &Connection, position: Option<i64>, event: &Event) -> Result<u64, Fault> {
    let id = key(event.id.as_uuid());
    if let Some(number) = event_number(connection, &id)? {
        return Ok(number);
    }
    let deployment_key = key(event.deployment.as_uuid());
    let (mut deployment, events) = match load(connection, &deployment_key)? {
        Some((deployment, events)) => (Some(deployment), events),
        None => (None, 0),
    };
    fold(&mut deployment, event)?;
    let number = events + 1;
    if let Some(deployment) = &deployment {
        save(connection, &deployment_key, deployment, number)?;
    }
    if let EventKind::Accepted { message } = &event.kind {
        connection
            .prepare_cached("INSERT OR REPLACE INTO jobs (job, deployment) VALUES (?1, ?2)")?
            .execute(params![key(message.id.as_uuid()), deployment_key])?;
        if let Some(head) = head_of(message) {
            projects::see(connection, &message.project.slug, &[head], &[])?;
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO events (event, deployment, number, position, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![id, deployment_key, signed(number), position, to_json("event", event)?])?;
    Ok(number)
}

/// A deployment and how many events it is the fold of.
fn load(connection: &Connection, id: &Key) -> Result<Option<(Deployment, u64)>, Fault> {
    let row: Option<(String, i64)> = connection
        .prepare_cached("SELECT body, events FROM deployments WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    row.map(|(body, events)| Ok((from_json("deployment", &body)?, unsigned(events)))).transpose()
}

/// Writes the deployment with its indexed columns. Only its state changes after the first event.
fn save(connection: &Connection, id: &Key, deployment: &Deployment, events: u64) -> Result<(), Fault> {
    let body = to_json("deployment", deployment)?;
    if events > 1 {
        connection
            .prepare_cached("UPDATE deployments SET state = ?2, events = ?3, body = ?4 WHERE id = ?1")?
            .execute(params![id, deployment.state.as_str(), signed(events), body])?;
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO deployments (id, project_slug, project_path, project_name, environment, state,
                                      user, events, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id,
            deployment.project.slug.as_str(),
            deployment.project.path,
            deployment.project.name,
            deployment.environment.as_str(),
            deployment.state.as_str(),
            deployment.user,
            signed(events),
            body,
        ])?;
    Ok(())
}
