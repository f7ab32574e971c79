//! How Slipway reaches clusters, and how things on them are called: what its worker and its scaler have in
//! common there.

pub mod access;
pub mod connection;
pub mod labels;
pub mod names;

pub use access::{Access, AccessError};
pub use connection::{Connected, Connection};

/// Under whose name the worker owns fields.
pub const FIELD_MANAGER: &str = "slipway";
/// Under whose name the scaler owns the number of replicas.
pub const SCALER_FIELD_MANAGER: &str = "slipway-scaler";
