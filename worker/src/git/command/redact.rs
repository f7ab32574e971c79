//! Removes secrets and control characters from what Git and its hosts print.

use secrecy::{ExposeSecret, SecretString};

use crate::git::credential::Credential;

const REDACTED: &str = "[redacted]";

/// Knows the secrets of one command.
#[derive(Debug)]
pub(crate) struct Redactor {
    secrets: Vec<SecretString>,
}

impl Redactor {
    pub(crate) fn new(credential: Option<&Credential>) -> Self {
        Self { secrets: credential.map(Credential::spellings).unwrap_or_default() }
    }

    /// `text` without the secrets, URL user-info, authorization headers and control characters.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.secrets {
            clean = clean.replace(secret.expose_secret(), REDACTED);
        }
        clean.lines().map(redact_line).collect::<Vec<_>>().join("\n")
    }
}

fn redact_line(line: &str) -> String {
    let printable: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Some(start) = printable.to_ascii_lowercase().find("authorization:") {
        return format!("{}authorization: {REDACTED}", &printable[..start]);
    }
    redact_user_info(&printable)
}

fn redact_user_info(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(position) = rest.find("://") {
        let (before, after) = rest.split_at(position + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || c == '\'').unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rfind('@') {
            Some(at) => {
                clean.push_str(REDACTED);
                clean.push_str(&authority[at..]);
            }
            None => clean.push_str(authority),
        }
        rest = tail;
    }
    clean.push_str(rest);
    clean
}
