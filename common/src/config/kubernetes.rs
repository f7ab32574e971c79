//! `[kubernetes.<target>]`: one section for each cluster. All of it has defaults but how the API server is reached.

use serde::{Deserialize, Serialize};

/// How applications are reached from outside the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExposeConfig {
    /// By host names, through the cluster's ingress controller.
    #[default]
    Ingress,
    /// By an address of their own.
    LoadBalancer,
    /// Not at all.
    Nothing,
}

/// A Pod Security Standard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodSecurityConfig {
    /// Containers run as a user other than root.
    #[default]
    Restricted,
    /// Containers may run as root.
    Baseline,
}

/// What is done about objects that others have changed or deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftConfig {
    /// It is shown.
    #[default]
    Show,
    /// It is shown, and undone.
    Repair,
}

/// `[kubernetes.<target>]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesConfig {
    /// Use the cluster Slipway runs in, under its own service account.
    pub in_cluster: bool,
    /// File of a kubeconfig; empty for none.
    pub kubeconfig: String,
    /// Context of the kubeconfig; empty for its current one.
    pub context: String,
    /// Address of the API server; empty for none.
    pub server: String,
    /// File with the certificates to trust; empty for the system's.
    pub ca_file: String,
    /// File with the token.
    pub token_file: String,
    /// How applications are reached from outside.
    pub expose: ExposeConfig,
    /// Domain under which every application gets a host name; empty for none.
    pub domain: String,
    /// Class of the ingresses; empty for the cluster's default.
    pub ingress_class: String,
    /// Cluster issuer of cert-manager; empty for none.
    pub tls_issuer: String,
    /// Secret with the certificate in each namespace; empty for none.
    pub tls_secret: String,
    /// Stored credential of the registry that nodes pull from; empty for none.
    pub pull_credential: String,
    /// Pod Security Standard of the namespaces.
    pub pod_security: PodSecurityConfig,
    /// What is done about objects that others have changed or deleted.
    pub drift: DriftConfig,
    /// How long a pod may be in trouble that might pass.
    pub trouble_max_s: u64,
    /// How long the address of a load balancer is waited for.
    pub load_balancer_wait_s: u64,
    /// How long a pod goes on answering after it was taken out of service.
    pub drain_s: u64,
    /// How long a pod has to end after that.
    pub stop_grace_s: u64,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            in_cluster: false,
            kubeconfig: String::new(),
            context: String::new(),
            server: String::new(),
            ca_file: String::new(),
            token_file: String::new(),
            expose: ExposeConfig::default(),
            domain: String::new(),
            ingress_class: String::new(),
            tls_issuer: String::new(),
            tls_secret: String::new(),
            pull_credential: String::new(),
            pod_security: PodSecurityConfig::default(),
            drift: DriftConfig::default(),
            trouble_max_s: 30,
            load_balancer_wait_s: 120,
            drain_s: 5,
            stop_grace_s: 10,
        }
    }
}

impl KubernetesConfig {
    /// What does not fit together, if anything. Pure.
    pub(super) fn broken(&self) -> Option<&'static str> {
        let ways = [self.in_cluster, !self.kubeconfig.is_empty(), !self.server.is_empty()];
        let relations = [
            (
                ways.into_iter().filter(|way| *way).count() == 1,
                "exactly one of `in_cluster`, `kubeconfig` and `server` says how the API server is reached",
            ),
            (self.context.is_empty() || !self.kubeconfig.is_empty(), "`context` needs `kubeconfig`"),
            (
                self.server.is_empty() == self.token_file.is_empty(),
                "`server` and `token_file` belong together",
            ),
            (self.ca_file.is_empty() || !self.server.is_empty(), "`ca_file` needs `server`"),
            (
                self.tls_issuer.is_empty() || self.tls_secret.is_empty(),
                "give `tls_issuer` or `tls_secret`, not both",
            ),
        ];
        relations.into_iter().find_map(|(holds, broken)| (!holds).then_some(broken))
    }
}
