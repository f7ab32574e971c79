//! Names people choose, parsed once at the edge: projects, environments, targets, credentials, variables. A copy shares the
//! text: a scaler has the same names in many places.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::RepositoryAddress;

/// Longest slug-like name (environment, target, support).
pub const NAME_LENGTH_MAX_BYTES: usize = 40;
/// Longest credential name.
pub const CREDENTIAL_NAME_LENGTH_MAX_BYTES: usize = 64;
/// Longest name of an environment variable.
pub const ENV_NAME_LENGTH_MAX_BYTES: usize = 128;

/// Why a name was refused. The message is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not of the allowed form.
    #[error("{what} must be {rule}")]
    Form {
        /// What kind of name.
        what: &'static str,
        /// The rule in words.
        rule: &'static str,
    },
    /// Too long.
    #[error("{what} has {length_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLong {
        /// What kind of name.
        what: &'static str,
        /// Its length.
        length_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
}

fn is_slug(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn is_credential_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_env_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:expr, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String")]
        #[schema(value_type = String)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.len() > $limit {
                    return Err(NameError::TooLong { what: $what, length_bytes: text.len(), limit_bytes: $limit });
                }
                if !$check(text) {
                    return Err(NameError::Form { what: $what, rule: $rule });
                }
                Ok(Self(Arc::from(text)))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Names an environment of a project, e.g. `default`, `staging`, `review-42`.
    EnvironmentName, "environment", NAME_LENGTH_MAX_BYTES, is_slug,
    "lower-case letters, digits and inner hyphens"
);
name!(
    /// Names a configured target.
    TargetName, "target", NAME_LENGTH_MAX_BYTES, is_slug,
    "lower-case letters, digits and inner hyphens"
);
name!(
    /// Names a support container; it is also its DNS name on the project's network.
    SupportName, "support name", NAME_LENGTH_MAX_BYTES, is_slug,
    "lower-case letters, digits and inner hyphens"
);
name!(
    /// Names a stored credential.
    CredentialName, "credential name", CREDENTIAL_NAME_LENGTH_MAX_BYTES, is_credential_name,
    "letters, digits, `.`, `_` and `-`, not starting with `.` or `-`"
);
name!(
    /// Names an environment variable of a container.
    EnvName, "environment variable name", ENV_NAME_LENGTH_MAX_BYTES, is_env_name,
    "letters, digits and `_`, not starting with a digit"
);
name!(
    /// The short, collision-free name of a project, used in labels, container and network names.
    ProjectSlug, "project", 48, is_slug,
    "lower-case letters, digits and inner hyphens"
);

impl EnvironmentName {
    /// The environment used when a request names none.
    #[must_use]
    pub fn default_name() -> Self {
        Self(Arc::from("default"))
    }
}

/// A project: one Git repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Project {
    /// Collision-free short name: the repository's name and six digits of the hash of its address.
    pub slug: ProjectSlug,
    /// Path on the host, e.g. `group/shop`.
    pub path: String,
    /// Last segment of the path.
    pub name: String,
}

impl Project {
    /// The project that lives at `address`.
    #[must_use]
    pub fn of(address: &RepositoryAddress) -> Self {
        let name = address.name();
        Self {
            slug: slug_of(name, address.identity()),
            path: address.project_path().to_owned(),
            name: name.to_owned(),
        }
    }
}

fn slug_of(name: &str, identity: &str) -> ProjectSlug {
    const READABLE_MAX_BYTES: usize = 32;
    let mut readable = String::new();
    for character in name.chars().flat_map(char::to_lowercase) {
        let next = if character.is_ascii_alphanumeric() { character } else { '-' };
        if next == '-' && (readable.is_empty() || readable.ends_with('-')) {
            continue;
        }
        if readable.len() == READABLE_MAX_BYTES {
            break;
        }
        readable.push(next);
    }
    let readable = readable.trim_end_matches('-');
    let readable = if readable.is_empty() { "project" } else { readable };
    let hash = Sha256::digest(identity.as_bytes());
    let suffix: String = hash.iter().take(3).map(|byte| format!("{byte:02x}")).collect();
    ProjectSlug(Arc::from(format!("{readable}-{suffix}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_readable_and_do_not_collide() {
        let one = slug_of("My_Shop.2", "gitlab.example.com/a/My_Shop.2");
        let two = slug_of("My_Shop.2", "gitlab.example.com/b/My_Shop.2");
        assert!(one.as_str().starts_with("my-shop-2-"));
        assert_ne!(one, two);
        assert!(one.as_str().parse::<ProjectSlug>().is_ok());
    }

    #[test]
    fn a_name_of_symbols_still_gives_a_slug() {
        assert!(slug_of("___", "h/___").as_str().starts_with("project-"));
        assert!(slug_of(&"é".repeat(100), "h/x").as_str().parse::<ProjectSlug>().is_ok());
    }

    #[test]
    fn names_refuse_what_could_be_an_option_or_a_path() {
        for bad in ["", "-a", "a-", "A", "a/b", "a b", "..", "a\n", "ü"] {
            assert!(bad.parse::<EnvironmentName>().is_err(), "{bad:?}");
        }
        for bad in ["", ".hidden", "-x", "a/b", "a\0"] {
            assert!(bad.parse::<CredentialName>().is_err(), "{bad:?}");
        }
        for bad in ["", "1A", "A-B", "A=B", "A\n"] {
            assert!(bad.parse::<EnvName>().is_err(), "{bad:?}");
        }
        let long = "a".repeat(NAME_LENGTH_MAX_BYTES + 1);
        assert!(matches!(long.parse::<EnvironmentName>(), Err(NameError::TooLong { .. })));
    }
}
