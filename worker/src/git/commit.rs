//! Writing one commit on top of another, straight into the object database, and finding it again.
//!
//! The same draft gives the same commit id, so a repeated attempt produces the commit that is there already.

use std::sync::Arc;

use gix::ObjectId;
use gix::objs::tree::EntryKind;

use super::error::GitError;
use super::mirror::{Mirror, blocking};
use super::snapshot::root_tree;

mod message;

/// Longest path of a generated file.
const PATH_MAX_BYTES: usize = 1_024;
/// Largest commit object that is read to say something about it.
const COMMIT_MAX_BYTES: u64 = 1024 * 1024;
/// Longest message that is handed on; the rest of a longer one is cut.
const MESSAGE_MAX_CHARS: usize = 16 * 1024;

/// Who makes the commit.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The name shown.
    pub name: &'a str,
    /// The e-mail address shown.
    pub email: &'a str,
}

/// A commit to be written.
#[derive(Debug, Clone, Copy)]
pub struct CommitDraft<'a> {
    /// Full id of the commit it goes on top of.
    pub parent: &'a str,
    /// Files to add: path and contents. None of the paths may exist.
    pub files: &'a [(&'a str, &'a [u8])],
    /// Subject and body. Control characters are removed; nothing in it can pass for a trailer.
    pub message: &'a str,
    /// Author and committer.
    pub author: Author<'a>,
    /// The commit's time, to the second.
    pub time: jiff::Timestamp,
    /// Keys and values at the end of the message.
    pub trailers: &'a [(&'a str, &'a str)],
}

/// A commit found by a trailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCommit {
    /// Its full id.
    pub revision: String,
    /// Full id of its first parent.
    pub parent: Option<String>,
    /// The author's e-mail address.
    pub author_email: String,
    /// All its trailers, in order.
    pub trailers: Vec<(String, String)>,
}

impl FoundCommit {
    /// The value of the first trailer called `key`.
    #[must_use]
    pub fn trailer(&self, key: &str) -> Option<&str> {
        value_of(&self.trailers, key)
    }
}

/// What one commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its message, as its author wrote it; a long one cut.
    pub message: String,
    /// All its trailers, in order.
    pub trailers: Vec<(String, String)>,
    /// Full id of its first parent.
    pub first_parent: Option<String>,
}

impl CommitInfo {
    /// The value of the first trailer called `key`.
    #[must_use]
    pub fn trailer(&self, key: &str) -> Option<&str> {
        value_of(&self.trailers, key)
    }
}

fn value_of<'a>(trailers: &'a [(String, String)], key: &str) -> Option<&'a str> {
    trailers.iter().find(|(found, _)| found.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
}

impl Mirror {
    /// What the commit `revision` (a full id) says of itself; it must have been fetched.
    ///
    /// # Errors
    /// [`GitError::RevisionNotFound`] when it is not in the mirror, [`GitError::Limit`] when it is too large to be a
    /// commit of people, [`GitError::Corrupted`] when it cannot be read.
    pub async fn commit_info(self: &Arc<Self>, revision: &str) -> Result<CommitInfo, GitError> {
        let (mirror, revision) = (Arc::clone(self), revision.to_owned());
        blocking("reading the commit", move || commit_info(&mirror, &revision)).await
    }
}

fn commit_info(mirror: &Mirror, revision: &str) -> Result<CommitInfo, GitError> {
    let repository = mirror.repository()?;
    let not_found = || GitError::RevisionNotFound { revision: revision.to_owned() };
    let id = ObjectId::from_hex(revision.as_bytes()).map_err(|_| not_found())?;
    let header = repository.find_header(id).map_err(|_| not_found())?;
    if header.size() > COMMIT_MAX_BYTES {
        return Err(GitError::Limit { what: "bytes of one commit", limit: COMMIT_MAX_BYTES });
    }
    let commit = repository.find_commit(id).map_err(|_| not_found())?;
    let text = String::from_utf8_lossy(commit.message_raw_sloppy()).into_owned();
    Ok(CommitInfo {
        trailers: message::trailers_of(&text),
        message: text.chars().take(MESSAGE_MAX_CHARS).collect(),
        first_parent: commit.parent_ids().next().map(|parent| parent.to_string()),
    })
}

/// Writes `draft` and returns the new commit's id. Blocking.
///
/// # Errors
/// [`GitError::PathExists`] when a file would replace something, [`GitError::PathRefused`] for a path that is
/// not a plain relative one, [`GitError::RevisionNotFound`] when the parent is not in the mirror.
pub fn write_commit(mirror: &Mirror, draft: &CommitDraft<'_>) -> Result<String, GitError> {
    let repository = mirror.repository()?;
    let parent_tree = root_tree(&repository, draft.parent)?;
    let tree = write_tree(&repository, parent_tree, draft.files)?;
    let parent = ObjectId::from_hex(draft.parent.as_bytes()).map_err(GitError::corrupted)?;
    let signature = gix::actor::Signature {
        name: message::one_line(draft.author.name).into(),
        email: message::one_line(draft.author.email).replace(' ', "").into(),
        time: gix::date::Time { seconds: draft.time.as_second(), offset: 0 },
    };
    let commit = gix::objs::Commit {
        tree,
        parents: [parent].into_iter().collect(),
        author: signature.clone(),
        committer: signature,
        encoding: None,
        message: message::compose(draft.message, draft.trailers).into(),
        extra_headers: Vec::new(),
    };
    let id = repository.write_object(&commit).map_err(write_failed)?;
    Ok(id.to_string())
}

