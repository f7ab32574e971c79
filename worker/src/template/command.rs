//! Start commands: a list of words that is written as an exec-form `CMD`, through a shell only when a word
//! refers to an environment variable, and then with `exec` so that signals reach the program itself.

use super::safe::{Safe, made_of};

const MAX_WORDS: usize = 64;
const MAX_WORD_BYTES: usize = 256;
/// Neither quotes, backslashes, backticks, redirections nor control operators.
const PUNCTUATION: &str = "_./:=@%+,-${}";

/// A start command of plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command(Vec<String>);

impl Command {
    /// Parses one line of the repository; `None` when it is empty or holds anything but plain words.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        if words.first().is_some_and(|word| word == "exec") {
            words.remove(0);
        }
        let first = words.first()?;
        let plain = words.iter().all(|word| made_of(word, PUNCTUATION, MAX_WORD_BYTES));
        if !plain || words.len() > MAX_WORDS || first.starts_with(['-', '$', '{']) {
            return None;
        }
        if first.contains('=') {
            words.insert(0, "env".to_owned());
        }
        Some(Self(words))
    }

    /// A command of Slipway's own words and of safe values.
    pub(super) fn of(words: &[&Safe]) -> Self {
        let words = words.iter().flat_map(|word| word.as_str().split(' '));
        Self(words.map(str::to_owned).collect())
    }

    /// A command of fixed words only.
    pub(super) fn fixed(line: &'static str) -> Self {
        Self::of(&[&Safe::fixed(line)])
    }

    /// The words.
    pub(super) fn words(&self) -> &[String] {
        &self.0
    }

    /// The same command with another program in front of the arguments.
    pub(super) fn with_program(&self, program: &Safe) -> Self {
        let arguments = self.0.iter().skip(1).cloned();
        Self(std::iter::once(program.as_str().to_owned()).chain(arguments).collect())
    }

    /// The argument of `CMD`.
    pub(super) fn to_cmd(&self) -> Safe {
        if self.0.iter().any(|word| word.contains('$')) {
            let shell = ["sh".to_owned(), "-c".to_owned(), format!("exec {}", self.0.join(" "))];
            return Safe::json_words(&shell);
        }
        Safe::json_words(&self.0)
    }
}

/// The command of the `web` process of a Procfile.
pub(super) fn procfile_web(procfile: &str) -> Option<&str> {
    procfile
        .lines()
        .find_map(|line| line.strip_prefix("web:"))
        .map(str::trim)
        .filter(|command| !command.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_goes_through_an_exec_shell_and_plain_words_do_not() {
        let cmd = |line| Command::parse(line).unwrap().to_cmd().as_str().to_owned();
        assert_eq!(cmd("node server.js"), r#"["node", "server.js"]"#);
        assert_eq!(cmd("exec rackup -p $PORT"), r#"["sh", "-c", "exec rackup -p $PORT"]"#);
        assert_eq!(cmd("A=b node x.js"), r#"["env", "A=b", "node", "x.js"]"#);
    }

    #[test]
    fn lines_that_could_do_more_than_start_a_program_are_refused() {
        for line in [
            "", "a && b", "a; b", "a `b`", "a $(b)", "a \"b\"", "a 'b'", "a > b", "a \\", "-x", "$X y", "a\0",
        ] {
            assert_eq!(Command::parse(line), None, "{line}");
        }
    }
}
