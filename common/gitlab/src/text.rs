//! Texts of others made fit to be shown: cut, of one line, without tokens.

/// What stands in place of a secret.
const HIDDEN: &str = "[secret]";
/// How tokens of GitLab and signing secrets of webhooks begin.
const TOKEN_PREFIXES: [&str; 13] = [
    "glpat-", "gldt-", "glcbt-", "gloas-", "glrt-", "glptt-", "glft-", "glagent-", "glsoat-", "glffct-",
    "glimt-", "glwt-", "whsec_",
];
/// Fewer characters than this after a prefix are no token.
const TOKEN_MIN_BYTES: usize = 8;

/// The longest beginning of `text` of at most `max_bytes` that ends between two characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let end = (0..=max_bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    &text[..end]
}

/// `text` in one line, without control characters and at most `max_bytes` long.
pub(crate) fn plain(text: &str, max_bytes: usize) -> String {
    let seen = |character| if is_hidden(character) { ' ' } else { character };
    let shown: String = text.chars().map(seen).collect();
    let words: Vec<&str> = shown.split_whitespace().collect();
    cut(&words.join(" "), max_bytes).to_owned()
}

/// Characters that are not seen, or that change how others are read.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// `text` without `own`, and without anything that looks like a token.
pub(crate) fn without_tokens(text: &str, own: &str) -> String {
    let text = if own.len() < TOKEN_MIN_BYTES { text.to_owned() } else { text.replace(own, HIDDEN) };
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((at, prefix)) = first_prefix(rest) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|character: char| !is_of_token(character)).unwrap_or(from.len());
        let (token, after) = from.split_at(end);
        shown.push_str(before);
        shown.push_str(if token.len() < prefix.len() + TOKEN_MIN_BYTES { token } else { HIDDEN });
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn first_prefix(text: &str) -> Option<(usize, &'static str)> {
    TOKEN_PREFIXES.into_iter().filter_map(|prefix| text.find(prefix).map(|at| (at, prefix))).min()
}

fn is_of_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '+' | '/' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc");
        assert_eq!(cut("aäö", 2), "a", "ä has two bytes");
        assert_eq!(cut("aäö", 3), "aä");
        assert_eq!(cut("😀", 3), "");
        assert_eq!(cut("x", 0), "");
    }

    #[test]
    fn plain_text_is_one_line() {
        assert_eq!(plain("  a\r\n\tb\u{1b}[31m c\u{202e}d ", 100), "a b [31m c d");
        assert_eq!(plain("one two", 5), "one t");
    }

    #[test]
    fn the_own_token_and_whatever_looks_like_one_are_left_out() {
        assert_eq!(without_tokens("a my-own-token b", "my-own-token"), "a [secret] b");
        assert_eq!(
            without_tokens("x=glpat-abcdefgh1234.01.zz9; gldt-ABCDEFGH99", "-"),
            "x=[secret]; [secret]"
        );
        assert_eq!(without_tokens("whsec_MDEyMzQ1Njc4OQ==,", ""), "[secret],");
    }

    #[test]
    fn what_only_begins_like_a_token_is_kept() {
        let text = "a token begins with glpat- and so on";
        assert_eq!(without_tokens(text, ""), text);
        assert_eq!(without_tokens("ab", "a"), "ab", "a text as short as this is no token");
    }
}
