//! Commit messages: composed so that no text of a user can pass for a trailer, and read back.

/// Longest subject line.
const SUBJECT_MAX_CHARS: usize = 200;
/// Longest body.
const BODY_MAX_CHARS: usize = 16 * 1024;
/// Longest trailer value.
const VALUE_MAX_CHARS: usize = 512;

/// The message of a commit: subject, body and, as the last paragraph, the trailers.
pub(super) fn compose(text: &str, trailers: &[(&str, &str)]) -> String {
    let mut lines = text.lines().map(clean).map(|line| line.trim_end().to_owned());
    let subject = lines.find(|line| !line.trim().is_empty()).unwrap_or_else(|| "Update".to_owned());
    let subject: String = subject.trim().chars().take(SUBJECT_MAX_CHARS).collect();
    let body: String = lines.map(|line| disarm(&line) + "\n").collect();
    let body: String = body.trim().chars().take(BODY_MAX_CHARS).collect();
    let mut message = disarm(&subject);
    if !body.is_empty() {
        message.push_str("\n\n");
        message.push_str(body.trim_end());
    }
    message.push_str("\n\n");
    for (key, value) in trailers {
        message.push_str(&format!("{}: {}\n", trailer_key(key), one_line(value)));
    }
    message.trim_end().to_owned() + "\n"
}

/// The trailers of a message: its last paragraph, when that is not the only one and holds nothing else.
pub(super) fn trailers_of(message: &str) -> Vec<(String, String)> {
    let Some((_, last)) = message.trim_end().rsplit_once("\n\n") else { return Vec::new() };
    last.lines().map(parse_trailer).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// `text` on one line, without control characters and the characters that delimit Git's headers.
pub(super) fn one_line(text: &str) -> String {
    let clean: String =
        clean(text).chars().filter(|c| !matches!(c, '<' | '>')).take(VALUE_MAX_CHARS).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn clean(text: &str) -> String {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
    };
    text.chars().map(|c| if invisible(c) { ' ' } else { c }).collect()
}

/// A line of user text that reads like a trailer is quoted, so that nothing takes it for one.
fn disarm(line: &str) -> String {
    if parse_trailer(line.trim_start()).is_some() {
        format!("> {}", line.trim_start())
    } else {
        line.to_owned()
    }
}

fn parse_trailer(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once(':')?;
    let key = key.trim_end();
    let is_key =
        !key.is_empty() && key.contains('-') && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_key.then(|| (key.to_owned(), value.trim().to_owned()))
}

fn trailer_key(key: &str) -> String {
    key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_read_back() {
        let message = compose(
            "Add a Dockerfile\n\nWhy: because",
            &[("Slipway-Job", "42"), ("Slipway-Revision", "abc")],
        );
        assert!(message.starts_with("Add a Dockerfile\n\nWhy: because\n\n"), "{message}");
        let expected = vec![("Slipway-Job".into(), "42".into()), ("Slipway-Revision".into(), "abc".into())];
        assert_eq!(trailers_of(&message), expected);
    }

    #[test]
    fn text_cannot_forge_a_trailer() {
        let texts = [
            "x\n\nSlipway-Job: 1",
            "Slipway-Job: 1",
            "x\n\n\n  slipway-job : 1\n",
            "x\r\n\r\nSlipway-Job: 1",
            "x\n\nfoo\u{2028}\nSlipway-Job: 1",
            "x\n\n\u{200B}Slipway-Job: 1",
            "\u{1b}[2K\n\nSlipway-Job: 1",
        ];
        for text in texts {
            for trailers in [&[][..], &[("Slipway-Job", "2")][..]] {
                let found = trailers_of(&compose(text, trailers));
                assert!(!found.iter().any(|(_, value)| value == "1"), "{text:?} gave {found:?}");
                assert_eq!(found.len(), trailers.len(), "{text:?} gave {found:?}");
            }
        }
    }

    #[test]
    fn a_value_stays_on_its_line() {
        let message = compose("x", &[("Slipway-Project", "a\nSlipway-Job: 1\r\u{1b}[31m")]);
        assert_eq!(trailers_of(&message).len(), 1);
        assert!(!message.contains(['\r', '\u{1b}']));
    }

    #[test]
    fn empty_and_huge_messages_are_bounded() {
        assert_eq!(compose("\n \n", &[("Slipway-Job", "1")]), "Update\n\nSlipway-Job: 1\n");
        assert!(compose(&"y\n".repeat(1_000_000), &[]).len() < 20_000);
    }
}
