//! What can go wrong on a Kubernetes cluster: one enum, its stable codes, its classes and what to do about each.

use std::time::Duration;

use kube::core::Status;
use slipway_cluster::AccessError;
use slipway_common::failure::FailureClass;

/// Why work on a cluster failed. Messages hold no credentials and no values of secrets.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The settings of the target cannot be used.
    #[error("the target's setting `{key}`: {reason}")]
    Settings {
        /// Its name in `[kubernetes.<target>]`.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// No connection to the API server.
    #[error("{operation}: the API server cannot be reached")]
    Unreachable {
        /// What was being done.
        operation: String,
        /// The connection's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("{operation}: no answer from the API server within {limit_ms} ms")]
    TimedOut {
        /// What was being done.
        operation: String,
        /// The deadline that passed.
        limit_ms: u64,
    },
    /// The API server does not know the token.
    #[error("{operation}: the API server does not accept the credentials")]
    Unauthorized {
        /// What was being done.
        operation: String,
    },
    /// The API server does not know the token that came with the request.
    #[error("{operation}: the API server does not accept the token that came with the request")]
    TokenRefused {
        /// What was being done.
        operation: String,
    },
    /// The credentials lack a right.
    #[error("{operation}: {reason}")]
    Forbidden {
        /// What was being done.
        operation: String,
        /// The API server's words: who lacks which right.
        reason: String,
    },
    /// The API server asks for fewer requests.
    #[error("{operation}: the API server is asked too much")]
    Throttled {
        /// What was being done.
        operation: String,
        /// How long it wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// An object is refused as it is: by its schema, by a policy or by an admission webhook.
    #[error("the {object} is rejected: {reason}")]
    Rejected {
        /// Kind and name.
        object: String,
        /// The API server's words.
        reason: String,
    },
    /// A field that cannot be changed would have to change.
    #[error("the {object} cannot be changed in place: {reason}")]
    Immutable {
        /// Kind and name.
        object: String,
        /// The API server's words.
        reason: String,
    },
    /// The namespace's quota leaves no room.
    #[error("the {object} exceeds the quota: {reason}")]
    QuotaExceeded {
        /// Kind and name.
        object: String,
        /// The API server's words.
        reason: String,
    },
    /// The API server answered with an error that has no variant of its own.
    #[error("{operation}: the API server answered {status}: {reason}")]
    Api {
        /// What was being done.
        operation: String,
        /// HTTP status.
        status: u16,
        /// The API server's words.
        reason: String,
    },
    /// A name Slipway needs is taken by something it did not make.
    #[error("the {object} exists already and does not belong to this project and environment")]
    Conflict {
        /// Kind and name.
        object: String,
    },
    /// A host name is served for another namespace.
    #[error("the host name {hostname} belongs to the namespace {namespace}")]
    HostnameTaken {
        /// The host name.
        hostname: String,
        /// Who has it.
        namespace: String,
    },
    /// The inventory cannot be read, so that nothing can be pruned safely.
    #[error("the inventory in the namespace {namespace} cannot be read: {reason}")]
    Inventory {
        /// Where.
        namespace: String,
        /// Why.
        reason: String,
    },
    /// The application does not come up.
    #[error("{reason}")]
    Rollout {
        /// Stable code of what is wrong.
        code: String,
        /// What is wrong, with pod and container.
        reason: String,
        /// Last lines of the container's output and events of the pod.
        log_tail: Vec<String>,
    },
    /// A newer job has worked here: this one must not go on.
    #[error("job with fence {fence} is overtaken: the namespace carries fence {seen}")]
    Stale {
        /// The caller's fence.
        fence: u64,
        /// The highest fence found.
        seen: u64,
    },
    /// A name cannot be formed.
    #[error("{what} must be {rule}")]
    Invalid {
        /// Which input.
        what: String,
        /// The rule in words.
        rule: &'static str,
    },
}

impl From<AccessError> for KubernetesError {
    fn from(error: AccessError) -> Self {
        Self::Settings { key: error.key, reason: error.reason }
    }
}

impl KubernetesError {
    /// Stable code to program against.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Settings { .. } => "target_misconfigured",
            Self::Unreachable { .. } => "cluster_unreachable",
            Self::TimedOut { .. } => "cluster_timeout",
            Self::Unauthorized { .. } => "cluster_unauthorized",
            Self::TokenRefused { .. } => "cluster_token_refused",
            Self::Forbidden { .. } => "cluster_forbidden",
            Self::Throttled { .. } => "cluster_throttled",
            Self::Rejected { .. } => "object_rejected",
            Self::Immutable { .. } => "field_immutable",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            Self::Api { .. } => "cluster_error",
            Self::Conflict { .. } => "name_conflict",
            Self::HostnameTaken { .. } => "hostname_taken",
            Self::Inventory { .. } => "inventory_unreadable",
            Self::Rollout { code, .. } => code,
            Self::Stale { .. } => "stale",
            Self::Invalid { .. } => "invalid_input",
        }
    }

    /// What the failure means for the job.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            // A token may be in rotation: it is read anew for the next attempt. And an API server that has just been
            // started refuses everything until it knows the roles.
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Throttled { .. } => FailureClass::Transient,
            Self::Api { status, .. } if *status >= 500 || matches!(*status, 404 | 408 | 409 | 410) => {
                FailureClass::Transient
            }
            // Nobody renews the token of a request.
            Self::TokenRefused { .. }
            | Self::Settings { .. }
            | Self::Rejected { .. }
            | Self::Immutable { .. }
            | Self::QuotaExceeded { .. }
            | Self::Api { .. }
            | Self::Conflict { .. }
            | Self::HostnameTaken { .. }
            | Self::Inventory { .. }
            | Self::Rollout { .. }
            | Self::Invalid { .. } => FailureClass::Permanent,
            Self::Stale { .. } => FailureClass::Stale,
        }
    }

    /// What to do about it, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Settings { .. } => Some("Correct the target's settings and restart Slipway."),
            Self::Unreachable { .. } => Some("Check that the API server runs and that its address is right."),
            Self::TimedOut { .. } => Some("Check the load of the API server; the work is tried again."),
            Self::Unauthorized { .. } => Some("Renew the target's token or kubeconfig."),
            Self::TokenRefused { .. } => {
                Some("Bring a new token: deploy again with one that the cluster accepts.")
            }
            Self::Forbidden { .. } => {
                Some("Give the account that is named this right; the Helm chart has the list.")
            }
            Self::Rejected { .. } => Some("Change what the API server names, or the policy that forbids it."),
            Self::Immutable { .. } => Some("Stop the deployment, then deploy again."),
            Self::QuotaExceeded { .. } => Some("Raise the namespace's quota or ask for less."),
            Self::Conflict { .. } => Some("Rename or remove that object; Slipway never touches it."),
            Self::HostnameTaken { .. } => {
                Some("Choose another host name, or stop the deployment that has it.")
            }
            Self::Inventory { .. } => {
                Some("Restore the ConfigMap `slipway-inventory`, or stop and deploy again.")
            }
            Self::Rollout { .. } => Some("Read the last lines of the container's output and its events."),
            Self::Throttled { .. } | Self::Api { .. } | Self::Stale { .. } | Self::Invalid { .. } => None,
        }
    }

    /// Last lines of the container's output and its events, oldest first.
    #[must_use]
    pub fn log_tail(&self) -> &[String] {
        if let Self::Rollout { log_tail, .. } = self { log_tail } else { &[] }
    }

    /// How long the API server wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Throttled { retry_after, .. } = self { *retry_after } else { None }
    }

    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { status: 404, .. })
    }

    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { status: 409, .. })
    }

    /// Whether the way to the API server is in doubt: its address, its certificate or the credentials for it.
    pub(super) fn is_of_access(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Unreachable { .. })
    }

    /// The same, when the credentials were the token of a request.
    pub(super) fn of_request_token(self) -> Self {
        if let Self::Unauthorized { operation } = self { Self::TokenRefused { operation } } else { self }
    }

    /// The error for what a call about `object` (kind and name) returned. `operation` names the call.
    pub(super) fn of_call(operation: String, object: &str, error: kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            Self::of_status(operation, object, &status)
        } else {
            Self::Unreachable { operation, source: Box::new(error) }
        }
    }

    fn of_status(operation: String, object: &str, status: &Status) -> Self {
        let (object, reason) = (object.to_owned(), status.message.clone());
        match status.code {
            401 => Self::Unauthorized { operation },
            // Whoever deletes the namespace will be done with it some time.
            403 if reason.contains("being terminated") => Self::Api { operation, status: 409, reason },
            403 if reason.contains("exceeded quota") => Self::QuotaExceeded { object, reason },
            // The authoriser says who may not; everything else with this status is a policy's refusal of the object.
            403 if reason.contains("cannot ") => Self::Forbidden { operation, reason },
            400 | 403 | 413 => Self::Rejected { object, reason },
            422 if reason.contains("immutable") || reason.contains("may not change") => {
                Self::Immutable { object, reason }
            }
            422 => Self::Rejected { object, reason },
            429 => Self::Throttled { operation, retry_after: retry_after(status) },
            code => Self::Api { operation, status: code, reason },
        }
    }
}

fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, message: &str) -> KubernetesError {
        let status = Status::failure(message, "Reason").with_code(code);
        KubernetesError::of_call("apply".to_owned(), "Deployment web", kube::Error::Api(status.boxed()))
    }

    #[test]
    fn answers_are_told_apart_by_what_can_be_done_about_them() {
        let cases = [
            (of(401, "Unauthorized"), "cluster_unauthorized", FailureClass::Transient),
            (
                of(403, "namespaces is forbidden: User \"w\" cannot create resource \"namespaces\""),
                "cluster_forbidden",
                FailureClass::Transient,
            ),
            (of(403, "exceeded quota: q, requested: pods=1"), "quota_exceeded", FailureClass::Permanent),
            (
                of(403, "violates PodSecurity \"restricted:latest\""),
                "object_rejected",
                FailureClass::Permanent,
            ),
            (
                of(403, "unable to create new content in namespace a because it is being terminated"),
                "cluster_error",
                FailureClass::Transient,
            ),
            (of(422, "spec.selector: field is immutable"), "field_immutable", FailureClass::Permanent),
            (of(422, "spec.replicas: Invalid value"), "object_rejected", FailureClass::Permanent),
            (of(400, "unknown field \"spec.x\""), "object_rejected", FailureClass::Permanent),
            (of(429, "too many requests"), "cluster_throttled", FailureClass::Transient),
            (of(409, "the object has been modified"), "cluster_error", FailureClass::Transient),
            (of(500, "etcdserver: request timed out"), "cluster_error", FailureClass::Transient),
            (of(418, "?"), "cluster_error", FailureClass::Permanent),
        ];
        for (error, code, class) in cases {
            assert_eq!((error.code(), error.class()), (code, class), "{error}");
        }
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_said_alike() {
        let refused = AccessError { key: "ca_file", reason: "holds no certificate".to_owned() };
        let text = refused.to_string();
        let error = KubernetesError::from(refused);
        assert_eq!((error.code(), error.class()), ("target_misconfigured", FailureClass::Permanent));
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_refused_token_of_a_request_is_final() {
        let refused = of(401, "Unauthorized").of_request_token();
        assert_eq!((refused.code(), refused.class()), ("cluster_token_refused", FailureClass::Permanent));
        assert!(refused.hint().is_some_and(|hint| hint.contains("new token")));
        assert_eq!(of(500, "etcdserver: request timed out").of_request_token().code(), "cluster_error");
    }

    #[test]
    fn a_throttled_call_says_how_long_to_wait() {
        let details = serde_json::from_value(serde_json::json!({ "retryAfterSeconds": 7 })).unwrap();
        let status = Status::failure("slow down", "TooManyRequests").with_code(429).with_details(details);
        let error = KubernetesError::of_call("read".to_owned(), "Pod a", kube::Error::Api(status.boxed()));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
}
