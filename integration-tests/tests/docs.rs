//! The documents against the product: every name, flag, setting, path and error code they state exists.

#[path = "docs/configuration.rs"]
mod configuration;
#[path = "docs/markdown.rs"]
mod markdown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use markdown::Document;
use slipway_integration_tests::programs::Program;
use tokio::process::Command;

/// Longest wait for one help text.
const HELP_TIMEOUT: Duration = Duration::from_secs(20);
/// Commands of `slipway` that have commands of their own.
const COMMAND_GROUPS: [&str; 6] = ["admin", "autoscaler", "credentials", "dead", "tokens", "project"];
/// Where sources may state an error code or the name of a test.
const SOURCE_FOLDERS: [&str; 7] =
    ["api", "cli", "common", "gateway", "integration-tests", "scaler", "worker"];

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn document(path: &str) -> Document {
    Document::parse(&read(path))
}

/// Every document of the repository, as paths from its root.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in [".", "docs", "compose", "helm", "helm/slipway"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("the folder exists");
        for entry in entries {
            let name = entry.expect("the folder can be read").file_name().into_string().expect("UTF-8");
            if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                found.push(if folder == "." { name } else { format!("{folder}/{name}") });
            }
        }
    }
    found.sort();
    found
}

/// The text of every Rust source file below the given folders.
fn sources(folders: &[&str]) -> String {
    let mut text = String::new();
    let mut todo: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("docs.rs")
            {
                text += &std::fs::read_to_string(&path).expect("a source file is UTF-8");
            }
        }
    }
    text
}

/// What every command of the built program says about itself, by its words.
async fn helps(commands: impl IntoIterator<Item = Vec<String>>) -> BTreeMap<Vec<String>, String> {
    let program = Program::Slipway.path().await.expect("slipway is built");
    let mut helps = BTreeMap::new();
    for words in commands {
        let asked = Command::new(&program).arg("help").args(&words).stdin(Stdio::null()).output();
        let answer = tokio::time::timeout(HELP_TIMEOUT, asked).await.expect("help in time").expect("it runs");
        assert!(answer.status.success(), "there is no `slipway {}`", words.join(" "));
        helps.insert(words, String::from_utf8_lossy(&answer.stdout).into_owned());
    }
    helps
}

/// The words that name a command of `slipway`, and the flags after them, when the line runs it.
fn command_and_flags(line: &str) -> Option<(Vec<String>, Vec<String>)> {
    let is_lead = |word: &str| matches!(word, "$" | "sudo") || word.contains('=');
    let mut words = line.split_whitespace().skip_while(|word| is_lead(word));
    if words.next() != Some("slipway") {
        return None;
    }
    let goes_on = |word: &&str| !matches!(*word, "|" | ">" | "<" | "#" | "&&" | ";" | "&");
    let given: Vec<&str> = words.take_while(goes_on).collect();
    let depth = if given.first().is_some_and(|first| COMMAND_GROUPS.contains(first)) { 2 } else { 1 };
    let is_letter = |character: char| character.is_ascii_lowercase() || character == '-';
    let is_name = |word: &&&str| !word.starts_with('-') && word.chars().all(is_letter);
    let command = given.iter().take(depth).take_while(is_name).map(|word| (*word).to_owned()).collect();
    let flags = given.iter().filter(|word| word.starts_with('-')).map(|word| flag_name(word)).collect();
    Some((command, flags))
}

fn flag_name(word: &str) -> String {
    word.split('=').next().unwrap_or(word).to_owned()
}

