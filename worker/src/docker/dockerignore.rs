//! `.dockerignore` as Docker's own client reads it: patterns are rooted at the context, the last match wins,
//! `!` makes an exception, and an ignored directory is not entered unless an exception names a path in it.

use std::iter::Peekable;
use std::str::Chars;

/// Largest `.dockerignore` that is read.
pub const DOCKERIGNORE_MAX_BYTES: u64 = 64 * 1024;
/// Most patterns in one file.
pub const PATTERNS_MAX: usize = 1000;

/// Why a `.dockerignore` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A pattern with an open bracket, a final backslash, or nothing after `!`.
    #[error(".dockerignore: {pattern:?} is not a pattern")]
    Syntax {
        /// The line as written.
        pattern: String,
    },
    /// More patterns than [`PATTERNS_MAX`].
    #[error(".dockerignore: more than {PATTERNS_MAX} patterns")]
    TooMany,
}

/// The patterns of one `.dockerignore`, in order.
#[derive(Debug, Clone, Default)]
pub struct DockerIgnore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    exception: bool,
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`: one character other than `/`.
    One,
    /// `*`: any characters other than `/`.
    Many,
    /// `**` at the end: anything.
    Anything,
    /// `**/`: nothing, or anything that ends with `/`.
    Directories,
    /// `[a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl DockerIgnore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    /// When a pattern is malformed, or there are too many.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            // As in Docker: only a `#` in the first column starts a comment.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            if patterns.len() == PATTERNS_MAX {
                return Err(IgnoreError::TooMany);
            }
            patterns.push(Pattern::parse(line)?);
        }
        Ok(Self { patterns })
    }

    /// Whether the directory `path` is ignored together with all that is in it.
    #[must_use]
    pub fn prunes(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        self.matches(path)
            && !self.patterns.iter().any(|p| p.exception && format!("{}/", p.text).starts_with(&inside))
    }

    /// Whether the patterns ignore `path`, by itself or by one of its parents; the last match decides.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let characters: Vec<char> = path.chars().collect();
        let mut ignored = false;
        for pattern in &self.patterns {
            // A pattern that would not change the answer need not be tried.
            if ignored == pattern.exception && matches_or_parent(&pattern.tokens, &characters) {
                ignored = !pattern.exception;
            }
        }
        ignored
    }
}

impl Pattern {
    fn parse(line: &str) -> Result<Self, IgnoreError> {
        let malformed = || IgnoreError::Syntax { pattern: line.to_owned() };
        let trimmed = line.trim();
        let (exception, rest) = match trimmed.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, trimmed),
        };
        if rest.is_empty() {
            return Err(malformed());
        }
        let cleaned = clean_path(rest);
        let text =
            if cleaned.len() > 1 { cleaned.strip_prefix('/').unwrap_or(&cleaned) } else { cleaned.as_str() };
        let tokens = tokenize(text).ok_or_else(malformed)?;
        Ok(Self { exception, text: text.to_owned(), tokens })
    }
}

/// Go's `filepath.Clean` for `/`-separated paths.
fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn tokenize(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        tokens.push(match character {
            '*' if rest.next_if_eq(&'*').is_some() => {
                // `**/` and `**` mean the same in the middle of a pattern.
                let _slash = rest.next_if_eq(&'/');
                if rest.peek().is_none() { Token::Anything } else { Token::Directories }
            }
            '*' => Token::Many,
            '?' => Token::One,
            '[' => class(&mut rest)?,
            '\\' => Token::Literal(rest.next()?),
            other => Token::Literal(other),
        });
    }
    Some(tokens)
}

fn class(rest: &mut Peekable<Chars<'_>>) -> Option<Token> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match rest.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { negated, ranges }),
            ']' | '-' => return None,
            '\\' => rest.next()?,
            other => other,
        };
        let high = if rest.next_if_eq(&'-').is_some() {
            match rest.next()? {
                ']' | '-' => return None,
                '\\' => rest.next()?,
                other => other,
            }
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// Whether `tokens` match all of `path` or one of its parents: the set of reachable positions in `tokens`, one
/// character at a time, so that no pattern takes long.
fn matches_or_parent(tokens: &[Token], path: &[char]) -> bool {
    let mut reachable = vec![false; tokens.len() + 1];
    reachable[0] = true;
    skip_empty(tokens, &mut reachable);
    // Positions inside a `**/`, which may be left only after a `/`.
    let mut inside = vec![false; tokens.len()];
    for &character in path {
        if character == '/' && reachable[tokens.len()] {
            return true;
        }
        let mut next = vec![false; tokens.len() + 1];
        let mut alive = false;
        for (index, token) in tokens.iter().enumerate() {
            if !reachable[index] && !inside[index] {
                continue;
            }
            match token {
                Token::Directories => {
                    inside[index] = true;
                    next[index + 1] |= character == '/';
                    alive = true;
                }
                Token::Anything => next[index] = true,
                Token::Many => next[index] |= character != '/',
                Token::One => next[index + 1] |= character != '/',
                Token::Literal(wanted) => next[index + 1] |= *wanted == character,
                Token::Class { negated, ranges } => {
                    let listed = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                    next[index + 1] |= listed != *negated && character != '/';
                }
            }
        }
        skip_empty(tokens, &mut next);
        if !alive && !next.contains(&true) {
            return false;
        }
        reachable = next;
    }
    reachable[tokens.len()]
}

/// Tokens that may match nothing are passed over.
fn skip_empty(tokens: &[Token], reachable: &mut [bool]) {
    for (index, token) in tokens.iter().enumerate() {
        if reachable[index] && matches!(token, Token::Many | Token::Anything | Token::Directories) {
            reachable[index + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests;
