//! The words of the design as types: ids, names, stages, requests, deployments, jobs, events.

pub mod address;
pub mod autoscaler;
pub mod delivery;
pub mod deployment;
pub mod event;
pub mod facts;
pub mod hostname;
pub mod id;
pub mod image;
pub mod job;
pub mod label;
pub mod live;
pub mod name;
pub mod registered;
pub mod request;
pub mod server;
pub mod spec;
pub mod stage;

pub use address::{AddressPolicy, BranchName, HttpPolicy, RepositoryAddress, RevisionSpec};
pub use delivery::{Delivery, DeliveryKind, Trigger};
pub use deployment::{Deployment, DeploymentState, StageReport, StageStatus};
pub use event::{Event, EventKind};
pub use facts::{CommitFact, Facts, ImageFact, InventoryFact, SourceFact, TemplateFact};
pub use hostname::{HOSTNAME_MAX_BYTES, Hostname, HostnameError};
pub use id::{DeploymentId, EventId, HookId, InquiryId, JobId, WorkerId};
pub use image::ImageReference;
pub use job::{Job, JobKind, JobMessage, JobState, RequestKey};
pub use live::{Drift, DriftKind, LiveEvent, LiveReplica, LiveState};
pub use name::{
    CredentialName, EnvName, EnvironmentName, NameError, Project, ProjectSlug, SupportName, TargetName,
};
pub use request::DeploymentRequest;
pub use server::{ServerAddress, ServerAddressError};
pub use spec::{
    BuildMode, CommitMode, CredentialSource, DeploymentSpec, HealthSpec, PipelineSpec, Reference,
    ResourceSpec, SupportSpec,
};
pub use stage::Stage;
