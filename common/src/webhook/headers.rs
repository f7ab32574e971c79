//! The headers of a delivery that say something about it; all others are left out.

use std::fmt;

use super::sign::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use super::verify::Refusal;

/// Longest header that is looked at. A list of signatures of the length that is accepted fits.
pub const HEADER_MAX_BYTES: usize = 1024;

pub(super) const CONTENT_TYPE: &str = "content-type";
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
pub(super) const GITLAB_TOKEN: &str = "x-gitlab-token";
pub(super) const GITLAB_EVENT: &str = "x-gitlab-event";
pub(super) const HUB_SIGNATURE: &str = "x-hub-signature-256";
pub(super) const GITHUB_EVENT: &str = "x-github-event";
pub(super) const GITHUB_DELIVERY: &str = "x-github-delivery";
pub(super) const GITEA_SIGNATURE: &str = "x-gitea-signature";
pub(super) const GITEA_EVENT: &str = "x-gitea-event";
pub(super) const GITEA_DELIVERY: &str = "x-gitea-delivery";
pub(super) const FORGEJO_SIGNATURE: &str = "x-forgejo-signature";
pub(super) const FORGEJO_EVENT: &str = "x-forgejo-event";
pub(super) const FORGEJO_DELIVERY: &str = "x-forgejo-delivery";

const NAMES: [&str; 16] = [
    CONTENT_TYPE,
    ID_HEADER,
    TIMESTAMP_HEADER,
    SIGNATURE_HEADER,
    IDEMPOTENCY_KEY,
    GITLAB_TOKEN,
    GITLAB_EVENT,
    HUB_SIGNATURE,
    GITHUB_EVENT,
    GITHUB_DELIVERY,
    GITEA_SIGNATURE,
    GITEA_EVENT,
    GITEA_DELIVERY,
    FORGEJO_SIGNATURE,
    FORGEJO_EVENT,
    FORGEJO_DELIVERY,
];

/// How often a header is there.
#[derive(Clone, Copy, Default)]
enum Slot<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    Repeated,
}

/// The headers of a delivery. Names are compared without case; one that comes twice is remembered as such, and refused
/// when it is asked for.
#[derive(Clone, Default)]
pub struct Headers<'a> {
    slots: [Slot<'a>; NAMES.len()],
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.slots.iter().zip(NAMES).filter(|(slot, _)| !matches!(slot, Slot::Absent));
        formatter.debug_set().entries(there.map(|(_, name)| name)).finish()
    }
}

impl<'a> Headers<'a> {
    /// Picks from all headers of a request, each given as often as it was sent, those that matter here.
    pub fn collect<'n>(all: impl IntoIterator<Item = (&'n str, &'a [u8])>) -> Self {
        let mut headers = Self::default();
        for (name, value) in all {
            let place = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
            if let Some(slot) = place.and_then(|place| headers.slots.get_mut(place)) {
                *slot = match slot {
                    Slot::Absent => Slot::Once(value),
                    Slot::Once(_) | Slot::Repeated => Slot::Repeated,
                };
            }
        }
        headers
    }

    /// The type of the body, when it is stated once and as text.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        self.text(CONTENT_TYPE).ok().flatten()
    }

    /// The bytes of a header that is proof of something.
    pub(super) fn proof(&self, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
        self.once(name).map_err(|Unfit| Refusal::SignatureUnreadable)
    }

    /// A header that names something, as text of visible characters and spaces.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let value = self.once(name).map_err(|Unfit| Refusal::HeaderUnreadable)?;
        value.map(|bytes| visible(bytes).ok_or(Refusal::HeaderUnreadable)).transpose()
    }

    fn once(&self, name: &str) -> Result<Option<&'a [u8]>, Unfit> {
        let place = NAMES.iter().position(|known| *known == name);
        match place.and_then(|place| self.slots.get(place)) {
            None | Some(Slot::Absent) => Ok(None),
            Some(Slot::Once(value)) if !value.is_empty() && value.len() <= HEADER_MAX_BYTES => {
                Ok(Some(*value))
            }
            Some(Slot::Once(_) | Slot::Repeated) => Err(Unfit),
        }
    }
}

/// A header is empty, too long, or there more than once.
struct Unfit;

fn visible(bytes: &[u8]) -> Option<&str> {
    let all_visible = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if all_visible { std::str::from_utf8(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case() {
        let headers = Headers::collect([("X-GITLAB-Event", b"Push Hook".as_slice()), ("accept", b"*/*")]);
        assert_eq!(headers.text(GITLAB_EVENT).unwrap(), Some("Push Hook"));
        assert_eq!(headers.text(GITHUB_EVENT).unwrap(), None);
    }

    #[test]
    fn a_header_that_is_repeated_empty_or_too_long_is_refused_when_asked_for() {
        let long = [b'a'; HEADER_MAX_BYTES + 1];
        for all in [
            vec![("x-gitlab-token", b"a".as_slice()), ("X-Gitlab-Token", b"a")],
            vec![("x-gitlab-token", b"a".as_slice()), ("x-gitlab-token", b"b"), ("x-gitlab-token", b"a")],
            vec![("x-gitlab-token", b"".as_slice())],
            vec![("x-gitlab-token", long.as_slice())],
        ] {
            let headers = Headers::collect(all);
            assert_eq!(headers.proof(GITLAB_TOKEN), Err(Refusal::SignatureUnreadable), "{headers:?}");
            assert_eq!(headers.text(GITLAB_TOKEN), Err(Refusal::HeaderUnreadable), "{headers:?}");
            assert_eq!(headers.text(GITLAB_EVENT), Ok(None), "others are not touched by it");
        }
        let most = [b'a'; HEADER_MAX_BYTES];
        assert!(Headers::collect([(GITLAB_TOKEN, most.as_slice())]).proof(GITLAB_TOKEN).is_ok());
    }

    #[test]
    fn a_name_is_text_and_a_type_is_taken_only_when_it_is_clear() {
        for bad in [b"a\x01".as_slice(), b"\xff", "\u{e9}".as_bytes()] {
            assert!(Headers::collect([(GITHUB_EVENT, bad)]).text(GITHUB_EVENT).is_err());
        }
        let once = Headers::collect([("Content-Type", b"application/json".as_slice())]);
        assert_eq!(once.content_type(), Some("application/json"));
        let twice = Headers::collect([("content-type", b"a/b".as_slice()), ("content-type", b"a/c")]);
        assert_eq!(twice.content_type(), None);
    }

    #[test]
    fn shows_names_and_no_values() {
        let shown = format!("{:?}", Headers::collect([("X-Gitlab-Token", b"hunter2".as_slice())]));
        assert!(shown.contains("x-gitlab-token") && !shown.contains("hunter2"), "{shown}");
    }
}
