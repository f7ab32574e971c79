//! What can go wrong on a Docker engine: one enum, its stable codes, its classes and what to do about each.

use slipway_common::failure::FailureClass;

use super::context::ContextError;

/// Why work on a Docker engine failed. Messages hold no credentials.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No connection to the engine.
    #[error("{operation}: the Docker engine cannot be reached")]
    Unreachable {
        /// What was being done.
        operation: &'static str,
        /// The connection's error.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// The engine did not answer in time.
    #[error("{operation}: no answer from the Docker engine within {limit_ms} ms")]
    TimedOut {
        /// What was being done.
        operation: &'static str,
        /// The deadline that passed.
        limit_ms: u64,
    },
    /// The engine answered with an error that has no variant of its own.
    #[error("{operation}: the Docker engine answered {status}: {reason}")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// HTTP status; 0 for an error inside a stream.
        status: u16,
        /// The engine's words.
        reason: String,
    },
    /// The image is neither on the engine nor in its registry.
    #[error("image {image} does not exist")]
    ImageNotFound {
        /// The reference asked for.
        image: String,
    },
    /// The image exists perhaps, but could not be fetched.
    #[error("image {image} could not be pulled: {reason}")]
    PullFailed {
        /// The reference asked for.
        image: String,
        /// The engine's words.
        reason: String,
    },
    /// A registry refused the credentials, or wants some.
    #[error("the registry of {image} refused access: {reason}")]
    RegistryAuth {
        /// The reference asked for.
        image: String,
        /// The registry's words.
        reason: String,
    },
    /// The build context cannot be made from this commit.
    #[error("the build context cannot be made")]
    Context {
        /// Which rule was broken.
        #[source]
        source: ContextError,
    },
    /// An image the build stood on was removed from the engine while it ran.
    #[error("the build lost an image it was using: {reason}")]
    CacheLost {
        /// What the builder said.
        reason: String,
    },
    /// A step of the Dockerfile failed.
    #[error("the build failed at {step}: {reason}")]
    BuildFailed {
        /// The step as the builder printed it, e.g. `Step 3/5 : RUN make`.
        step: String,
        /// Exit code of the step's command, if one ran.
        exit_code: Option<i64>,
        /// The builder's words.
        reason: String,
        /// Last lines of the build's output.
        log_tail: Vec<String>,
    },
    /// The Dockerfile uses syntax only BuildKit understands.
    #[error("the Dockerfile needs BuildKit: {reason}")]
    NeedsBuildKit {
        /// The builder's words.
        reason: String,
    },
    /// A container ended before it was healthy.
    #[error("{container} exited with code {exit_code}")]
    Exited {
        /// The container's name.
        container: String,
        /// Its exit code.
        exit_code: i64,
        /// Last lines of its output.
        log_tail: Vec<String>,
    },
    /// The kernel ended a container that used more memory than its limit.
    #[error("{container} used more memory than its limit of {limit_bytes} bytes")]
    OutOfMemory {
        /// The container's name.
        container: String,
        /// Its limit.
        limit_bytes: u64,
        /// Last lines of its output.
        log_tail: Vec<String>,
    },
    /// The application runs but does not listen where it should.
    #[error("nobody listens on port {port} of {container}{}", exposed_note(.exposed))]
    PortUnreachable {
        /// The container's name.
        container: String,
        /// The port asked for.
        port: u16,
        /// Ports the image says it exposes, e.g. `3000/tcp`.
        exposed: Vec<String>,
        /// Last lines of its output.
        log_tail: Vec<String>,
    },
    /// Another scope was given the same gateway port at the same time.
    #[error("gateway port {port} was given to another environment at the same time")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The application listens but its health check does not pass.
    #[error("{container} did not become healthy within {deadline_ms} ms: {last}")]
    Unhealthy {
        /// The container's name.
        container: String,
        /// Time the check was given.
        deadline_ms: u64,
        /// What the last check saw.
        last: String,
        /// Last lines of its output.
        log_tail: Vec<String>,
    },
    /// A name or port Slipway needs is taken by something it did not make.
    #[error("the {kind} {name} exists already and was not made by Slipway")]
    Conflict {
        /// What kind of object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The engine's disk is full.
    #[error("{operation}: the Docker engine's disk is full")]
    DiskFull {
        /// What was being done.
        operation: &'static str,
    },
    /// A limit was reached.
    #[error("{what}: the limit of {limit} is reached")]
    Limit {
        /// What is limited, with its unit.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An input has a form that cannot be used.
    #[error("{what} must be {rule}")]
    Invalid {
        /// Which input.
        what: &'static str,
        /// The rule in words.
        rule: &'static str,
    },
    /// A newer job has worked here: this one must not go on.
    #[error("job with fence {fence} is overtaken: a container carries fence {seen}")]
    Stale {
        /// The caller's fence.
        fence: u64,
        /// The highest fence found.
        seen: u64,
    },
    /// Somebody asked for the work to stop.
    #[error("{operation} was cancelled")]
    Cancelled {
        /// What was being done.
        operation: &'static str,
    },
}

impl DockerError {
    /// Stable code to program against.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "engine_unreachable",
            Self::TimedOut { .. } => "engine_timeout",
            Self::Engine { .. } => "engine_error",
            Self::ImageNotFound { .. } => "image_not_found",
            Self::PullFailed { .. } => "image_pull_failed",
            Self::RegistryAuth { .. } => "registry_unauthorized",
            Self::Context { source } => source.code(),
            Self::CacheLost { .. } => "build_cache_lost",
            Self::BuildFailed { .. } => "build_failed",
            Self::NeedsBuildKit { .. } => "buildkit_required",
            Self::Exited { .. } => "container_exited",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::PortUnreachable { .. } => "port_unreachable",
            Self::PortTaken { .. } => "gateway_port_taken",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Conflict { .. } => "name_conflict",
            Self::DiskFull { .. } => "disk_full",
            Self::Limit { .. } => "limit_reached",
            Self::Invalid { .. } => "invalid_input",
            Self::Stale { .. } => "stale",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// What the failure means for the job.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::PullFailed { .. }
            | Self::CacheLost { .. }
            | Self::DiskFull { .. } => FailureClass::Transient,
            Self::Engine { status, .. } if *status == 0 || *status >= 500 || *status == 409 => {
                FailureClass::Transient
            }
            // What was there a moment ago is removed by what a run before this one had asked for.
            Self::Engine { operation, status: 404, .. } if is_of_container(operation) => {
                FailureClass::Transient
            }
            Self::Engine { .. }
            | Self::ImageNotFound { .. }
            | Self::RegistryAuth { .. }
            | Self::BuildFailed { .. }
            | Self::NeedsBuildKit { .. }
            | Self::Exited { .. }
            | Self::OutOfMemory { .. }
            | Self::PortUnreachable { .. }
            | Self::Unhealthy { .. }
            | Self::Conflict { .. }
            | Self::Limit { .. }
            | Self::Invalid { .. } => FailureClass::Permanent,
            Self::Context { source } => source.class(),
            Self::Stale { .. } | Self::PortTaken { .. } => FailureClass::Stale,
            Self::Cancelled { .. } => FailureClass::Cancelled,
        }
    }

    /// What to do about it, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unreachable { .. } => "Check that the Docker engine runs and that its address is right.",
            Self::TimedOut { .. } => "Check the load of the Docker engine; the work is tried again.",
            Self::ImageNotFound { .. } => "Check the image's name and tag.",
            Self::PullFailed { .. } => "Check that the engine can reach the registry of this image.",
            Self::RegistryAuth { .. } => "Store credentials for this registry, or check those stored.",
            Self::CacheLost { .. } => {
                "Somebody removed images while it ran; the next attempt builds them again."
            }
            Self::BuildFailed { .. } => "Read the last lines of the build's output.",
            Self::NeedsBuildKit { .. } => {
                "Replace `RUN --mount`, `COPY --link`, `COPY --chmod` and here-documents in the Dockerfile by \
                 plain instructions: this engine builds without BuildKit."
            }
            Self::Exited { .. } => "Read the last lines of the container's output.",
            Self::OutOfMemory { .. } => "Raise the memory limit or make the application use less.",
            Self::PortUnreachable { port, .. } => {
                return Some(format!(
                    "Make the application listen on 0.0.0.0:{port}, or name its real port in the request."
                ));
            }
            Self::Unhealthy { .. } => "Make the health path answer 200 to 399, or name another path.",
            Self::Conflict { .. } => "Rename or remove that object; Slipway never touches it.",
            Self::DiskFull { .. } => "Free space on the engine's disk, e.g. by removing unused images.",
            Self::Context { source } => return source.hint(),
            Self::Engine { .. }
            | Self::Limit { .. }
            | Self::Invalid { .. }
            | Self::Stale { .. }
            | Self::PortTaken { .. }
            | Self::Cancelled { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// Last lines of the build's or the container's output, oldest first.
    #[must_use]
    pub fn log_tail(&self) -> &[String] {
        match self {
            Self::BuildFailed { log_tail, .. }
            | Self::Exited { log_tail, .. }
            | Self::OutOfMemory { log_tail, .. }
            | Self::PortUnreachable { log_tail, .. }
            | Self::Unhealthy { log_tail, .. } => log_tail,
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Engine { .. }
            | Self::ImageNotFound { .. }
            | Self::CacheLost { .. }
            | Self::PullFailed { .. }
            | Self::RegistryAuth { .. }
            | Self::Context { .. }
            | Self::NeedsBuildKit { .. }
            | Self::PortTaken { .. }
            | Self::Conflict { .. }
            | Self::DiskFull { .. }
            | Self::Limit { .. }
            | Self::Invalid { .. }
            | Self::Stale { .. }
            | Self::Cancelled { .. } => &[],
        }
    }

    /// The error for what `bollard` returned from `operation`.
    pub(super) fn of_engine(operation: &'static str, limit_ms: u64, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        if let Error::DockerResponseServerError { status_code, message } = error {
            Self::of_answer(operation, status_code, message)
        } else if let Error::DockerStreamError { error } = error {
            Self::of_answer(operation, 0, error)
        } else if matches!(error, Error::RequestTimeoutError) {
            Self::TimedOut { operation, limit_ms }
        } else {
            Self::Unreachable { operation, source: Box::new(error) }
        }
    }

    fn of_answer(operation: &'static str, status: u16, reason: String) -> Self {
        if reason.contains("no space left on device") {
            Self::DiskFull { operation }
        } else {
            Self::Engine { operation, status, reason }
        }
    }

    /// HTTP status the engine answered with, if that is what this error is about.
    pub(super) fn status(&self) -> Option<u16> {
        if let Self::Engine { status, .. } = self { Some(*status) } else { None }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    pub(super) fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }
}

