//! The front door of Docker targets: one stable port per application, balanced over its healthy replicas.
//!
//! A [`RouteSource`] (the Docker engine in production) says which containers there are; [`route`] decides
//! what they mean; the manager opens ports and enlists replicas; the proxy carries requests. The last good
//! routes stay in use while the source cannot be read.

mod balance;
mod error;
mod gateway;
mod listener;
mod manager;
mod metrics;
pub mod ops;
mod proxy;
pub mod route;
mod settings;
mod source;
mod status;
mod traffic;
mod upstream;

pub use error::{GatewayError, SourceError};
pub use gateway::{Gateway, GatewayHandle, StatusView};
pub use settings::GatewaySettings;
pub use source::{RouteSource, docker::DockerSource};
pub use status::{GatewayStatus, RouteStatus, UpstreamHealth, UpstreamStatus};
pub use traffic::Traffic;
