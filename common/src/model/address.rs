//! Repository addresses, branch names and revisions: parsed once, at the edge, into values that are safe to
//! hand to a Git client.
//!
//! Only `https` (and `http` where the policy says so) is ever accepted. Every other form Git understands
//! (`ext::`, `file://`, `ssh://`, `host:path`, plain paths) either runs a program or reads the local disk.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

mod names;

pub use names::{BranchName, REF_NAME_LENGTH_MAX_BYTES, RevisionSpec};

/// Longest accepted repository address.
pub const ADDRESS_LENGTH_MAX_BYTES: usize = 2_048;

/// When a repository may be reached over unencrypted `http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpPolicy {
    /// Never.
    Never,
    /// Only when the host is this machine.
    #[default]
    Loopback,
    /// Always: credentials travel in clear. For closed networks.
    Always,
}

/// What an address may look like in this installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AddressPolicy {
    /// When `http` is accepted.
    pub http: HttpPolicy,
}

/// Why an address, a branch or a revision was refused. The message never repeats the refused text, so it is
/// safe to show and to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which value.
        what: &'static str,
    },
    /// More bytes than allowed.
    #[error("{what} has {length_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLong {
        /// Which value.
        what: &'static str,
        /// Its length.
        length_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// A control, white-space, direction or other character that has no place there.
    #[error("{what} contains a character that is not allowed")]
    Character {
        /// Which value.
        what: &'static str,
    },
    /// Not an `https` URL.
    #[error("a repository address must be an https:// URL such as https://gitlab.com/group/project")]
    Scheme,
    /// `http` to a host the policy does not allow it for.
    #[error("http:// is not allowed for this host; use https://")]
    InsecureHttp,
    /// User name or password inside the address.
    #[error("a repository address must not contain a user name or a password; name a credential instead")]
    UserInfo,
    /// No host, or a host that is no plain name or IP address.
    #[error("the host of the repository address is not a plain name or IP address")]
    Host,
    /// `?…` or `#…`.
    #[error("a repository address must not have a query or a fragment")]
    QueryOrFragment,
    /// The path names no project, or is not in its simple form.
    #[error("the path of the repository address must be like /group/project, without empty or dot segments")]
    Path,
    /// Not a name Git accepts for a branch or tag.
    #[error("{what} is not a valid Git name")]
    RefName {
        /// Which value.
        what: &'static str,
    },
}

/// The address of one Git repository: an `http(s)` URL without credentials, query or dot segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryAddress {
    url: String,
    identity: String,
    path_start: usize,
    host: Box<str>,
    secure: bool,
}

impl RepositoryAddress {
    /// Parses `text` under `policy`.
    ///
    /// # Errors
    /// When `text` is anything but a plain `https` (or permitted `http`) URL of a project.
    pub fn parse(text: &str, policy: &AddressPolicy) -> Result<Self, AddressError> {
        let address = Self::parse_form(text)?;
        address.check(policy)?;
        Ok(address)
    }

    /// Checks an address that came out of storage or a message against `policy`.
    ///
    /// # Errors
    /// [`AddressError::InsecureHttp`] when the policy does not allow `http` for this host.
    pub fn check(&self, policy: &AddressPolicy) -> Result<(), AddressError> {
        let allowed = self.secure
            || match policy.http {
                HttpPolicy::Never => false,
                HttpPolicy::Loopback => is_loopback(&self.host),
                HttpPolicy::Always => true,
            };
        if allowed { Ok(()) } else { Err(AddressError::InsecureHttp) }
    }

    /// The URL to fetch from, without trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// `host[:port]/path`, the same for every spelling of the same project.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The project's path on its host, such as `group/project`.
    #[must_use]
    pub fn project_path(&self) -> &str {
        &self.identity[self.path_start..]
    }

    /// The last segment of the project's path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.project_path().rsplit('/').next().unwrap_or_default()
    }

    /// The host name or IP address, without port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// `scheme://host[:port]/`, the scope of a credential for this address.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}/", self.scheme(), &self.identity[..self.path_start.saturating_sub(1)])
    }

    fn parse_form(text: &str) -> Result<Self, AddressError> {
        const WHAT: &str = "the repository address";
        check_text(WHAT, text, ADDRESS_LENGTH_MAX_BYTES)?;
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'`'))
        {
            return Err(AddressError::Character { what: WHAT });
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(AddressError::Scheme),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        check_authority(authority)?;
        if path.contains(['?', '#']) {
            return Err(AddressError::QueryOrFragment);
        }
        let path = path.trim_end_matches('/');
        check_path(path)?;
        let url = Url::parse(&format!("{}://{authority}/{path}", if secure { "https" } else { "http" }))
            .map_err(|_| AddressError::Host)?;
        let host = plain_host(&url)?;
        let place = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        let project = path.strip_suffix(".git").unwrap_or(path);
        Ok(Self {
            url: url.to_string(),
            path_start: place.len() + 1,
            identity: format!("{place}/{project}"),
            host: host.into_boxed_str(),
            secure,
        })
    }
}

impl fmt::Display for RepositoryAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

impl From<RepositoryAddress> for String {
    fn from(address: RepositoryAddress) -> Self {
        address.url
    }
}

/// Reads the form only: where addresses enter, [`RepositoryAddress::parse`] or [`RepositoryAddress::check`]
/// applies the policy.
impl TryFrom<String> for RepositoryAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse_form(&text)
    }
}

fn check_text(what: &'static str, text: &str, limit_bytes: usize) -> Result<(), AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty { what });
    }
    if text.len() > limit_bytes {
        return Err(AddressError::TooLong { what, length_bytes: text.len(), limit_bytes });
    }
    if text.chars().any(is_deceptive) {
        return Err(AddressError::Character { what });
    }
    Ok(())
}

/// Control characters, line and paragraph separators, and the invisible or direction-changing characters
/// that make a text read differently from what it is.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{FEFF}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
}

fn check_authority(authority: &str) -> Result<(), AddressError> {
    if authority.contains('@') {
        return Err(AddressError::UserInfo);
    }
    if authority.contains(['?', '#']) {
        return Err(AddressError::QueryOrFragment);
    }
    let hostile = authority.is_empty()
        || authority.starts_with(['-', ':', '.'])
        || authority.ends_with(':')
        || authority.contains("..")
        || authority.contains('%');
    if hostile { Err(AddressError::Host) } else { Ok(()) }
}

fn check_path(path: &str) -> Result<(), AddressError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/@!".contains(&byte);
    if !path.bytes().all(allowed) {
        return Err(AddressError::Path);
    }
    let segment_is_plain = |segment: &str| {
        !segment.is_empty() && !matches!(segment, "." | ".." | ".git") && !segment.starts_with('-')
    };
    if path.split('/').all(segment_is_plain) { Ok(()) } else { Err(AddressError::Path) }
}

fn plain_host(url: &Url) -> Result<String, AddressError> {
    match url.host() {
        Some(Host::Domain(name)) => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if name.bytes().all(allowed) && !name.split('.').any(|label| label.starts_with('-')) {
                Ok(name.trim_end_matches('.').to_owned())
            } else {
                Err(AddressError::Host)
            }
        }
        Some(Host::Ipv4(address)) => Ok(address.to_string()),
        Some(Host::Ipv6(address)) => Ok(format!("[{address}]")),
        None => Err(AddressError::Host),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
