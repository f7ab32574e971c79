//! `slipway.yml`, the file with which a repository says how it is deployed: which ref goes where, and with what. Every error
//! says where it stands. Nothing secret is read from it, for whoever can read the repository can read it.

mod bound;
mod node;
mod reader;
mod section;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use slipway_common::failure::FailureClass;
use slipway_common::model::registered::{EnvironmentRule, NotifySwitches, ReviewRule};
use slipway_common::model::request::RequestLimits;
use slipway_common::model::{BuildMode, CommitMode, DeploymentSpec, PipelineSpec};

use self::bound::{Bound, BoundKind};
use self::node::{Place, Problem};
use self::reader::{Field, Reader};
use crate::source::{SourceError, SourceTree};

/// Its path in the repository.
pub const PROJECT_FILE: &str = "slipway.yml";
/// Largest file.
pub const PROJECT_FILE_MAX_BYTES: usize = 64 * 1024;
/// Most errors that are told of one file.
pub const FILE_ERRORS_MAX: usize = 50;
/// Longest wait for a pipeline that can be asked for, in seconds.
pub const PIPELINE_TIMEOUT_MAX_S: u64 = 24 * 3_600;
/// Longest name of a pipeline's job.
pub const PIPELINE_JOB_MAX_CHARS: usize = 255;
/// Errors that are told in one sentence.
const ERRORS_TOLD_MAX: usize = 3;
/// Longest key of the file that is repeated.
const SHOWN_MAX_CHARS: usize = 40;

/// What is wrong with the file, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Path of the field such as `environments[0].branch`; empty when it is the form of the file.
    pub field: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, field, reason } = self;
        if field.is_empty() {
            write!(formatter, "line {line}, column {column}: {reason}")
        } else {
            write!(formatter, "line {line}, column {column}: `{field}` {reason}")
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectFileError {
    /// Something in it is wrong.
    #[error("{PROJECT_FILE}: {}", told(.errors))]
    Invalid {
        /// What, in the order of the file; at least one.
        errors: Vec<FileError>,
    },
    /// The object database could not deliver it.
    #[error("{PROJECT_FILE} could not be read")]
    Unreadable(#[source] SourceError),
}

impl ProjectFileError {
    /// Stable, `snake_case` code to program against.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "project_file_invalid",
            Self::Unreadable(_) => "project_file_unreadable",
        }
    }

    /// What the failure means for who needs the file.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Invalid { .. } => FailureClass::Permanent,
            Self::Unreadable(_) => FailureClass::Transient,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "Correct the file and push it.",
            Self::Unreadable(_) => "It is read again.",
        }
    }
}

