//! What a chunk of records came to, as the script `commit.lua` reads it.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::codec::{micros, to_json};
use crate::model::registered::{Head, RegisteredProject};
use crate::model::{Deployment, Event, EventKind};
use crate::projects::head_of;
use crate::record::Record;
use crate::store::StoreError;

/// Subjects that are projects.
const PROJECT: &str = "project";
/// The effect of what says where refs stand.
const HEADS_MOVED: &str = "heads_moved";

#[derive(Debug, Serialize)]
pub(super) struct Plan {
    /// Name of the projection it was made for.
    pub(super) epoch: String,
    /// Where it stands in the ledger; absent when it was applied directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ledger: Option<Span>,
    /// Whether nobody is told.
    pub(super) quiet: bool,
    /// Microseconds.
    pub(super) now: String,
    pub(super) deployments: Vec<Write>,
    pub(super) refused: Vec<Refused>,
    pub(super) entries: Vec<Entry>,
    pub(super) reservations: Vec<Reserved>,
}

/// A part of the ledger: after offset `from`, up to `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Span {
    pub(super) from: String,
    pub(super) to: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Write {
    pub(super) id: String,
    /// Number of events it was read with.
    pub(super) expected: String,
    pub(super) count: u64,
    /// Its new body; absent when nothing was folded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    /// How many of its events the ledger has confirmed, when that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confirmed: Option<u64>,
    /// Whether it gets its place among the others now.
    pub(super) placed: bool,
    pub(super) state: &'static str,
    pub(super) in_service: bool,
    pub(super) place: String,
    pub(super) indexes: Vec<String>,
    pub(super) events: Vec<EventWrite>,
    /// Events that were in its history and are not any more.
    pub(super) dropped: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct EventWrite {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) body: String,
    /// The job it accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Refused {
    pub(super) id: String,
    /// How many events came before it.
    pub(super) after: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Reserved {
    pub(super) scope: String,
    pub(super) body: String,
    /// Microseconds.
    pub(super) expires: String,
    pub(super) keep_ms: u64,
}

/// A record other than an event.
#[derive(Debug, Default, Serialize)]
pub(super) struct Entry {
    pub(super) effect: &'static str,
    pub(super) subject: String,
    pub(super) digest: String,
    pub(super) name: String,
    pub(super) body: String,
    pub(super) hash: String,
    /// Microseconds.
    pub(super) at: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) seen: Vec<HeadWrite>,
    /// Places of heads that are no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) gone: Vec<String>,
}

/// Where a ref stands.
#[derive(Debug, Serialize)]
pub(super) struct HeadWrite {
    pub(super) place: String,
    pub(super) body: String,
}

