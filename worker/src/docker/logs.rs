//! Output of a deployment's containers, line by line.

use std::time::Duration;

use bollard::query_parameters::{ListContainersOptions, LogsOptions};
use futures_util::stream::select_all;
use futures_util::{Stream, StreamExt};

use super::engine::Engine;
use super::error::DockerError;
use super::labels::{self, RoutingState};
use crate::text::{LineSplitter, Redactor};

/// Most lines asked of one container at once.
pub const TAIL_LINES_LIMIT: usize = 10_000;
/// Deadline for reading the end of a log.
const TAIL_TIMEOUT_MS: u64 = 5000;

/// Which part of the output is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// Lines from the end of each container's output; at most [`TAIL_LINES_LIMIT`].
    pub tail_lines: usize,
    /// Go on with what is printed from now on.
    pub follow: bool,
}

/// One line of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Name of the container, without the suffix of its routing state.
    pub container: String,
    /// The line, without control characters.
    pub line: String,
}

/// The output of all application containers of `deployment`. Dropping the stream ends the reading.
///
/// # Errors
/// What listing the containers may return; errors of one container's output end that output.
pub async fn logs(
    engine: &Engine,
    deployment: &str,
    options: LogOptions,
) -> Result<impl Stream<Item = Result<LogLine, DockerError>> + Send + use<>, DockerError> {
    let wanted =
        [(labels::MANAGED, "true"), (labels::DEPLOYMENT, deployment), (labels::ROLE, labels::ROLE_APP)];
    let list = ListContainersOptions {
        all: true,
        filters: Some(labels::filter(wanted)),
        ..ListContainersOptions::default()
    };
    let containers = engine.call("list containers", engine.docker().list_containers(Some(list))).await?;
    Ok(select_all(containers.into_iter().filter_map(|container| {
        let name = container.names?.into_iter().next()?;
        let name = RoutingState::base_of(name.trim_start_matches('/')).to_owned();
        let lines = lines_of(engine, &container.id?, options, LineSplitter::default());
        let named = lines.map(move |line| Ok(LogLine { container: name.clone(), line: line? }));
        Some(named.boxed())
    })))
}

/// The last `lines` lines of one container, without the secrets that `redactor` knows.
pub(crate) async fn tail(
    engine: &Engine,
    id: &str,
    lines: usize,
    redactor: Redactor,
) -> Result<Vec<String>, DockerError> {
    let options = LogOptions { tail_lines: lines, follow: false };
    let read = async {
        let splitter = LineSplitter::redacting(redactor);
        let mut output = std::pin::pin!(lines_of(engine, id, options, splitter));
        let mut read = Vec::new();
        while let Some(line) = output.next().await {
            read.push(line?);
        }
        // One line for the log may have held several for us.
        let surplus = read.len().saturating_sub(lines);
        Ok(read.split_off(surplus))
    };
    tokio::time::timeout(Duration::from_millis(TAIL_TIMEOUT_MS), read)
        .await
        .unwrap_or(Err(DockerError::TimedOut { operation: "read logs", limit_ms: TAIL_TIMEOUT_MS }))
}

fn lines_of(
    engine: &Engine,
    id: &str,
    options: LogOptions,
    splitter: LineSplitter,
) -> impl Stream<Item = Result<String, DockerError>> + Send + use<> {
    let asked = LogsOptions {
        follow: options.follow,
        stdout: true,
        stderr: true,
        tail: options.tail_lines.min(TAIL_LINES_LIMIT).to_string(),
        ..LogsOptions::default()
    };
    let output = engine.docker().logs(id, Some(asked));
    // The end of the output completes the last line.
    let chunks = output.map(Some).chain(futures_util::stream::once(async { None }));
    let split = chunks.scan(splitter, |splitter, chunk| {
        let lines: Vec<Result<String, DockerError>> = match chunk {
            Some(Ok(chunk)) => splitter.push(chunk.as_ref()).into_iter().map(Ok).collect(),
            Some(Err(error)) => vec![Err(DockerError::of_engine("read logs", 0, error))],
            None => splitter.finish().into_iter().map(Ok).collect(),
        };
        std::future::ready(Some(futures_util::stream::iter(lines)))
    });
    split.flatten()
}
