//! Whether files that matter have changed between two commits: those that match the patterns of a rule, and the project's
//! own file, which says how everything is deployed.

use std::collections::{BTreeMap, BTreeSet};

use slipway_common::model::registered::PathPattern;

use super::fault::Fault;
use super::look::Look;
use crate::git::{BranchName, GitError};
use crate::project_file::PROJECT_FILE;

/// Whether a file that matches one of `paths` differs between the commits. What cannot be compared any more, for the host
/// has forgotten the older one, counts as changed.
pub(super) async fn has_changed(
    look: &Look<'_>,
    (base, revision): (&str, &str),
    branch: Option<&BranchName>,
    paths: &[PathPattern],
) -> Result<bool, Fault> {
    match look.fetch(base, branch).await {
        Ok(()) => {}
        Err(GitError::RevisionNotFound { .. } | GitError::Moved { .. }) => return Ok(true),
        Err(error) => return Err(error.into()),
    }
    look.fetch(revision, branch).await?;
    let mirror = &look.source.mirror;
    let (older, newer) = (mirror.snapshot(base).await?, mirror.snapshot(revision).await?);
    let paths = paths.to_vec();
    let compare = move || is_touched(&older.object_ids(), &newer.object_ids(), &paths);
    tokio::task::spawn_blocking(compare).await.map_err(|_| Fault::Crashed)
}

/// Whether a file that matters was added, changed or removed between two trees of paths and object ids. Pure.
fn is_touched(
    older: &BTreeMap<String, String>,
    newer: &BTreeMap<String, String>,
    paths: &[PathPattern],
) -> bool {
    let all: BTreeSet<&String> = older.keys().chain(newer.keys()).collect();
    let mut differing = all.into_iter().filter(|path| older.get(*path) != newer.get(*path));
    differing.any(|path| path == PROJECT_FILE || paths.iter().any(|pattern| pattern.matches(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(path, id)| ((*path).to_owned(), (*id).to_owned())).collect()
    }

    #[test]
    fn only_files_that_match_count() {
        let older = tree(&[("api/main.rs", "1"), ("web/app.js", "2"), ("README.md", "3")]);
        let paths: [PathPattern; 2] = ["api/**".parse().unwrap(), "*.md".parse().unwrap()];
        let cases = [
            (older.clone(), false),
            (tree(&[("api/main.rs", "1"), ("web/app.js", "9"), ("README.md", "3")]), false),
            (tree(&[("api/main.rs", "9"), ("web/app.js", "2"), ("README.md", "3")]), true),
            (tree(&[("web/app.js", "2"), ("README.md", "3")]), true),
            (tree(&[("api/main.rs", "1"), ("api/new.rs", "4"), ("README.md", "3")]), true),
            (tree(&[("api/main.rs", "1"), ("web/README.md", "4"), ("README.md", "3")]), false),
            (tree(&[("api/main.rs", "1"), ("CHANGES.md", "3")]), true),
            (
                tree(&[("api/main.rs", "1"), ("web/app.js", "2"), ("README.md", "3"), ("slipway.yml", "5")]),
                true,
            ),
        ];
        for (newer, expected) in cases {
            assert_eq!(is_touched(&older, &newer, &paths), expected, "{newer:?}");
            assert_eq!(is_touched(&newer, &older, &paths), expected, "the other way round, {newer:?}");
        }
    }
}
