//! The tree of one commit, read from the object database within limits. Nothing is written to disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::TreeRefIter;
use gix::objs::tree::EntryKind;

use super::error::GitError;
use super::limits::SnapshotLimits;
use super::mirror::Mirror;
use crate::source::{SourceEntry, SourceError, SourceKind, SourceTree};

/// All entries of one commit's tree, with bounded reads of their contents.
pub struct Snapshot {
    repository: gix::ThreadSafeRepository,
    mirror: Arc<Mirror>,
    revision: String,
    entries: Vec<SourceEntry>,
    /// Object ids, in the order of `entries`.
    ids: Vec<ObjectId>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Snapshot")
            .field("revision", &self.revision)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Lists the tree of `revision` (a full commit id). Blocking; [`Mirror::snapshot`] is the async form.
    ///
    /// # Errors
    /// [`GitError::Limit`] or [`GitError::PathRefused`] for a tree that cannot be used,
    /// [`GitError::RevisionNotFound`] when the commit is not in the mirror, [`GitError::Corrupted`] when it is
    /// incomplete there.
    pub fn open(mirror: &Arc<Mirror>, revision: &str, limits: &SnapshotLimits) -> Result<Self, GitError> {
        let repository = mirror.repository()?;
        let root = root_tree(&repository, revision)?;
        let walked = Walk::new(&repository, limits).run(root);
        if matches!(walked, Err(GitError::Corrupted { .. })) {
            mirror.mark_damaged();
        }
        let mut found = walked?;
        found.sort_by(|left, right| left.0.path.cmp(&right.0.path));
        let (entries, ids) = found.into_iter().unzip();
        Ok(Self {
            repository: repository.into_sync(),
            mirror: Arc::clone(mirror),
            revision: revision.to_owned(),
            entries,
            ids,
        })
    }

    /// The full commit id.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The object id of every entry by its path: two commits have the same file where they have the same id.
    #[must_use]
    pub fn object_ids(&self) -> BTreeMap<String, String> {
        let paths = self.entries.iter().map(|entry| entry.path.clone());
        paths.zip(self.ids.iter().map(ToString::to_string)).collect()
    }
}

impl SourceTree for Snapshot {
    fn entries(&self) -> &[SourceEntry] {
        &self.entries
    }

    fn read(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, SourceError> {
        let not_found = || SourceError::NotFound { path: path.to_owned() };
        let index =
            self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).map_err(|_| not_found())?;
        let entry = &self.entries[index];
        if entry.kind == SourceKind::Submodule {
            return Err(not_found());
        }
        if entry.size_bytes > limit_bytes {
            return Err(SourceError::TooLarge {
                path: path.to_owned(),
                size_bytes: entry.size_bytes,
                limit_bytes,
            });
        }
        let repository = self.repository.to_thread_local();
        let mut blob = repository.find_blob(self.ids[index]).map_err(|reason| {
            self.mirror.mark_damaged();
            SourceError::Unreadable { path: path.to_owned(), reason: reason.to_string() }
        })?;
        Ok(blob.take_data())
    }
}

/// The root tree of the commit `revision`.
pub(super) fn root_tree(repository: &gix::Repository, revision: &str) -> Result<ObjectId, GitError> {
    let not_found = || GitError::RevisionNotFound { revision: revision.to_owned() };
    let id = ObjectId::from_hex(revision.as_bytes()).map_err(|_| not_found())?;
    let commit = repository.find_commit(id).map_err(|_| not_found())?;
    Ok(commit.tree_id().map_err(GitError::corrupted)?.detach())
}

/// A directory still to be listed: its tree, its path with a trailing slash, its depth.
type PendingTree = (ObjectId, String, usize);

/// A walk over a tree that stops at the first limit, before it has expanded anything larger.
struct Walk<'a> {
    repository: &'a gix::Repository,
    limits: &'a SnapshotLimits,
    pending: Vec<PendingTree>,
    found: Vec<(SourceEntry, ObjectId)>,
    seen: usize,
    total_bytes: u64,
}

impl<'a> Walk<'a> {
    fn new(repository: &'a gix::Repository, limits: &'a SnapshotLimits) -> Self {
        Self { repository, limits, pending: Vec::new(), found: Vec::new(), seen: 0, total_bytes: 0 }
    }

    fn run(mut self, root: ObjectId) -> Result<Vec<(SourceEntry, ObjectId)>, GitError> {
        self.pending.push((root, String::new(), 0));
        while let Some((tree, prefix, depth)) = self.pending.pop() {
            self.list(tree, &prefix, depth)?;
        }
        Ok(self.found)
    }

    fn list(&mut self, tree: ObjectId, prefix: &str, depth: usize) -> Result<(), GitError> {
        if depth > self.limits.max_depth {
            return Err(limit("levels of directories", self.limits.max_depth));
        }
        let limit_bytes = self.limits.max_tree_object_bytes;
        if self.size_of(tree)? > limit_bytes {
            return Err(GitError::Limit { what: "bytes of one directory listing", limit: limit_bytes });
        }
        let object = self.repository.find_tree(tree).map_err(GitError::corrupted)?;
        for entry in TreeRefIter::from_bytes(&object.data, tree.kind()) {
            let entry = entry.map_err(GitError::corrupted)?;
            self.seen += 1;
            if self.seen > self.limits.max_files {
                return Err(limit("files and directories", self.limits.max_files));
            }
            let path = self.path_of(prefix, entry.filename)?;
            self.take(path, entry.mode.kind(), entry.oid.to_owned(), depth)?;
        }
        Ok(())
    }

    fn take(&mut self, path: String, kind: EntryKind, id: ObjectId, depth: usize) -> Result<(), GitError> {
        let kind = match kind {
            EntryKind::Tree => {
                self.pending.push((id, format!("{path}/"), depth + 1));
                return Ok(());
            }
            EntryKind::Blob => SourceKind::File,
            EntryKind::BlobExecutable => SourceKind::Executable,
            EntryKind::Link => SourceKind::Symlink,
            EntryKind::Commit => SourceKind::Submodule,
        };
        let size_bytes = if kind == SourceKind::Submodule { 0 } else { self.size_of(id)? };
        self.total_bytes = self.total_bytes.saturating_add(size_bytes);
        if self.total_bytes > self.limits.max_total_bytes {
            return Err(GitError::Limit { what: "bytes of all files", limit: self.limits.max_total_bytes });
        }
        self.found.push((SourceEntry { path, kind, size_bytes }, id));
        Ok(())
    }

    fn size_of(&self, id: ObjectId) -> Result<u64, GitError> {
        self.repository.find_header(id).map(|header| header.size()).map_err(GitError::corrupted)
    }

    fn path_of(&self, prefix: &str, name: &[u8]) -> Result<String, GitError> {
        let refused =
            |reason| GitError::PathRefused { path: format!("{prefix}{}", name.escape_ascii()), reason };
        let name_text = std::str::from_utf8(name).map_err(|_| refused("it is not valid UTF-8"))?;
        if matches!(name_text, "" | "." | "..") || name_text.contains(['/', '\0']) {
            return Err(refused("it could lead out of its directory"));
        }
        let path = format!("{prefix}{name_text}");
        if path.len() > self.limits.max_path_bytes {
            return Err(limit("bytes of one path", self.limits.max_path_bytes));
        }
        Ok(path)
    }
}

fn limit(what: &'static str, limit: usize) -> GitError {
    GitError::Limit { what, limit: u64::try_from(limit).unwrap_or(u64::MAX) }
}
