//! The source tree of one commit as the stages see it: a flat, sorted list of entries and bounded reads.
//! Nothing is ever checked out; `git::Snapshot` reads from the object database, `MemoryTree` serves tests.

use std::collections::BTreeMap;

/// What a tree entry is. Directories are implied by the paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A regular file.
    File,
    /// A regular file with the executable bit.
    Executable,
    /// A symbolic link; its contents are the link target.
    Symlink,
    /// A submodule reference. Slipway never follows it.
    Submodule,
}

impl SourceKind {
    /// Whether the entry has file contents a stage may use.
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable)
    }
}

/// One entry of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// Path from the repository root, `/`-separated, without a leading slash.
    pub path: String,
    /// What the entry is.
    pub kind: SourceKind,
    /// Size of the contents (0 for submodules).
    pub size_bytes: u64,
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such path in the tree.
    #[error("{path}: no such file in the repository")]
    NotFound {
        /// The path asked for.
        path: String,
    },
    /// The contents exceed the caller's limit.
    #[error("{path}: {size_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge {
        /// The path asked for.
        path: String,
        /// Its size.
        size_bytes: u64,
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// The object database could not deliver the contents.
    #[error("{path}: the object database could not be read: {reason}")]
    Unreadable {
        /// The path asked for.
        path: String,
        /// What the database said.
        reason: String,
    },
}

/// Read access to the tree of one commit.
pub trait SourceTree: Send + Sync {
    /// All entries, sorted by path.
    fn entries(&self) -> &[SourceEntry];

    /// Contents of `path` (for a symlink: its target).
    ///
    /// # Errors
    /// When the path is absent, larger than `limit_bytes`, or unreadable.
    fn read(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, SourceError>;

    /// The entry at exactly `path`.
    fn entry(&self, path: &str) -> Option<&SourceEntry> {
        let entries = self.entries();
        entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok().map(|index| &entries[index])
    }
}

/// A tree held in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    entries: Vec<SourceEntry>,
    contents: BTreeMap<String, Vec<u8>>,
}

impl MemoryTree {
    /// A tree of regular files.
    pub fn of<P: Into<String>, C: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        let mut tree = Self::default();
        for (path, contents) in files {
            tree.insert(path, SourceKind::File, contents);
        }
        tree
    }

    /// Adds or replaces one entry.
    pub fn insert(&mut self, path: impl Into<String>, kind: SourceKind, contents: impl Into<Vec<u8>>) {
        let path = path.into();
        let contents = contents.into();
        let size_bytes = u64::try_from(contents.len()).unwrap_or(u64::MAX);
        self.entries.retain(|entry| entry.path != path);
        self.entries.push(SourceEntry { path: path.clone(), kind, size_bytes });
        self.entries.sort_by(|left, right| left.path.cmp(&right.path));
        self.contents.insert(path, contents);
    }
}

impl SourceTree for MemoryTree {
    fn entries(&self) -> &[SourceEntry] {
        &self.entries
    }

    fn read(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, SourceError> {
        let contents =
            self.contents.get(path).ok_or_else(|| SourceError::NotFound { path: path.to_owned() })?;
        let size_bytes = u64::try_from(contents.len()).unwrap_or(u64::MAX);
        if size_bytes > limit_bytes {
            return Err(SourceError::TooLarge { path: path.to_owned(), size_bytes, limit_bytes });
        }
        Ok(contents.clone())
    }
}
