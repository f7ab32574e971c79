//! Whether a delivery is authentic: decided from its headers and its raw body, before anything in it is read.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::headers::{
    FORGEJO_DELIVERY, FORGEJO_EVENT, FORGEJO_SIGNATURE, GITEA_DELIVERY, GITEA_EVENT, GITEA_SIGNATURE,
    GITHUB_DELIVERY, GITHUB_EVENT, GITLAB_EVENT, GITLAB_TOKEN, HUB_SIGNATURE, Headers, IDEMPOTENCY_KEY,
};
use super::sign::{
    ID_HEADER, MAC_LENGTH_BYTES, SIGNATURE_HEADER, SIGNATURE_PREFIX, TIMESTAMP_HEADER, is_signable_id, mac,
    signing_key, standard_mac,
};
use crate::model::delivery::DELIVERY_ID_MAX_BYTES;
use crate::model::registered::{Forge, HookSecretKind};

/// Most signatures one delivery may carry.
pub const SIGNATURES_MAX: usize = 8;
/// Longest event name that is read.
const EVENT_MAX_BYTES: usize = 64;
/// Most digits of a time in seconds that is read; enough for thirty thousand years.
const TIMESTAMP_DIGITS_MAX: usize = 12;
/// Headers that sign a delivery of GitHub, with what stands before the digits.
const GITHUB_SIGNATURES: [(&str, &str); 1] = [(HUB_SIGNATURE, "sha256=")];
/// Headers that sign a delivery of Gitea or Forgejo. The first one that is there decides.
const GITEA_SIGNATURES: [(&str, &str); 3] =
    [(FORGEJO_SIGNATURE, ""), (GITEA_SIGNATURE, ""), (HUB_SIGNATURE, "sha256=")];

/// A secret of a hook, opened and still good.
#[derive(Debug, Clone)]
pub struct OpenSecret {
    /// How it is used.
    pub kind: HookSecretKind,
    /// The secret.
    pub secret: SecretString,
}

/// An authentic delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What the sender calls it; the same when it sends it again.
    pub id: String,
    /// What it calls the event; empty when it does not say.
    pub event: String,
}

/// Why a delivery is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Nothing proves it.
    #[error("the delivery is neither signed nor carries the secret token")]
    SignatureMissing,
    /// What should prove it does not.
    #[error("the delivery is proven with another secret, or was changed on its way")]
    SignatureWrong,
    /// It was signed too long ago, or for the future.
    #[error("the time of the signed delivery is too far off")]
    SignatureExpired,
    /// What should prove it is there twice, is empty, too long or no signature at all.
    #[error("the signature of the delivery cannot be read")]
    SignatureUnreadable,
    /// A header that names the delivery or its event is there twice, is empty, too long or no text.
    #[error("a header of the delivery cannot be read")]
    HeaderUnreadable,
    /// The hook has no secret that could prove it.
    #[error("the hook has no secret with which this delivery could be proven")]
    NoSecret,
}

impl Refusal {
    /// A stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureWrong => "signature_wrong",
            Self::SignatureExpired => "signature_expired",
            Self::SignatureUnreadable => "signature_unreadable",
            Self::HeaderUnreadable => "header_unreadable",
            Self::NoSecret => "no_secret",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::SignatureMissing => "Set the project's secret in the webhook's settings on the forge.",
            Self::SignatureWrong => {
                "Compare the secret in the webhook's settings on the forge with the project's."
            }
            Self::SignatureExpired => {
                "Check the clocks of the forge and of Slipway, then send the delivery again."
            }
            // Gitea sends an empty one when it has no secret.
            Self::SignatureUnreadable => {
                "Check that the webhook has a secret on the forge, and that nothing in between changes headers."
            }
            Self::HeaderUnreadable => "Check that nothing between the forge and Slipway changes headers.",
            Self::NoSecret => "Give the project's hook a secret of the kind the forge uses.",
        }
    }
}

/// Whether the delivery is authentic. `body` is as it came; `secrets` are those of the hook that are still good;
/// `tolerance` is how far the time of a delivery that states one may be off.
///
/// # Errors
/// When it is not proven by one of the secrets.
pub fn verify(
    forge: Forge,
    headers: &Headers<'_>,
    body: &[u8],
    secrets: &[OpenSecret],
    now: Timestamp,
    tolerance: Duration,
) -> Result<Verified, Refusal> {
    if secrets.is_empty() {
        return Err(Refusal::NoSecret);
    }
    match forge {
        Forge::Gitlab => match headers.proof(SIGNATURE_HEADER)? {
            Some(list) => check_standard(headers, list, body, secrets, now, tolerance)?,
            None => check_token(headers, secrets)?,
        },
        Forge::Github => check_hex(headers, &GITHUB_SIGNATURES, body, secrets)?,
        Forge::Gitea => check_hex(headers, &GITEA_SIGNATURES, body, secrets)?,
    }
    let (ids, events): (&[&str], &[&str]) = match forge {
        Forge::Gitlab => (&[ID_HEADER, IDEMPOTENCY_KEY], &[GITLAB_EVENT]),
        Forge::Github => (&[GITHUB_DELIVERY], &[GITHUB_EVENT]),
        Forge::Gitea => (
            &[FORGEJO_DELIVERY, GITEA_DELIVERY, GITHUB_DELIVERY],
            &[FORGEJO_EVENT, GITEA_EVENT, GITHUB_EVENT],
        ),
    };
    let id = first(headers, ids, DELIVERY_ID_MAX_BYTES)?.map_or_else(|| id_of(body), str::to_owned);
    let event = first(headers, events, EVENT_MAX_BYTES)?.unwrap_or_default().to_owned();
    Ok(Verified { id, event })
}

