//! The (project, environment) pair a call is about, and the object names that follow from it.

use super::error::DockerError;

/// Longest project or environment name.
const NAME_MAX_BYTES: usize = 63;

/// One project in one environment: the unit that owns a network and its containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    project: String,
    environment: String,
}

impl Scope {
    /// A scope of two names made of lower-case letters, digits and inner hyphens.
    ///
    /// # Errors
    /// [`DockerError::Invalid`] when a name has another form: it would end up in object names and filters.
    pub fn new(project: impl Into<String>, environment: impl Into<String>) -> Result<Self, DockerError> {
        let scope = Self { project: project.into(), environment: environment.into() };
        check_name("project", &scope.project)?;
        check_name("environment", &scope.environment)?;
        Ok(scope)
    }

    /// The project's slug.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The environment's name.
    #[must_use]
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// Name of the network all containers of the scope share.
    #[must_use]
    pub fn network_name(&self) -> String {
        format!("slipway-{}-{}", self.project, self.environment)
    }

    /// Name of the support container called `support` in the network.
    #[must_use]
    pub fn support_name(&self, support: &str) -> String {
        format!("slipway-{}-{}-support-{support}", self.project, self.environment)
    }

    /// Name of replica `replica` of `deployment`, without the suffix that tells its routing state.
    #[must_use]
    pub fn replica_name(&self, deployment: &str, replica: u32) -> String {
        format!("slipway-{}-{}-{}-{replica}", self.project, self.environment, short(deployment))
    }
}

/// Checks the form of a name that ends up in object names: lower-case letters, digits, inner hyphens.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), DockerError> {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    let well_formed = alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if well_formed && bytes.len() <= NAME_MAX_BYTES {
        return Ok(());
    }
    Err(DockerError::Invalid { what, rule: "lower-case letters, digits and inner hyphens, at most 63 bytes" })
}

/// The last eight letters or digits of an id: the random end of a UUID, as people read it.
pub(super) fn short(id: &str) -> String {
    let kept: Vec<char> = id.chars().filter(char::is_ascii_alphanumeric).collect();
    kept[kept.len().saturating_sub(8)..].iter().collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_scope() {
        let scope = Scope::new("shop-a1b2c3", "default").unwrap();
        assert_eq!(scope.network_name(), "slipway-shop-a1b2c3-default");
        assert_eq!(
            scope.replica_name("0199aa00-0000-7000-8000-0123456789ab", 2),
            "slipway-shop-a1b2c3-default-456789ab-2"
        );
    }

    #[test]
    fn a_name_that_could_be_a_path_or_a_filter_is_refused() {
        for bad in ["", "-a", "a-", "A", "a/b", "a=b", "a b", "a\n"] {
            assert!(Scope::new(bad, "default").is_err(), "{bad:?}");
            assert!(Scope::new("shop", bad).is_err(), "{bad:?}");
        }
    }
}
