//! The contract of worker, gateway and observers of a Docker target: the label keys Slipway writes on images, networks
//! and containers, and the routing state a container's name tells. Labels cannot change after creation; names can, so
//! what changes (the routing state) is in the name.

/// Marks every object Slipway made; an object without it is never touched.
pub const MANAGED: &str = "io.slipway.managed";
/// The project's slug.
pub const PROJECT: &str = "io.slipway.project";
/// The environment's name.
pub const ENVIRONMENT: &str = "io.slipway.environment";
/// The deployment that made the object.
pub const DEPLOYMENT: &str = "io.slipway.deployment";
/// The job that made the object.
pub const JOB: &str = "io.slipway.job";
/// The commit an image was built from.
pub const COMMIT: &str = "io.slipway.commit";
/// Hash of everything that decides what a build gives.
pub const BUILD_KEY: &str = "io.slipway.build-key";
/// `app` or `support`.
pub const ROLE: &str = "io.slipway.role";
/// Number of a replica within its deployment, from 1.
pub const REPLICA: &str = "io.slipway.replica";
/// Name of a support container.
pub const SUPPORT: &str = "io.slipway.support";
/// Port the application listens on.
pub const PORT: &str = "io.slipway.port";
/// Port the gateway offers for the environment.
pub const GATEWAY_PORT: &str = "io.slipway.gateway.port";
/// Path of the HTTP health check.
pub const HEALTH_PATH: &str = "io.slipway.health.path";
/// Network through which the application is reached.
pub const NETWORK: &str = "io.slipway.network";
/// Hash of everything a container was created from.
pub const SPEC_HASH: &str = "io.slipway.spec-hash";
/// Fencing token of the job that made the container.
pub const FENCE: &str = "io.slipway.fence";

/// Value of [`ROLE`] on application containers.
pub const ROLE_APP: &str = "app";
/// Value of [`ROLE`] on support containers.
pub const ROLE_SUPPORT: &str = "support";

/// Whether the gateway routes to a container; told by the suffix of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutingState {
    /// Not yet known to be healthy; `-starting`.
    Starting,
    /// Takes requests; no suffix.
    Serving,
    /// Finishes what it has, gets nothing new; `-draining`.
    Draining,
}

impl RoutingState {
    /// The state a container's name tells.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        if name.ends_with("-starting") {
            Self::Starting
        } else if name.ends_with("-draining") {
            Self::Draining
        } else {
            Self::Serving
        }
    }

    /// The name of a container called `base` in this state.
    #[must_use]
    pub fn name(self, base: &str) -> String {
        match self {
            Self::Starting => format!("{base}-starting"),
            Self::Serving => base.to_owned(),
            Self::Draining => format!("{base}-draining"),
        }
    }

    /// `name` without the suffix of its state.
    #[must_use]
    pub fn base_of(name: &str) -> &str {
        name.strip_suffix("-starting").or_else(|| name.strip_suffix("-draining")).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::RoutingState;

    #[test]
    fn the_state_is_read_off_the_name_and_written_to_it() {
        for state in [RoutingState::Starting, RoutingState::Serving, RoutingState::Draining] {
            let name = state.name("slipway-shop-default-1");
            assert_eq!(RoutingState::of_name(&name), state);
            assert_eq!(RoutingState::base_of(&name), "slipway-shop-default-1");
        }
    }
}
