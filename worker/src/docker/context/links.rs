//! Keeps a build context closed: no path and no symbolic link in it leads outside of the repository.

use super::ContextError;
use crate::source::{SourceKind, SourceTree};

/// Longest target of a symbolic link.
const TARGET_MAX_BYTES: u64 = 4096;
/// Links followed one after the other, as the kernel limits it too.
const HOPS_MAX: usize = 40;

/// Refuses paths no honest tree has: empty, `.` and `..` components.
pub(super) fn check_path(path: &str) -> Result<(), ContextError> {
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
        return Err(ContextError::PathEscapes { path: path.to_owned() });
    }
    Ok(())
}

/// The target of the link at `path`.
pub(super) fn target(tree: &dyn SourceTree, path: &str) -> Result<String, ContextError> {
    let bytes = tree.read(path, TARGET_MAX_BYTES).map_err(|source| ContextError::Source { source })?;
    String::from_utf8(bytes).map_err(|_not_text| ContextError::LinkEscapes {
        path: path.to_owned(),
        target: "a name that is not UTF-8".to_owned(),
    })
}

/// Refuses the link at `path` when it, or a link on its way, is absolute or climbs above the root.
pub(super) fn check_link(tree: &dyn SourceTree, path: &str) -> Result<(), ContextError> {
    let first = target(tree, path)?;
    let escapes = || ContextError::LinkEscapes { path: path.to_owned(), target: first.clone() };
    let mut at: Vec<String> = path.split('/').map(str::to_owned).collect();
    at.pop();
    // Components still to walk, next one last.
    let mut ahead = components(&first).ok_or_else(escapes)?;
    let mut hops = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            at.pop().ok_or_else(escapes)?;
            continue;
        }
        at.push(part);
        let here = at.join("/");
        if tree.entry(&here).is_some_and(|entry| entry.kind == SourceKind::Symlink) {
            hops += 1;
            // A loop leads nowhere, so not outside either.
            if hops > HOPS_MAX {
                return Ok(());
            }
            at.pop();
            ahead.extend(components(&target(tree, &here)?).ok_or_else(escapes)?);
        }
    }
    Ok(())
}

/// Components of a relative target in reverse; `None` when it is absolute.
fn components(target: &str) -> Option<Vec<String>> {
    if target.starts_with('/') {
        return None;
    }
    Some(target.split('/').filter(|part| !matches!(*part, "" | ".")).rev().map(str::to_owned).collect())
}
