//! What the control loop knows of targets: whom it keeps, what is seen of them, and how a count is changed. The targets
//! themselves are in `docker` and `kubernetes`.

use slipway_common::model::autoscaler::{AutoscalerFault, Place};
use slipway_common::model::{DeploymentId, TargetName};

/// A deployment that is kept at its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its project and environment.
    pub place: Place,
    /// The deployment in service there.
    pub deployment: DeploymentId,
    /// Where it runs.
    pub target: TargetName,
}

/// What a target says of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Replicas ordered: on a cluster what the specification says, on an engine those that serve or start.
    pub replicas: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// What was left half done there, and has to be finished: replicas that start or drain and that nobody looks after.
    pub unfinished: u32,
    /// Why its count must not be set, e.g. because another autoscaler does so.
    pub hands_off: Option<AutoscalerFault>,
}

/// Why a count could not be seen or set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The target cannot be reached, or does not answer in time.
    #[error("the target cannot be reached: {reason}")]
    Unavailable {
        /// What was met.
        reason: String,
    },
    /// Nothing of the deployment is there.
    #[error("nothing of the deployment is there")]
    Absent,
    /// Somebody else has changed it meanwhile: it is looked at again first.
    #[error("it was changed meanwhile")]
    Changed,
    /// The target does not take it.
    #[error("{reason}")]
    Refused {
        /// Stable code.
        code: &'static str,
        /// What is wrong, in one sentence.
        reason: String,
    },
    /// The scaler has lost its right to act, and has stopped.
    #[error("the lease was lost")]
    LeaseLost,
}

impl TargetError {
    /// What people are told of it.
    #[must_use]
    pub fn fault(&self) -> AutoscalerFault {
        let code = match self {
            Self::Unavailable { .. } => "target_unavailable",
            Self::Absent => "target_empty",
            Self::Changed => "target_changed",
            Self::Refused { code, .. } => code,
            Self::LeaseLost => "lease_lost",
        };
        AutoscalerFault { code: code.to_owned(), reason: self.to_string() }
    }
}

/// Whether the caller may still act: asked right before each step that changes something.
pub trait Guard: Send + Sync {
    /// The fencing token, while the lease behind it is held.
    ///
    /// # Errors
    /// [`TargetError::LeaseLost`] once it is not.
    fn fence(&self) -> Result<u64, TargetError>;
}
