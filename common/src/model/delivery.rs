//! Deliveries of forges, reduced to what Slipway makes of them. What one says is a hint: where to look, and when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ProjectSlug;
use super::registered::NotifySwitches;

/// Longest delivery id that is kept.
pub const DELIVERY_ID_MAX_BYTES: usize = 128;

/// An authentic delivery about a registered project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What the sender calls it; the same when it sends it again.
    pub id: String,
    /// The project.
    pub project: ProjectSlug,
    /// When it arrived.
    pub at: Timestamp,
    /// What it says.
    pub kind: DeliveryKind,
}

/// What a delivery says, as far as Slipway does something about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "delivery", rename_all = "snake_case")]
pub enum DeliveryKind {
    /// A branch or tag was created, moved or deleted.
    Push {
        /// The ref, in full.
        reference: String,
        /// The commit it names now; `None` when it was deleted.
        revision: Option<String>,
    },
    /// A merge request was opened, changed or closed.
    MergeRequest {
        /// Its number in the project.
        iid: u64,
    },
    /// A pipeline or one of its jobs changed.
    Pipeline {
        /// The commit it is of.
        revision: String,
    },
}

impl DeliveryKind {
    /// Whether refs are to be looked at.
    #[must_use]
    pub fn concerns_refs(&self) -> bool {
        match self {
            Self::Push { .. } | Self::MergeRequest { .. } => true,
            Self::Pipeline { .. } => false,
        }
    }
}

/// Why a job was made without a request: a ref moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trigger {
    /// The ref, in full: `refs/heads/main`.
    pub reference: String,
    /// The commit it named.
    pub revision: String,
    /// The merge request whose environment this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_request: Option<u64>,
    /// When the delivery arrived that made Slipway look; absent when it looked by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
    /// Which results are told, where `slipway.yml` of the default branch said so at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub notify: Option<NotifySwitches>,
}
