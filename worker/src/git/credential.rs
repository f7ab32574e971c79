//! What a repository's host is shown to prove who is asking, and how it is kept out of everything else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::error::GitError;

/// The user name hosts accept beside an access token.
const DEFAULT_USER: &str = "oauth2";

/// A user name and a token for HTTP Basic authentication.
#[derive(Debug, Clone)]
pub struct Credential {
    user: String,
    token: SecretString,
}

impl Credential {
    /// A credential with the user name `oauth2`, which hosts accept beside any access token.
    ///
    /// # Errors
    /// [`GitError::CredentialForm`] when the token is empty or has control characters.
    pub fn token(token: SecretString) -> Result<Self, GitError> {
        Self::new(DEFAULT_USER, token)
    }

    /// A credential with its own user name, as deploy tokens need.
    ///
    /// # Errors
    /// [`GitError::CredentialForm`] when the user is empty or contains `:`, when the token is empty, or when
    /// either has control characters.
    pub fn new(user: impl Into<String>, token: SecretString) -> Result<Self, GitError> {
        let user = user.into();
        let secret = token.expose_secret();
        let user_is_valid = !user.is_empty() && !user.contains(':') && !user.contains(char::is_control);
        let token_is_valid = !secret.is_empty() && !secret.contains(char::is_control);
        if user_is_valid && token_is_valid { Ok(Self { user, token }) } else { Err(GitError::CredentialForm) }
    }

    /// The header that carries the credential. To be given to a child's environment only.
    pub(super) fn header(&self) -> SecretString {
        format!("Authorization: {}", self.basic().expose_secret()).into()
    }

    /// The value of that header.
    pub(super) fn basic(&self) -> SecretString {
        format!("Basic {}", self.encoded()).into()
    }

    /// Every spelling of the secret that could turn up in a message.
    pub(super) fn spellings(&self) -> Vec<SecretString> {
        let token = self.token.expose_secret();
        let url_encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        vec![
            self.encoded().into(),
            STANDARD.encode(token).into(),
            url_encoded.replace('+', "%20").into(),
            url_encoded.into(),
            token.into(),
        ]
    }

    fn encoded(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.user, self.token.expose_secret()))
    }
}
