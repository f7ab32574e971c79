//! Where all refs of a host stand, asked in one request.

use std::collections::BTreeMap;

use slipway_common::model::{BranchName, RevisionSpec};

use super::credential::Credential;
use super::error::GitError;
use super::listing::Listing;
use super::mirror::Mirror;

/// Most refs of one host that are looked at.
pub const HEADS_MAX: usize = 50_000;
/// How the names of the refs of merge requests begin.
const REQUESTS: &str = "refs/merge-requests/";

/// Where the refs of a repository stand. Refs with names that could not be handed to Git again are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads {
    /// The branch the repository calls its default; absent when it is empty, or its name cannot be used.
    pub default_branch: Option<BranchName>,
    /// Commits of the branches, by short name.
    pub branches: BTreeMap<String, String>,
    /// Commits of the tags, by short name; of an annotated tag what it points to.
    pub tags: BTreeMap<String, String>,
    /// Commits of the merge requests, by number; empty when they were not asked for.
    pub merge_requests: BTreeMap<u64, String>,
}

impl Mirror {
    /// Where all branches and tags stand on the host now, and `with_merge_requests` those of its merge requests too (as
    /// GitLab names them). One request; nothing is fetched.
    ///
    /// # Errors
    /// Any network failure; [`GitError::Limit`] when the host has more than [`HEADS_MAX`] of them, or answers more than
    /// the limit of bytes.
    pub async fn heads(
        &self,
        credential: Option<&Credential>,
        with_merge_requests: bool,
    ) -> Result<Heads, GitError> {
        let mut prefixes = vec!["HEAD".to_owned(), "refs/heads/".to_owned(), "refs/tags/".to_owned()];
        if with_merge_requests {
            prefixes.push(REQUESTS.to_owned());
        }
        heads_of(&self.refs(&prefixes, credential).await?, HEADS_MAX)
    }
}

/// Sorts refs by what they are; others are left out. Pure.
fn heads_of(listing: &Listing, limit: usize) -> Result<Heads, GitError> {
    // A merge request has other refs beside its head.
    let counts = |name: &str| !name.starts_with(REQUESTS) || merge_request(name).is_some();
    if listing.0.iter().filter(|listed| counts(&listed.name)).count() > limit {
        return Err(GitError::Limit { what: "refs", limit: u64::try_from(limit).unwrap_or(u64::MAX) });
    }
    let mut heads = Heads { default_branch: listing.default_branch(), ..Heads::default() };
    for listed in &listing.0 {
        if let Some(branch) = listed.name.strip_prefix("refs/heads/") {
            if BranchName::parse(branch).is_ok() {
                heads.branches.insert(branch.to_owned(), listed.id.clone());
            }
        } else if let Some(tag) = listed.name.strip_prefix("refs/tags/") {
            if is_tag(tag) {
                heads.tags.insert(tag.to_owned(), listed.peeled.as_ref().unwrap_or(&listed.id).clone());
            }
        } else if let Some(number) = merge_request(&listed.name) {
            heads.merge_requests.insert(number, listed.id.clone());
        }
    }
    Ok(heads)
}

fn is_tag(name: &str) -> bool {
    RevisionSpec::parse(name).is_ok_and(|spec| spec.tag().is_some())
}

/// The number in `refs/merge-requests/<number>/head`, in its one spelling.
fn merge_request(name: &str) -> Option<u64> {
    let text = name.strip_prefix(REQUESTS)?.strip_suffix("/head")?;
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::listing::Listed;
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn listing(refs: &[(char, &str)]) -> Listing {
        let listed =
            |digit: char, name: &str| Listed { name: name.to_owned(), id: id(digit), ..Listed::default() };
        let head = Listed { target: Some("refs/heads/main".to_owned()), ..listed('1', "HEAD") };
        Listing(std::iter::once(head).chain(refs.iter().map(|(digit, name)| listed(*digit, name))).collect())
    }

    #[test]
    fn refs_are_told_apart_by_what_they_are() {
        let told = listing(&[
            ('1', "refs/heads/main"),
            ('2', "refs/heads/feature/x"),
            ('3', "refs/merge-requests/7/head"),
            ('4', "refs/tags/v1"),
        ]);
        let heads = heads_of(&told, 10).unwrap();
        assert_eq!(heads.default_branch.unwrap().as_str(), "main");
        assert_eq!(heads.branches, [("feature/x".to_owned(), id('2')), ("main".to_owned(), id('1'))].into());
        assert_eq!(heads.tags, [("v1".to_owned(), id('4'))].into());
        assert_eq!(heads.merge_requests, [(7, id('3'))].into());
    }

    #[test]
    fn an_annotated_tag_stands_for_its_commit() {
        let mut told = listing(&[('4', "refs/tags/v1"), ('6', "refs/tags/v2")]);
        told.0[1].peeled = Some(id('5'));
        let expected = [("v1".to_owned(), id('5')), ("v2".to_owned(), id('6'))];
        assert_eq!(heads_of(&told, 10).unwrap().tags, expected.into());
    }

    #[test]
    fn names_that_cannot_be_used_are_left_out() {
        let sha = id('a');
        let shas = [format!("refs/heads/{sha}"), format!("refs/tags/{sha}")];
        let told = listing(&[
            ('2', "refs/heads/-x"),
            ('2', "refs/heads/a..b"),
            ('2', "refs/tags/--upload-pack=x"),
            ('2', "refs/tags/-x"),
            ('2', "refs/heads/\u{202e}niam"),
            ('2', &shas[0]),
            ('2', &shas[1]),
            ('2', "refs/other/refs/heads/main"),
            ('2', "refs/merge-requests/07/head"),
            ('2', "refs/merge-requests/7/merge"),
            ('2', "refs/merge-requests/-7/head"),
            ('2', "refs/merge-requests/99999999999999999999/head"),
        ]);
        let heads = heads_of(&told, 100).unwrap();
        let found = (heads.branches.len(), heads.tags.len(), heads.merge_requests.len());
        assert_eq!(found, (0, 0, 0), "{heads:?}");
    }

    #[test]
    fn an_empty_repository_has_no_heads() {
        assert_eq!(heads_of(&Listing::default(), 10).unwrap(), Heads::default());
    }

    #[test]
    fn too_many_refs_are_refused() {
        let told = listing(&[
            ('2', "refs/heads/a"),
            ('3', "refs/heads/b"),
            ('4', "refs/merge-requests/1/head"),
            ('5', "refs/merge-requests/1/merge"),
        ]);
        assert!(heads_of(&told, 4).is_ok());
        assert_eq!(heads_of(&told, 3).unwrap_err().code(), "git_limit");
    }
}
