//! One sample tree for every family, package manager and framework: what is detected, and the lines that
//! make the difference.

mod compiled;
mod pages;
mod scripted;

use super::{dockerfile, plan_of};
use crate::template::{Family, Framework, PackageManager};

/// A sample and what is expected of it.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) files: &'static [(&'static str, &'static str)],
    family: Family,
    framework: Option<Framework>,
    manager: Option<PackageManager>,
    version: Option<&'static str>,
    port: u16,
    lines: &'static [&'static str],
}

const fn sample(
    name: &'static str,
    family: Family,
    files: &'static [(&'static str, &'static str)],
) -> Sample {
    Sample { name, files, family, framework: None, manager: None, version: None, port: 8080, lines: &[] }
}

/// All samples.
pub(super) fn samples() -> impl Iterator<Item = &'static Sample> {
    scripted::SAMPLES.iter().chain(&compiled::SAMPLES).chain(&pages::SAMPLES)
}

#[test]
fn every_sample_is_detected_and_gets_its_lines() {
    for sample in samples() {
        let name = sample.name;
        let plan = plan_of(sample.files).unwrap_or_else(|error| panic!("{name}: {error}"));
        let detected = plan.detected.as_ref().expect("a generated Dockerfile comes with a detection");
        assert_eq!(detected.family, sample.family, "{name}");
        assert_eq!(detected.framework, sample.framework, "{name}");
        assert_eq!(detected.package_manager, sample.manager, "{name}");
        assert_eq!(detected.runtime_version.as_deref(), sample.version, "{name}");
        assert!(!detected.evidence.is_empty(), "{name}");
        assert_eq!(plan.port, Some(sample.port), "{name}");
        let text = dockerfile(&plan);
        for expected in sample.lines {
            assert!(text.lines().any(|line| line == *expected), "{name}: no line {expected:?} in\n{text}");
        }
    }
}
