//! The Docker target: building images, applying a deployment, observing and stopping it on one engine.
//! Every effect carries Slipway's labels, so a second run finds what the first one did; whatever lacks them
//! is never touched.

pub mod apply;
pub mod build;
pub mod context;
pub mod dockerignore;
pub mod engine;
pub mod error;
pub mod image;
pub mod labels;
pub mod logs;
pub mod observe;
pub mod scope;

pub use apply::{
    Applied, ApplySpec, DrainPolicy, GatewayPort, HealthCheck, PortRange, REPLICAS_MAX, Resources,
    RestartPolicy, Support, apply, gateway_port, port_is_free, stop,
};
pub use build::{BuildLimits, BuildRequest, Built, build};
pub use engine::{Engine, EngineSettings, EngineVersion};
pub use error::DockerError;
pub use image::{RegistryAuth, ensure_image, exposed_port, is_present, prune_images, prune_pulled, push};
pub(crate) use logs::tail;
pub use logs::{LogLine, LogOptions, logs};
pub use observe::{ContainerEvent, LiveReplica, LiveState, Usage, events, observe};
pub use scope::Scope;

/// Where the output of a build or an apply goes, line by line.
///
/// Lines arrive without control characters and no longer than a fixed limit; the sink's owner limits their sum.
pub trait LogSink: Send + Sync {
    /// Takes one line, without its line ending.
    fn line(&self, line: &str);
}
