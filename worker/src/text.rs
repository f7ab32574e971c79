//! Output of builds and containers as clean, bounded lines: control characters out, secrets out, ends kept.

use std::collections::VecDeque;

use secrecy::{ExposeSecret, SecretString};

/// Longest line handed on; the rest of a longer one is cut.
pub(crate) const LINE_MAX_BYTES: usize = 4096;
/// Lines kept for an error message.
pub(crate) const TAIL_LINES_MAX: usize = 50;
/// Values shorter than this are not looked for: they would blot out ordinary words.
const SECRET_MIN_BYTES: usize = 6;

/// Removes terminal sequences and control characters, and cuts what is longer than [`LINE_MAX_BYTES`].
pub(crate) fn clean(line: &str) -> String {
    let mut cleaned = String::with_capacity(line.len().min(LINE_MAX_BYTES));
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            skip_escape_sequence(&mut rest);
        } else if character == '\t' || !character.is_control() {
            if cleaned.len() + character.len_utf8() > LINE_MAX_BYTES {
                cleaned.push('…');
                break;
            }
            cleaned.push(character);
        }
    }
    cleaned
}

fn skip_escape_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.next() {
        // Control sequence: parameters, then one final byte from `@` to `~`.
        Some('[') => {
            rest.find(|character| ('@'..='~').contains(character));
        }
        // Operating system command: up to BEL or ESC \.
        Some(']') => {
            let end = rest.find(|character| matches!(character, '\u{7}' | '\u{1b}'));
            if end == Some('\u{1b}') {
                rest.next();
            }
        }
        Some(_) | None => {}
    }
}

/// Cuts a stream of chunks into lines. A carriage return starts the line anew, as a terminal shows it.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    pending: Vec<u8>,
    redactor: Option<Redactor>,
}

impl LineSplitter {
    /// One that replaces secrets too, before lines are cut: half a secret is still one.
    pub(crate) fn redacting(redactor: Redactor) -> Self {
        Self { pending: Vec::new(), redactor: Some(redactor) }
    }

    /// Takes a chunk and returns the lines it completes, cleaned.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in chunk {
            if *byte == b'\n' {
                lines.push(self.take());
            } else if self.pending.len() < 4 * LINE_MAX_BYTES {
                self.pending.push(*byte);
            }
        }
        lines
    }

    /// The last line, when it had no line ending.
    pub(crate) fn finish(&mut self) -> Option<String> {
        (!self.pending.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.pending);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\r');
        let shown = text.rsplit('\r').next().unwrap_or(text);
        match &self.redactor {
            Some(redactor) => redactor.shown(shown),
            None => clean(shown),
        }
    }
}

/// The last lines of an output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    pub(crate) fn push(&mut self, line: String) {
        if self.lines.len() == TAIL_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

/// Replaces known secret values in output.
#[derive(Debug)]
pub(crate) struct Redactor {
    values: Vec<SecretString>,
}

impl Redactor {
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut values: Vec<SecretString> = values.into_iter().flat_map(parts).collect();
        values.retain(|value| value.expose_secret().len() >= SECRET_MIN_BYTES);
        // Longest first, so that a value containing another one disappears whole.
        values.sort_by_key(|value| std::cmp::Reverse(value.expose_secret().len()));
        Self { values }
    }

    pub(crate) fn apply(&self, line: &str) -> String {
        self.values.iter().fold(line.to_owned(), |text, value| {
            if text.contains(value.expose_secret()) {
                text.replace(value.expose_secret(), "[secret]")
            } else {
                text
            }
        })
    }

    /// The line as it may be shown: without secrets, terminal sequences and control characters, and not endless.
    pub(crate) fn shown(&self, line: &str) -> String {
        // Again afterwards, for what terminal sequences had taken apart.
        self.apply(&clean(&self.apply(line)))
    }
}

/// The value, and its lines if it has several, such as those of a key: output comes line by line.
fn parts(value: &SecretString) -> Vec<SecretString> {
    let text = value.expose_secret();
    let lines = text.lines().filter(|_| text.contains('\n'));
    let lines = lines.map(|line| SecretString::from(line.trim().to_owned()));
    std::iter::once(value.clone()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_and_control_characters_are_removed() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\u{7} \u{1b}]0;title\u{7}end\0"), "red end");
        assert_eq!(clean("a\tb"), "a\tb");
    }

    #[test]
    fn a_long_line_is_cut() {
        let cut = clean(&"é".repeat(LINE_MAX_BYTES));
        assert!(cut.len() <= LINE_MAX_BYTES + '…'.len_utf8());
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn chunks_become_lines() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push(b"one\r\ntw"), ["one"]);
        assert_eq!(splitter.push(b"o\n10%\r20%\n"), ["two", "20%"]);
        assert_eq!(splitter.push(b"rest"), Vec::<String>::new());
        assert_eq!(splitter.finish().as_deref(), Some("rest"));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn the_tail_keeps_the_newest_lines() {
        let mut tail = Tail::default();
        for number in 0..=TAIL_LINES_MAX {
            tail.push(number.to_string());
        }
        let lines = tail.into_lines();
        assert_eq!(lines.len(), TAIL_LINES_MAX);
        assert_eq!(lines[0], "1");
    }

    #[test]
    fn secret_values_are_replaced_longest_first() {
        let secrets = [SecretString::from("hunter2"), SecretString::from("hunter2-and-more"), "on".into()];
        let redactor = Redactor::new(&secrets);
        assert_eq!(redactor.apply("on: hunter2-and-more hunter2"), "on: [secret] [secret]");
    }

    #[test]
    fn a_secret_is_replaced_however_it_is_printed() {
        let secrets = [SecretString::from("hunter2-and-more"), "-----BEGIN KEY-----\nMIIEvQIBADAN\n".into()];
        let redactor = Redactor::new(&secrets);
        assert_eq!(redactor.shown("the key is MIIEvQIBADAN"), "the key is [secret]");
        assert_eq!(redactor.shown("hunter2\u{1b}[31m-and-\u{1b}[0mmore\0"), "[secret]");
        let at_the_cut = format!("{}hunter2-and-more", "x".repeat(LINE_MAX_BYTES - 4));
        assert!(!redactor.shown(&at_the_cut).contains("hunt"), "half a secret is one");
        let mut splitter = LineSplitter::redacting(redactor);
        assert_eq!(splitter.push(at_the_cut.as_bytes()), Vec::<String>::new());
        assert!(!splitter.finish().unwrap().contains("hunt"));
    }
}
