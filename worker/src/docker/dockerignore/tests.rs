//! The documented examples of `.dockerignore`, and the corners where other ignore files behave differently.

use super::*;

fn ignored<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
    let ignore = DockerIgnore::parse(text).unwrap();
    paths.iter().copied().filter(|path| ignore.matches(path)).collect()
}

#[test]
fn the_examples_of_the_reference() {
    let paths =
        ["somedir/temporary.txt", "somedir/temp", "somedir/subdir/temporary.txt", "tempa", "tempb", "temp"];
    assert_eq!(
        ignored("# comment\n*/temp*\n*/*/temp*\ntemp?\n", &paths),
        ["somedir/temporary.txt", "somedir/temp", "somedir/subdir/temporary.txt", "tempa", "tempb"]
    );
}

#[test]
fn the_last_match_wins() {
    let paths = ["README.md", "README-secret.md", "other.md"];
    assert_eq!(ignored("*.md\n!README.md", &paths), ["README-secret.md", "other.md"]);
    assert_eq!(ignored("*.md\n!README*.md\nREADME-secret.md", &paths), ["README-secret.md", "other.md"]);
    assert_eq!(ignored("*.md\nREADME-secret.md\n!README*.md", &paths), ["other.md"]);
}

#[test]
fn patterns_are_rooted() {
    assert_eq!(ignored("*.md", &["a.md", "docs/a.md"]), ["a.md"]);
    assert_eq!(ignored("node_modules", &["node_modules/x", "web/node_modules/x"]), ["node_modules/x"]);
    assert_eq!(ignored("/foo/bar", &["foo/bar", "x/foo/bar"]), ["foo/bar"]);
    assert_eq!(ignored("./foo//bar/../baz/", &["foo/baz/x", "foo/bar"]), ["foo/baz/x"]);
}

#[test]
fn two_stars_match_any_number_of_directories() {
    let paths = ["a.go", "x/a.go", "x/y/a.go", "a.gob"];
    assert_eq!(ignored("**/*.go", &paths), ["a.go", "x/a.go", "x/y/a.go"]);
    assert_eq!(ignored("x/**", &["x", "x/a", "x/y/a", "xa"]), ["x/a", "x/y/a"]);
    assert_eq!(ignored("a/**/b", &["a/b", "a/x/b", "a/x/y/b/c", "ab"]), ["a/b", "a/x/b", "a/x/y/b/c"]);
    assert_eq!(ignored("**/foo", &["a/b/foo/x", "foo", "afoo"]), ["a/b/foo/x", "foo"]);
    assert_eq!(ignored("**", &["a", "a/b"]), ["a", "a/b"]);
}

#[test]
fn classes_escapes_and_plain_characters() {
    assert_eq!(ignored("[a-c]x", &["ax", "dx", "cx"]), ["ax", "cx"]);
    assert_eq!(ignored("[^a]x", &["ax", "dx", "/x"]), ["dx"]);
    assert_eq!(ignored("\\*x", &["*x", "ax"]), ["*x"]);
    assert_eq!(ignored("a.b+c$(d)", &["a.b+c$(d)", "axb+c$(d)"]), ["a.b+c$(d)"]);
    assert_eq!(ignored("caf?", &["café"]), ["café"]);
}

#[test]
fn comments_blanks_and_marks() {
    assert_eq!(ignored("\u{feff}a\r\n\r\n  b  \n#c\n", &["a", "b", "#c"]), ["a", "b"]);
    assert_eq!(ignored("a\n! a", &["a"]), Vec::<&str>::new());
    assert_eq!(ignored(" #c", &["#c"]), ["#c"]);
}

#[test]
fn an_ignored_directory_is_entered_only_for_an_exception_inside_it() {
    let named = DockerIgnore::parse("docs\n!docs/README.md").unwrap();
    assert!(!named.prunes("docs"));
    assert!(named.matches("docs/a") && !named.matches("docs/README.md"));
    let floating = DockerIgnore::parse("docs\n!**/README.md").unwrap();
    assert!(floating.prunes("docs"));
    assert!(!floating.prunes("src"));
}

#[test]
fn malformed_patterns_are_refused() {
    for bad in ["!", "[", "[a", "a\\", "[]a]", "[a-]"] {
        assert!(DockerIgnore::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(DockerIgnore::parse(&"a\n".repeat(PATTERNS_MAX + 1)).unwrap_err(), IgnoreError::TooMany);
}

#[test]
fn a_hostile_pattern_takes_bounded_time() {
    let ignore = DockerIgnore::parse(&format!("{}b", "**/a*".repeat(200))).unwrap();
    let started = std::time::Instant::now();
    assert!(!ignore.matches(&"a/".repeat(500)));
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
}