/// Looks for the newest commit with the trailer `key: value`, from `tip` along first parents, through at most
/// `max_commits` commits and not beyond the history that was fetched. Blocking.
///
/// # Errors
/// When `tip` is not in the mirror, or a commit cannot be read.
pub fn find_by_trailer(
    mirror: &Mirror,
    tip: &str,
    key: &str,
    value: &str,
    max_commits: u32,
) -> Result<Option<FoundCommit>, GitError> {
    let repository = mirror.repository()?;
    let not_found = || GitError::RevisionNotFound { revision: tip.to_owned() };
    let mut id = ObjectId::from_hex(tip.as_bytes()).map_err(|_| not_found())?;
    if !repository.has_object(id) {
        return Err(not_found());
    }
    for _ in 0..max_commits {
        let commit = repository.find_commit(id).map_err(GitError::corrupted)?;
        let found = describe(&commit)?;
        if found.trailer(key) == Some(value) {
            return Ok(Some(found));
        }
        match commit.parent_ids().next() {
            Some(parent) if repository.has_object(parent) => id = parent.detach(),
            Some(_) | None => return Ok(None),
        }
    }
    Ok(None)
}

/// Whether `ancestor` is on the first-parent line of `revision`, at most `max_commits` away. Blocking.
pub(super) fn follows(
    mirror: &Mirror,
    revision: &str,
    ancestor: &str,
    max_commits: u32,
) -> Result<bool, GitError> {
    let repository = mirror.repository()?;
    let not_found = || GitError::RevisionNotFound { revision: revision.to_owned() };
    let mut id = ObjectId::from_hex(revision.as_bytes()).map_err(|_| not_found())?;
    let Ok(ancestor) = ObjectId::from_hex(ancestor.as_bytes()) else { return Ok(false) };
    for _ in 0..=max_commits {
        if id == ancestor {
            return Ok(true);
        }
        let Ok(commit) = repository.find_commit(id) else { return Ok(false) };
        let Some(parent) = commit.parent_ids().next() else { return Ok(false) };
        id = parent.detach();
    }
    Ok(false)
}

fn describe(commit: &gix::Commit<'_>) -> Result<FoundCommit, GitError> {
    let author = commit.author().map_err(GitError::corrupted)?;
    let text = String::from_utf8_lossy(commit.message_raw_sloppy()).into_owned();
    Ok(FoundCommit {
        revision: commit.id.to_string(),
        parent: commit.parent_ids().next().map(|parent| parent.to_string()),
        author_email: author.email.to_string(),
        trailers: message::trailers_of(&text),
    })
}

fn write_tree(
    repository: &gix::Repository,
    parent_tree: ObjectId,
    files: &[(&str, &[u8])],
) -> Result<ObjectId, GitError> {
    let root = repository.find_tree(parent_tree).map_err(GitError::corrupted)?;
    let mut editor = root.edit().map_err(GitError::corrupted)?;
    for (path, contents) in files {
        check_path(path)?;
        check_is_free(&root, path)?;
        let blob = repository.write_blob(contents).map_err(write_failed)?;
        editor.upsert(*path, EntryKind::Blob, blob).map_err(GitError::corrupted)?;
    }
    Ok(editor.write().map_err(write_failed)?.detach())
}

fn check_path(path: &str) -> Result<(), GitError> {
    let refused = |reason| Err(GitError::PathRefused { path: path.escape_debug().to_string(), reason });
    if path.len() > PATH_MAX_BYTES {
        return refused("it is too long");
    }
    if path.contains(|c: char| c.is_control() || c == '\\') {
        return refused("it contains a character that is not allowed");
    }
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git");
    if path.split('/').all(is_plain) { Ok(()) } else { refused("it is not a plain relative path") }
}

/// Refuses a path that exists, and one below something that is not a directory.
fn check_is_free(root: &gix::Tree<'_>, path: &str) -> Result<(), GitError> {
    let mut ends: Vec<usize> = path.match_indices('/').map(|(index, _)| index).collect();
    ends.push(path.len());
    for end in ends {
        let part = &path[..end];
        let found = root.lookup_entry_by_path(part).map_err(GitError::corrupted)?;
        match found {
            None => return Ok(()),
            Some(entry) if end < path.len() && entry.mode().is_tree() => {}
            Some(_) => return Err(GitError::PathExists { path: part.to_owned() }),
        }
    }
    Ok(())
}

fn write_failed(error: impl std::fmt::Display) -> GitError {
    const OPERATION: &str = "writing the commit";
    let text = error.to_string();
    if text.contains("No space left on device") {
        return GitError::DiskFull { operation: OPERATION };
    }
    GitError::Io { operation: OPERATION, source: std::io::Error::other(text) }
}
