//! Slipway's vocabulary and shared seams: the model, the deployment state machine, the queue, store, ledger and
//! inquiry traits with their laws and adapters, configuration, secrets and telemetry.
//!
//! Nothing here knows HTTP, Git, containers or clusters, and no other member is depended upon.

pub mod agenda;
pub mod autoscaler;
pub mod backend;
pub mod config;
pub mod contract;
pub mod distributed;
pub mod embedded;
pub mod failure;
pub mod health;
pub mod inquiry;
pub mod ledger;
pub mod metric;
pub mod model;
pub mod plant;
pub mod process;
pub mod projects;
pub mod queue;
pub mod record;
pub mod secrets;
pub mod state;
pub mod store;
pub mod submit;
pub mod telemetry;
pub mod topic;
pub mod webhook;

pub use backend::Backend;
