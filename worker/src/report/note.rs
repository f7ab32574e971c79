//! The note on a merge request. What a program or a person wrote stands in code, where GitLab looks for no mention, no
//! command and no HTML, and is taken apart besides. Pure.

use slipway_common::failure::Failure;
use slipway_common::model::{
    Deployment, DeploymentState, EnvironmentName, ProjectSlug, StageReport, StageStatus,
};

use super::wanted::{cut, stage_word};

/// Largest note; GitLab takes a million characters.
const NOTE_MAX_BYTES: usize = 16 * 1024;
/// Most log lines of a note, and the longest of them.
pub(crate) const LOG_LINES_MAX: usize = 20;
const LOG_LINE_MAX_CHARS: usize = 300;
/// Longest reason and longest hint.
const REASON_MAX_CHARS: usize = 1_000;
/// Shortest fence of a block of code.
const FENCE_MIN: usize = 3;
/// What stands before each line of a log: a line that begins with a slash would be a command to GitLab.
const LINE_PREFIX: &str = "| ";
/// Takes apart what would have a meaning; it is not seen.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// What the note of an environment is recognised by.
pub(crate) fn marker(project: &ProjectSlug, environment: &EnvironmentName) -> String {
    format!("<!-- slipway:{project}-{environment} -->")
}

/// The text of the note.
pub(crate) fn render(
    marker: &str,
    deployment: &Deployment,
    url: Option<&str>,
    page: Option<&str>,
    log: &[String],
) -> String {
    let mut text = format!(
        "{marker}\n**Slipway**: environment `{}` {}\n",
        deployment.environment,
        state_words(deployment.state)
    );
    if let Some(url) = url.filter(|_| deployment.state.in_service()) {
        text.push_str(&format!("\n**URL:** <{url}>\n"));
    }
    text.push_str("\n| Stage | State | Duration |\n|---|---|---|\n");
    deployment.stages.iter().for_each(|report| text.push_str(&row(report)));
    text.push_str(&format!("\n{}\n", source(deployment, page)));
    if let Some(failure) = &deployment.failure {
        text.push_str(&failure_text(failure));
        let room = NOTE_MAX_BYTES.saturating_sub(text.len());
        text.push_str(&log_block(log, room));
    }
    text
}

fn state_words(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Queued => "is queued",
        DeploymentState::Preparing => "is being prepared",
        DeploymentState::Building => "is being built",
        DeploymentState::Deploying => "is being deployed",
        DeploymentState::Active => "is in service",
        DeploymentState::Degraded => "is in service, but not as it should be",
        DeploymentState::Stopping => "is being stopped",
        DeploymentState::Stopped => "is stopped",
        DeploymentState::Failed => "failed",
        DeploymentState::Superseded => "was overtaken by a newer deployment",
    }
}

fn row(report: &StageReport) -> String {
    let ended = match report.status {
        StageStatus::Succeeded | StageStatus::Failed | StageStatus::Stopped => report.duration_ms(),
        StageStatus::Pending | StageStatus::Running | StageStatus::Waiting | StageStatus::Skipped => None,
    };
    format!(
        "| {} | {} | {} |\n",
        report.stage,
        stage_word(report.status),
        ended.map(duration_text).unwrap_or_default()
    )
}

/// A duration for people.
fn duration_text(duration_ms: i64) -> String {
    let duration_ms = duration_ms.max(0);
    let (seconds, tenths) = (duration_ms / 1_000, duration_ms % 1_000 / 100);
    match seconds {
        0 => format!("{duration_ms} ms"),
        1..60 => format!("{seconds}.{tenths} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn source(deployment: &Deployment, page: Option<&str>) -> String {
    let revision = deployment.trigger.as_ref().map(|trigger| trigger.revision.as_str());
    let revision = revision.or_else(|| deployment.facts.revision()).map(|revision| code(&cut(revision, 40)));
    let of = revision.map_or_else(|| "Deployment".to_owned(), |code| format!("Commit {code}, deployment"));
    let page = page.map(|page| format!(": <{page}>")).unwrap_or_default();
    format!("{of} `{}`{page}", deployment.id)
}

fn failure_text(failure: &Failure) -> String {
    let mut text = format!("\n**Failed in {}**: {}\n", failure.stage, code(&cut(&failure.code, 100)));
    for said in [Some(&failure.reason), failure.hint.as_ref()].into_iter().flatten() {
        text.push_str(&format!("\n{}\n", code(&cut(said, REASON_MAX_CHARS))));
    }
    text
}

/// The newest log lines that fit, in a block of code.
fn log_block(log: &[String], room_bytes: usize) -> String {
    let surplus = log.len().saturating_sub(LOG_LINES_MAX);
    let lines = log.iter().skip(surplus).map(|line| cut(&harmless(line), LOG_LINE_MAX_CHARS));
    let mut lines: Vec<String> = lines.map(|line| format!("{LINE_PREFIX}{line}")).collect();
    while !lines.is_empty() {
        let block = fenced(&lines);
        if block.len() <= room_bytes {
            return block;
        }
        lines.remove(0);
    }
    String::new()
}

fn fenced(lines: &[String]) -> String {
    let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or_default();
    let fence = "`".repeat(FENCE_MIN.max(longest + 1));
    format!(
        "\n<details><summary>Last log lines</summary>\n\n{fence}text\n{}\n{fence}\n\n</details>\n",
        lines.join("\n")
    )
}

/// One line of code, whatever is in it.
fn code(text: &str) -> String {
    let text = harmless(text);
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or_default()
}

/// The text on one line, with mentions and comments taken apart.
fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut last = ' ';
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        let is_mention = last == '@' && (character.is_alphanumeric() || character == '_');
        let is_comment = last == '<' && character == '!';
        if is_mention || is_comment {
            safe.push(ZERO_WIDTH_SPACE);
        }
        safe.push(character);
        last = character;
    }
    safe
}

#[cfg(test)]
mod tests;
