//! The state machine: a deployment is the fold of its events. Pure; illegal transitions are typed errors.

mod fold;

#[cfg(test)]
mod tests;

pub use fold::{apply, begin};

use crate::model::{DeploymentState, JobId, Stage};

/// Why an event cannot follow the events before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The first event of a history must accept a deploy job.
    #[error("a deployment begins with an accepted deploy job, not with `{event}`")]
    NotABeginning {
        /// The event's name.
        event: &'static str,
    },
    /// The deployment has no such job.
    #[error("the deployment has no job {job}")]
    UnknownJob {
        /// The job named.
        job: JobId,
    },
    /// The same job was accepted before.
    #[error("job {job} was accepted before")]
    AcceptedBefore {
        /// The job.
        job: JobId,
    },
    /// Another job is still at work.
    #[error("job {job} has not ended")]
    JobAtWork {
        /// The job at work.
        job: JobId,
    },
    /// The job has ended; nothing can happen to it any more.
    #[error("`{event}` cannot follow: the job has {state}")]
    Ended {
        /// The event's name.
        event: &'static str,
        /// How it ended.
        state: &'static str,
    },
    /// The event does not fit the job's state.
    #[error("`{event}` cannot happen to a job that is {state}")]
    WrongState {
        /// The event's name.
        event: &'static str,
        /// The state.
        state: &'static str,
    },
    /// The event speaks of a stage the job is not at.
    #[error("`{event}` of stage {stage} cannot happen now")]
    WrongStage {
        /// The event's name.
        event: &'static str,
        /// The stage.
        stage: Stage,
    },
    /// The deployment is not in the state the event needs.
    #[error("`{event}` cannot happen to a deployment that is {state}")]
    WrongDeploymentState {
        /// The event's name.
        event: &'static str,
        /// The state.
        state: DeploymentState,
    },
    /// The writer's lease was taken over by another.
    #[error("fencing token {fence} is out of date: {newest} has written since")]
    Fenced {
        /// The event's token.
        fence: u64,
        /// The newest token seen.
        newest: u64,
    },
}