/// Standard Webhooks: one of the listed signatures is made with one of the keys, and the signed time is about now.
fn check_standard(
    headers: &Headers<'_>,
    list: &[u8],
    body: &[u8],
    secrets: &[OpenSecret],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), Refusal> {
    let signatures = listed(list)?;
    let id = headers.text(ID_HEADER)?.ok_or(Refusal::SignatureUnreadable)?;
    let timestamp = headers.text(TIMESTAMP_HEADER)?.ok_or(Refusal::SignatureUnreadable)?;
    let second = seconds(timestamp).ok_or(Refusal::SignatureUnreadable)?;
    if !is_signable_id(id) {
        return Err(Refusal::SignatureUnreadable);
    }
    let expected: Vec<_> = of_kind(secrets, HookSecretKind::Signing)
        .filter_map(signing_key)
        .map(|key| standard_mac(&key, id, timestamp, body))
        .collect();
    proven(&expected, &signatures)?;
    if now.as_second().abs_diff(second) > tolerance.as_secs() {
        return Err(Refusal::SignatureExpired);
    }
    Ok(())
}

/// The signatures of a list separated by spaces. Those of other schemes are passed over.
fn listed(list: &[u8]) -> Result<Vec<[u8; MAC_LENGTH_BYTES]>, Refusal> {
    let entries: Vec<_> =
        list.split(|byte| *byte == b' ').filter(|entry| !entry.is_empty()).take(SIGNATURES_MAX + 1).collect();
    if entries.len() > SIGNATURES_MAX {
        return Err(Refusal::SignatureUnreadable);
    }
    let signatures: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| entry.strip_prefix(SIGNATURE_PREFIX.as_bytes()))
        .filter_map(|text| STANDARD.decode(text).ok()?.try_into().ok())
        .collect();
    if signatures.is_empty() { Err(Refusal::SignatureUnreadable) } else { Ok(signatures) }
}

fn seconds(text: &str) -> Option<i64> {
    let is_number = !text.is_empty()
        && text.len() <= TIMESTAMP_DIGITS_MAX
        && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// GitLab's secret token. Digests are compared, so that neither a length nor a prefix shows.
fn check_token(headers: &Headers<'_>, secrets: &[OpenSecret]) -> Result<(), Refusal> {
    let presented = headers.proof(GITLAB_TOKEN)?.ok_or(Refusal::SignatureMissing)?;
    let expected: Vec<[u8; MAC_LENGTH_BYTES]> = of_kind(secrets, HookSecretKind::Token)
        .map(|secret| Sha256::digest(secret.expose_secret()).into())
        .collect();
    proven(&expected, &[Sha256::digest(presented).into()])
}

/// HMAC-SHA-256 of the body, in hexadecimal, in the first of `accepted` that is there.
fn check_hex(
    headers: &Headers<'_>,
    accepted: &[(&str, &str)],
    body: &[u8],
    secrets: &[OpenSecret],
) -> Result<(), Refusal> {
    for (name, prefix) in accepted {
        if let Some(value) = headers.proof(name)? {
            let digits = value.strip_prefix(prefix.as_bytes()).ok_or(Refusal::SignatureUnreadable)?;
            let signature = from_hex(digits).ok_or(Refusal::SignatureUnreadable)?;
            let expected: Vec<_> = of_kind(secrets, HookSecretKind::Signing)
                .map(|secret| mac(secret.expose_secret().as_bytes(), &[body]))
                .collect();
            return proven(&expected, &[signature]);
        }
    }
    Err(Refusal::SignatureMissing)
}

/// Whether one of the presented values is one of the expected ones. All are compared, and each wholly.
fn proven(expected: &[[u8; MAC_LENGTH_BYTES]], presented: &[[u8; MAC_LENGTH_BYTES]]) -> Result<(), Refusal> {
    if expected.is_empty() {
        return Err(Refusal::NoSecret);
    }
    let pairs = expected.iter().flat_map(|good| presented.iter().map(move |shown| (good, shown)));
    let found =
        pairs.fold(Choice::from(0), |found, (good, shown)| found | good.as_slice().ct_eq(shown.as_slice()));
    if found.into() { Ok(()) } else { Err(Refusal::SignatureWrong) }
}

fn of_kind(secrets: &[OpenSecret], kind: HookSecretKind) -> impl Iterator<Item = &SecretString> {
    secrets.iter().filter(move |secret| secret.kind == kind).map(|secret| &secret.secret)
}

fn first<'a>(headers: &Headers<'a>, names: &[&str], max_bytes: usize) -> Result<Option<&'a str>, Refusal> {
    for name in names {
        if let Some(text) = headers.text(name)? {
            return if text.len() <= max_bytes { Ok(Some(text)) } else { Err(Refusal::HeaderUnreadable) };
        }
    }
    Ok(None)
}

/// The name of a delivery whose sender gives it none: equal for equal bodies.
fn id_of(body: &[u8]) -> String {
    let digest: [u8; MAC_LENGTH_BYTES] = Sha256::digest(body).into();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn from_hex(digits: &[u8]) -> Option<[u8; MAC_LENGTH_BYTES]> {
    let mut bytes = [0; MAC_LENGTH_BYTES];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
