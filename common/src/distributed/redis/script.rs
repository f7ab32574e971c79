//! A Lua script: its text, its hash, and whether it may be sent again when nobody knows whether it ran.

use std::sync::OnceLock;

/// Whether a request may be sent again after a connection was lost under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Running twice is as good as running once.
    Safe,
    /// It is sent again only when it is certain that it did not run.
    Unsafe,
}

/// A script, kept as a `static` beside its only caller.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    repeat: Repeat,
    hash: OnceLock<String>,
}

impl Script {
    /// A script with this text.
    pub(crate) const fn new(text: &'static str, repeat: Repeat) -> Self {
        Self { text, repeat, hash: OnceLock::new() }
    }

    pub(super) fn text(&self) -> &'static str {
        self.text
    }

    pub(super) fn repeat(&self) -> Repeat {
        self.repeat
    }

    /// The SHA-1 the server knows it by.
    pub(super) fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }
}
