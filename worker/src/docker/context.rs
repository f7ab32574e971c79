//! The build context: a tar of one commit, streamed straight from its source tree; nothing is checked out.
//! The same commit always gives the same bytes, and nothing in it can point outside of it.

mod error;
mod links;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::error::ContextError;

use super::dockerignore::{DOCKERIGNORE_MAX_BYTES, DockerIgnore};
use crate::source::{SourceEntry, SourceKind, SourceTree};

/// Largest Dockerfile.
pub const DOCKERFILE_MAX_BYTES: u64 = 1024 * 1024;
/// Modification time of every entry: 1980-01-01, the earliest that every archive format can express.
const MODIFIED_UNIX_S: u64 = 315_532_800;
/// Size of the pieces the context is streamed in.
const CHUNK_BYTES: usize = 64 * 1024;
/// Pieces that wait for the engine at most.
const CHUNKS_IN_FLIGHT: usize = 8;

/// A piece of the streamed archive; an error ends the request it is part of.
type Chunk = Result<Bytes, io::Error>;

/// How large a build context may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextLimits {
    /// Sum of all file sizes.
    pub max_context_bytes: u64,
    /// Number of files and links.
    pub max_context_files: usize,
}

impl Default for ContextLimits {
    fn default() -> Self {
        Self { max_context_bytes: 512 * 1024 * 1024, max_context_files: 100_000 }
    }
}

/// What goes into the context, decided before the first byte is sent.
#[derive(Debug, Clone)]
pub struct ContextPlan {
    entries: Vec<Planned>,
    skipped_submodules: Vec<String>,
    size_bytes: u64,
}

#[derive(Debug, Clone)]
struct Planned {
    path: String,
    kind: PlannedKind,
    size_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlannedKind {
    Directory,
    File,
    Executable,
    Symlink,
}

impl ContextPlan {
    /// Decides which entries of `tree` make up the context for the Dockerfile at `dockerfile`.
    ///
    /// # Errors
    /// When the Dockerfile is missing or not a plain file, a link leaves the repository, or a limit is reached.
    pub fn new(
        tree: &dyn SourceTree,
        dockerfile: &str,
        limits: &ContextLimits,
    ) -> Result<Self, ContextError> {
        check_dockerfile(tree, dockerfile)?;
        let ignore = read_ignore_file(tree)?;
        let mut plan = Self { entries: Vec::new(), skipped_submodules: Vec::new(), size_bytes: 0 };
        let mut walk = Walk::new(&ignore);
        let mut files = 0_usize;
        for entry in tree.entries() {
            links::check_path(&entry.path)?;
            let always = entry.path == dockerfile || entry.path == ".dockerignore";
            if !walk.includes(&entry.path) && !always {
                continue;
            }
            let Some(planned) = plan_entry(tree, entry)? else {
                plan.skipped_submodules.push(entry.path.clone());
                continue;
            };
            walk.note_parents(&entry.path);
            files += 1;
            plan.size_bytes = plan.size_bytes.saturating_add(planned.size_bytes);
            plan.entries.push(planned);
        }
        check_limits(files, plan.size_bytes, limits)?;
        let directories = walk.into_directories().into_iter();
        plan.entries.extend(directories.map(|path| Planned {
            path,
            kind: PlannedKind::Directory,
            size_bytes: 0,
        }));
        plan.entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(plan)
    }

    /// Sum of the file sizes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Paths of all entries, directories included, in the order of the archive.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.path.as_str())
    }

    /// Submodules that were left out: Slipway never follows them.
    #[must_use]
    pub fn skipped_submodules(&self) -> &[String] {
        &self.skipped_submodules
    }

    /// Writes the archive to `out`.
    ///
    /// # Errors
    /// When an entry cannot be read or written, or `cancel` fires.
    pub fn write(
        &self,
        tree: &dyn SourceTree,
        out: impl Write,
        cancel: &CancellationToken,
    ) -> Result<(), ContextError> {
        let mut archive = tar::Builder::new(BufWriter::with_capacity(CHUNK_BYTES, out));
        for entry in &self.entries {
            if cancel.is_cancelled() {
                return Err(ContextError::Cancelled);
            }
            append(&mut archive, tree, entry)?;
        }
        let end = |source| ContextError::Archive { path: "end of archive".to_owned(), source };
        archive.into_inner().map_err(end)?.flush().map_err(end)
    }

    /// Streams the archive; the task ends with the reason when it could not be completed.
    pub(super) fn stream(
        self,
        tree: Arc<dyn SourceTree>,
        cancel: CancellationToken,
    ) -> (mpsc::Receiver<Chunk>, tokio::task::JoinHandle<Result<(), ContextError>>) {
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let task = tokio::task::spawn_blocking(move || {
            let written = self.write(tree.as_ref(), ChannelWriter { sender: sender.clone() }, &cancel);
            if let Err(error) = &written {
                // Ends the request too: the engine must not build a torn context.
                let torn = io::Error::other(error.to_string());
                sender.blocking_send(Err(torn)).unwrap_or_default();
            }
            written
        });
        (receiver, task)
    }
}

