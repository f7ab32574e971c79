//! Deployments: accept, list, show, stop, cancel, retry, roll back, follow, look at what runs, keep at a size.

pub(crate) mod actions;
pub(crate) mod autoscaler;
pub(crate) mod create;
pub(crate) mod events;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod pods;
pub(crate) mod show;

use slipway_common::Backend;
use slipway_common::model::Deployment;

use crate::query::deployment_id;
use crate::refusal::Refusal;

/// The deployment that the path names.
async fn find(backend: &Backend, id: &str) -> Result<Deployment, Refusal> {
    let id = deployment_id(id)?;
    backend.store.deployment(id).await?.ok_or(Refusal::NotFound { what: "deployment" })
}
