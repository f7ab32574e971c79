//! The kinds of objects Slipway makes on a cluster, and where the API server keeps each.

use kube::core::ApiResource;
use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $group:literal, $version:literal, $plural:literal, $namespaced:literal),+ $(,)?) => {
        /// A kind of object.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// Every kind, in the order objects are applied in: what others need comes first.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Its name, as in `kind:`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)+
                }
            }

            /// Where the API server keeps objects of this kind.
            #[must_use]
            pub fn resource(self) -> ApiResource {
                let (group, version, plural) = match self {
                    $(Self::$kind => ($group, $version, $plural),)+
                };
                let api_version =
                    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
                ApiResource {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    api_version,
                    kind: self.as_str().to_owned(),
                    plural: plural.to_owned(),
                }
            }

            /// Whether Slipway may read its objects. It has no right to read secrets, not even its own.
            #[must_use]
            pub fn is_readable(self) -> bool {
                self != Self::Secret
            }

            /// Whether its objects live in namespaces.
            #[must_use]
            pub fn is_namespaced(self) -> bool {
                match self {
                    $(Self::$kind => $namespaced,)+
                }
            }
        }
    };
}

kinds! {
    /// Where everything else lives.
    Namespace: "", "v1", "namespaces", false,
    /// Holds the inventory.
    ConfigMap: "", "v1", "configmaps", true,
    /// Under which pods run; it has no rights.
    ServiceAccount: "", "v1", "serviceaccounts", true,
    /// Environment variables and the credentials of registries.
    Secret: "", "v1", "secrets", true,
    /// The stable address of replicas.
    Service: "", "v1", "services", true,
    /// The replicas.
    Deployment: "apps", "v1", "deployments", true,
    /// The host names.
    Ingress: "networking.k8s.io", "v1", "ingresses", true,
    /// Generations of replicas; only read.
    ReplicaSet: "apps", "v1", "replicasets", true,
    /// Replicas; only read.
    Pod: "", "v1", "pods", true,
    /// What happened to objects; only read.
    Event: "", "v1", "events", true,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouped_kinds_have_a_grouped_version() {
        assert_eq!(Kind::Deployment.resource().api_version, "apps/v1");
        assert_eq!(Kind::Secret.resource().api_version, "v1");
        assert!(Kind::ALL.iter().all(|kind| kind.is_namespaced() || *kind == Kind::Namespace));
    }
}
