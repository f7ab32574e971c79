//! The connection to one cluster: every call under its own deadline, every error with its operation, credentials read
//! anew once they are refused.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::core::params::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::request::Request;
use kube::core::subresource::LogParams;
use secrecy::SecretString;
use serde_json::Value;
use slipway_cluster::{Connected, Connection};
use slipway_common::inquiry::LOG_MAX_BYTES;

use super::error::KubernetesError;
use super::kind::Kind;
use super::settings::ClusterSettings;
use crate::failpoint::{self, Place};

pub use slipway_cluster::FIELD_MANAGER;

/// Deadline of one call.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Objects read at once.
const PAGE_SIZE: u32 = 500;

/// A connection to one cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cluster {
    settings: Arc<ClusterSettings>,
    connection: Arc<Connection>,
}

/// Whether an object is to be made, or only to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The API server checks everything and changes nothing; what others own it says so of.
    DryRun,
    /// The same, as if all fields were Slipway's.
    ForcedDryRun,
    /// For real.
    Apply,
}

/// The end of a container's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerLog {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// Whether there was more than is read at once.
    pub is_cut: bool,
}

/// How an object is recognised.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Where it lives; empty for kinds without namespaces.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl Key<'_> {
    /// Kind and name, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.name)
    }

    fn request(&self) -> Request {
        request(self.kind, Some(self.namespace))
    }
}

impl Cluster {
    /// Prepares the connection; the first call makes it.
    #[must_use]
    pub fn new(settings: ClusterSettings) -> Self {
        let connection = Arc::new(Connection::new(settings.access.clone()));
        Self { settings: Arc::new(settings), connection }
    }

    /// The same cluster, asked with this token and with none of the target's own credentials.
    #[must_use]
    pub fn acting_as(&self, token: SecretString) -> Self {
        let connection = Arc::new(self.connection.acting_as(token));
        Self { settings: Arc::clone(&self.settings), connection }
    }

