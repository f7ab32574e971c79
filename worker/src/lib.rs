//! Slipway's worker: the pipeline and its stages, Git, templates and the Docker target.

pub mod docker;
pub mod git;
pub mod source;
pub mod template;
