//! What a verdict can be: the types that callers match on, and the stable codes of troubles.

use std::fmt;

/// How one object fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The object is as it is wanted.
    Ready,
    /// It is on its way, as far as can be told.
    Progressing(Progress),
    /// Something is wrong with it.
    Degraded(Trouble),
    /// It was told to rest, by `paused` or `suspend`: nothing moves until it is told otherwise.
    Suspended {
        /// One sentence that names the object.
        message: String,
    },
    /// It was deleted and is not gone yet.
    Deleting {
        /// One sentence that names the object and what holds it up, as far as it says so.
        message: String,
    },
}

impl Verdict {
    /// Whether the object is as it is wanted.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// What there is to say: nothing of an object that is as it is wanted.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::Progressing(progress) => Some(&progress.message),
            Self::Degraded(trouble) => Some(&trouble.reason),
            Self::Suspended { message } | Self::Deleting { message } => Some(message),
        }
    }
}

/// An object on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// One sentence that names the object: `Deployment web: 2 of 3 replicas updated, 1 available`.
    pub message: String,
    /// The numbers behind the sentence, of objects that have replicas.
    pub counts: Option<Counts>,
    /// The object may stay so for ever with nothing wrong, so a job need not wait for it: an address that only a load
    /// balancer or an ingress controller would give, a volume that is made for its first user, a task that runs.
    pub may_stay: bool,
}

/// Replicas of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// How many there shall be.
    pub wanted: u64,
    /// How many are of the newest template.
    pub updated: u64,
    /// How many answer their readiness probe. Those of older templates count, unless stated otherwise.
    pub ready: u64,
    /// How many have been ready for `minReadySeconds`. Those of older templates count, unless stated otherwise.
    pub available: u64,
}

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The stable code.
    pub code: TroubleCode,
    /// One sentence that names the object, and the container if it is one.
    pub reason: String,
    /// The container, if it is one.
    pub container: Option<String>,
    /// Waiting is pointless: only a change from outside ends this, or the object's own deadline has passed.
    /// False does not mean that it will come right, only that it might.
    pub lasting: bool,
}

/// What kind of trouble it is. A code is never renamed and never given a second meaning.
///
/// In the order of what they tell: of several troubles the first is the one to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TroubleCode {
    /// The image's name is none.
    InvalidImageName,
    /// The image could not be fetched, is not allowed to be, or could not be read.
    ImagePullFailed,
    /// What the container's configuration refers to is missing, or contradicts the image.
    ContainerConfigError,
    /// The runtime could not create the container.
    ContainerCreateFailed,
    /// The container was created, but its command could not be started.
    ContainerStartFailed,
    /// The container was killed for using more memory than its limit.
    OutOfMemory,
    /// The container ends again and again.
    CrashLoop,
    /// The container ended with an error and is not started again.
    ContainerFailed,
    /// The pod ended with an error, or its node refused it.
    PodFailed,
    /// The pod was put off its node.
    Evicted,
    /// A quota of the namespace does not allow the pods.
    QuotaExceeded,
    /// Admission refuses the object or its pods.
    Rejected,
    /// Pods could not be created or deleted.
    ReplicaFailure,
    /// The volume behind a claim is gone.
    VolumeLost,
    /// There is no volume for a claim.
    VolumeUnbound,
    /// No node takes the pod.
    Unschedulable,
    /// The container runs, but its probe has not passed for long.
    ProbeFailed,
    /// The rollout made no progress within its deadline.
    ProgressDeadlineExceeded,
    /// The job failed.
    JobFailed,
    /// The autoscaler cannot do its work.
    ScalingFailed,
    /// The load balancer cannot serve the ports.
    LoadBalancerFailed,
    /// The controller of a custom resource has given up.
    Stalled,
    /// The rollout is paused.
    Paused,
    /// The object is being deleted.
    BeingDeleted,
}

impl TroubleCode {
    /// The code as users and documents see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidImageName => "invalid_image_name",
            Self::ImagePullFailed => "image_pull_failed",
            Self::ContainerConfigError => "container_config_error",
            Self::ContainerCreateFailed => "container_create_failed",
            Self::ContainerStartFailed => "container_start_failed",
            Self::OutOfMemory => "out_of_memory",
            Self::CrashLoop => "crash_loop",
            Self::ContainerFailed => "container_failed",
            Self::PodFailed => "pod_failed",
            Self::Evicted => "evicted",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Rejected => "rejected",
            Self::ReplicaFailure => "replica_failure",
            Self::VolumeLost => "volume_lost",
            Self::VolumeUnbound => "volume_unbound",
            Self::Unschedulable => "unschedulable",
            Self::ProbeFailed => "probe_failed",
            Self::ProgressDeadlineExceeded => "progress_deadline_exceeded",
            Self::JobFailed => "job_failed",
            Self::ScalingFailed => "scaling_failed",
            Self::LoadBalancerFailed => "load_balancer_failed",
            Self::Stalled => "stalled",
            Self::Paused => "paused",
            Self::BeingDeleted => "being_deleted",
        }
    }
}

impl fmt::Display for TroubleCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the rollout of a Deployment's newest template stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// All replicas are of the newest template and available, and no older ones are left.
    Complete,
    /// It is on its way.
    Progressing {
        /// How many replicas there shall be.
        wanted: u64,
        /// How many are of the newest template.
        updated: u64,
        /// How many of the newest ReplicaSet are ready; of all, as long as that is not known.
        ready: u64,
        /// How many of the newest ReplicaSet are available; of all, as long as that is not known.
        available: u64,
        /// One sentence with these numbers and what is waited for.
        message: String,
    },
    /// Something is wrong with it.
    Failing {
        /// The stable code.
        code: TroubleCode,
        /// One sentence that names the object, and the container if it is one.
        reason: String,
        /// The pod, if it is one.
        pod: Option<String>,
        /// The container of that pod, if it is one.
        container: Option<String>,
        /// Waiting is pointless: only a change from outside ends this, or the Deployment's deadline has passed.
        certain: bool,
    },
}

/// The container whose log tells why its pod is in trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubledContainer {
    /// The container's name, also of init containers.
    pub name: String,
    /// The stable code.
    pub code: TroubleCode,
    /// One sentence that names the pod and the container.
    pub reason: String,
    /// Its last words stand in the log of the instance before the present one.
    pub previous_logs: bool,
}
