//! What goes into a context, byte for byte, and what is refused.

use std::collections::BTreeMap;
use std::io::Read;

use super::*;
use crate::source::MemoryTree;

fn plan(tree: &MemoryTree) -> Result<ContextPlan, ContextError> {
    ContextPlan::new(tree, "Dockerfile", &ContextLimits::default())
}

fn paths(tree: &MemoryTree) -> Vec<String> {
    plan(tree).unwrap().paths().map(str::to_owned).collect()
}

fn archive(tree: &MemoryTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    plan(tree).unwrap().write(tree, &mut bytes, &CancellationToken::new()).unwrap();
    bytes
}

#[test]
fn the_archive_is_sorted_owned_by_root_and_always_the_same() {
    let mut tree = MemoryTree::of([("Dockerfile", "FROM scratch"), ("src/main.c", "int main;")]);
    tree.insert("run.sh", SourceKind::Executable, "#!/bin/sh");
    tree.insert("link", SourceKind::Symlink, "src/main.c");
    let bytes = archive(&tree);
    assert_eq!(bytes, archive(&tree));
    let mut seen = BTreeMap::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), MODIFIED_UNIX_S);
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let path = entry.path().unwrap().display().to_string();
        seen.insert(path.trim_end_matches('/').to_owned(), (header.mode().unwrap(), text));
    }
    assert_eq!(seen["src"].0, 0o755);
    assert_eq!(seen["src/main.c"], (0o644, "int main;".to_owned()));
    assert_eq!(seen["run.sh"].0, 0o755);
    assert!(seen.contains_key("link"));
}

#[test]
fn long_paths_survive() {
    let long = format!("{}/file", ["directory"; 30].join("/"));
    let tree = MemoryTree::of([("Dockerfile", "FROM scratch"), (long.as_str(), "x")]);
    let bytes = archive(&tree);
    let found = tar::Archive::new(bytes.as_slice())
        .entries()
        .unwrap()
        .any(|entry| entry.unwrap().path().unwrap().to_string_lossy() == long);
    assert!(found);
}

#[test]
fn ignored_files_stay_out_but_the_build_files_stay_in() {
    let tree = MemoryTree::of([
        (".dockerignore", "*\n!src\nsrc/secret"),
        ("Dockerfile", "FROM scratch"),
        ("notes", ""),
        ("src/a", ""),
        ("src/secret", ""),
    ]);
    assert_eq!(paths(&tree), [".dockerignore", "Dockerfile", "src", "src/a"]);
}

#[test]
fn a_directory_whose_files_are_ignored_remains_and_an_ignored_one_goes() {
    let tree = MemoryTree::of([
        (".dockerignore", "logs/*\nnode_modules\n!**/keep"),
        ("Dockerfile", "FROM scratch"),
        ("logs/today", ""),
        ("node_modules/keep", ""),
        ("node_modules/x/y", ""),
    ]);
    assert_eq!(paths(&tree), [".dockerignore", "Dockerfile", "logs"]);
}

#[test]
fn a_dockerfile_that_is_missing_linked_or_outside_is_refused() {
    let empty = MemoryTree::default();
    assert!(matches!(plan(&empty), Err(ContextError::DockerfileMissing { .. })));
    let mut linked = MemoryTree::of([("real", "FROM scratch")]);
    linked.insert("Dockerfile", SourceKind::Symlink, "real");
    assert!(matches!(plan(&linked), Err(ContextError::DockerfileNotAFile { .. })));
    for outside in ["../Dockerfile", "/etc/passwd", "a/../../b", ""] {
        let refused = ContextPlan::new(&linked, outside, &ContextLimits::default());
        assert!(matches!(refused, Err(ContextError::PathEscapes { .. })), "{outside:?}");
    }
}

#[test]
fn links_that_leave_the_repository_are_refused() {
    let cases: [&[(&str, &str)]; 5] = [
        &[("link", "/etc/passwd")],
        &[("link", "../outside")],
        &[("a/link", "../../outside")],
        &[("a/up", ".."), ("link", "a/up/../x")],
        &[("one", "two/x"), ("two", "/var")],
    ];
    for links in cases {
        let mut tree = MemoryTree::of([("Dockerfile", "FROM scratch")]);
        for (path, target) in links {
            tree.insert(*path, SourceKind::Symlink, *target);
        }
        assert!(matches!(plan(&tree), Err(ContextError::LinkEscapes { .. })), "{links:?}");
    }
}

#[test]
fn links_inside_the_repository_and_ignored_ones_are_fine() {
    let mut tree = MemoryTree::of([("Dockerfile", "FROM scratch"), ("a/b/c", "x"), (".dockerignore", "bad")]);
    tree.insert("a/up", SourceKind::Symlink, "../Dockerfile");
    tree.insert("self", SourceKind::Symlink, "self");
    tree.insert("dangling", SourceKind::Symlink, "a/none");
    tree.insert("bad", SourceKind::Symlink, "/etc/passwd");
    assert!(paths(&tree).contains(&"a/up".to_owned()));
    assert!(!paths(&tree).contains(&"bad".to_owned()));
}

#[test]
fn submodules_are_left_out_and_named() {
    let mut tree = MemoryTree::of([("Dockerfile", "FROM scratch")]);
    tree.insert("vendor/lib", SourceKind::Submodule, "");
    let plan = plan(&tree).unwrap();
    assert_eq!(plan.skipped_submodules(), ["vendor/lib"]);
}

#[test]
fn limits_are_kept() {
    let tree = MemoryTree::of([("Dockerfile", "FROM scratch"), ("a", "0123456789")]);
    let small = ContextLimits { max_context_bytes: 15, max_context_files: 10 };
    assert!(matches!(ContextPlan::new(&tree, "Dockerfile", &small), Err(ContextError::TooLarge { .. })));
    let few = ContextLimits { max_context_bytes: 1000, max_context_files: 1 };
    assert!(matches!(ContextPlan::new(&tree, "Dockerfile", &few), Err(ContextError::TooManyFiles { .. })));
}

#[test]
fn a_cancelled_build_stops_the_archive() {
    let tree = MemoryTree::of([("Dockerfile", "FROM scratch")]);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ended = plan(&tree).unwrap().write(&tree, Vec::new(), &cancel);
    assert!(matches!(ended, Err(ContextError::Cancelled)));
}
