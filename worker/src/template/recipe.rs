//! What a family hands to the renderer: the template, the values to fill in and what was detected.

use std::collections::BTreeMap;

use minijinja::Value;

use super::app::{App, FoundVersion};
use super::command::Command;
use super::error::TemplateError;
use super::plan::{Detected, Family, Framework, PackageManager};
use super::safe::Safe;
use super::version::Version;

/// Everything needed to write one application's Dockerfile.
pub(super) struct Recipe {
    /// What the application was recognised as.
    pub(super) detected: Detected,
    /// The template's name in `render`.
    pub(super) template: &'static str,
    /// The values the template refers to.
    pub(super) values: Values,
    /// The port the container listens on.
    pub(super) port: u16,
    /// Lines the family adds to `.dockerignore`.
    pub(super) ignored: &'static [&'static str],
}

/// Values of a template. Text gets in only as `Safe`.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// The values every application has: its directory and its port.
    pub(super) fn of(app: &App<'_>, port: u16) -> Result<Self, TemplateError> {
        let mut values = Self::default();
        values.text("root", &app.prefix()?);
        values.text("port", &Safe::number(port));
        Ok(values)
    }

    pub(super) fn text(&mut self, name: &'static str, text: &Safe) {
        self.0.insert(name, Value::from(text.as_str()));
    }

    /// Absent text is empty, which templates test for.
    pub(super) fn optional(&mut self, name: &'static str, text: Option<&Safe>) {
        self.0.insert(name, Value::from(text.map_or("", Safe::as_str)));
    }

    pub(super) fn flag(&mut self, name: &'static str, flag: bool) {
        self.0.insert(name, Value::from(flag));
    }

    pub(super) fn list(&mut self, name: &'static str, texts: &[Safe]) {
        self.0.insert(name, Value::from_iter(texts.iter().map(Safe::as_str)));
    }

    /// The values in the form the template engine takes.
    pub(super) fn as_context(&self) -> Value {
        Value::from_pairs(self.0.iter().map(|(name, value)| (*name, value.clone())))
    }

    pub(super) fn command(&mut self, command: &Command) {
        self.text("cmd", &command.to_cmd());
    }
}

/// Collects what was detected and by what, while a family reads its files.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) family: Family,
    pub(super) framework: Option<Framework>,
    pub(super) package_manager: Option<PackageManager>,
    evidence: Vec<String>,
}

impl Findings {
    pub(super) fn of(family: Family) -> Self {
        Self { family, framework: None, package_manager: None, evidence: Vec::new() }
    }

    /// Notes a file or line that decided something.
    pub(super) fn note(&mut self, evidence: impl Into<String>) {
        self.evidence.push(evidence.into());
    }

    /// The version found in the repository, noted as evidence, or the default one.
    pub(super) fn version(&mut self, found: Option<FoundVersion>, default: Version) -> Version {
        match found {
            Some(FoundVersion { version, evidence }) => {
                self.note(evidence);
                version
            }
            None => default,
        }
    }

    pub(super) fn detected(self, version: Option<&Version>) -> Detected {
        Detected {
            family: self.family,
            framework: self.framework,
            package_manager: self.package_manager,
            evidence: self.evidence,
            runtime_version: version.map(ToString::to_string),
        }
    }
}
