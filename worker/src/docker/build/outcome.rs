//! Reads the builder's output: lines for the log, the step it is at, and what an error inside it means.

use bollard::errors::Error;
use bollard::models::BuildInfo;

use super::super::LogSink;
use super::super::error::DockerError;
use super::super::image::refused;
use crate::text::{LineSplitter, Redactor, Tail, clean};

/// What is known of a build while its output arrives.
pub(super) struct Outcome {
    lines: LineSplitter,
    tail: Tail,
    step: String,
    redactor: Redactor,
    failure: Option<Error>,
    has_heredoc: bool,
}

impl Outcome {
    pub(super) fn new(redactor: Redactor, dockerfile: &str) -> Self {
        Self {
            lines: LineSplitter::default(),
            tail: Tail::default(),
            step: String::new(),
            redactor,
            failure: None,
            has_heredoc: has_heredoc(dockerfile),
        }
    }

    /// Takes one message of the stream. The first error is the one that counts.
    pub(super) fn take(&mut self, message: Result<BuildInfo, Error>, log: &dyn LogSink) {
        match message {
            Ok(info) => {
                if let Some(stream) = info.stream {
                    for line in self.lines.push(stream.as_bytes()) {
                        self.note(&line, log);
                    }
                } else if let (Some(status), None) = (info.status, info.progress_detail) {
                    self.note(&clean(&status), log);
                }
            }
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }

    /// The end of the stream: what it all meant.
    pub(super) fn finish(mut self, log: &dyn LogSink) -> Result<(), DockerError> {
        if let Some(rest) = self.lines.finish() {
            self.note(&rest, log);
        }
        let Some(failure) = self.failure.take() else { return Ok(()) };
        let Some(reason) = told_by_builder(&failure) else {
            return Err(DockerError::of_engine("build", 0, failure));
        };
        let reason = self.redactor.apply(&clean(&reason));
        log.line(&reason);
        Err(self.failed(reason))
    }

    fn note(&mut self, line: &str, log: &dyn LogSink) {
        let line = self.redactor.apply(line);
        if line.is_empty() {
            return;
        }
        if line.starts_with("Step ") {
            self.step.clone_from(&line);
        }
        log.line(&line);
        self.tail.push(line);
    }

    fn failed(self, reason: String) -> DockerError {
        if reason.contains("no space left on device") {
            return DockerError::DiskFull { operation: "build" };
        }
        if lost_an_image(&reason) {
            return DockerError::CacheLost { reason };
        }
        if needs_buildkit(&reason, self.has_heredoc) {
            return DockerError::NeedsBuildKit { reason };
        }
        let exit_code = exit_code(&reason);
        if let Some(base) = base_image(&self.step)
            && exit_code.is_none()
        {
            let error = DockerError::Engine { operation: "build", status: 0, reason };
            return refused(base, error);
        }
        let step = if self.step.is_empty() { "reading the Dockerfile".to_owned() } else { self.step };
        DockerError::BuildFailed { step, exit_code, reason, log_tail: self.tail.into_lines() }
    }
}

/// The builder's own words, when the error is about the build and not about the connection.
fn told_by_builder(failure: &Error) -> Option<String> {
    if let Error::DockerStreamError { error } = failure {
        Some(error.clone())
    } else if let Error::DockerResponseServerError { status_code: 400, message } = failure {
        Some(message.clone())
    } else {
        None
    }
}

/// Whether an instruction of the Dockerfile takes a here-document.
fn has_heredoc(dockerfile: &str) -> bool {
    dockerfile.lines().any(|line| {
        let line = line.trim_start().to_ascii_uppercase();
        let takes_one = ["RUN ", "COPY ", "ADD "].iter().any(|name| line.starts_with(name));
        let word = line.split_once("<<").map(|(_, word)| word.trim_start_matches(['-', '"', '\'']));
        takes_one && word.is_some_and(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
    })
}

/// Words by which the classic builder refuses what only BuildKit knows. It takes the body of a here-document for
/// instructions.
fn needs_buildkit(reason: &str, has_heredoc: bool) -> bool {
    reason.contains("requires BuildKit")
        || ["mount", "link", "security", "network", "chmod"]
            .iter()
            .any(|flag| reason.contains("nknown flag") && reason.contains(flag))
        || (has_heredoc && (reason.contains("unknown instruction") || exit_code(reason).is_some()))
}

/// Words by which the classic builder tells that an image of its cache, known by its id, is gone: another build of the
/// same layers was cleaned up meanwhile.
fn lost_an_image(reason: &str) -> bool {
    [
        "failed to get digest sha256:",
        "No such image: sha256:",
        "layer does not exist",
        "unknown parent image ID",
    ]
    .iter()
    .any(|words| reason.contains(words))
}

/// `The command '/bin/sh -c make' returned a non-zero code: 2` → 2.
fn exit_code(reason: &str) -> Option<i64> {
    reason.rsplit_once("returned a non-zero code: ")?.1.trim().parse().ok()
}

/// `Step 1/4 : FROM name AS stage` → `name`.
fn base_image(step: &str) -> Option<&str> {
    let mut words = step.split_once(" : FROM ")?.1.split_whitespace();
    words.find(|word| !word.starts_with("--"))
}

#[cfg(test)]
mod tests {
    use slipway_common::failure::FailureClass;

    use super::*;

    struct Discard;

    impl LogSink for Discard {
        fn line(&self, _line: &str) {}
    }

    #[test]
    fn an_image_removed_meanwhile_is_worth_another_attempt() {
        let id = "b".repeat(64);
        for words in [
            format!(
                "failed to get digest sha256:{id}: open /imagedb/content/sha256/{id}: no such file or directory"
            ),
            format!("No such image: sha256:{id}"),
            "layer does not exist".to_owned(),
        ] {
            let error = outcome_of("Step 5/10 : LABEL a=b\n", &words);
            assert_eq!(
                (error.code(), error.class()),
                ("build_cache_lost", FailureClass::Transient),
                "{words}"
            );
        }
    }

    fn outcome_of(stream: &str, error: &str) -> DockerError {
        outcome_with("FROM scratch", stream, error)
    }

    fn outcome_with(dockerfile: &str, stream: &str, error: &str) -> DockerError {
        let mut outcome = Outcome::new(Redactor::new([]), dockerfile);
        outcome.take(Ok(BuildInfo { stream: Some(stream.to_owned()), ..BuildInfo::default() }), &Discard);
        outcome.take(Err(Error::DockerStreamError { error: error.to_owned() }), &Discard);
        outcome.finish(&Discard).unwrap_err()
    }

    #[test]
    fn a_failing_command_is_told_with_step_code_and_last_lines() {
        let error = outcome_of(
            "Step 2/3 : RUN make\n ---> Running in 0\nboom\n",
            "The command '/bin/sh -c make' returned a non-zero code: 2",
        );
        let DockerError::BuildFailed { step, exit_code, log_tail, .. } = error else { panic!("{error:?}") };
        assert_eq!(step, "Step 2/3 : RUN make");
        assert_eq!(exit_code, Some(2));
        assert_eq!(log_tail.last().unwrap(), "boom");
    }

    #[test]
    fn a_base_image_that_cannot_be_pulled_is_named() {
        let error = outcome_of(
            "Step 1/2 : FROM --platform=linux/amd64 registry.example.com/base:1 AS build\n",
            "Get \"https://registry.example.com/v2/\": dial tcp: no route to host",
        );
        assert_eq!(error.code(), "image_pull_failed");
        assert!(error.to_string().contains("registry.example.com/base:1"));
    }

    #[test]
    fn what_only_buildkit_knows_gets_its_own_error() {
        let mount = outcome_of("", "the --mount option requires BuildKit. Refer to https://docs.docker.com/");
        assert_eq!(mount.code(), "buildkit_required");
        let flag = outcome_of("", "dockerfile parse error line 3: Unknown flag: link in --link");
        assert_eq!(flag.code(), "buildkit_required");
        let heredoc = outcome_with(
            "FROM scratch\nRUN <<EOF\nmake\nEOF\n",
            "",
            "dockerfile parse error line 3: unknown instruction: MAKE",
        );
        assert_eq!(heredoc.code(), "buildkit_required");
    }

    #[test]
    fn a_dockerfile_that_cannot_be_parsed_fails_the_build() {
        let error = outcome_of("", "dockerfile parse error line 1: unknown instruction: FORM");
        assert_eq!(error.code(), "build_failed");
    }
}