/// The indexes a deployment is in for ever.
pub(super) fn indexes(deployment: &Deployment) -> Vec<String> {
    let project = &deployment.project;
    let mut names: Vec<String> = [project.slug.as_str(), &project.path, &project.name]
        .into_iter()
        .map(|name| format!("project:{name}"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.push(format!("environment:{}", deployment.environment));
    names.push(format!("user:{}", deployment.user));
    names.push(format!("place:{}", deployment.serial_key()));
    names
}

/// What a record other than an event does; `None` for an event.
pub(super) fn entry(record: &Record) -> Result<Option<Entry>, StoreError> {
    let (effect, kind, name) = match record {
        Record::Event(_) => return Ok(None),
        Record::CredentialStored(credential) => {
            ("credential_stored", "credential", credential.name.as_str().to_owned())
        }
        Record::CredentialDeleted { name } => ("credential_deleted", "credential", name.as_str().to_owned()),
        Record::TokenCreated(token) => ("token_created", "token", token.name.clone()),
        Record::TokenRevoked { name } => ("token_revoked", "token", name.clone()),
        Record::AutoscalerStored(autoscaler) => {
            ("autoscaler_stored", "autoscaler", autoscaler.place.to_string())
        }
        Record::AutoscalerDeleted { place, .. } => ("autoscaler_deleted", "autoscaler", place.to_string()),
        // A wish has no effect without an autoscaler: both are one subject.
        Record::ReplicasWished(wish) => ("replicas_wished", "autoscaler", wish.place.to_string()),
        // Heads end with their project: all of it is one subject.
        Record::ProjectStored(project) => {
            ("project_stored", PROJECT, project.project.slug.as_str().to_owned())
        }
        Record::ProjectDeleted { slug, .. } => ("project_deleted", PROJECT, slug.as_str().to_owned()),
        Record::HeadsSeen { slug, .. } => (HEADS_MOVED, PROJECT, slug.as_str().to_owned()),
        // What is to be done because of it is done at once: there is nothing to wait for.
        Record::DeliveryReceived(delivery) if delivery.kind.concerns_refs() => {
            ("delivery_received", "delivery", delivery.project.as_str().to_owned())
        }
        Record::DeliveryReceived(_) => return Ok(None),
        Record::JobBuried(buried) => ("job_buried", "buried", buried.id.to_string()),
        Record::JobUnburied { id } => ("job_unburied", "buried", id.to_string()),
    };
    let (body, hash, at) = content(record)?;
    let digest = Sha256::digest(to_json("record", record)?.as_bytes());
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let subject = format!("{kind}/{name}");
    let (seen, gone) = moved(record)?;
    Ok(Some(Entry { effect, subject, digest, name, body, hash, at: micros(at).to_string(), seen, gone }))
}

/// What a record other than an event is laid down as, by which hash it is found, and when it was made, where that counts.
fn content(record: &Record) -> Result<(String, String, Timestamp), StoreError> {
    Ok(match record {
        Record::CredentialStored(credential) => {
            (to_json("credential", credential)?, String::new(), Timestamp::UNIX_EPOCH)
        }
        Record::TokenCreated(token) => (to_json("token", token)?, token.sha256.clone(), token.created_at),
        Record::AutoscalerStored(autoscaler) => {
            (to_json("autoscaler", autoscaler)?, String::new(), Timestamp::UNIX_EPOCH)
        }
        Record::ReplicasWished(wish) => (to_json("wish", wish)?, String::new(), Timestamp::UNIX_EPOCH),
        Record::ProjectStored(stored) => (project(stored)?, String::new(), stored.updated_at),
        Record::DeliveryReceived(delivery) => (String::new(), String::new(), delivery.at),
        Record::JobBuried(buried) => (to_json("buried job", buried)?, String::new(), buried.at),
        Record::Event(_)
        | Record::CredentialDeleted { .. }
        | Record::TokenRevoked { .. }
        | Record::AutoscalerDeleted { .. }
        | Record::ProjectDeleted { .. }
        | Record::HeadsSeen { .. }
        | Record::JobUnburied { .. } => (String::new(), String::new(), Timestamp::UNIX_EPOCH),
    })
}

/// A project as it is laid down: its hook's id, what the inbox knows of the hook, and itself, a line each.
fn project(project: &RegisteredProject) -> Result<String, StoreError> {
    let (hook, body) = (to_json("hook", &project.hook_entry())?, to_json("project", project)?);
    Ok(format!("{}\n{hook}\n{body}", project.hook.id))
}

/// The heads a record moves, and the places of those that it says are gone.
fn moved(record: &Record) -> Result<(Vec<HeadWrite>, Vec<String>), StoreError> {
    let Record::HeadsSeen { seen, gone, .. } = record else { return Ok((Vec::new(), Vec::new())) };
    let seen = seen.iter().map(head_write).collect::<Result<_, _>>()?;
    let gone = gone.iter().map(|(environment, reference)| head_place(environment.as_str(), reference));
    Ok((seen, gone.collect()))
}

fn head_write(head: &Head) -> Result<HeadWrite, StoreError> {
    let place = head_place(head.environment.as_str(), &head.reference);
    Ok(HeadWrite { place, body: to_json("head", head)? })
}

fn head_place(environment: &str, reference: &str) -> String {
    format!("{environment}\n{reference}")
}

/// What an event does besides its part in a history: the acceptance of a job that a push made moves a head. One that was
/// refused moves none, and is said all the same, as it may have been applied ahead.
pub(super) fn head(event: &Event, is_refused: bool) -> Result<Option<Entry>, StoreError> {
    let EventKind::Accepted { message } = &event.kind else { return Ok(None) };
    let Some(head) = head_of(message) else { return Ok(None) };
    let slug = &message.project.slug;
    Ok(Some(Entry {
        effect: HEADS_MOVED,
        subject: format!("{PROJECT}/{slug}"),
        digest: event.id.to_string(),
        name: slug.as_str().to_owned(),
        at: micros(event.at).to_string(),
        seen: if is_refused { Vec::new() } else { vec![head_write(&head)?] },
        ..Entry::default()
    }))
}
