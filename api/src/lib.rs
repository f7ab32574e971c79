//! Slipway's HTTP API: parse, authorise, submit, read, map to HTTP. It knows the queue, the store and the ledger
//! by their seams, and no Git, no containers and no clusters.
//!
//! `settings` says what may be tuned, `server` composes and runs it, `routes` holds one handler per operation,
//! `view` is what users see, `refusal` is the one place where an error becomes an HTTP status.

mod auth;
mod body;
mod companion;
mod deadline;
mod first_token;
mod hooks;
mod idempotency;
mod inbox;
mod lease;
mod metrics;
mod observe;
mod openapi;
mod problem;
mod query;
mod refusal;
mod routes;
mod server;
mod settings;
mod streams;
mod unread;
pub mod view;

pub use companion::{Ailment, Beside, Companion, Maintenance};
pub use first_token::{FirstToken, FirstTokenError};
pub use openapi::document as openapi_document;
pub use problem::{NotReadyDocument, ProblemDocument};
pub use server::{Api, ApiError, ApiHandle};
pub use settings::ApiSettings;
