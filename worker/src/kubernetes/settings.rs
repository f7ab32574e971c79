//! What a Kubernetes target needs, resolved from the configuration once.

use std::time::Duration;

use slipway_cluster::Access;
use slipway_common::model::{CredentialName, TargetName};

/// A Kubernetes target.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Its name.
    pub name: TargetName,
    /// How the API server is reached.
    pub access: Access,
    /// How applications are reached from outside.
    pub expose: Expose,
    /// Domain under which every application gets a host name; none when absent.
    pub domain: Option<String>,
    /// Class of the ingresses; the cluster's default when absent.
    pub ingress_class: Option<String>,
    /// Where the certificates of the host names come from.
    pub tls: Tls,
    /// Stored credential of the registry that nodes pull from.
    pub pull_credential: Option<CredentialName>,
    /// Pod Security Standard of the namespaces.
    pub pod_security: PodSecurity,
    /// Whether what others have changed or deleted is repaired without being asked.
    pub repairs_drift: bool,
    /// How long a pod may be in trouble that might pass before the job fails.
    pub trouble_max: Duration,
    /// How long the address of a load balancer is waited for.
    pub load_balancer_wait: Duration,
    /// How long a pod goes on answering after it was taken out of service.
    pub drain: Duration,
    /// How long a pod has to end after that.
    pub stop_grace: Duration,
}

/// How applications are reached from outside the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expose {
    /// By host names, through the cluster's ingress controller.
    Ingress,
    /// By an address of their own.
    LoadBalancer,
    /// Not at all.
    Nothing,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Nowhere: host names are served over http, or TLS ends before the cluster.
    Nothing,
    /// A cluster issuer of cert-manager.
    Issuer(String),
    /// A secret in each application's namespace.
    Secret(String),
}

/// A Pod Security Standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodSecurity {
    /// Containers run as a user other than root, without any privilege.
    Restricted,
    /// Containers may run as root, without further privileges.
    Baseline,
}

impl PodSecurity {
    /// Its name in the namespace's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
        }
    }
}
