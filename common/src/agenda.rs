//! The seam `Agenda`: what is to be looked at, and when. Whoever looks claims an entry, so that it is looked at once.
//!
//! An agenda is not in the ledger: what of it is lost is noted again, by the next event or when projects are gone
//! through.
//!
//! Laws (tested for every adapter by `contract::agenda`):
//! - G1: a noted entry is claimed once its time has come, and not before; noting it again brings its time forward and
//!   never puts it off.
//! - G2: a claim is exclusive until it is over; then the entry is due again. Claims of one entry have ever larger tokens.
//! - G3: what was noted while an entry was claimed makes it due again once it is settled, whatever it is settled to.
//! - G4: a claim that is over and was followed by another settles nothing, and says so.
//! - G5: the memo of an entry is what was settled last; an entry at rest keeps it for as long as was said.
//! - G6: entries are claimed in the order of their times; lists are apart from each other.
//! - G7: a claim that is renewed is exclusive until its new time; one that was settled or followed by another is not
//!   renewed, and says so.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::StoreError;

/// Which list an entry is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Registered projects whose refs are to be compared; keys are slugs.
    Sweeps,
    /// Deployments whose results are to be told; keys are their ids.
    Reports,
}

impl List {
    /// Its name in stores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sweeps => "sweeps",
            Self::Reports => "reports",
        }
    }
}

/// An entry that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What is to be looked at.
    pub key: String,
    /// Names this claim of it.
    pub token: u64,
    /// When its time had come.
    pub due_at: Timestamp,
    /// What was noted when it was settled last.
    pub memo: Option<String>,
}

/// When a settled entry comes up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At this time, or when it is noted before.
    At(Timestamp),
    /// When it is noted; the memo is kept for this long.
    Rest(Duration),
    /// Never; it is forgotten.
    Gone,
}

/// What is to be looked at.
#[async_trait]
pub trait Agenda: Send + Sync + std::fmt::Debug {
    /// Notes that these are to be looked at, from `at` on.
    async fn note(&self, list: List, keys: &[String], at: Timestamp) -> Result<(), StoreError>;

    /// Claims at most `limit` entries that are due at `now`, each for `ttl`.
    async fn claim(
        &self,
        list: List,
        limit: usize,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<Due>, StoreError>;

    /// Has a claim last for `ttl` from now on; `false` when it is lost: settled, or somebody else has claimed the entry
    /// since.
    async fn renew(&self, list: List, due: &Due, ttl: Duration, now: Timestamp) -> Result<bool, StoreError>;

    /// Settles a claimed entry; `false` when somebody else has claimed it since.
    async fn settle(
        &self,
        list: List,
        due: &Due,
        next: Next,
        memo: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// The memo of an entry.
    async fn memo(&self, list: List, key: &str) -> Result<Option<String>, StoreError>;

    /// Waits until something may be due, `longest` at most. May return early; a hint, never a promise.
    async fn wait(&self, list: List, longest: Duration);

    /// How many entries are due at `now`, and how many wait for their time.
    async fn depth(&self, list: List, now: Timestamp) -> Result<(u64, u64), StoreError>;
}
