//! What the body of an authentic delivery hints at. Only the few fields that are needed are read; all others may be
//! there or not and hold anything.

mod field;

use std::borrow::Cow;

use serde::Deserialize;

use super::{gitea, github, gitlab};
use crate::model::registered::Forge;
use crate::model::{BranchName, DeliveryKind, RevisionSpec};
use field::Field;

pub(super) const BRANCHES: &str = "refs/heads/";
pub(super) const TAGS: &str = "refs/tags/";
const FORM: &str = "application/x-www-form-urlencoded";
const FORM_FIELD: &str = "payload";
/// Lengths of commit ids in hexadecimal: SHA-1 and SHA-256.
const OBJECT_ID_LENGTHS: [usize; 2] = [40, 64];

/// What Slipway makes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What it hints at; `None` when nothing follows from it.
    pub kind: Option<DeliveryKind>,
    /// Why.
    pub why: &'static str,
}

impl Parsed {
    pub(super) fn of(kind: DeliveryKind, why: &'static str) -> Self {
        Self { kind: Some(kind), why }
    }

    pub(super) fn nothing(why: &'static str) -> Self {
        Self { kind: None, why }
    }
}

/// Why the body of a delivery says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON object.
    #[error("the body is no JSON object")]
    NoObject,
    /// It lacks what its event must say.
    #[error("the body has no usable {0:?}")]
    Missing(&'static str),
    /// It is not said what happened.
    #[error("no header names the event")]
    NoEvent,
}

impl Unreadable {
    /// A stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoObject => "payload_unreadable",
            Self::Missing(_) => "payload_incomplete",
            Self::NoEvent => "event_missing",
        }
    }
}

/// The fields that are read, of any forge.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payload {
    pub(super) object_kind: Field,
    pub(super) event_name: Field,
    #[serde(rename = "ref")]
    pub(super) reference: Field,
    pub(super) ref_type: Field,
    pub(super) after: Field,
    pub(super) checkout_sha: Field,
    pub(super) sha: Field,
    pub(super) deleted: Field,
    pub(super) object_attributes: Field,
    pub(super) head_commit: Field,
}

/// What follows from a delivery. `event` is what its header calls it.
///
/// # Errors
/// When the body is no JSON object, or lacks what an event of this name says.
pub fn parse(
    forge: Forge,
    event: &str,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Parsed, Unreadable> {
    let json = json_in(content_type, body)?;
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Unreadable::NoObject);
    }
    let payload: Payload = serde_json::from_slice(&json).map_err(|_| Unreadable::NoObject)?;
    match forge {
        Forge::Gitlab => gitlab::interpret(&payload),
        Forge::Github => github::interpret(event, &payload),
        Forge::Gitea => gitea::interpret(event, &payload),
    }
}

/// The JSON text of a body: the body itself, or a field of the form it is.
fn json_in<'a>(content_type: Option<&str>, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Unreadable> {
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case(FORM) {
        return Ok(Cow::Borrowed(body));
    }
    let field = url::form_urlencoded::parse(body).find(|(name, _)| name == FORM_FIELD);
    match field.ok_or(Unreadable::Missing(FORM_FIELD))? {
        (_, Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        (_, Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
    }
}

/// A ref names another commit now, or was deleted.
pub(super) fn push(reference: &str, commit: Option<&str>) -> Parsed {
    if !is_safe_reference(reference) {
        return Parsed::nothing("the ref is no branch or tag with a name that is accepted");
    }
    let reference = reference.to_owned();
    match commit.map(object_id) {
        None => Parsed::of(DeliveryKind::Push { reference, revision: None }, "a ref was deleted"),
        Some(Some(id)) => Parsed::of(DeliveryKind::Push { reference, revision: Some(id) }, "a ref moved"),
        Some(None) => Parsed::nothing("the commit is no full object id"),
    }
}

/// A pipeline of this commit changed.
pub(super) fn pipeline(commit: &str, why: &'static str) -> Parsed {
    match object_id(commit) {
        Some(revision) => Parsed::of(DeliveryKind::Pipeline { revision }, why),
        None => Parsed::nothing("the commit is no full object id"),
    }
}

/// Whether the text is what forges write for a commit that is not there.
pub(super) fn is_zero(id: &str) -> bool {
    OBJECT_ID_LENGTHS.contains(&id.len()) && id.bytes().all(|byte| byte == b'0')
}

/// The id in lower case, when it is one, and not that of nothing.
fn object_id(text: &str) -> Option<String> {
    let is_id = OBJECT_ID_LENGTHS.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !is_zero(text);
    is_id.then(|| text.to_ascii_lowercase())
}

fn is_safe_reference(reference: &str) -> bool {
    if let Some(branch) = reference.strip_prefix(BRANCHES) {
        return BranchName::parse(branch).is_ok();
    }
    let tag = reference.strip_prefix(TAGS).map(RevisionSpec::parse);
    tag.is_some_and(|tag| tag.is_ok_and(|tag| tag.tag().is_some()))
}

#[cfg(test)]
mod tests;
