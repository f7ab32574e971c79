//! The seam `Autoscalers`: what is kept of autoscalers beside their settings, and who takes care of them.
//!
//! Settings and wishes are records: [`Backend::record`](crate::Backend::record) keeps them in the ledger, and this seam
//! reads their projection. States, decisions, observations and what was learned are not in the ledger: what of them is lost
//! is measured again.
//!
//! Laws (tested for every adapter by `contract::autoscaler`):
//! - H1: an autoscaler is what was recorded last for its place; its wish likewise; deleting it deletes its wish, state,
//!   decisions, observations and what was learned. All of them are not answered again until one of them is another.
//! - H2: a replay of the ledger into an empty store gives the same autoscalers and wishes.
//! - H3: a state is the one put last, unless a larger fencing token has put one before: then it changes nothing.
//! - H4: decisions are numbered 1, 2, 3 … in the order they were appended; the newest
//!   [`DECISIONS_KEPT_MAX`](crate::model::autoscaler::DECISIONS_KEPT_MAX) are kept.
//! - H5: observations come back in the order they were appended; the newest
//!   [`OBSERVED_KEPT_MAX`](crate::model::autoscaler::OBSERVED_KEPT_MAX) are kept.
//! - H6: who announced itself is among those present until its time is over or it withdraws.
//! - H7: what was learned is what was put last, unless a larger fencing token has put some before: then it stays.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::model::autoscaler::{Autoscaler, AutoscalerState, DecisionEntry, Learned, Observed, Place, Wish};
use crate::store::StoreError;

/// An autoscaler with the wish that was made last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The autoscaler.
    pub autoscaler: Autoscaler,
    /// The wish, fulfilled or not.
    pub wish: Option<Wish>,
}

/// How all autoscalers and wishes were when they were read: with the same mark they are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(pub(crate) String);

/// What is kept of autoscalers.
#[async_trait]
pub trait Autoscalers: Send + Sync + std::fmt::Debug {
    /// All autoscalers, by place; nothing when they and their wishes are as they were at `known`. Whoever looks again and
    /// again reads only what is new.
    async fn all_since(&self, known: Option<&Mark>) -> Result<Option<(Mark, Vec<Entry>)>, StoreError>;

    /// All autoscalers, by place.
    async fn all(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.all_since(None).await?.map(|(_, all)| all).unwrap_or_default())
    }

    /// The autoscaler of one place.
    async fn autoscaler(&self, place: &Place) -> Result<Option<Entry>, StoreError>;

    /// Puts states. One whose fencing token is smaller than that of the state that is there is passed over, and so is
    /// one of a place without an autoscaler.
    async fn put_states(&self, states: &[(Place, AutoscalerState)]) -> Result<(), StoreError>;

    /// The state of one place.
    async fn state(&self, place: &Place) -> Result<Option<AutoscalerState>, StoreError>;

    /// Appends decisions, in this order; those of a place without an autoscaler are passed over.
    async fn append_decisions(&self, decisions: &[(Place, DecisionEntry)]) -> Result<(), StoreError>;

    /// At most `limit` decisions after number `after`, in order.
    async fn decisions(
        &self,
        place: &Place,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DecisionEntry)>, StoreError>;

    /// The newest `limit` decisions, in order.
    async fn newest_decisions(
        &self,
        place: &Place,
        limit: usize,
    ) -> Result<Vec<(u64, DecisionEntry)>, StoreError>;

    /// Appends observations, in this order; those of a place without an autoscaler are passed over.
    async fn append_observed(&self, place: &Place, observed: &[Observed]) -> Result<(), StoreError>;

    /// All observations of one place at or after `since`, in order.
    async fn observed(&self, place: &Place, since: Timestamp) -> Result<Vec<Observed>, StoreError>;

    /// Puts what was learned. What has a smaller fencing token than what is there is passed over, and so is what was
    /// learned at a place without an autoscaler.
    async fn put_learned(&self, learned: &[(Place, Learned)]) -> Result<(), StoreError>;

    /// What was learned at one place.
    async fn learned(&self, place: &Place) -> Result<Option<Learned>, StoreError>;

    /// Says that the scaler called `name` is there for `ttl`, and answers the names of all that are, in order.
    async fn announce(&self, name: &str, ttl: Duration, now: Timestamp) -> Result<Vec<String>, StoreError>;

    /// Says that the scaler called `name` is there no more.
    async fn withdraw(&self, name: &str) -> Result<(), StoreError>;
}
