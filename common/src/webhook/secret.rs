//! The secrets of webhooks: which are good enough, and fresh ones.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::sign::{SECRET_PREFIX, signing_key};
use crate::model::registered::{Forge, HookSecretKind};
use crate::secrets::SecretError;

/// Shortest secret that is taken as it stands.
pub const SECRET_MIN_BYTES: usize = 16;
/// Longest secret that is taken as it stands.
pub const SECRET_MAX_BYTES: usize = 256;
const FRESH_BYTES: usize = 32;

/// Why a secret is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitSecret {
    /// The forge has no use for a secret of this kind.
    #[error("only GitLab sends a secret token along; the deliveries of other forges are signed")]
    Kind,
    /// It holds no key.
    #[error("a signing secret is whsec_ and base64 of 24 to 64 bytes")]
    Key,
    /// It is too short or too long.
    #[error("the secret must have 16 to 256 bytes")]
    Length,
    /// It could not be sent, or not be told from another that looks the same.
    #[error("the secret may hold visible ASCII characters, and spaces between them")]
    Character,
}

impl UnfitSecret {
    /// A stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Kind => "hook_secret_kind",
            Self::Key => "hook_secret_key",
            Self::Length => "hook_secret_length",
            Self::Character => "hook_secret_character",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Kind => "Give the secret as a signing secret.",
            Self::Key => {
                "Copy the signing token from GitLab as it is shown, or leave it out to get a fresh one."
            }
            Self::Length => "Leave the secret out to get a fresh one.",
            Self::Character => "Use letters and digits, or leave the secret out to get a fresh one.",
        }
    }
}

/// Whether a secret that somebody chose may be used for a hook.
///
/// # Errors
/// When it is of no use for the forge, too weak, or could not be sent.
pub fn check_secret(kind: HookSecretKind, forge: Forge, secret: &SecretString) -> Result<(), UnfitSecret> {
    match (kind, forge) {
        (HookSecretKind::Signing, Forge::Gitlab) => check_signing_secret(secret),
        (HookSecretKind::Signing, Forge::Github | Forge::Gitea) | (HookSecretKind::Token, Forge::Gitlab) => {
            check_text(secret.expose_secret())
        }
        (HookSecretKind::Token, Forge::Github | Forge::Gitea) => Err(UnfitSecret::Kind),
    }
}

/// Whether a secret holds a key with which deliveries are signed by Standard Webhooks.
///
/// # Errors
/// When it holds none.
pub fn check_signing_secret(secret: &SecretString) -> Result<(), UnfitSecret> {
    signing_key(secret).map(|_| ()).ok_or(UnfitSecret::Key)
}

fn check_text(text: &str) -> Result<(), UnfitSecret> {
    if !(SECRET_MIN_BYTES..=SECRET_MAX_BYTES).contains(&text.len()) {
        return Err(UnfitSecret::Length);
    }
    let sendable = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
    if sendable { Ok(()) } else { Err(UnfitSecret::Character) }
}

/// A fresh signing secret: `whsec_` and base64 of 256 random bits. GitHub and Gitea take its text as their key.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate_signing_secret() -> Result<SecretString, SecretError> {
    let key = fresh()?;
    Ok(SecretString::from(format!("{SECRET_PREFIX}{}", STANDARD.encode(key.as_slice()))))
}

/// A fresh secret token: 256 random bits.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate_token() -> Result<SecretString, SecretError> {
    let bytes = fresh()?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

fn fresh() -> Result<Zeroizing<[u8; FRESH_BYTES]>, SecretError> {
    let mut bytes = Zeroizing::new([0; FRESH_BYTES]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| SecretError::Randomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: HookSecretKind, forge: Forge, text: &str) -> Result<(), UnfitSecret> {
        check_secret(kind, forge, &SecretString::from(text))
    }

    #[test]
    fn fresh_secrets_are_long_differ_and_are_accepted() {
        let signing = generate_signing_secret().unwrap();
        assert_eq!(signing_key(&signing).unwrap().len(), 32);
        assert_ne!(signing.expose_secret(), generate_signing_secret().unwrap().expose_secret());
        for forge in [Forge::Gitlab, Forge::Github, Forge::Gitea] {
            assert_eq!(check(HookSecretKind::Signing, forge, signing.expose_secret()), Ok(()));
        }
        let token = generate_token().unwrap();
        assert_eq!(token.expose_secret().len(), 43);
        assert_ne!(token.expose_secret(), generate_token().unwrap().expose_secret());
        assert_eq!(check(HookSecretKind::Token, Forge::Gitlab, token.expose_secret()), Ok(()));
    }

    #[test]
    fn a_signing_secret_of_gitlab_holds_a_key() {
        for (text, fits) in [
            ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", true),
            ("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", false),
            ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7o", false),
            ("whsec_C2FVsBQIhrscChlQIMV-b5sSYspob7oD", false),
            ("whsec_c2hvcnQ=", false),
            ("a passphrase of some length", false),
        ] {
            assert_eq!(check(HookSecretKind::Signing, Forge::Gitlab, text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn other_secrets_are_texts_that_can_be_sent() {
        let cases = [
            ("It's a Secret to Everybody".to_owned(), Ok(())),
            ("a".repeat(SECRET_MIN_BYTES), Ok(())),
            ("a".repeat(SECRET_MAX_BYTES), Ok(())),
            ("a".repeat(SECRET_MIN_BYTES - 1), Err(UnfitSecret::Length)),
            ("a".repeat(SECRET_MAX_BYTES + 1), Err(UnfitSecret::Length)),
            (String::new(), Err(UnfitSecret::Length)),
            (" leading and long enough".to_owned(), Err(UnfitSecret::Character)),
            ("trailing and long enough ".to_owned(), Err(UnfitSecret::Character)),
            ("a line\nand another line".to_owned(), Err(UnfitSecret::Character)),
            ("not ASCII: \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}".to_owned(), Err(UnfitSecret::Character)),
        ];
        for (text, expected) in cases {
            assert_eq!(check(HookSecretKind::Token, Forge::Gitlab, &text), expected, "{text:?}");
            assert_eq!(check(HookSecretKind::Signing, Forge::Github, &text), expected, "{text:?}");
            assert_eq!(check(HookSecretKind::Signing, Forge::Gitea, &text), expected, "{text:?}");
        }
    }

    #[test]
    fn only_gitlab_sends_a_token() {
        for forge in [Forge::Github, Forge::Gitea] {
            let refused = check(HookSecretKind::Token, forge, "a token that is long enough");
            assert_eq!(refused, Err(UnfitSecret::Kind));
        }
    }
}
