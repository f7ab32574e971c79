//! One application inside a source tree, as the families read it: paths relative to the application's
//! directory, bounded reads, regular files only.

use super::command::{Command, procfile_web};
use super::error::TemplateError;
use super::plan::Request;
use super::safe::Safe;
use super::settings::TemplateSettings;
use super::version::Version;
use crate::source::{SourceError, SourceTree};

const PROCFILE: &str = "Procfile";
/// How much of a refused value an error repeats.
const MAX_SHOWN_CHARS: usize = 80;
/// Directories whose contents are other people's code, build output or examples.
const FOREIGN_DIRECTORIES: [&str; 18] = [
    "node_modules",
    "vendor",
    "dist",
    "build",
    "target",
    "out",
    "bin",
    "obj",
    "test",
    "tests",
    "testdata",
    "fixtures",
    "examples",
    "example",
    "samples",
    "docs",
    "doc",
    "third_party",
];

/// The application at one directory of a tree.
#[derive(Clone, Copy)]
pub(super) struct App<'a> {
    tree: &'a dyn SourceTree,
    /// Empty for the repository's root, otherwise a directory with a trailing slash.
    root: &'a str,
    /// The operator's settings.
    pub(super) settings: &'a TemplateSettings,
    /// The port the user asked for.
    pub(super) port: Option<u16>,
}

/// A version and where it was found.
pub(super) struct FoundVersion {
    pub(super) version: Version,
    pub(super) evidence: String,
}

impl<'a> App<'a> {
    /// The application at the repository's root.
    pub(super) fn at_root(
        tree: &'a dyn SourceTree,
        request: &Request,
        settings: &'a TemplateSettings,
    ) -> Self {
        Self { tree, root: "", settings, port: request.port }
    }

    /// The same tree seen from `directory`, which ends in a slash.
    pub(super) fn in_directory(self, directory: &'a str) -> Self {
        Self { root: directory, ..self }
    }

    /// The application's directory, as a prefix of `COPY` sources.
    pub(super) fn prefix(&self) -> Result<Safe, TemplateError> {
        let directory = self.root.trim_end_matches('/');
        if directory.is_empty() {
            return Ok(Safe::fixed(""));
        }
        let path = Safe::path(directory).ok_or_else(|| unsafe_value("the tree", "directory", directory))?;
        Ok(Safe::slashed(&path))
    }

    /// Whether a regular file is at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.tree.entry(&self.full(path)).is_some_and(|entry| entry.kind.is_file())
    }

    /// Paths and sizes of all regular files of the application.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        let root = self.root;
        let regular = self.tree.entries().iter().filter(|entry| entry.kind.is_file());
        regular.filter_map(move |entry| Some((entry.path.strip_prefix(root)?, entry.size_bytes)))
    }

    /// The same without other people's code, build output, tests and examples.
    pub(super) fn own_files(&self) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        self.files().filter(|(path, _)| !is_foreign(path))
    }

    /// The text of the regular file at `path`, without a byte order mark; `None` when there is none. Bytes
    /// that are not UTF-8 are replaced, and no character set of a safe value admits the replacement.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, TemplateError> {
        if !self.has(path) {
            return Ok(None);
        }
        let full = self.full(path);
        let bytes = self.tree.read(&full, self.settings.max_file_bytes).map_err(|error| match error {
            SourceError::TooLarge { path, size_bytes, limit_bytes } => {
                TemplateError::TooLarge { path, size_bytes, limit_bytes }
            }
            source @ (SourceError::NotFound { .. } | SourceError::Unreadable { .. }) => {
                TemplateError::Unreadable { path: full.clone(), source }
            }
        })?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(Some(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()))
    }

    /// The text of the file at `path`, empty when there is none.
    pub(super) fn text_or_empty(&self, path: &str) -> Result<String, TemplateError> {
        Ok(self.text(path)?.unwrap_or_default())
    }

    /// The Procfile's `web` command.
    pub(super) fn procfile_command(&self) -> Result<Option<Command>, TemplateError> {
        let procfile = self.text_or_empty(PROCFILE)?;
        let Some(line) = procfile_web(&procfile) else { return Ok(None) };
        Command::parse(line).map(Some).ok_or_else(|| unsafe_value(PROCFILE, "command", line))
    }

    /// The version in the first of `files` that has one (its first line, after `prefix`), or on `tool`'s line
    /// of `.tool-versions`.
    pub(super) fn version_file(
        &self,
        files: &[&str],
        prefix: &str,
        tool: &str,
    ) -> Result<Option<FoundVersion>, TemplateError> {
        for file in files {
            let text = self.text_or_empty(file)?;
            let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            let line = line.map(|line| line.strip_prefix(prefix).unwrap_or(line));
            if let Some(version) = line.and_then(Version::leading) {
                return Ok(Some(FoundVersion { evidence: format!("{file}: {version}"), version }));
            }
        }
        let tools = self.text_or_empty(".tool-versions")?;
        let named = tools.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == tool);
        let version = named.and_then(|(_, rest)| Version::leading(rest));
        Ok(version
            .map(|version| FoundVersion { evidence: format!(".tool-versions: {tool} {version}"), version }))
    }

    fn full(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }
}

/// The error for a repository value no character set admits.
pub(super) fn unsafe_value(path: &str, what: &'static str, value: &str) -> TemplateError {
    let value = value.chars().take(MAX_SHOWN_CHARS).collect();
    TemplateError::UnsafeValue { path: path.to_owned(), what, value }
}

/// Whether a directory on the way to `path` holds no source of the application itself.
pub(super) fn is_foreign(path: &str) -> bool {
    let directories = path.rsplit_once('/').map_or("", |(directories, _)| directories);
    directories
        .split('/')
        .any(|name| FOREIGN_DIRECTORIES.contains(&name) || name.len() > 1 && name.starts_with('.'))
}
