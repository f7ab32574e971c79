//! Branch names and revisions that Git accepts and that can never be taken for an option.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{AddressError, check_text};

/// Longest accepted branch or tag name.
pub const REF_NAME_LENGTH_MAX_BYTES: usize = 250;
/// Length of a full SHA-1 object id in hexadecimal.
const SHA_HEX_LENGTH: usize = 40;

/// The rules of `git check-ref-format`, and no leading dash.
fn is_ref_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let component_is_valid = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.ends_with(".lock")
    };
    !name.starts_with('-')
        && name != "@"
        && name != "HEAD"
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(forbidden)
        && name.split('/').all(component_is_valid)
}

fn is_full_sha(text: &str) -> bool {
    text.len() == SHA_HEX_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn check_ref_name(what: &'static str, name: &str) -> Result<(), AddressError> {
    check_text(what, name, REF_NAME_LENGTH_MAX_BYTES)?;
    if is_ref_name(name) { Ok(()) } else { Err(AddressError::RefName { what }) }
}

macro_rules! text_value {
    ($name:ident) => {
        impl $name {
            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = AddressError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = AddressError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

/// The short name of a branch, without `refs/heads/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct BranchName(String);

impl BranchName {
    /// Parses a branch name.
    ///
    /// # Errors
    /// When Git would not accept it, or it is longer than [`REF_NAME_LENGTH_MAX_BYTES`].
    pub fn parse(name: &str) -> Result<Self, AddressError> {
        check_ref_name("the branch", name)?;
        if is_full_sha(name) {
            return Err(AddressError::RefName { what: "the branch" });
        }
        Ok(Self(name.to_owned()))
    }

    /// `refs/heads/<name>`.
    #[must_use]
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

text_value!(BranchName);

/// A pinned revision: a full commit id or the name of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct RevisionSpec(String);

impl RevisionSpec {
    /// Parses a full 40-digit commit id (stored in lower case) or a tag name.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if is_full_sha(text) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        check_ref_name("the revision", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The commit id, when the revision is one.
    #[must_use]
    pub fn sha(&self) -> Option<&str> {
        is_full_sha(&self.0).then_some(self.0.as_str())
    }

    /// The tag's short name, when the revision is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        if is_full_sha(&self.0) { None } else { Some(&self.0) }
    }
}

text_value!(RevisionSpec);
