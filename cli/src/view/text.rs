//! Small pieces of text: clean lines, durations, times.

use jiff::Timestamp;

/// Digits of an id that are shown in tables; its last ones, since the first ones are the time.
const ID_SHOWN_CHARS: usize = 12;

/// `text` without control characters and line ends.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The part of an id that tells deployments apart.
pub(crate) fn short_id(id: &str) -> &str {
    let start = id.len().saturating_sub(ID_SHOWN_CHARS);
    id.get(start..).unwrap_or(id)
}

/// The first digits of a commit.
pub(crate) fn short_revision(revision: &str) -> &str {
    revision.get(..10).unwrap_or(revision)
}

/// `850 ms`, `12.3 s`, `4 min 05 s`, `3 h 20 min`, `2 d 4 h`
pub(crate) fn duration(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    let seconds = milliseconds / 1_000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..=59 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        60..=3_599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        86_400.. => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
        // Not negative: see above.
        ..0 => String::new(),
    }
}

/// How long ago `then` was.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..=59 => format!("{seconds} s ago"),
        60..=3_599 => format!("{} min ago", seconds / 60),
        3_600..=86_399 => format!("{} h ago", seconds / 3_600),
        86_400.. | ..0 => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_at_a_glance() {
        for (milliseconds, text) in [
            (-5, "0 ms"),
            (850, "850 ms"),
            (12_345, "12.3 s"),
            (245_000, "4 min 05 s"),
            (12_000_000, "3 h 20 min"),
            (187_200_000, "2 d 4 h"),
        ] {
            assert_eq!(duration(milliseconds), text);
        }
    }

    #[test]
    fn ages_are_rounded_down() {
        let then = Timestamp::from_second(0).unwrap();
        for (second, text) in
            [(5, "5 s ago"), (119, "1 min ago"), (7_300, "2 h ago"), (200_000, "2 d ago"), (-9, "0 s ago")]
        {
            assert_eq!(ago(then, Timestamp::from_second(second).unwrap()), text);
        }
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc"), "a [2Jb  c");
    }

    #[test]
    fn ids_are_shown_by_their_end() {
        assert_eq!(short_id("0198c2f0-7d2e-7abc-8def-4f1c22d09a3e"), "4f1c22d09a3e");
        assert_eq!(short_id("abc"), "abc");
    }
}
