//! GitLab's API as far as Slipway uses it, and what a pipeline there means for the image a deployment waits for.
//!
//! [`Gitlab`] speaks to one project with one token. Every answer is limited in size and time, nothing is sent to another
//! host than the project's own, and no text that leaves this crate holds the token.

mod access;
mod client;
mod deploy_tokens;
mod deployments;
mod environments;
mod error;
mod hooks;
mod link;
mod log;
mod merge_requests;
mod notes;
mod parse;
mod pipelines;
mod project;
mod statuses;
mod text;
mod variables;
pub mod verdict;

pub use access::Access;
pub use client::Gitlab;
pub use deploy_tokens::DeployToken;
pub use deployments::{DeploymentStatus, NewDeployment};
pub use error::{GitlabError, retry_after};
pub use hooks::{HookInfo, NewHook};
pub use merge_requests::MergeRequest;
pub use pipelines::{Pipeline, PipelineJob, PipelineStatus};
pub use project::{CiSetup, ProjectInfo, TokenInfo};
pub use statuses::{CommitStatus, StatusState};
