//! Text that may stand in a generated file. Repository text becomes a `Safe` only through one of the strict
//! character sets here, so no file of a repository can add a line, a flag or an instruction.

use super::version::Version;

const MAX_NAME_BYTES: usize = 128;
const MAX_PATH_BYTES: usize = 256;

/// Text proven harmless inside one line of a generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Safe(String);

impl Safe {
    /// Text that is part of Slipway itself.
    pub(super) fn fixed(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Slipway's own text directly followed by a version.
    pub(super) fn versioned(text: &'static str, version: &Version) -> Self {
        Self(format!("{text}{version}"))
    }

    /// Slipway's own directory followed by a name or path.
    pub(super) fn under(directory: &'static str, rest: &Self) -> Self {
        Self(format!("{directory}{}", rest.0))
    }

    /// A number.
    pub(super) fn number(number: impl Into<u64>) -> Self {
        Self(number.into().to_string())
    }

    /// A program, package or extension name: letters, digits, `_`, `.`, `-`; no leading `-` or `.`.
    pub(super) fn name(text: &str) -> Option<Self> {
        let first_is_plain = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        (first_is_plain && made_of(text, "_.-", MAX_NAME_BYTES)).then(|| Self(text.to_owned()))
    }

    /// A relative path: plain segments, none of them `.`, `..` or starting with `-`.
    pub(super) fn path(text: &str) -> Option<Self> {
        let plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.starts_with('-');
        (made_of(text, "_.-@+/", MAX_PATH_BYTES) && text.split('/').all(plain)).then(|| Self(text.to_owned()))
    }

    /// A dotted module path with an optional `:attribute`.
    pub(super) fn module(text: &str) -> Option<Self> {
        made_of(text, "_.:", MAX_NAME_BYTES).then(|| Self(text.to_owned()))
    }

    /// An image reference, with or without a digest.
    pub(super) fn image(text: &str) -> Option<Self> {
        let first_is_plain = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        (first_is_plain && made_of(text, "_.-/:@", MAX_PATH_BYTES)).then(|| Self(text.to_owned()))
    }

    /// A runner tag: a name that may also hold spaces and slashes; it is written quoted.
    pub(super) fn runner_tag(text: &str) -> Option<Self> {
        made_of(text, "_.-/:@+ ", MAX_NAME_BYTES).then(|| Self(text.to_owned()))
    }

    /// Words as a JSON array, which is also how exec-form instructions are written. The words come from
    /// `command`, whose character set needs no escapes.
    pub(super) fn json_words(words: &[String]) -> Self {
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        Self(format!("[{}]", quoted.join(", ")))
    }

    /// A path as the prefix of longer paths.
    pub(super) fn slashed(path: &Self) -> Self {
        Self(format!("{}/", path.0))
    }

    /// A safe text directly followed by a fixed one.
    pub(super) fn followed_by(&self, suffix: &'static str) -> Self {
        Self(format!("{}{suffix}", self.0))
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is 1 to `max_bytes` ASCII letters, digits and characters of `punctuation`.
pub(super) fn made_of(text: &str, punctuation: &str, max_bytes: usize) -> bool {
    !text.is_empty()
        && text.len() <= max_bytes
        && text.chars().all(|each| each.is_ascii_alphanumeric() || punctuation.contains(each))
}
