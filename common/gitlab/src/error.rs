//! Why GitLab did not do what it was asked, from the answers it really gives: JSON of four shapes, HTML, plain text.

mod body;

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Longest pause that is believed when GitLab wants fewer requests.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// When the window of a rate limit ends, in seconds since 1970.
const RATE_LIMIT_RESET: &str = "ratelimit-reset";

/// Why GitLab did not do what it was asked. No text in it holds a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitlabError {
    /// No connection, or one that was lost.
    #[error("GitLab cannot be reached: {reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// No answer within the time limit.
    #[error("GitLab did not answer in time")]
    TimedOut,
    /// The token is unknown, revoked or expired.
    #[error("GitLab does not accept the token")]
    Unauthorized,
    /// The token is not enough for this.
    #[error("GitLab does not allow this: {message}")]
    Forbidden {
        /// What GitLab says.
        message: String,
        /// The scope a token needs for this, when GitLab names it.
        scope: Option<String>,
    },
    /// It does not exist, or is not shown to this token: GitLab does not tell which.
    #[error("GitLab knows no such object, or does not show it to this token")]
    NotFound,
    /// Too many requests.
    #[error("GitLab wants fewer requests")]
    RateLimited {
        /// After what pause it wants to be asked again, when it says so.
        retry_after: Option<Duration>,
    },
    /// GitLab finds something wrong with the request.
    #[error("GitLab refused the request with status {status}: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// What GitLab says.
        message: String,
    },
    /// GitLab itself failed.
    #[error("GitLab failed with status {status}")]
    ServerError {
        /// The status.
        status: u16,
    },
    /// An answer that is too large, or is not what is documented.
    #[error("the answer of GitLab cannot be used: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The API has no address a token may be sent to.
    #[error("the API of GitLab must have a plain https:// address")]
    Address,
}

impl GitlabError {
    /// What happened, in one sentence without secrets.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// After what pause GitLab wants to be asked again, when it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => *retry_after,
            Self::Unreachable { .. }
            | Self::TimedOut
            | Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound
            | Self::Refused { .. }
            | Self::ServerError { .. }
            | Self::Unreadable { .. }
            | Self::Address => None,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut
            | Self::RateLimited { .. }
            | Self::ServerError { .. } => true,
            // A conflict is another request at the same object at the same time.
            Self::Refused { status, .. } => *status == StatusCode::CONFLICT.as_u16(),
            Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound
            | Self::Unreadable { .. }
            | Self::Address => false,
        }
    }

    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "gitlab_unreachable",
            Self::TimedOut => "gitlab_timed_out",
            Self::Unauthorized => "gitlab_unauthorized",
            Self::Forbidden { .. } => "gitlab_forbidden",
            Self::NotFound => "gitlab_not_found",
            Self::RateLimited { .. } => "gitlab_rate_limited",
            Self::Refused { .. } => "gitlab_refused",
            Self::ServerError { .. } => "gitlab_server_error",
            Self::Unreadable { .. } => "gitlab_unreadable",
            Self::Address => "gitlab_address",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "Check that GitLab runs, and that its address and certificate are right."
            }
            Self::TimedOut => "Check that GitLab is not overloaded; it is asked again by itself.",
            Self::Unauthorized => "Store a new access token: the old one is wrong, revoked or has expired.",
            Self::Forbidden { .. } => {
                "Use an access token with the scope `api` and the role Maintainer in this project."
            }
            Self::NotFound => {
                "Check the project's path, and that the token's user is a member of the project."
            }
            Self::RateLimited { .. } => "Nothing needs to be done; GitLab is asked again later.",
            Self::Refused { .. } => {
                "Check what GitLab says about it. A project that was moved needs its new address."
            }
            Self::ServerError { .. } => "Check the state of GitLab; it is asked again by itself.",
            Self::Unreadable { .. } => {
                "Check that the address is GitLab's own, and not a proxy's or a login page's."
            }
            Self::Address => "Register the repository under an address that begins with https://.",
        }
    }

    /// What an answer that is no success says.
    pub(crate) fn of_answer(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        token: &str,
        now: Timestamp,
    ) -> Self {
        let told = || body::read(body, token);
        match status.as_u16() {
            401 => Self::Unauthorized,
            403 => {
                let body::Told { message, scope } = told();
                Self::Forbidden { message, scope }
            }
            404 => Self::NotFound,
            408 => Self::TimedOut,
            429 => Self::RateLimited { retry_after: retry_after(headers, now) },
            status @ 500.. => Self::ServerError { status },
            status => Self::Refused { status, message: told().message },
        }
    }
}

/// The pause an answer asks for: `Retry-After` in seconds, else until the window of the limit ends; from a second to an hour.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let seconds = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let until_reset = |reset: u64| {
        let now_s = u64::try_from(now.as_second()).unwrap_or_default();
        reset.saturating_sub(now_s)
    };
    let pause_s = seconds(RETRY_AFTER.as_str()).or_else(|| seconds(RATE_LIMIT_RESET).map(until_reset))?;
    Some(Duration::from_secs(pause_s).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests;
