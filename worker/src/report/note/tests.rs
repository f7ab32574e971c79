//! What a note shows, and that nothing in it is taken for something else.

use slipway_common::model::{EventKind, Stage};

use super::super::testing::{Story, URL, failed, started};
use super::*;

const MARKER: &str = "<!-- slipway:shop-review-5 -->";

fn rendered(story: &Story, log: &[&str]) -> String {
    let log: Vec<String> = log.iter().map(|line| (*line).to_owned()).collect();
    render(MARKER, &story.deployment, Some(URL), Some("https://slipway.example.com/deployments/1"), &log)
}

fn failed_with(reason: &str) -> Story {
    let failure = Failure::new(Stage::Build, "build_failed", reason).with_hint(reason);
    Story::of_merge_request(5).then(started(Stage::Build)).then(EventKind::Failed { failure })
}

/// Texts that would do something in a note.
const HOSTILE: [&str; 14] = [
    "/close",
    "  /merge",
    "```\n/close\n```",
    "```",
    "`````",
    "@all look",
    "<img src=x onerror=alert(1)>",
    "</details><script>alert(1)</script>",
    "<!-- slipway:shop-production -->",
    "| a | b |",
    "` /close `",
    "\r/assign @root",
    "\u{2028}/close",
    "~~~\n/close",
];

/// The lines of the note that are not within its block of code, with code within a line taken out.
fn outside_code(note: &str) -> Vec<String> {
    let mut fence: Option<String> = None;
    let mut outside = Vec::new();
    for line in note.lines() {
        match &fence {
            Some(open) if line == open => fence = None,
            Some(_) => {}
            None if line.starts_with("```") && line.ends_with("text") => {
                fence = Some(line.trim_end_matches("text").to_owned());
            }
            None => outside.push(without_code(line)),
        }
    }
    assert_eq!(fence, None, "the block is closed in\n{note}");
    outside
}

fn without_code(line: &str) -> String {
    let mut rest = line;
    let mut shown = String::new();
    while let Some(begin) = rest.find('`') {
        let run = rest[begin..].chars().take_while(|character| *character == '`').count();
        let fence = "`".repeat(run);
        let after = &rest[begin + run..];
        let Some(end) = closing(after, &fence) else { break };
        shown.push_str(&rest[..begin]);
        rest = &after[end + run..];
    }
    shown + rest
}

/// Where a run of exactly so many backticks begins.
fn closing(text: &str, fence: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = text[from..].find('`') {
        let begin = from + found;
        let run = text[begin..].chars().take_while(|character| *character == '`').count();
        if run == fence.len() {
            return Some(begin);
        }
        from = begin + run;
    }
    None
}

#[test]
fn a_note_shows_stages_address_and_where_there_is_more() {
    let note = rendered(&Story::of_merge_request(5).then_served(), &[]);
    for expected in [
        MARKER,
        "environment `review-5` is in service",
        "**URL:** <https://shop.apps.example.com>",
        "| clone | succeeded | 1.0 s |",
        "| build | pending |  |",
        "<https://slipway.example.com/deployments/1>",
    ] {
        assert!(note.contains(expected), "{expected} is not in\n{note}");
    }
    assert!(!note.contains("Failed"), "{note}");
}

#[test]
fn a_failure_is_explained_with_the_last_lines() {
    let story = Story::of_merge_request(5).then(started(Stage::Clone)).then(failed(Stage::Clone));
    let note = rendered(&story, &["fatal: no access", "gave up"]);
    for expected in [
        "**Failed in clone**: `clone_refused`",
        "\n`the host refused`\n",
        "\n`Check the token.`\n",
        "\n```text\n| fatal: no access\n| gave up\n```\n",
    ] {
        assert!(note.contains(expected), "{expected} is not in\n{note}");
    }
    assert!(!note.contains("URL"), "it serves nothing");
}

#[test]
fn nothing_a_program_wrote_has_a_meaning_in_the_note() {
    let plain = outside_code(&rendered(&failed_with("plain"), &["plain"]));
    for hostile in HOSTILE {
        let note = rendered(&failed_with(hostile), &[hostile, "last"]);
        assert_eq!(outside_code(&note), plain, "{hostile:?} in\n{note}");
        for line in note.lines() {
            assert!(!line.trim_start().starts_with('/'), "a command in\n{note}");
        }
        assert_eq!(note.matches("<!--").count(), 1, "one marker in\n{note}");
        let is_name = |character: char| character.is_alphanumeric() || character == '_';
        let mentions = note.split('@').skip(1).any(|after| after.starts_with(is_name));
        assert!(!mentions, "a mention in\n{note}");
    }
}

#[test]
fn a_fence_is_longer_than_any_in_the_log() {
    let note = rendered(&failed_with("plain"), &["````", "a ``` b"]);
    assert!(note.contains("\n`````text\n| ````\n| a ``` b\n`````\n"), "{note}");
}

#[test]
fn a_note_has_a_largest_size_and_keeps_the_newest_lines() {
    let long = "ü".repeat(5_000);
    let mut lines: Vec<&str> = vec![&long; 500];
    lines.push("the last words");
    let note = rendered(&failed_with(&long), &lines);
    assert!(note.len() <= NOTE_MAX_BYTES, "{} bytes", note.len());
    assert!(note.contains("| the last words\n"), "{note}");
    assert!(note.matches("\n| ü").count() < LOG_LINES_MAX);
}

#[test]
fn durations_are_for_people() {
    for (duration_ms, text) in [
        (-5, "0 ms"),
        (0, "0 ms"),
        (850, "850 ms"),
        (1_250, "1.2 s"),
        (59_999, "59.9 s"),
        (125_000, "2 min 5 s"),
    ] {
        assert_eq!(duration_text(duration_ms), text);
    }
}

#[test]
fn the_same_state_gives_the_same_text() {
    let story = Story::of_merge_request(5).then(started(Stage::Clone));
    assert_eq!(rendered(&story, &[]), rendered(&story, &[]), "or it would be written again and again");
}
