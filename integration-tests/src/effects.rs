//! The effect ledger: what really happened outside Slipway, read from those it happened to, and the checker that
//! compares it with what Slipway said.
//!
//! Git servers tell their reference updates, engines their containers and images, registries their manifests. Nothing
//! here asks Slipway, and nothing here trusts it.

mod checker;
mod engine;
mod git;
mod registry;
mod stall;

pub use checker::{Ended, JobHistory, Violation, ViolationKind, check, unaccounted};
pub use engine::{containers, images};
pub(crate) use git::place;
pub use git::{commits, record_reference_updates};
pub use registry::manifests;
pub use stall::{STALL_MAX, Sample, Stall, stalls};

/// What kind of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// A reference of a Git repository was advanced to a commit with the job's trailer.
    Commit,
    /// An image is on the engine.
    Image,
    /// A container is on the engine.
    Container,
    /// A tag of a registry points to a manifest.
    Manifest,
}

/// One change, as the one it happened to tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Effect {
    /// Its kind.
    pub kind: EffectKind,
    /// The job named in it.
    pub job: String,
    /// Where: a repository and its reference, a replica, a name and its tag.
    pub place: String,
    /// What is there now: a commit, a container, a digest.
    pub value: String,
}
