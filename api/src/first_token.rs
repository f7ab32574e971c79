//! The first token, without which nobody could make another: made, or given by whoever runs the server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use slipway_common::Backend;
use slipway_common::backend::RecordError;
use slipway_common::record::{Record, StoredToken};
use slipway_common::secrets::{SecretError, generate_token, token_sha256, write_private};
use slipway_common::store::StoreError;
use uuid::Uuid;

/// Name of the first token.
const NAME: &str = "admin";
/// Its file in the data folder, when it is made here.
const FILE: &str = "admin.token";
/// Shortest and longest token that is taken from a file.
const GIVEN_BYTES: std::ops::RangeInclusive<usize> = 20..=256;
/// Several processes may start at once; one of them makes the token.
const LEASE: &str = "first-token";
const LEASE_TTL: Duration = Duration::from_secs(10);

/// Where the first token comes from.
#[derive(Debug, Clone)]
pub enum FirstToken {
    /// It stands in this file.
    Given(PathBuf),
    /// It is made and written to this file.
    Made(PathBuf),
}

/// Why the first token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FirstTokenError {
    /// The store could not be used.
    #[error("the tokens could not be read")]
    Store(#[source] StoreError),
    /// Another process is about to make it.
    #[error("another process is making the first token")]
    Busy,
    /// No token could be generated.
    #[error("no token could be generated")]
    Generate(#[source] SecretError),
    /// The file that holds it cannot be read or written.
    #[error("the file of the first token {path} cannot be used", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What the file holds is no token.
    #[error("the file {path} holds no token: 20 to 256 visible ASCII characters", path = path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
    /// The token could not be kept.
    #[error("the first token could not be kept")]
    Keep(#[source] RecordError),
}

impl FirstTokenError {
    /// Whether trying again later may help; otherwise somebody has to do something about it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Store(_) | Self::Busy | Self::Keep(_) => true,
            Self::Generate(_) | Self::File { .. } | Self::NoToken { .. } => false,
        }
    }
}

impl FirstToken {
    /// Given in the file `given` unless that is empty, otherwise made in the data folder.
    #[must_use]
    pub fn new(given: &str, data_dir: &Path) -> Self {
        match given {
            "" => Self::Made(data_dir.join(FILE)),
            file => Self::Given(PathBuf::from(file)),
        }
    }

    /// Stores the token `admin` when there is no token at all; answers whether it did. It is stored hashed only. One
    /// that is made is written to its file first: a crash in between leaves a token that is not known yet rather than
    /// one nobody has.
    ///
    /// # Errors
    /// When the tokens cannot be read, another process is at it, or the new one cannot be read, written or kept.
    pub async fn ensure(&self, backend: &Backend) -> Result<bool, FirstTokenError> {
        let store = &backend.store;
        if !store.tokens().await.map_err(FirstTokenError::Store)?.is_empty() {
            return Ok(false);
        }
        let holder = Uuid::now_v7().to_string();
        let lease = store.acquire_lease(LEASE, &holder, LEASE_TTL, Timestamp::now()).await;
        let lease = lease.map_err(FirstTokenError::Store)?.ok_or(FirstTokenError::Busy)?;
        let ensured = self.ensure_alone(backend).await;
        if let Err(error) = store.release_lease(&lease).await {
            tracing::debug!(%error, "the lease on the first token runs out by itself");
        }
        ensured
    }

    async fn ensure_alone(&self, backend: &Backend) -> Result<bool, FirstTokenError> {
        // Another process may have had the lease until now.
        if !backend.store.tokens().await.map_err(FirstTokenError::Store)?.is_empty() {
            return Ok(false);
        }
        let token = self.obtain()?;
        let stored =
            StoredToken { name: NAME.to_owned(), sha256: token_sha256(&token), created_at: Timestamp::now() };
        backend.record(&Record::TokenCreated(stored)).await.map_err(FirstTokenError::Keep)?;
        Ok(true)
    }

    fn obtain(&self) -> Result<SecretString, FirstTokenError> {
        match self {
            Self::Given(path) => read(path),
            Self::Made(path) => {
                let token = generate_token().map_err(FirstTokenError::Generate)?;
                let written = write_private(path, format!("{}\n", token.expose_secret()).as_bytes());
                written.map_err(|source| FirstTokenError::File { path: path.clone(), source })?;
                Ok(token)
            }
        }
    }
}

fn read(path: &Path) -> Result<SecretString, FirstTokenError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FirstTokenError::File { path: path.to_owned(), source })?;
    let token = text.trim_end_matches(['\r', '\n']);
    if GIVEN_BYTES.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretString::from(token))
    } else {
        Err(FirstTokenError::NoToken { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use slipway_common::embedded::{Embedded, EmbeddedSettings};

    use super::*;

    fn backend(folder: &Path) -> Backend {
        Embedded::open(folder, &EmbeddedSettings::default()).unwrap().backend()
    }

    #[tokio::test]
    async fn a_first_token_nobody_got_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let backend = backend(folder.path());
        let lost = FirstToken::Made(PathBuf::from("/nonexistent/admin.token")).ensure(&backend).await;
        assert!(matches!(lost, Err(FirstTokenError::File { .. })));
        let made = FirstToken::new("", folder.path());
        assert!(made.ensure(&backend).await.unwrap(), "the next start makes one");
        let token = read(&folder.path().join(FILE)).unwrap();
        assert!(backend.store.token(&token_sha256(&token)).await.unwrap().is_some());
        assert!(!made.ensure(&backend).await.unwrap(), "one is enough");
    }

    #[tokio::test]
    async fn a_given_token_is_taken_when_it_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let backend = backend(folder.path());
        let file = folder.path().join("given");
        let given = FirstToken::new(file.to_str().unwrap(), folder.path());
        for (content, is_token) in [
            ("", false),
            ("short\n", false),
            ("has a space in the middle", false),
            ("0123456789abcdefghij\n", true),
        ] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(given.ensure(&backend).await.is_ok(), is_token, "{content:?}");
        }
        let token = SecretString::from("0123456789abcdefghij");
        assert!(backend.store.token(&token_sha256(&token)).await.unwrap().is_some());
    }
}
