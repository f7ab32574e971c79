//! Where a project's API is, and with which token it is used.

use std::time::Duration;

use secrecy::SecretString;
use slipway_common::model::RepositoryAddress;
use url::{Host, Url};

use crate::GitlabError;

/// What is needed to speak to one project.
#[derive(Debug, Clone)]
pub struct Access {
    /// The API's address: `https://host/api/v4`.
    pub api_url: String,
    /// The project's path: `group/project`.
    pub project: String,
    /// A personal, project or group access token.
    pub token: SecretString,
    /// Longest time one request may take, its answer included.
    pub timeout: Duration,
}

impl Access {
    /// To the project that `repository` is.
    #[must_use]
    pub fn of(repository: &RepositoryAddress, token: SecretString, timeout: Duration) -> Self {
        Self {
            api_url: format!("{}api/v4", repository.origin()),
            project: repository.project_path().to_owned(),
            token,
            timeout,
        }
    }

    /// The API's address, if a token may be sent there: over `https`, or to this machine.
    pub(crate) fn base(&self) -> Result<Url, GitlabError> {
        let url = Url::parse(&self.api_url).map_err(|_| GitlabError::Address)?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let safe = match url.scheme() {
            "https" => url.host().is_some(),
            "http" => url.host().is_some_and(|host| is_loopback(&host)),
            _ => false,
        };
        if plain && safe && !self.project.is_empty() { Ok(url) } else { Err(GitlabError::Address) }
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use slipway_common::model::AddressPolicy;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn access(api_url: &str) -> Access {
        Access {
            api_url: api_url.to_owned(),
            project: "group/project".to_owned(),
            token: SecretString::from("glpat-abcdefgh12345678"),
            timeout: TIMEOUT,
        }
    }

    #[test]
    fn it_is_made_from_a_repository_address() {
        let address = RepositoryAddress::parse(
            "https://gitlab.example.com:8443/group/sub/app.git",
            &AddressPolicy::default(),
        )
        .unwrap();
        let access = Access::of(&address, SecretString::from("glpat-abcdefgh12345678"), TIMEOUT);
        assert_eq!(access.api_url, "https://gitlab.example.com:8443/api/v4");
        assert_eq!(access.project, "group/sub/app");
    }

    #[test]
    fn tokens_go_only_over_https_or_to_this_machine() {
        for good in [
            "https://gitlab.example.com/api/v4",
            "http://127.0.0.1:8080/api/v4",
            "http://[::1]:8080/api/v4",
            "http://localhost/api/v4",
        ] {
            assert!(access(good).base().is_ok(), "{good}");
        }
        for bad in [
            "http://gitlab.example.com/api/v4",
            "ftp://gitlab.example.com/api/v4",
            "https://user:secret@gitlab.example.com/api/v4",
            "https://gitlab.example.com/api/v4?private_token=x",
            "file:///etc/passwd",
            "http://localhost.example.com/api/v4",
            "gitlab.example.com",
            "",
        ] {
            assert_eq!(access(bad).base(), Err(GitlabError::Address), "{bad}");
        }
    }

    #[test]
    fn its_debug_text_holds_no_token() {
        let shown = format!("{:?}", access("https://gitlab.example.com/api/v4"));
        assert!(!shown.contains("abcdefgh"), "{shown}");
    }
}
