//! References to container images, parsed by the grammar of the distribution project's reference package.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest image reference accepted.
pub const IMAGE_REFERENCE_MAX_BYTES: usize = 512;

/// `[registry[:port]/]path[:tag][@sha256:digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct ImageReference(String);

/// Why an image reference was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an image reference: {0}")]
pub struct ImageReferenceError(&'static str);

impl ImageReference {
    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(*b) || matches!(b, b'.' | b'_' | b'-'))
}

fn is_registry(component: &str) -> bool {
    let (host, port) = component.split_once(':').map_or((component, None), |(h, p)| (h, Some(p)));
    !host.is_empty()
        && !host.starts_with(['-', '.'])
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && port.is_none_or(|p| p.parse::<u16>().is_ok())
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > IMAGE_REFERENCE_MAX_BYTES {
            return Err(ImageReferenceError("more than 512 bytes"));
        }
        let (rest, digest) = text.split_once('@').map_or((text, None), |(r, d)| (r, Some(d)));
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(ImageReferenceError("the digest must be sha256: and 64 hexadecimal digits"));
        }
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[last_slash..].split_once(':') {
            Some((_, tag)) => (&rest[..rest.len() - tag.len() - 1], Some(tag)),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ImageReferenceError("the tag has a character that tags cannot have"));
        }
        let mut components = name.split('/').peekable();
        let first = components.peek().copied().unwrap_or_default();
        let has_registry = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        if has_registry {
            if !is_registry(first) {
                return Err(ImageReferenceError("the registry is not a host name"));
            }
            components.next();
        }
        if !components.all(is_path_component) {
            return Err(ImageReferenceError("the name must be lower-case path components"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ImageReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.0
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ImageReference;

    #[test]
    fn accepts_what_registries_accept() {
        let digest = "a".repeat(64);
        for good in [
            "redis".to_owned(),
            "redis:7".to_owned(),
            "library/redis:7-alpine".to_owned(),
            "registry.example.com:5000/group/app:1.2".to_owned(),
            "localhost/app".to_owned(),
            format!("app@sha256:{digest}"),
            format!("ghcr.io/a/b_c/d-e:v1@sha256:{digest}"),
        ] {
            assert!(good.parse::<ImageReference>().is_ok(), "{good}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            "",
            "Redis",
            "-x",
            "a b",
            "a:",
            "a:-x",
            "a//b",
            "/a",
            "a/",
            "a@sha256:00",
            "a\nb",
            "a$(id)",
            "host..:x/a",
            "a@b",
        ] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad:?}");
        }
    }
}
