//! What the ledger keeps and the store is a projection of.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::autoscaler::{Autoscaler, Place, Wish};
use crate::model::registered::{Head, RegisteredProject};
use crate::model::{CredentialName, Delivery, EnvironmentName, Event, JobId, ProjectSlug};
use crate::queue::Buried;
use crate::secrets::Sealed;

/// One entry of the ledger. Replaying all of them in order rebuilds the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A step of a deployment's history.
    Event(Event),
    /// A credential was stored or replaced.
    CredentialStored(StoredCredential),
    /// A credential was deleted.
    CredentialDeleted {
        /// Which.
        name: CredentialName,
    },
    /// An API token was created.
    TokenCreated(StoredToken),
    /// An API token was revoked.
    TokenRevoked {
        /// Name of the token.
        name: String,
    },
    /// An autoscaler was set or changed.
    AutoscalerStored(Box<Autoscaler>),
    /// An autoscaler was deleted; the replica count stays as it is.
    AutoscalerDeleted {
        /// Where.
        place: Place,
        /// When.
        at: Timestamp,
    },
    /// Somebody asked an autoscaler for a replica count.
    ReplicasWished(Wish),
    /// A project was registered or changed.
    ProjectStored(Box<RegisteredProject>),
    /// A project was deleted; what runs of it goes on running.
    ProjectDeleted {
        /// Which.
        slug: ProjectSlug,
        /// When.
        at: Timestamp,
    },
    /// A forge said something about a project.
    DeliveryReceived(Delivery),
    /// Refs of a project were looked at, and nothing was deployed of them.
    HeadsSeen {
        /// The project.
        slug: ProjectSlug,
        /// Where they stand.
        seen: Vec<Head>,
        /// Environments and refs that are no more.
        gone: Vec<(EnvironmentName, String)>,
        /// When.
        at: Timestamp,
    },
    /// A job was set aside.
    JobBuried(Buried),
    /// A job that was set aside is no more: it was queued again or discarded.
    JobUnburied {
        /// Which.
        id: JobId,
    },
}

/// A credential at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCredential {
    /// Its name.
    pub name: CredentialName,
    /// User name sent with the secret; most forges accept any.
    pub username: Option<String>,
    /// Host it may be sent to (`host[:port]`); nowhere else.
    pub host: Option<String>,
    /// The secret.
    pub secret: Sealed,
    /// When it was last stored.
    pub updated_at: Timestamp,
}

/// An API token at rest: only its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    /// Name of the token; it is the `user` of what is done with it.
    pub name: String,
    /// SHA-256 of the token, hexadecimal. Tokens are 256 random bits, so no slow hash is needed.
    pub sha256: String,
    /// When it was created.
    pub created_at: Timestamp,
}
