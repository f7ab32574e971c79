//! The text of job logs made readable: without colours, cursor movements, section markers and the runner's own prefixes.

use crate::text;

/// Longest line that is kept.
const LINE_MAX_BYTES: usize = 1_024;
const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';
/// What opens and closes a section that can be folded.
const SECTION_MARKERS: [&str; 2] = ["section_start:", "section_end:"];
/// `2026-05-22T12:12:30.123456Z`, with which runners begin a line.
const TIME_BYTES: usize = 27;
/// ` 00O`, behind it: the stream the line is of.
const STREAM_BYTES: usize = 4;

/// The last `lines_max` lines of `raw` that are not empty. When `raw` is not the `whole` log, its first line is not
/// either and is left out. `token` does not occur in them.
pub(crate) fn tail(raw: &[u8], whole: bool, lines_max: usize, token: &str) -> Vec<String> {
    let raw = String::from_utf8_lossy(raw);
    let text = match raw.split_once('\n') {
        Some((_, rest)) if !whole => rest,
        Some(_) | None => raw.as_ref(),
    };
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        let (continued, line) = without_prefix(line);
        let line = clean(line);
        match lines.last_mut() {
            Some(last) if continued => last.push_str(&line),
            Some(_) | None => lines.push(line),
        }
    }
    let kept: Vec<String> = lines.into_iter().filter(|line| !line.trim().is_empty()).collect();
    let first = kept.len().saturating_sub(lines_max);
    kept[first..]
        .iter()
        .map(|line| text::cut(&text::without_tokens(line, token), LINE_MAX_BYTES).trim_end().to_owned())
        .collect()
}

/// The line without time and stream, if it begins with them, and whether it goes on with the line before.
fn without_prefix(line: &str) -> (bool, &str) {
    let split = line.split_at_checked(TIME_BYTES).and_then(|(time, after)| {
        let (stream, rest) = after.split_at_checked(STREAM_BYTES)?;
        Some((time, stream, rest))
    });
    let Some((time, stream, rest)) = split else { return (false, line) };
    let is_time = time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok();
    let is_stream = matches!(stream.as_bytes(), [b' ', high, low, b'O' | b'E']
        if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    if !(is_time && is_stream) {
        return (false, line);
    }
    match rest.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix(' ').unwrap_or(rest)),
    }
}

/// What is left on the screen of one line: the last text after a carriage return.
fn clean(line: &str) -> String {
    line.split('\r')
        .map(|part| without_marker(&visible(part)).to_owned())
        .rfind(|part| !part.trim().is_empty())
        .unwrap_or_default()
}

/// A marker runs to the carriage return behind it.
fn without_marker(part: &str) -> &str {
    let starts = SECTION_MARKERS.into_iter().filter_map(|marker| {
        let at = part.find(marker)?;
        part[at + marker.len()..].starts_with(|next: char| next.is_ascii_digit()).then_some(at)
    });
    starts.min().map_or(part, |at| &part[..at])
}

/// `part` without escape sequences and characters that are not seen.
fn visible(part: &str) -> String {
    let mut shown = String::with_capacity(part.len());
    let mut characters = part.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => skip_sequence(&mut characters),
            '\t' => shown.push(' '),
            other if text::is_hidden(other) => {}
            other => shown.push(other),
        }
    }
    shown
}

/// Skips what follows an escape character.
fn skip_sequence(characters: &mut std::str::Chars<'_>) {
    match characters.next() {
        // A control sequence ends with its first letter.
        Some('[') => {
            characters.find(|character| matches!(character, '@'..='~'));
        }
        // An operating system command ends with a bell or an escape and a backslash.
        Some(']') => {
            if characters.find(|character| matches!(*character, BELL | ESCAPE)) == Some(ESCAPE) {
                characters.next();
            }
        }
        // A choice of characters has one more.
        Some('(' | ')') => {
            characters.next();
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests;
