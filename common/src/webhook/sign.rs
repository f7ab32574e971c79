//! Standard Webhooks: what is signed and how. GitLab signs its deliveries so, and Slipway those it sends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Header with the id of a delivery; the same when it is sent again.
pub const ID_HEADER: &str = "webhook-id";
/// Header with the time of a delivery, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Header with the signatures of a delivery.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// What a signing secret starts with; base64 of its key follows.
pub const SECRET_PREFIX: &str = "whsec_";
/// Shortest key of a signing secret.
pub const KEY_MIN_BYTES: usize = 24;
/// Longest key of a signing secret.
pub const KEY_MAX_BYTES: usize = 64;
/// What a signature of this scheme starts with; base64 of an HMAC-SHA-256 follows.
pub(super) const SIGNATURE_PREFIX: &str = "v1,";
/// Length of an HMAC-SHA-256.
pub(super) const MAC_LENGTH_BYTES: usize = 32;

/// Why a delivery cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The secret holds no key.
    #[error("the secret is not whsec_ and base64 of 24 to 64 bytes")]
    Secret,
    /// The id could not be told apart from the time that follows it.
    #[error("the id is empty, or holds a dot or something else than visible characters")]
    Id,
}

/// The headers that prove a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// `webhook-id`
    pub id: String,
    /// `webhook-timestamp`
    pub timestamp: String,
    /// `webhook-signature`
    pub signature: String,
}

impl SignedHeaders {
    /// Names and values, as they are sent.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, &str); 3] {
        [(ID_HEADER, &self.id), (TIMESTAMP_HEADER, &self.timestamp), (SIGNATURE_HEADER, &self.signature)]
    }
}

/// Signs a delivery that is sent at `at`. One that is sent again keeps its id and is signed anew.
///
/// # Errors
/// When the secret holds no key, or the id cannot be signed.
pub fn sign(
    secret: &SecretString,
    id: &str,
    at: Timestamp,
    body: &[u8],
) -> Result<SignedHeaders, SigningError> {
    let key = signing_key(secret).ok_or(SigningError::Secret)?;
    if !is_signable_id(id) {
        return Err(SigningError::Id);
    }
    let timestamp = at.as_second().to_string();
    let signature =
        format!("{SIGNATURE_PREFIX}{}", STANDARD.encode(standard_mac(&key, id, &timestamp, body)));
    Ok(SignedHeaders { id: id.to_owned(), timestamp, signature })
}

/// Whether the id can stand before a time, separated from it by a dot.
pub(super) fn is_signable_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

/// The key in a signing secret.
pub(super) fn signing_key(secret: &SecretString) -> Option<Zeroizing<Vec<u8>>> {
    let text = secret.expose_secret().strip_prefix(SECRET_PREFIX)?;
    let key = Zeroizing::new(STANDARD.decode(text).ok()?);
    (KEY_MIN_BYTES..=KEY_MAX_BYTES).contains(&key.len()).then_some(key)
}

/// HMAC-SHA-256 over id, time and body, separated by dots.
pub(super) fn standard_mac(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> [u8; MAC_LENGTH_BYTES] {
    mac(key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC_LENGTH_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_published_vector_comes_out() {
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signed =
            sign(&SecretString::from(SECRET), "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", at(1_649_367_553), body)
                .unwrap();
        assert_eq!(
            signed.pairs(),
            [
                ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
                ("webhook-timestamp", "1649367553"),
                ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
            ]
        );
    }

    #[test]
    fn id_time_body_and_key_all_change_the_signature() {
        let signature = |secret: &str, id: &str, second: i64, body: &str| {
            sign(&SecretString::from(secret), id, at(second), body.as_bytes()).unwrap().signature
        };
        let other = format!("{SECRET_PREFIX}{}", STANDARD.encode([9; 32]));
        let first = signature(SECRET, "a", 1, "b");
        assert_eq!(first, signature(SECRET, "a", 1, "b"));
        for changed in [
            signature(SECRET, "c", 1, "b"),
            signature(SECRET, "a", 2, "b"),
            signature(SECRET, "a", 1, "d"),
            signature(&other, "a", 1, "b"),
        ] {
            assert_ne!(changed, first);
        }
    }

    #[test]
    fn what_cannot_be_signed_is_refused() {
        for id in ["", "a.b", "a b", "a\n", "\u{e9}"] {
            assert_eq!(sign(&SecretString::from(SECRET), id, at(1), b""), Err(SigningError::Id), "{id:?}");
        }
        let of_length = |bytes: usize| format!("{SECRET_PREFIX}{}", STANDARD.encode(vec![1; bytes]));
        for secret in
            ["", "whsec_", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_!", &of_length(23), &of_length(65)]
        {
            let refused = sign(&SecretString::from(secret), "a", at(1), b"");
            assert_eq!(refused, Err(SigningError::Secret), "{secret:?}");
        }
        for bytes in [24, 32, 64] {
            assert!(sign(&SecretString::from(of_length(bytes)), "a", at(1), b"").is_ok());
        }
    }
}
