//! What metrics say about the demand, why they say nothing, and which samples were not taken.

use serde::{Deserialize, Serialize};

/// Why a sample was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// It belongs to another deployment.
    #[error("the sample belongs to another deployment")]
    Foreign,
    /// A number is not finite or is negative.
    #[error("a value is not a finite, positive number")]
    NotANumber,
    /// More than any container can use.
    #[error("the use is absurd")]
    Absurd,
    /// Of the same time as the newest of its container.
    #[error("a sample of that time is known already")]
    Duplicate,
    /// Older than the newest of its container.
    #[error("the sample is older than the newest one")]
    OutOfOrder,
    /// Too old when it arrived.
    #[error("the sample is stale")]
    Stale,
    /// From the future, beyond what clocks may differ.
    #[error("the sample is from the future")]
    Ahead,
    /// More containers than are kept.
    #[error("too many containers")]
    TooMany,
}

/// How many samples were dropped, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DroppedCounts {
    /// See [`Dropped::Foreign`].
    pub foreign: u64,
    /// See [`Dropped::NotANumber`].
    pub not_a_number: u64,
    /// See [`Dropped::Absurd`].
    pub absurd: u64,
    /// See [`Dropped::Duplicate`].
    pub duplicate: u64,
    /// See [`Dropped::OutOfOrder`].
    pub out_of_order: u64,
    /// See [`Dropped::Stale`].
    pub stale: u64,
    /// See [`Dropped::Ahead`].
    pub ahead: u64,
    /// See [`Dropped::TooMany`].
    pub too_many: u64,
}

impl DroppedCounts {
    /// The count of one reason.
    pub fn slot(&mut self, dropped: Dropped) -> &mut u64 {
        match dropped {
            Dropped::Foreign => &mut self.foreign,
            Dropped::NotANumber => &mut self.not_a_number,
            Dropped::Absurd => &mut self.absurd,
            Dropped::Duplicate => &mut self.duplicate,
            Dropped::OutOfOrder => &mut self.out_of_order,
            Dropped::Stale => &mut self.stale,
            Dropped::Ahead => &mut self.ahead,
            Dropped::TooMany => &mut self.too_many,
        }
    }
}

/// What the metrics say about the demand.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Evidence {
    /// End of the newest window that counts, in seconds.
    pub at_s: f64,
    /// Length of the longest window that counts, in seconds.
    pub window_s: f64,
    /// Mean use of the containers that count, as a share of what each may use.
    pub utilisation: f64,
    /// Share of them that stand at their ceiling.
    pub saturated_share: f64,
    /// Demand in replicas working flat out: mean use times the replicas that served during the window.
    pub demand_replicas: f64,
    /// How many containers count.
    pub counting: u32,
    /// How many serve and report, and are too young to count.
    pub young: u32,
}

/// Why there is no evidence; the replica count stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// Nothing was ever heard.
    NeverHeard,
    /// What was heard last is stale.
    Stale,
    /// No replica serves.
    NothingReady,
    /// Every container that reports is younger than one window.
    TooYoung,
    /// Too few of the replicas that serve report.
    TooFewReport,
}
