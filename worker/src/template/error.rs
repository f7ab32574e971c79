//! Why the template stage could not decide: the one error enum of this boundary, with a stable code and a
//! hint for every case.

use crate::source::SourceError;

/// Why no plan could be made for a repository.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// No marker file of any known family.
    #[error("no known kind of application: looked for {}", looked_for.join(", "))]
    NoFamily {
        /// The marker files that would have decided.
        looked_for: Vec<String>,
        /// A Dockerfile to start from, with a comment line before each instruction.
        starting_template: String,
    },
    /// No application at the root, but more than one below it.
    #[error("no application at the repository's root, but several below it: {}", quoted(candidates))]
    SeveralDirectories {
        /// The directories that hold a marker file.
        candidates: Vec<String>,
    },
    /// One project builds several programs and nothing says which one to run.
    #[error("{} builds several programs: {}", shown(path), quoted(candidates))]
    SeveralPrograms {
        /// The manifest that was read.
        path: String,
        /// The programs it builds.
        candidates: Vec<String>,
    },
    /// The family is known, but not what to start.
    #[error("{family} application without a start command: looked for {}", looked_for.join(", "))]
    NoStartCommand {
        /// The family that was detected.
        family: String,
        /// Where a start command would have been found.
        looked_for: Vec<String>,
    },
    /// A file the stage must decide about is a symbolic link.
    #[error("{} is a symbolic link", shown(path))]
    Symlinked {
        /// The link's path.
        path: String,
    },
    /// A path the stage would read or create is a directory or a submodule.
    #[error("{} is not a regular file", shown(path))]
    NotAFile {
        /// The path.
        path: String,
    },
    /// A file is larger than the stage reads.
    #[error("{} has {size_bytes} bytes, more than the limit of {limit_bytes}", shown(path))]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        size_bytes: u64,
        /// The limit in force.
        limit_bytes: u64,
    },
    /// A file could not be read from the tree.
    #[error("{} could not be read", shown(path))]
    Unreadable {
        /// The file.
        path: String,
        /// What the tree said.
        #[source]
        source: SourceError,
    },
    /// A manifest is not in its format.
    #[error("{} is not valid {format}", shown(path))]
    Malformed {
        /// The manifest.
        path: String,
        /// The format it should have.
        format: &'static str,
    },
    /// A value of the repository has characters that are not allowed in a generated file.
    #[error(
        "{}: {what} {value:?} has characters that are not allowed in a generated Dockerfile",
        shown(path)
    )]
    UnsafeValue {
        /// The file (or tree) the value comes from.
        path: String,
        /// What the value is.
        what: &'static str,
        /// The value, cut to a readable length.
        value: String,
    },
    /// A setting of the operator is not usable.
    #[error("template setting {setting}: {reason}")]
    Setting {
        /// The setting's name.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A built-in template did not render: a defect of Slipway.
    #[error("the built-in template {template} did not render")]
    Render {
        /// The template's name.
        template: String,
        /// What the engine said.
        #[source]
        source: minijinja::Error,
    },
}

impl TemplateError {
    /// The stable, snake_case code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFamily { .. } => "no_family",
            Self::SeveralDirectories { .. } => "several_directories",
            Self::SeveralPrograms { .. } => "several_programs",
            Self::NoStartCommand { .. } => "no_start_command",
            Self::Symlinked { .. } => "symlinked_file",
            Self::NotAFile { .. } => "not_a_file",
            Self::TooLarge { .. } => "file_too_large",
            Self::Unreadable { .. } => "file_unreadable",
            Self::Malformed { .. } => "malformed_manifest",
            Self::UnsafeValue { .. } => "unsafe_value",
            Self::Setting { .. } => "invalid_template_setting",
            Self::Render { .. } => "template_defect",
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoFamily { .. } => "commit a Dockerfile at the root; the starting template shows the shape",
            Self::SeveralDirectories { .. } => {
                "commit a Dockerfile at the root that builds the directory you want to deploy"
            }
            Self::SeveralPrograms { .. } => {
                "name the program in the Procfile's web: line, or commit a Dockerfile at the root"
            }
            Self::NoStartCommand { .. } => "add a Procfile with a line like `web: <command>`",
            Self::Symlinked { .. } => "commit the file itself in place of the link",
            Self::NotAFile { .. } => "rename the directory or submodule, a file of that name is needed",
            Self::TooLarge { .. } => "shrink the file, or raise the template stage's file limit",
            Self::Unreadable { .. } => "retry; if it persists, check the repository with git fsck",
            Self::Malformed { .. } => "fix the file's syntax and push again",
            Self::UnsafeValue { .. } => {
                "use letters, digits and plain punctuation there, or commit a Dockerfile of your own"
            }
            Self::Setting { .. } => "correct the setting and restart the worker",
            Self::Render { .. } => "this is a defect of Slipway; please report it",
        }
    }
}

/// Names from the repository, quoted so that none can imitate the message around it.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// A path of the repository without line breaks and other characters that could forge a message.
pub(super) fn shown(path: &str) -> String {
    path.escape_debug().to_string()
}
