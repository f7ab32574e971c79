//! Jobs that were set aside, as users see them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_common::model::{DeploymentId, JobId, JobKind, JobMessage};
use slipway_common::queue::Buried;

use super::SpecView;

/// A job that was set aside, in a list.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadSummary {
    /// The job; a name given to it when its message could not be read.
    pub id: JobId,
    /// Whether its message can be read. One that cannot be read can only be dropped.
    pub readable: bool,
    /// Its deployment.
    pub deployment: Option<DeploymentId>,
    /// Path of the project.
    #[schema(example = "group/shop")]
    pub project: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// Who asked for it.
    pub user: Option<String>,
    /// `deploy`, `repair` or `stop`.
    pub kind: Option<String>,
    /// Why it was set aside.
    pub reason: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl From<&Buried> for DeadSummary {
    fn from(buried: &Buried) -> Self {
        let message = buried.message.as_deref();
        let told = |tell: fn(&JobMessage) -> String| message.map(tell);
        Self {
            id: buried.id,
            readable: message.is_some(),
            deployment: message.map(|message| message.deployment),
            project: told(|message| message.project.path.clone()),
            environment: told(|message| message.environment.to_string()),
            user: told(|message| message.user.clone()),
            kind: told(|message| message.kind.as_str().to_owned()),
            reason: buried.reason.clone(),
            at: buried.at,
        }
    }
}

/// One page of jobs that were set aside, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadList {
    /// The jobs of this page.
    pub data: Vec<DeadSummary>,
    /// How many there are in all.
    pub total: u64,
    /// The same as `total`.
    pub count: u64,
    /// The `cursor` of the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// Everything that is known of a job that was set aside.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadDetail {
    /// What lists show of it.
    #[serde(flatten)]
    pub summary: DeadSummary,
    /// When the job was accepted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Timestamp>,
    /// What was asked for, of a deploy or repair job.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<SpecView>,
    /// The beginning of a message that cannot be read.
    pub unreadable: Option<String>,
}

impl From<&Buried> for DeadDetail {
    fn from(buried: &Buried) -> Self {
        let message = buried.message.as_deref();
        let spec = message.and_then(|message| match &message.kind {
            JobKind::Deploy { spec, .. } | JobKind::Repair { spec, .. } => {
                Some(SpecView::from(spec.as_ref()))
            }
            JobKind::Stop { .. } => None,
        });
        Self {
            summary: DeadSummary::from(buried),
            accepted_at: message.map(|message| message.accepted_at),
            spec,
            unreadable: buried.unreadable.clone(),
        }
    }
}
