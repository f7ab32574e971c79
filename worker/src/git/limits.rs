//! The limits of every Git operation, with their defaults.

use std::time::Duration;

/// Limits of network operations and of the mirrors on disk.
#[derive(Debug, Clone)]
pub struct GitLimits {
    /// Longest question what refs there are, and longest `push`.
    pub command_timeout: Duration,
    /// Longest `fetch`.
    pub fetch_timeout: Duration,
    /// Longest wait for a mirror somebody else is working on.
    pub lock_timeout: Duration,
    /// A transfer slower than this for [`Self::low_speed_window`] is ended.
    pub low_speed_bytes_per_second: u32,
    /// How long a transfer may be slow. Whole seconds.
    pub low_speed_window: Duration,
    /// Most output of one command that is kept or parsed.
    pub max_output_bytes: usize,
    /// Most bytes of an answer that lists refs.
    pub max_listing_bytes: usize,
    /// Largest mirror of one repository.
    pub max_mirror_bytes: u64,
    /// Largest sum of all mirrors; the least recently used ones are deleted beyond it.
    pub max_mirrors_total_bytes: u64,
    /// Most memory Git or the object database may allocate for one object.
    pub max_object_memory_bytes: u64,
    /// Most commits fetched when a revision can only be reached through its branch.
    pub max_history_commits: u32,
    /// Limits on the tree of one commit.
    pub snapshot: SnapshotLimits,
}

impl Default for GitLimits {
    fn default() -> Self {
        Self {
            command_timeout: Duration::from_secs(60),
            fetch_timeout: Duration::from_secs(600),
            lock_timeout: Duration::from_secs(120),
            low_speed_bytes_per_second: 4_096,
            low_speed_window: Duration::from_secs(20),
            max_output_bytes: 4 << 20,
            max_listing_bytes: 16 << 20,
            max_mirror_bytes: 2 << 30,
            max_mirrors_total_bytes: 20 << 30,
            max_object_memory_bytes: 512 << 20,
            max_history_commits: 1_000,
            snapshot: SnapshotLimits::default(),
        }
    }
}

/// Limits on the tree of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotLimits {
    /// Most entries, directories included.
    pub max_files: usize,
    /// Longest path.
    pub max_path_bytes: usize,
    /// Largest sum of all file sizes.
    pub max_total_bytes: u64,
    /// Deepest nesting of directories.
    pub max_depth: usize,
    /// Largest single directory listing, as stored by Git.
    pub max_tree_object_bytes: u64,
}

impl Default for SnapshotLimits {
    fn default() -> Self {
        Self {
            max_files: 100_000,
            max_path_bytes: 4_096,
            max_total_bytes: 2 << 30,
            max_depth: 64,
            max_tree_object_bytes: 16 << 20,
        }
    }
}
