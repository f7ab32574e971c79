//! What a chunk of records came to, as the script `commit.lua` reads it.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::codec::{micros, to_json};
use crate::model::Deployment;
use crate::record::Record;
use crate::store::StoreError;

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
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) effect: &'static str,
    pub(super) subject: String,
    pub(super) digest: String,
    pub(super) name: String,
    pub(super) body: String,
    pub(super) hash: String,
    /// Microseconds.
    pub(super) at: String,
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
        Record::JobBuried(buried) => ("job_buried", "buried", buried.id.to_string()),
        Record::JobUnburied { id } => ("job_unburied", "buried", id.to_string()),
    };
    let (body, hash, at) = match record {
        Record::CredentialStored(credential) => {
            (to_json("credential", credential)?, String::new(), Timestamp::UNIX_EPOCH)
        }
        Record::TokenCreated(token) => (to_json("token", token)?, token.sha256.clone(), token.created_at),
        Record::AutoscalerStored(autoscaler) => {
            (to_json("autoscaler", autoscaler)?, String::new(), Timestamp::UNIX_EPOCH)
        }
        Record::ReplicasWished(wish) => (to_json("wish", wish)?, String::new(), Timestamp::UNIX_EPOCH),
        Record::JobBuried(buried) => (to_json("buried job", buried)?, String::new(), buried.at),
        Record::Event(_)
        | Record::CredentialDeleted { .. }
        | Record::TokenRevoked { .. }
        | Record::AutoscalerDeleted { .. }
        | Record::JobUnburied { .. } => (String::new(), String::new(), Timestamp::UNIX_EPOCH),
    };
    let digest = Sha256::digest(to_json("record", record)?.as_bytes());
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let subject = format!("{kind}/{name}");
    Ok(Some(Entry { effect, subject, digest, name, body, hash, at: micros(at).to_string() }))
}