/// Follows the walk of Docker's client over a flat list: an ignored directory hides all that is below it.
struct Walk<'a> {
    ignore: &'a DockerIgnore,
    pruned: Option<String>,
    seen: BTreeSet<String>,
    directories: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn new(ignore: &'a DockerIgnore) -> Self {
        Self { ignore, pruned: None, seen: BTreeSet::new(), directories: BTreeSet::new() }
    }

    fn includes(&mut self, path: &str) -> bool {
        if self.pruned.as_ref().is_some_and(|directory| path.starts_with(directory.as_str())) {
            return false;
        }
        for parent in parents(path) {
            if !self.seen.insert(parent.to_owned()) {
                continue;
            }
            if self.ignore.prunes(parent) {
                self.pruned = Some(format!("{parent}/"));
                self.seen.remove(parent);
                return false;
            }
            if !self.ignore.matches(parent) {
                self.directories.insert(parent.to_owned());
            }
        }
        !self.ignore.matches(path)
    }

    fn note_parents(&mut self, path: &str) {
        self.directories.extend(parents(path).map(str::to_owned));
    }

    fn into_directories(self) -> BTreeSet<String> {
        self.directories
    }
}

/// All parent directories of `path`, outermost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

fn check_dockerfile(tree: &dyn SourceTree, path: &str) -> Result<(), ContextError> {
    links::check_path(path)?;
    let entry = tree.entry(path).ok_or_else(|| ContextError::DockerfileMissing { path: path.to_owned() })?;
    if !entry.kind.is_file() {
        return Err(ContextError::DockerfileNotAFile { path: path.to_owned() });
    }
    if entry.size_bytes > DOCKERFILE_MAX_BYTES {
        return Err(ContextError::TooLarge {
            size_bytes: entry.size_bytes,
            limit_bytes: DOCKERFILE_MAX_BYTES,
        });
    }
    Ok(())
}

fn read_ignore_file(tree: &dyn SourceTree) -> Result<DockerIgnore, ContextError> {
    let Some(entry) = tree.entry(".dockerignore").filter(|entry| entry.kind.is_file()) else {
        return Ok(DockerIgnore::default());
    };
    let contents =
        tree.read(&entry.path, DOCKERIGNORE_MAX_BYTES).map_err(|source| ContextError::Source { source })?;
    DockerIgnore::parse(&String::from_utf8_lossy(&contents)).map_err(|source| ContextError::Ignore { source })
}

fn plan_entry(tree: &dyn SourceTree, entry: &SourceEntry) -> Result<Option<Planned>, ContextError> {
    let (kind, size_bytes) = match entry.kind {
        SourceKind::File => (PlannedKind::File, entry.size_bytes),
        SourceKind::Executable => (PlannedKind::Executable, entry.size_bytes),
        SourceKind::Symlink => {
            links::check_link(tree, &entry.path)?;
            (PlannedKind::Symlink, 0)
        }
        SourceKind::Submodule => return Ok(None),
    };
    Ok(Some(Planned { path: entry.path.clone(), kind, size_bytes }))
}

fn check_limits(files: usize, size_bytes: u64, limits: &ContextLimits) -> Result<(), ContextError> {
    if files > limits.max_context_files {
        return Err(ContextError::TooManyFiles { files, limit_files: limits.max_context_files });
    }
    if size_bytes > limits.max_context_bytes {
        return Err(ContextError::TooLarge { size_bytes, limit_bytes: limits.max_context_bytes });
    }
    Ok(())
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    tree: &dyn SourceTree,
    entry: &Planned,
) -> Result<(), ContextError> {
    let failed = |source| ContextError::Archive { path: entry.path.clone(), source };
    let (entry_type, mode) = match entry.kind {
        PlannedKind::Directory => (tar::EntryType::Directory, 0o755),
        PlannedKind::File => (tar::EntryType::Regular, 0o644),
        PlannedKind::Executable => (tar::EntryType::Regular, 0o755),
        PlannedKind::Symlink => (tar::EntryType::Symlink, 0o777),
    };
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_mtime(MODIFIED_UNIX_S);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match entry.kind {
        PlannedKind::Directory => archive.append_data(&mut header, &entry.path, io::empty()).map_err(failed),
        PlannedKind::Symlink => {
            let target = links::target(tree, &entry.path)?;
            archive.append_link(&mut header, &entry.path, target).map_err(failed)
        }
        PlannedKind::File | PlannedKind::Executable => {
            let contents =
                tree.read(&entry.path, entry.size_bytes).map_err(|source| ContextError::Source { source })?;
            header.set_size(u64::try_from(contents.len()).unwrap_or(u64::MAX));
            archive.append_data(&mut header, &entry.path, contents.as_slice()).map_err(failed)
        }
    }
}

/// Hands written bytes to the task that talks to the engine; waits while it is busy.
struct ChannelWriter {
    sender: mpsc::Sender<Chunk>,
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(bytes);
        self.sender.blocking_send(Ok(chunk)).map_err(|_closed| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
