//! Secrets: sealed with a key that lives elsewhere, so that queue, ledger and store never hold one in clear.
//!
//! Sealing is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) with a random 24-byte nonce. The name of what is
//! sealed is authenticated too, so a sealed value cannot be moved to another place.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Length of the sealing key.
pub const KEY_LENGTH_BYTES: usize = 32;
const NONCE_LENGTH_BYTES: usize = 24;

/// A sealed secret: base64 of nonce and ciphertext.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

impl fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealed(***)")
    }
}

/// A secret as it arrives in a request or a setting: shown as `***`, and an all-digit one may come as a
/// number. It serializes in clear, because a client must be able to send it.
#[derive(Clone, utoipa::ToSchema)]
#[schema(value_type = String, format = Password)]
pub struct SecretText(SecretString);

impl SecretText {
    /// The secret.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = SecretText;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText::from(text.to_owned()))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<SecretText, E> {
                Ok(SecretText::from(number.to_string()))
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<SecretText, E> {
                Ok(SecretText::from(number.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// Why a secret could not be sealed or opened. Never says what was in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file could not be read or made.
    #[error("the key file {path} cannot be used: {reason}", path = path.display())]
    KeyFile {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system has no randomness to give.
    #[error("the system gave no random bytes")]
    Randomness,
    /// The value could not be sealed.
    #[error("a secret could not be sealed")]
    Seal,
    /// The value was sealed with another key, for another place, or was changed.
    #[error("a secret cannot be opened: another key sealed it, or it was changed")]
    Open,
}

/// Seals and opens secrets with one key.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    mac_key: zeroize::Zeroizing<[u8; KEY_LENGTH_BYTES]>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealer(***)")
    }
}

impl Sealer {
    /// A sealer with this key.
    #[must_use]
    pub fn new(key: &[u8; KEY_LENGTH_BYTES]) -> Self {
        let mut derive = Sha256::new();
        derive.update(b"slipway fingerprint key");
        derive.update(key);
        Self {
            cipher: XChaCha20Poly1305::new(key.into()),
            mac_key: zeroize::Zeroizing::new(derive.finalize().into()),
        }
    }

    /// Reads the key from a file of mode 0600, which is made with a fresh key when it does not exist. A file that
    /// somebody else owns was handed over, as secrets are mounted into containers; others may read it then.
    ///
    /// # Errors
    /// When the file cannot be read or made, is ours and readable by others, is writable by others, or holds no key.
    pub fn from_key_file(path: &Path) -> Result<Self, SecretError> {
        if !path.exists() {
            let key = random_bytes::<KEY_LENGTH_BYTES>()?;
            write_private(path, STANDARD.encode(key).as_bytes())
                .map_err(|error| SecretError::KeyFile { path: path.to_owned(), reason: error.to_string() })?;
        }
        let fail = |reason: String| SecretError::KeyFile { path: path.to_owned(), reason };
        let file = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
        let ours = std::fs::metadata("/proc/self").map_or(true, |process| process.uid() == file.uid());
        if !mode_fits(file.mode(), ours) {
            return Err(fail(format!("its mode is {:o}; it must be 600", file.mode() & 0o777)));
        }
        let text =
            zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?);
        let bytes = zeroize::Zeroizing::new(
            STANDARD.decode(text.trim()).map_err(|_| fail("it does not hold base64".to_owned()))?,
        );
        let key: &[u8; KEY_LENGTH_BYTES] =
            bytes.as_slice().try_into().map_err(|_| fail("it does not hold 32 bytes".to_owned()))?;
        Ok(Self::new(key))
    }

    /// Seals `secret` for the place called `context`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn seal(&self, context: &str, secret: &SecretString) -> Result<Sealed, SecretError> {
        let nonce = random_bytes::<NONCE_LENGTH_BYTES>()?;
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: context.as_bytes() };
        let ciphertext = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SecretError::Seal)?;
        let mut sealed = nonce.to_vec();
        sealed.extend(ciphertext);
        Ok(Sealed(STANDARD.encode(sealed)))
    }

    /// Opens what was sealed for the place called `context`.
    ///
    /// # Errors
    /// When another key sealed it, it was sealed for another place, or it was changed.
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<SecretString, SecretError> {
        let bytes = STANDARD.decode(&sealed.0).map_err(|_| SecretError::Open)?;
        let (nonce, ciphertext) = bytes.split_at_checked(NONCE_LENGTH_BYTES).ok_or(SecretError::Open)?;
        let nonce: [u8; NONCE_LENGTH_BYTES] = nonce.try_into().map_err(|_| SecretError::Open)?;
        let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
        let clear = self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| SecretError::Open)?;
        String::from_utf8(clear).map(SecretString::from).map_err(|_| SecretError::Open)
    }

    /// A keyed hash (HMAC-SHA-256, hexadecimal): equal for equal input, and no way back without the key.
    #[must_use]
    pub fn fingerprint(&self, input: &[u8]) -> String {
        hex(&self.mac(&[input]))
    }

    /// An id (UUIDv8) that follows from `input` and the key; `purpose` keeps ids of different things apart.
    #[must_use]
    pub fn derived_id(&self, purpose: &str, input: &[u8]) -> Uuid {
        let mac = self.mac(&[b"derived id\0", purpose.as_bytes(), b"\0", input]);
        let mut bytes = [0; 16];
        for (byte, from) in bytes.iter_mut().zip(mac) {
            *byte = from;
        }
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(self.mac_key.as_slice())
            .expect("HMAC takes a key of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

/// A fresh API token: `slw_` and 256 random bits.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate_token() -> Result<SecretString, SecretError> {
    let bytes = random_bytes::<KEY_LENGTH_BYTES>()?;
    Ok(SecretString::from(format!("slw_{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// The hash under which a token is stored. A token is 256 random bits, so one round of SHA-256 suffices.
#[must_use]
pub fn token_sha256(token: &SecretString) -> String {
    hex(&Sha256::digest(token.expose_secret().as_bytes()))
}

/// Whether a key file of this mode may be used. Ours is for us alone. Who is handed one cannot tighten it, and only
/// wants that others did not write it.
fn mode_fits(mode: u32, ours: bool) -> bool {
    let refused = if ours { 0o077 } else { 0o022 };
    mode & refused == 0
}

/// Writes a file that only its owner may read, replacing it in one step.
///
/// # Errors
/// When the file cannot be written.
pub fn write_private(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&staged, path)
}

fn random_bytes<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|_| SecretError::Randomness)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&[7; KEY_LENGTH_BYTES])
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let secret = SecretString::from("hunter2");
        let sealed = sealer().seal("a", &secret).unwrap();
        assert_eq!(sealer().open("a", &sealed).unwrap().expose_secret(), "hunter2");
        assert!(sealer().open("b", &sealed).is_err(), "another place");
        assert!(Sealer::new(&[8; KEY_LENGTH_BYTES]).open("a", &sealed).is_err(), "another key");
        let mut bytes = STANDARD.decode(&sealed.0).unwrap();
        bytes[30] ^= 1;
        assert!(sealer().open("a", &Sealed(STANDARD.encode(bytes))).is_err(), "a changed byte");
        assert!(sealer().open("a", &Sealed(String::new())).is_err(), "nothing at all");
    }

    #[test]
    fn shows_nothing() {
        let sealed = sealer().seal("a", &SecretString::from("hunter2")).unwrap();
        assert!(!format!("{sealed:?} {:?}", sealer()).contains("hunter2"));
        assert!(!serde_json::to_string(&sealed).unwrap().contains("hunter2"));
        assert_ne!(sealed, sealer().seal("a", &SecretString::from("hunter2")).unwrap(), "fresh nonces");
    }

    #[test]
    fn derived_ids_follow_from_key_purpose_and_input() {
        let id = sealer().derived_id("job", b"k");
        assert_eq!((id, id.get_version_num()), (sealer().derived_id("job", b"k"), 8));
        for other in [
            sealer().derived_id("deployment", b"k"),
            sealer().derived_id("job", b"l"),
            Sealer::new(&[8; KEY_LENGTH_BYTES]).derived_id("job", b"k"),
        ] {
            assert_ne!(other, id);
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let sealed = Sealer::from_key_file(&path).unwrap().seal("a", &SecretString::from("x")).unwrap();
        assert!(Sealer::from_key_file(&path).unwrap().open("a", &sealed).is_ok());
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(Sealer::from_key_file(&path), Err(SecretError::KeyFile { .. })));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(Sealer::from_key_file(&path), Err(SecretError::KeyFile { .. })));
    }

    #[test]
    fn a_key_file_may_be_handed_over_read_only() {
        for (mode, ours, fits) in [
            (0o100_600, true, true),
            (0o100_400, true, true),
            (0o100_444, true, false),
            (0o100_440, true, false),
            (0o100_444, false, true),
            (0o100_440, false, true),
            (0o100_464, false, false),
            (0o100_446, false, false),
        ] {
            assert_eq!(mode_fits(mode, ours), fits, "{mode:o}, ours: {ours}");
        }
    }
}