/// The first errors in one sentence.
fn told(errors: &[FileError]) -> String {
    let first: Vec<String> = errors.iter().take(ERRORS_TOLD_MAX).map(ToString::to_string).collect();
    let mut text = first.join("; ");
    if let Some(more) = errors.len().checked_sub(ERRORS_TOLD_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Located<T> {
    value: T,
    place: Place,
}

/// A rule, where it stands, and what of it an installation limits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    rule: EnvironmentRule,
    place: Place,
    bounds: Vec<Bound>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HealthWish {
    place: Place,
    path: Option<String>,
    interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
    deadline_ms: Option<Located<u64>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ResourceWish {
    memory_bytes: Option<Located<u64>>,
    cpu_millis: Option<Located<u32>>,
    pids: Option<Located<u32>>,
}

/// A file in which nothing is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectFile {
    environments: Option<Vec<Rule>>,
    review: Option<Option<ReviewRule>>,
    notify: Option<NotifySwitches>,
    port: Option<u16>,
    replicas: Option<Located<u32>>,
    health: Option<HealthWish>,
    resources: Option<ResourceWish>,
    build: Option<BuildMode>,
    commit: Option<CommitMode>,
    pipeline: Option<PipelineSpec>,
}

impl ProjectFile {
    /// Which ref goes where, if the file says so; the rules take the place of the registered ones.
    #[must_use]
    pub fn environments(&self) -> Option<Vec<EnvironmentRule>> {
        let rules = self.environments.as_ref()?;
        Some(rules.iter().map(|rule| rule.rule.clone()).collect())
    }

    /// Whether merge requests get environments, if the file says so: `Some(None)` when it says that they do not.
    #[must_use]
    pub fn review(&self) -> Option<Option<ReviewRule>> {
        self.review.clone()
    }

    /// Which results are told, if the file says so.
    #[must_use]
    pub fn notify(&self) -> Option<NotifySwitches> {
        self.notify
    }

    /// Whether everything is within what the installation allows.
    ///
    /// # Errors
    /// Everything that is not, in the order of the file.
    pub fn check(&self, limits: &RequestLimits) -> Result<(), Vec<FileError>> {
        settle(self.bounds().iter().filter_map(|bound| bound.check(limits)).collect())
    }

    /// Takes over what the file says of one deployment. What it does not say stays as it is, and so does everything when
    /// something is refused.
    ///
    /// # Errors
    /// Everything that is not within what the installation allows, in the order of the file.
    pub fn apply(&self, spec: &mut DeploymentSpec, limits: &RequestLimits) -> Result<(), Vec<FileError>> {
        self.check(limits)?;
        let mut wanted = spec.clone();
        wanted.port = self.port.or(wanted.port);
        wanted.replicas = self.replicas.as_ref().map_or(wanted.replicas, |replicas| replicas.value);
        wanted.build = self.build.unwrap_or(wanted.build);
        wanted.commit = self.commit.unwrap_or(wanted.commit);
        if let Some(pipeline) = &self.pipeline {
            wanted.pipeline.image = pipeline.image.clone().or(wanted.pipeline.image);
            wanted.pipeline.job = pipeline.job.clone().or(wanted.pipeline.job);
            wanted.pipeline.timeout_s = pipeline.timeout_s.or(wanted.pipeline.timeout_s);
        }
        if let Some(resources) = &self.resources {
            let into = &mut wanted.resources;
            into.memory_bytes = resources.memory_bytes.as_ref().map_or(into.memory_bytes, |it| it.value);
            into.cpu_millis = resources.cpu_millis.as_ref().map_or(into.cpu_millis, |it| it.value);
            into.pids = resources.pids.as_ref().map_or(into.pids, |it| it.value);
        }
        if let Some(health) = &self.health {
            health.apply(&mut wanted)?;
        }
        *spec = wanted;
        Ok(())
    }

    fn bounds(&self) -> Vec<Bound> {
        let mut bounds: Vec<Bound> =
            self.environments.iter().flatten().flat_map(|rule| rule.bounds.iter().cloned()).collect();
        let deadline = self.health.as_ref().and_then(|health| health.deadline_ms.as_ref());
        let resources = self.resources.as_ref();
        let memory = resources.and_then(|resources| resources.memory_bytes.as_ref());
        let cpu = resources.and_then(|resources| resources.cpu_millis.as_ref());
        let pids = resources.and_then(|resources| resources.pids.as_ref());
        bounds.extend(self.replicas.as_ref().map(|it| Bound::of(BoundKind::Replicas, "replicas", it)));
        bounds.extend(deadline.map(|it| Bound::of(BoundKind::Deadline, "health.deadline_ms", it)));
        bounds.extend(memory.map(|it| Bound::of(BoundKind::Memory, "resources.memory_bytes", it)));
        bounds.extend(cpu.map(|it| Bound::of(BoundKind::Cpu, "resources.cpu_millis", it)));
        bounds.extend(pids.map(|it| Bound::of(BoundKind::Pids, "resources.pids", it)));
        bounds
    }
}

impl HealthWish {
    fn apply(&self, spec: &mut DeploymentSpec) -> Result<(), Vec<FileError>> {
        let health = &mut spec.health;
        health.path = self.path.clone().or_else(|| health.path.take());
        health.interval_ms = self.interval_ms.unwrap_or(health.interval_ms);
        health.deadline_ms = self.deadline_ms.as_ref().map_or(health.deadline_ms, |it| it.value);
        health.timeout_ms = self.timeout_ms.unwrap_or(health.timeout_ms);
        if health.timeout_ms <= health.deadline_ms {
            return Ok(());
        }
        let (timeout, deadline) = (health.timeout_ms, health.deadline_ms);
        let reason = format!("waits longer for one answer ({timeout} ms) than for all ({deadline} ms)");
        settle(vec![Problem { place: self.place, field: "health".to_owned(), reason }])
    }
}

/// Reads the text of the file. A text with nothing in it says nothing.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file, up to [`FILE_ERRORS_MAX`].
pub fn parse(text: &str) -> Result<ProjectFile, Vec<FileError>> {
    if text.len() > PROJECT_FILE_MAX_BYTES {
        return Err(vec![too_large(text.len())]);
    }
    let (root, problems) = node::read(text);
    let mut reader = Reader { problems };
    let file = root.map(|root| reader.file(&Field::root(&root))).unwrap_or_default();
    let problems = in_order(reader.problems);
    settle(problems.into_iter().map(|problem| within(text, problem)).collect()).map(|()| file)
}

/// Reads the file of a repository, if it has one. The file is looked for at the root.
///
/// # Errors
/// When something in it is wrong, or it could not be read.
pub fn read(tree: &impl SourceTree) -> Result<Option<ProjectFile>, ProjectFileError> {
    let Some(entry) = tree.entry(PROJECT_FILE) else { return Ok(None) };
    let invalid = |errors| Err(ProjectFileError::Invalid { errors });
    if !entry.kind.is_file() {
        return invalid(vec![of_file("must be a file, and no link")]);
    }
    let limit_bytes = u64::try_from(PROJECT_FILE_MAX_BYTES).unwrap_or(u64::MAX);
    if entry.size_bytes > limit_bytes {
        return invalid(vec![too_large(usize::try_from(entry.size_bytes).unwrap_or(usize::MAX))]);
    }
    let bytes = tree.read(PROJECT_FILE, limit_bytes).map_err(ProjectFileError::Unreadable)?;
    match String::from_utf8(bytes) {
        Ok(text) => parse(&text).map(Some).or_else(invalid),
        Err(error) => invalid(vec![not_utf8(error.as_bytes(), error.utf8_error().valid_up_to())]),
    }
}

/// Nothing wrong is well.
fn settle(problems: Vec<Problem>) -> Result<(), Vec<FileError>> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(in_order(problems).into_iter().map(FileError::from).collect())
}

/// In the order of the file, each once, and not endless.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|left, right| (left.place, &left.field).cmp(&(right.place, &right.field)));
    problems.dedup();
    problems.truncate(FILE_ERRORS_MAX);
    problems
}