/// Whether a help text explains the flag.
fn explains(help: &str, flag: &str) -> bool {
    help.split(|character: char| character.is_whitespace() || matches!(character, ',' | '[' | ']' | '='))
        .any(|word| word == flag)
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for path in documents() {
        let folder = Path::new(&path).parent().expect("a file has a folder").to_owned();
        for link in document(&path).links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if target.is_empty() { PathBuf::from(&path) } else { folder.join(target) };
            if !root().join(&target).exists() {
                broken.push(format!("{path}: {link}: no such file"));
            } else if !anchor.is_empty() {
                let headings = document(target.to_str().expect("UTF-8")).anchors();
                if !headings.contains(anchor) {
                    broken.push(format!("{path}: {link}: no such heading"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn is_of_a_target(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'
}

#[test]
fn every_make_target_named_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .filter(|name| !name.is_empty() && name.chars().all(is_of_a_target))
        .collect();
    let mut named = 0;
    for path in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        for line in document(path).code() {
            let words: Vec<&str> = line.split_whitespace().collect();
            for pair in words.windows(2).filter(|pair| pair[0] == "make") {
                named += 1;
                assert!(targets.contains(pair[1]), "{path}: there is no `make {}`", pair[1]);
            }
        }
    }
    assert!(named >= 4, "the documents name the targets people need");
}

#[tokio::test]
async fn every_command_and_flag_named_exists() {
    let readme = document("README.md");
    let lines: Vec<_> = readme.code().iter().filter_map(|line| command_and_flags(line)).collect();
    let commands: BTreeSet<Vec<String>> = lines.iter().map(|(command, _)| command.clone()).collect();
    assert!(commands.len() >= 8, "the README shows how the program is used: {commands:?}");
    let helps = helps(commands).await;
    let mut unknown: Vec<String> = Vec::new();
    for (command, flags) in &lines {
        let missing = flags.iter().filter(|flag| !explains(&helps[command], flag));
        unknown.extend(missing.map(|flag| format!("slipway {} {flag}", command.join(" "))));
    }
    let alone = readme.spans().into_iter().filter(|span| span.starts_with('-')).map(|span| flag_name(&span));
    let alone = alone.map(|flag| flag.split_whitespace().next().unwrap_or_default().to_owned());
    unknown.extend(alone.filter(|flag| !helps.values().any(|help| explains(help, flag))));
    assert!(unknown.is_empty(), "the README names what the program does not know: {unknown:#?}");
}

#[test]
fn the_readme_names_the_operations_of_the_api() {
    let described: serde_json::Value =
        serde_json::from_str(&slipway_api::openapi_document("0")).expect("the description is JSON");
    let paths = described["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let of_itself = |operation: &String| operation.contains("/docs") || operation.ends_with("/openapi.json");
    let operations: BTreeSet<String> = operations.filter(|operation| !of_itself(operation)).collect();
    let named: BTreeSet<String> = document("README.md").first_cells("Request").into_iter().collect();
    assert_eq!(named, operations, "the README names other operations than the API has");
}

#[test]
fn every_path_of_the_architecture_exists() {
    let text = read("ARCHITECTURE.md");
    let top: BTreeSet<String> = std::fs::read_dir(root())
        .expect("the root can be read")
        .filter_map(|entry| entry.expect("the root can be read").file_name().into_string().ok())
        .collect();
    let spans = Document::parse(&text).spans();
    let paths: BTreeSet<&str> = spans
        .iter()
        .map(String::as_str)
        .filter(|span| span.contains('/') && !span.contains([' ', '*', '{', '<', '=']))
        .filter(|span| span.ends_with(".rs") || top.contains(span.split('/').next().unwrap_or_default()))
        .collect();
    assert!(paths.len() >= 60, "the code map names the files that matter; found {}", paths.len());
    let missing: Vec<_> = paths.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what does not exist: {missing:#?}");
    let shown = |name: &&String| !name.starts_with('.') && *name != "target" && root().join(name).is_dir();
    for folder in top.iter().filter(shown) {
        assert!(text.contains(&format!("`{folder}/`")), "ARCHITECTURE.md does not name the folder {folder}");
    }
}

#[test]
fn the_invariants_are_numbered_and_name_tests_that_exist() {
    let text = read("ARCHITECTURE.md");
    let (_, rest) = text.split_once("## Invariants").expect("a section of invariants");
    let section = rest.split("\n## ").next().unwrap_or(rest);
    let numbers: Vec<usize> = section
        .split("**INV")
        .skip(1)
        .map(|part| {
            part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
        })
        .collect();
    assert!(numbers.len() >= 10 && numbers.iter().copied().eq(1..=numbers.len()), "{numbers:?}");
    let sources = sources(&SOURCE_FOLDERS);
    let is_test_name = |span: &&String| {
        span.matches('_').count() >= 2
            && span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let spans = Document::parse(section).spans();
    let missing: Vec<_> = spans.iter().filter(is_test_name).filter(|name| !names(&sources, name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names tests that do not exist: {missing:#?}");
}

/// Whether a source has this name, whole: as a function or in the list of a macro.
fn names(sources: &str, name: &str) -> bool {
    let inside = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    sources.match_indices(name).any(|(at, _)| {
        !inside(sources[..at].chars().next_back()) && !inside(sources[at + name.len()..].chars().next())
    })
}

#[test]
fn every_error_code_named_exists() {
    let readme = document("README.md");
    let codes = readme.first_cells("Code");
    assert!(codes.len() >= 15, "the README explains the common codes: {codes:?}");
    let sources = sources(&["api", "common", "gateway", "worker"]);
    let missing: Vec<_> = codes.iter().filter(|code| !sources.contains(&format!("\"{code}\""))).collect();
    assert!(missing.is_empty(), "the README names codes that no source has: {missing:#?}");
}

#[test]
fn the_configuration_reference_is_the_defaults_file() {
    configuration::check();
}
