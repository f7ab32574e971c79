//! Calls to the API server: each under its deadline and with its operation in every error; credentials are
//! read anew once they were refused.

use std::time::Duration;

use kube::core::params::{GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::request::{Error as RequestError, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipway_cluster::{Access, AccessError, Connection, SCALER_FIELD_MANAGER};
use slipway_common::telemetry::chain;

use super::object::{Deployment, ObjectName, Scale};
use super::page;
use crate::target::TargetError;

/// Deadline of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects asked for at once; the text of a page is held in memory whole.
const PAGE_SIZE: u32 = 250;
/// The subresource that holds the number of replicas.
const SCALE: &str = "scale";
/// The measurements of a node's kubelet.
const KUBELET_RESOURCES: &str = "proxy/metrics/resource";

/// The API server of one cluster.
#[derive(Debug)]
pub(super) struct Api {
    connection: Connection,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// What is needed for a connection cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no answer, or none that can be read.
    #[error("{operation}: {reason}")]
    Failed { operation: String, reason: String },
    /// The answer is an error.
    #[error("{operation}: the API server answered {status}: {reason}")]
    Answered { operation: String, status: u16, reason: String },
}

impl Api {
    pub(super) fn new(access: Access) -> Self {
        Self { connection: Connection::new(access) }
    }

    /// The Deployment, if it is there.
    pub(super) async fn deployment(&self, at: &ObjectName) -> Result<Option<Deployment>, CallError> {
        let request = deployments(at).get(&at.name, &GetParams::default());
        match self.call(&format!("read {}", describe(at)), request).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.has_status(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What `of` makes of the objects at `path` whose labels match, in as many pages as it takes. The objects themselves
    /// are not kept.
    pub(super) async fn list<T: DeserializeOwned, U: Send>(
        &self,
        path: &str,
        labels: Option<&str>,
        mut of: impl FnMut(T) -> Option<U> + Send,
    ) -> Result<Vec<U>, CallError> {
        let mut params = ListParams::default().limit(PAGE_SIZE);
        params.label_selector = labels.map(str::to_owned);
        let (collection, operation) = (Request::new(path), format!("list {path}"));
        let mut found = Vec::new();
        loop {
            let text = self.text(&operation, collection.list(&params)).await?;
            let token = page::read(&text, &mut |object| found.extend(of(object)))
                .map_err(|error| unreadable(&operation, &error))?;
            if token.is_empty() {
                return Ok(found);
            }
            params.continue_token = Some(token);
        }
    }

    /// The scale of a Deployment.
    pub(super) async fn scale(&self, at: &ObjectName) -> Result<Scale, CallError> {
        let request = deployments(at).get_subresource(SCALE, &at.name);
        self.call(&format!("read the scale of {}", describe(at)), request).await
    }

    /// Replaces the scale, if it still has the `resourceVersion` in `body`.
    pub(super) async fn replace_scale(&self, at: &ObjectName, body: &Value) -> Result<Scale, CallError> {
        let manager = Some(SCALER_FIELD_MANAGER.to_owned());
        let params = PostParams { field_manager: manager, ..PostParams::default() };
        let request =
            deployments(at).replace_subresource(SCALE, &at.name, &params, body.to_string().into_bytes());
        self.call(&format!("scale {}", describe(at)), request).await
    }

    /// Makes the scale be as in `body`, and the scaler an owner of its fields, if it still has the
    /// `resourceVersion` there.
    pub(super) async fn apply_scale(&self, at: &ObjectName, body: &Value) -> Result<Scale, CallError> {
        let params = PatchParams::apply(SCALER_FIELD_MANAGER).force();
        let request = deployments(at).patch_subresource(SCALE, &at.name, &params, &Patch::Apply(body));
        self.call(&format!("take over the scale of {}", describe(at)), request).await
    }

    /// What the kubelet of a node has measured of its containers.
    pub(super) async fn kubelet_resources(&self, node: &str) -> Result<String, CallError> {
        let request = Request::new("/api/v1/nodes").get_subresource(KUBELET_RESOURCES, node);
        self.text(&format!("ask the kubelet of {node}"), request).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: Result<http::Request<Vec<u8>>, RequestError>,
    ) -> Result<T, CallError> {
        let text = self.text(operation, request).await?;
        serde_json::from_str(&text).map_err(|error| unreadable(operation, &error))
    }

    async fn text(
        &self,
        operation: &str,
        request: Result<http::Request<Vec<u8>>, RequestError>,
    ) -> Result<String, CallError> {
        let failed = |reason: String| CallError::Failed { operation: operation.to_owned(), reason };
        let request = request.map_err(|error| failed(error.to_string()))?;
        let used = self.connection.client().await?;
        let Ok(answer) = tokio::time::timeout(CALL_TIMEOUT, used.client.request_text(request)).await else {
            return Err(failed(format!("no answer within {} s", CALL_TIMEOUT.as_secs())));
        };
        let error = match answer {
            Ok(text) => return Ok(text),
            Err(kube::Error::Api(status)) => CallError::Answered {
                operation: operation.to_owned(),
                status: status.code,
                reason: status.message.clone(),
            },
            Err(error) => failed(chain(&error)),
        };
        if error.is_of_access() {
            self.connection.forget(&used);
        }
        Err(error)
    }
}

impl CallError {
    /// Whether the API server answered with this status.
    pub(super) fn has_status(&self, status: u16) -> bool {
        matches!(self, Self::Answered { status: found, .. } if *found == status)
    }

    /// Whether the way to the API server is in doubt: its address, its certificate or the credentials for it.
    fn is_of_access(&self) -> bool {
        self.has_status(401) || matches!(self, Self::Failed { .. })
    }
}

impl From<CallError> for TargetError {
    fn from(error: CallError) -> Self {
        let reason = error.to_string();
        let (status, said) = match error {
            CallError::Access(_) => return Self::Refused { code: "target_misconfigured", reason },
            CallError::Failed { .. } => return Self::Unavailable { reason },
            CallError::Answered { status, reason, .. } => (status, reason),
        };
        match status {
            404 => Self::Absent,
            409 => Self::Changed,
            // A token may be in rotation, and a list that took too long is begun anew.
            401 | 408 | 410 | 429 | 500.. => Self::Unavailable { reason },
            // The authoriser says who may not; everything else with this status is a policy's refusal.
            403 if said.contains("cannot ") => Self::Refused { code: "cluster_forbidden", reason },
            _ => Self::Refused { code: "object_rejected", reason },
        }
    }
}

fn unreadable(operation: &str, error: &serde_json::Error) -> CallError {
    CallError::Failed {
        operation: operation.to_owned(),
        reason: format!("the answer cannot be read: {error}"),
    }
}

fn deployments(at: &ObjectName) -> Request {
    Request::new(format!("/apis/apps/v1/namespaces/{}/deployments", at.namespace))
}

fn describe(at: &ObjectName) -> String {
    format!("Deployment {}/{}", at.namespace, at.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_what_can_be_done_about_them() {
        let code = |status: u16, reason: &str| {
            let operation = "scale Deployment shop--default/shop".to_owned();
            TargetError::from(CallError::Answered { operation, status, reason: reason.to_owned() })
                .fault()
                .code
        };
        let forbidden = "deployments.apps \"shop\" is forbidden: User \"s\" cannot patch resource";
        for (status, reason, expected) in [
            (404, "not found", "target_empty"),
            (409, "the object has been modified", "target_changed"),
            (401, "Unauthorized", "target_unavailable"),
            (410, "the continue token is too old", "target_unavailable"),
            (429, "too many requests", "target_unavailable"),
            (500, "etcdserver: request timed out", "target_unavailable"),
            (503, "no endpoints", "target_unavailable"),
            (403, forbidden, "cluster_forbidden"),
            (403, "denied by the policy", "object_rejected"),
            (422, "spec.replicas: Invalid value", "object_rejected"),
        ] {
            assert_eq!(code(status, reason), expected, "{status} {reason}");
        }
        let failed = CallError::Failed { operation: "scale".to_owned(), reason: "no answer".to_owned() };
        assert_eq!(TargetError::from(failed).fault().code, "target_unavailable");
        let access = AccessError { key: "token_file", reason: "cannot be read".to_owned() };
        let error = TargetError::from(CallError::from(access));
        assert_eq!(error.fault().code, "target_misconfigured");
        assert!(error.to_string().contains("token_file"), "{error}");
    }
}
