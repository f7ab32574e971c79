//! Push options, and what the host answers to them.

use slipway_common::model::{BranchName, RepositoryAddress};
use url::Url;

/// Longest push option.
const OPTION_MAX_BYTES: usize = 1_024;
/// Longest title of a merge request.
const TITLE_MAX_CHARS: usize = 255;

/// Why a push option was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a push option must be one line of 1 to {OPTION_MAX_BYTES} bytes without control characters")]
pub struct PushOptionError;

/// One option for the host, as `key` or `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushOption(String);

impl PushOption {
    /// Takes one option as it is.
    ///
    /// # Errors
    /// When it is empty, too long, or has control characters.
    pub fn parse(text: &str) -> Result<Self, PushOptionError> {
        let is_valid = (1..=OPTION_MAX_BYTES).contains(&text.len()) && !text.contains(char::is_control);
        if is_valid { Ok(Self(text.to_owned())) } else { Err(PushOptionError) }
    }

    /// The option as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A merge request to be made with a push.
#[derive(Debug, Clone, Copy)]
pub struct MergeRequest<'a> {
    /// The branch it asks to merge into.
    pub target: &'a BranchName,
    /// Its title; put on one line and shortened as needed.
    pub title: &'a str,
    /// Whether the source branch goes away with the merge.
    pub remove_source_branch: bool,
}

impl MergeRequest<'_> {
    /// The push options that ask for it.
    #[must_use]
    pub fn options(&self) -> Vec<PushOption> {
        let visible: String = self.title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let title: String = visible.trim().chars().take(TITLE_MAX_CHARS).collect();
        let mut options = vec![
            "merge_request.create".to_owned(),
            format!("merge_request.target={}", self.target),
            format!("merge_request.title={title}"),
        ];
        if self.remove_source_branch {
            options.push("merge_request.remove_source_branch".to_owned());
        }
        options.into_iter().map(PushOption).collect()
    }
}

/// The address of a merge request in what the host printed: only one on the repository's own host counts.
pub(super) fn merge_request_url(message: &str, address: &RepositoryAddress) -> Option<String> {
    let is_merge_request = |url: &Url| {
        let path = url.path();
        ["/merge_requests/", "/pull/", "/pulls/"].iter().any(|part| path.contains(part))
            && !path.contains("/new")
    };
    message
        .split_whitespace()
        .filter(|word| word.starts_with("https://") || word.starts_with("http://"))
        .filter_map(|word| Url::parse(word).ok())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .filter(|url| url.host_str() == Some(address.host()))
        .find(is_merge_request)
        .map(String::from)
}

#[cfg(test)]
mod tests {
    use slipway_common::model::AddressPolicy;

    use super::*;

    #[test]
    fn only_a_merge_request_on_the_same_host_is_taken() {
        let address = RepositoryAddress::parse("https://gitlab.com/a/b", &AddressPolicy::default()).unwrap();
        let said = "View merge request for x:\n  https://gitlab.com/a/b/-/merge_requests/7\n";
        assert_eq!(
            merge_request_url(said, &address).as_deref(),
            Some("https://gitlab.com/a/b/-/merge_requests/7")
        );
        for hostile in [
            "https://evil.example/a/b/-/merge_requests/7",
            "https://gitlab.com@evil.example/merge_requests/7",
            "javascript://gitlab.com/merge_requests/7",
            "https://gitlab.com/a/b/-/merge_requests/new?x=1",
            "",
        ] {
            assert_eq!(merge_request_url(hostile, &address), None, "{hostile}");
        }
    }

    #[test]
    fn a_title_cannot_add_an_option() {
        let target = BranchName::parse("main").unwrap();
        let title = "x\nci.skip\0";
        let options = MergeRequest { target: &target, title, remove_source_branch: true }.options();
        assert_eq!(options.len(), 4);
        assert_eq!(options[2].as_str(), "merge_request.title=x ci.skip");
        assert_eq!(PushOption::parse("a\nb"), Err(PushOptionError));
    }
}