fn exposed_note(exposed: &[String]) -> String {
    if exposed.is_empty() { String::new() } else { format!(" (the image exposes {})", exposed.join(", ")) }
}

/// Whether an operation is one on a container that was found or made just before.
fn is_of_container(operation: &str) -> bool {
    matches!(operation, "start container" | "rename container")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_answers() {
        let full = bollard::errors::Error::DockerResponseServerError {
            status_code: 500,
            message: "write /var/lib/docker/x: no space left on device".to_owned(),
        };
        assert_eq!(DockerError::of_engine("build", 1, full).code(), "disk_full");
        let other = bollard::errors::Error::DockerStreamError { error: "no such thing".to_owned() };
        assert_eq!(DockerError::of_engine("build", 1, other).code(), "engine_error");
    }

    #[test]
    fn a_container_that_vanished_is_made_again_and_what_never_was_is_an_error() {
        let gone = |operation: &'static str| DockerError::Engine {
            operation,
            status: 404,
            reason: "No such container: 53db97bc".to_owned(),
        };
        assert_eq!(gone("start container").class(), FailureClass::Transient);
        assert_eq!(gone("inspect image").class(), FailureClass::Permanent);
    }

    #[test]
    fn a_closed_port_names_what_the_image_exposes() {
        let error = DockerError::PortUnreachable {
            container: "web-1".to_owned(),
            port: 8080,
            exposed: vec!["3000/tcp".to_owned()],
            log_tail: Vec::new(),
        };
        assert_eq!(error.to_string(), "nobody listens on port 8080 of web-1 (the image exposes 3000/tcp)");
        assert!(error.hint().unwrap().contains("0.0.0.0:8080"));
    }
}
