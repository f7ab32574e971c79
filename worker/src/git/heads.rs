//! Where all refs of a host stand, asked in one request.

use std::collections::BTreeMap;

use slipway_common::model::{BranchName, RevisionSpec};

use super::credential::Credential;
use super::error::GitError;
use super::mirror::Mirror;
use super::remote::{default_branch_name, is_object_id};

/// Most refs of one host that are looked at.
pub const HEADS_MAX: usize = 50_000;

/// What `ls-remote` puts behind the name of an annotated tag on the line that gives its commit.
const PEELED: &str = "^{}";

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
        let mut patterns = vec!["HEAD".to_owned(), "refs/heads/*".to_owned(), "refs/tags/*".to_owned()];
        if with_merge_requests {
            patterns.push("refs/merge-requests/*/head".to_owned());
        }
        parse(&self.list(&patterns, credential).await?, HEADS_MAX)
    }
}

/// Reads the output of `ls-remote --symref`, whose patterns match the ends of names: others are left out. Pure.
fn parse(listing: &str, limit: usize) -> Result<Heads, GitError> {
    let mut heads = Heads { default_branch: default_branch_name(listing), ..Heads::default() };
    let mut peeled = Vec::new();
    let lines = listing.lines().filter_map(|line| line.split_once('\t'));
    for (count, (id, name)) in lines.filter(|(id, _)| is_object_id(id)).enumerate() {
        if count >= limit {
            return Err(GitError::Limit { what: "refs", limit: u64::try_from(limit).unwrap_or(u64::MAX) });
        }
        if let Some(branch) = name.strip_prefix("refs/heads/") {
            if BranchName::parse(branch).is_ok() {
                heads.branches.insert(branch.to_owned(), id.to_owned());
            }
        } else if let Some(tag) = name.strip_prefix("refs/tags/") {
            if let Some(tag) = tag.strip_suffix(PEELED) {
                peeled.push((tag, id));
            } else if is_tag(tag) {
                heads.tags.insert(tag.to_owned(), id.to_owned());
            }
        } else if let Some(number) = merge_request(name) {
            heads.merge_requests.insert(number, id.to_owned());
        }
    }
    for (tag, id) in peeled.into_iter().filter(|(tag, _)| is_tag(tag)) {
        heads.tags.insert(tag.to_owned(), id.to_owned());
    }
    Ok(heads)
}

fn is_tag(name: &str) -> bool {
    RevisionSpec::parse(name).is_ok_and(|spec| spec.tag().is_some())
}

/// The number in `refs/merge-requests/<number>/head`, in its one spelling.
fn merge_request(name: &str) -> Option<u64> {
    let text = name.strip_prefix("refs/merge-requests/")?.strip_suffix("/head")?;
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn listing(refs: &[(char, &str)]) -> String {
        let lines = refs.iter().map(|(digit, name)| format!("{}\t{name}\n", id(*digit)));
        format!("ref: refs/heads/main\tHEAD\n{}\tHEAD\n{}", id('1'), lines.collect::<String>())
    }

    #[test]
    fn refs_are_told_apart_by_what_they_are() {
        let text = listing(&[
            ('1', "refs/heads/main"),
            ('2', "refs/heads/feature/x"),
            ('3', "refs/merge-requests/7/head"),
            ('4', "refs/tags/v1"),
        ]);
        let heads = parse(&text, 10).unwrap();
        assert_eq!(heads.default_branch.unwrap().as_str(), "main");
        assert_eq!(heads.branches, [("feature/x".to_owned(), id('2')), ("main".to_owned(), id('1'))].into());
        assert_eq!(heads.tags, [("v1".to_owned(), id('4'))].into());
        assert_eq!(heads.merge_requests, [(7, id('3'))].into());
    }

    #[test]
    fn an_annotated_tag_stands_for_its_commit() {
        for order in [["refs/tags/v1", "refs/tags/v1^{}"], ["refs/tags/v1^{}", "refs/tags/v1"]] {
            let text = listing(&order.map(|name| (if name.ends_with("^{}") { '5' } else { '4' }, name)));
            assert_eq!(parse(&text, 10).unwrap().tags, [("v1".to_owned(), id('5'))].into(), "{order:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_used_are_left_out() {
        let sha = id('a');
        let shas = [format!("refs/heads/{sha}"), format!("refs/tags/{sha}")];
        let text = listing(&[
            ('2', "refs/heads/-x"),
            ('2', "refs/heads/a..b"),
            ('2', "refs/tags/--upload-pack=x"),
            ('2', "refs/tags/-x^{}"),
            ('2', "refs/heads/\u{202e}niam"),
            ('2', &shas[0]),
            ('2', &shas[1]),
            ('2', "refs/other/refs/heads/main"),
            ('2', "refs/merge-requests/07/head"),
            ('2', "refs/merge-requests/7/merge"),
            ('2', "refs/merge-requests/-7/head"),
            ('2', "refs/merge-requests/99999999999999999999/head"),
        ]);
        let heads = parse(&text, 100).unwrap();
        let found = (heads.branches.len(), heads.tags.len(), heads.merge_requests.len());
        assert_eq!(found, (0, 0, 0), "{heads:?}");
    }

    #[test]
    fn an_empty_repository_has_no_heads() {
        for text in ["", "ref: refs/heads/--x\tHEAD\nnonsense\trefs/heads/x\n"] {
            assert_eq!(parse(text, 10).unwrap(), Heads::default(), "{text:?}");
        }
    }

    #[test]
    fn too_many_refs_are_refused() {
        let text = listing(&[('2', "refs/heads/a"), ('3', "refs/heads/b")]);
        assert!(parse(&text, 3).is_ok());
        assert_eq!(parse(&text, 2).unwrap_err().code(), "git_limit");
    }
}
