//! The API as clients see it: the real server over the embedded backend, every answer held against
//! `/openapi.json`.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic too")]

#[path = "api/autoscaler_streams.rs"]
mod autoscaler_streams;
#[path = "api/autoscalers.rs"]
mod autoscalers;
#[path = "api/client.rs"]
mod client;
#[path = "api/conformity.rs"]
mod conformity;
#[path = "api/dead.rs"]
mod dead;
#[path = "api/doubles.rs"]
mod doubles;
#[path = "api/endpoints.rs"]
mod endpoints;
#[path = "api/fuzz.rs"]
mod fuzz;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/idempotency.rs"]
mod idempotency;
#[path = "api/inbox.rs"]
mod inbox;
#[path = "api/metric_events.rs"]
mod metric_events;
#[path = "api/pods.rs"]
mod pods;
#[path = "api/pressure.rs"]
mod pressure;
#[path = "api/projects.rs"]
mod projects;
#[path = "api/secrets.rs"]
mod secrets;
#[path = "api/server.rs"]
mod server;
#[path = "api/streams.rs"]
mod streams;
