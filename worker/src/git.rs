//! Git: everything the worker does with repositories.
//!
//! Hosts are asked for their refs over HTTP (`smart_http`). Fetching and pushing is the job of the `git`
//! program, started in one place (`command`) with no configuration, no prompts, no hooks and one allowed
//! protocol. Everything local is read and written with `gix` in bare mirrors. Nothing is ever checked out, so
//! no hook, filter, submodule or symbolic link of a repository can act on this machine.

mod command;
mod commit;
mod credential;
mod error;
mod heads;
mod limits;
mod listing;
mod mirror;
mod push;
mod remote;
mod smart_http;
mod snapshot;

pub use commit::{Author, CommitDraft, CommitInfo, FoundCommit, find_by_trailer, write_commit};
pub use credential::Credential;
pub use error::GitError;
pub use heads::{HEADS_MAX, Heads};
pub use limits::{GitLimits, SnapshotLimits};
pub use mirror::{Mirror, MirrorStore};
pub use push::{MergeRequest, PushOption, PushOptionError, PushOutcome, PushRequest, push};
pub use remote::Resolved;
pub use slipway_common::model::{
    AddressPolicy, BranchName, HttpPolicy, Reference, RepositoryAddress, RevisionSpec,
};
pub use snapshot::Snapshot;
