//! Tests of cleaned logs.

use super::tail;

const TOKEN: &str = "s3cr3t-access-token";

fn cleaned(raw: &str) -> Vec<String> {
    tail(raw.as_bytes(), true, 100, TOKEN)
}

#[test]
fn colours_and_cursor_movements_are_left_out() {
    assert_eq!(cleaned("\u{1b}[0K\u{1b}[36;1mPreparing\u{1b}[0;m\nok\u{1b}[2J"), ["Preparing", "ok"]);
    assert_eq!(
        cleaned("\u{1b}]0;a title\u{7}one\n\u{1b}]8;;https://a.test\u{1b}\\two\u{1b}(B"),
        ["one", "two"]
    );
}

#[test]
fn section_markers_are_left_out_and_their_headings_kept() {
    let log = "section_start:1790000000:build_script\r\u{1b}[0K\u{1b}[36;1mBuilding\u{1b}[0;m\n\
               step 1\n\
               section_end:1790000009:build_script\r\u{1b}[0Ksection_start:1790000009:after[collapsed=true]\r\u{1b}[0KAfter\n\
               done section_end:1790000010:after\r\u{1b}[0K\n";
    assert_eq!(cleaned(log), ["Building", "step 1", "After", "done"]);
}

#[test]
fn words_that_only_look_like_markers_are_kept() {
    assert_eq!(cleaned("see section_start: below"), ["see section_start: below"]);
}

#[test]
fn of_a_line_that_is_overwritten_the_last_state_is_kept() {
    assert_eq!(cleaned("10 %\r50 %\r100 %\r\nnext\r\n"), ["100 %", "next"]);
}

#[test]
fn times_of_the_runner_are_left_out_and_continued_lines_joined() {
    let log = "2026-05-22T12:12:30.123456Z 00O first\n\
               2026-05-22T12:12:30.223456Z 00O+ and more\n\
               2026-05-22T12:12:31.000000Z 01E second\n\
               2026-05-22T12:12:31.000000Z 01E\n\
               2026-05-22T12:12:31.000000Z is when it began\n";
    assert_eq!(cleaned(log), ["first and more", "second", "2026-05-22T12:12:31.000000Z is when it began"]);
}

#[test]
fn only_the_last_lines_are_kept_and_empty_ones_do_not_count() {
    assert_eq!(tail(b"one\n\n  \ntwo\nthree\n\n", true, 2, TOKEN), ["two", "three"]);
    assert!(tail(b"one\ntwo", true, 0, TOKEN).is_empty());
    assert!(tail(b"", true, 5, TOKEN).is_empty());
}

#[test]
fn the_first_line_of_a_piece_is_left_out() {
    assert_eq!(tail(b"lf a line\nwhole\n", false, 10, TOKEN), ["whole"]);
    assert_eq!(tail(b"no end", false, 10, TOKEN), ["no end"]);
}

#[test]
fn tokens_and_hidden_characters_are_left_out() {
    let log = format!("login {TOKEN} and glpat-AbCdEf0123456789\u{0}\u{202e}!");
    assert_eq!(cleaned(&log), ["login [secret] and [secret]!"]);
}

#[test]
fn a_token_with_colours_in_it_is_found() {
    assert_eq!(cleaned("glpat-AbCd\u{1b}[31mEf0123456789"), ["[secret]"]);
}

#[test]
fn long_lines_are_cut_and_broken_text_is_shown() {
    assert_eq!(cleaned(&"ä".repeat(5_000))[0].len(), 1_024);
    assert_eq!(tail(b"a\xff\xfeb", true, 5, TOKEN), ["a\u{fffd}\u{fffd}b"]);
}

#[test]
fn an_escape_at_the_end_swallows_nothing_else() {
    assert_eq!(cleaned("one\u{1b}\ntwo\u{1b}[\nthree\u{1b}]\nfour"), ["one", "two", "three", "four"]);
}