    /// The target's settings.
    #[must_use]
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// The object, if it exists.
    ///
    /// # Errors
    /// What any call may return.
    pub async fn get(&self, key: Key<'_>) -> Result<Option<Value>, KubernetesError> {
        let request = built(key.request().get(key.name, &kube::core::params::GetParams::default()))?;
        match self.call("read", &key.describe(), request).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind in `namespace`, or in all of them, that match the labels.
    ///
    /// # Errors
    /// What any call may return.
    pub async fn list(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        params: ListParams,
    ) -> Result<Vec<Value>, KubernetesError> {
        let mut params = params.limit(PAGE_SIZE);
        let mut found = Vec::new();
        loop {
            let request = built(request(kind, namespace).list(&params))?;
            let mut page: Value = self.call("list", kind.as_str(), request).await?;
            if let Value::Array(items) = page["items"].take() {
                found.extend(items);
            }
            match page["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(token),
                None => return Ok(found),
            }
        }
    }

    /// Makes the fields of `body` be as they are there, and Slipway their owner (server-side apply).
    ///
    /// # Errors
    /// [`KubernetesError::Rejected`] and its like when the object is refused, and what any call may return.
    pub async fn apply(&self, key: Key<'_>, body: &Value, mode: Mode) -> Result<Value, KubernetesError> {
        let params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        let (params, place) = match mode {
            Mode::DryRun => (params.dry_run(), Place::ObjectDryRun),
            Mode::ForcedDryRun => (params.force().dry_run(), Place::ObjectDryRun),
            Mode::Apply => (params.force(), Place::ObjectApply),
        };
        let request = built(key.request().patch(key.name, &params, &Patch::Apply(body)))?;
        failpoint::around(place, self.call("apply", &key.describe(), request)).await
    }

    /// Creates the object; `None` when there is one of that name.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub async fn create(&self, key: Key<'_>, body: &Value) -> Result<Option<Value>, KubernetesError> {
        let request = built(key.request().create(&post_params(), bytes(body)))?;
        let created =
            failpoint::around(Place::ObjectCreate, self.call("create", &key.describe(), request)).await;
        match created {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the object if it still has the `resourceVersion` in `body`; `None` when it was changed meanwhile.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub async fn replace(&self, key: Key<'_>, body: &Value) -> Result<Option<Value>, KubernetesError> {
        let request = built(key.request().replace(key.name, &post_params(), bytes(body)))?;
        let replaced =
            failpoint::around(Place::ObjectReplace, self.call("replace", &key.describe(), request)).await;
        match replaced {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the object, if it still is the one with this `uid` where one is given; what belongs to it goes after it.
    ///
    /// # Errors
    /// What any call may return. That it is gone, or another, is no error.
    pub async fn delete(&self, key: Key<'_>, uid: Option<&str>) -> Result<(), KubernetesError> {
        let mut params = DeleteParams::background();
        if let Some(uid) = uid {
            let only = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
            params = params.preconditions(only);
        }
        let request = built(key.request().delete(key.name, &params))?;
        let deleted =
            failpoint::around(Place::ObjectDelete, self.call::<Value>("delete", &key.describe(), request))
                .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The last lines of a container's output. Of those that are more than [`LOG_MAX_BYTES`] together the first
    /// are read.
    ///
    /// # Errors
    /// What any call may return.
    pub async fn container_log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
        lines_max: i64,
    ) -> Result<ContainerLog, KubernetesError> {
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            tail_lines: Some(lines_max),
            limit_bytes: Some(i64::try_from(LOG_MAX_BYTES).unwrap_or(i64::MAX)),
            ..LogParams::default()
        };
        let request = built(request(Kind::Pod, Some(namespace)).logs(pod, &params))?;
        let client = self.connection.client().await?;
        let read = async {
            match client.client.request_text(request).await {
                // A container may print anything, and what is cut may end within a character.
                Err(kube::Error::FromUtf8(error)) => Ok(error.into_bytes()),
                read => read.map(String::into_bytes),
            }
        };
        let bytes = self.within("read the log of", pod, &client, read).await?;
        let lines = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
        Ok(ContainerLog { lines, is_cut: bytes.len() >= LOG_MAX_BYTES })
    }

    /// A client for watches, which have no deadline of their own.
    pub(super) async fn watching_client(&self) -> Result<Client, KubernetesError> {
        Ok(self.connection.client().await?.client)
    }

    /// Has the next call read the credentials anew.
    pub(super) fn forget_client(&self) {
        self.connection.forget_any();
    }

    async fn call<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        verb: &str,
        object: &str,
        request: http::Request<Vec<u8>>,
    ) -> Result<T, KubernetesError> {
        let client = self.connection.client().await?;
        self.within(verb, object, &client, client.client.request(request)).await
    }

    async fn within<T>(
        &self,
        verb: &str,
        object: &str,
        used: &Connected,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, KubernetesError> {
        let operation = format!("{verb} {object}");
        let Ok(answer) = tokio::time::timeout(CALL_TIMEOUT, call).await else {
            let limit_ms = u64::try_from(CALL_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
            return Err(KubernetesError::TimedOut { operation, limit_ms });
        };
        let error = match answer {
            Ok(value) => return Ok(value),
            Err(error) => KubernetesError::of_call(operation, object, error),
        };
        if error.is_of_access() {
            self.connection.forget(used);
        }
        Err(if self.connection.is_by_request() { error.of_request_token() } else { error })
    }
}

fn request(kind: Kind, namespace: Option<&str>) -> Request {
    let resource = kind.resource();
    let namespace = namespace.filter(|_| kind.is_namespaced());
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    Request::new(match namespace {
        Some(namespace) => {
            format!("{root}/{}/namespaces/{namespace}/{}", resource.api_version, resource.plural)
        }
        None => format!("{root}/{}/{}", resource.api_version, resource.plural),
    })
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}

fn built(
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<http::Request<Vec<u8>>, KubernetesError> {
    request.map_err(|error| KubernetesError::Invalid {
        what: format!("a request ({error})"),
        rule: "one the API server can be sent",
    })
}