impl From<Problem> for FileError {
    fn from(problem: Problem) -> Self {
        let Problem { place, field, reason } = problem;
        Self { line: place.line, column: place.column, field, reason }
    }
}

/// The problem with its place inside the text: what is missing at its end is missing behind its last character.
fn within(text: &str, problem: Problem) -> Problem {
    let Place { line: wanted, column } = problem.place;
    let line = wanted.clamp(1, text.split('\n').count());
    let length = text.split('\n').nth(line - 1).map_or(0, |line| line.chars().count());
    let column = if wanted > line { length + 1 } else { column.clamp(1, length + 1) };
    Problem { place: Place { line, column }, ..problem }
}

fn of_file(reason: impl Into<String>) -> FileError {
    let Place { line, column } = Place::START;
    FileError { line, column, field: String::new(), reason: reason.into() }
}

fn too_large(size_bytes: usize) -> FileError {
    of_file(format!("the file has {size_bytes} bytes, more than the limit of {PROJECT_FILE_MAX_BYTES}"))
}

fn not_utf8(bytes: &[u8], valid_bytes: usize) -> FileError {
    let before = String::from_utf8_lossy(bytes.get(..valid_bytes).unwrap_or_default());
    let line = before.split('\n').count();
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    FileError { line, column, ..of_file("the file is not valid UTF-8 here") }
}

/// A key of the file as it may be repeated.
fn shown(key: &str) -> String {
    crate::text::clean(key).chars().take(SHOWN_MAX_CHARS).collect()
}
