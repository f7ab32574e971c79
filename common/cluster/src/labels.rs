//! The labels and annotations that mark what Slipway made, and for whom.

/// Who made it; the label other tools look for.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const SLIPWAY: &str = "slipway";
/// The application or support container a workload runs; what selectors select by.
pub const NAME: &str = "app.kubernetes.io/name";
/// The project's slug.
pub const PROJECT: &str = "slipway.dev/project";
/// The environment's name.
pub const ENVIRONMENT: &str = "slipway.dev/environment";
/// The deployment an inventory belongs to (annotation).
pub const DEPLOYMENT: &str = "slipway.dev/deployment";
/// The job that wrote an inventory (annotation).
pub const JOB: &str = "slipway.dev/job";
/// Fencing token of the writer (annotation).
pub const FENCE: &str = "slipway.dev/fence";
/// Which template a pod and its ReplicaSet are of; set by the cluster.
pub const TEMPLATE_HASH: &str = "pod-template-hash";
/// Which revision a Deployment and a ReplicaSet are of; set by the cluster.
pub const REVISION: &str = "deployment.kubernetes.io/revision";

/// Selects everything Slipway made, in every namespace.
#[must_use]
pub fn managed() -> String {
    format!("{MANAGED_BY}={SLIPWAY}")
}
