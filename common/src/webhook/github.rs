//! GitHub's deliveries, and what Gitea's have in common with them.

use super::payload::{BRANCHES, Parsed, Payload, TAGS, Unreadable, is_zero, push};

pub(super) fn interpret(event: &str, payload: &Payload) -> Result<Parsed, Unreadable> {
    match event {
        "" => Err(Unreadable::NoEvent),
        "push" => moved(payload),
        "create" => created(payload),
        "delete" => deleted(payload),
        "ping" => Ok(Parsed::nothing("the forge tries whether the hook works")),
        "pull_request" => Ok(Parsed::nothing("pull requests get no environments")),
        _ => Ok(Parsed::nothing("nothing follows from events of this kind")),
    }
}

/// A push. Of an annotated tag, `after` is the tag itself and `head_commit` the commit.
pub(super) fn moved(payload: &Payload) -> Result<Parsed, Unreadable> {
    let reference = payload.reference.text().ok_or(Unreadable::Missing("ref"))?;
    let after = payload.after.text();
    if payload.deleted.is_true() || after.is_some_and(is_zero) {
        return Ok(push(reference, None));
    }
    let of_tag = payload.head_commit.id().filter(|_| reference.starts_with(TAGS));
    let commit = of_tag.or(after).ok_or(Unreadable::Missing("after"))?;
    Ok(push(reference, Some(commit)))
}

/// A new branch or tag. Gitea names its commit; GitHub does not, and sends a push of it besides.
pub(super) fn created(payload: &Payload) -> Result<Parsed, Unreadable> {
    let Some(reference) = named(payload)? else {
        return Ok(Parsed::nothing("neither a branch nor a tag was created"));
    };
    match payload.sha.text() {
        Some(commit) => Ok(push(&reference, Some(commit))),
        None => Ok(Parsed::nothing("the push of the new ref tells its commit")),
    }
}

/// A branch or tag is gone.
pub(super) fn deleted(payload: &Payload) -> Result<Parsed, Unreadable> {
    match named(payload)? {
        Some(reference) => Ok(push(&reference, None)),
        None => Ok(Parsed::nothing("neither a branch nor a tag was deleted")),
    }
}

/// The full ref of what was created or deleted, which is given by its type and, mostly, its short name.
fn named(payload: &Payload) -> Result<Option<String>, Unreadable> {
    let prefix = match payload.ref_type.text().ok_or(Unreadable::Missing("ref_type"))? {
        "branch" => BRANCHES,
        "tag" => TAGS,
        _ => return Ok(None),
    };
    let name = payload.reference.text().ok_or(Unreadable::Missing("ref"))?;
    if name.starts_with(prefix) { Ok(Some(name.to_owned())) } else { Ok(Some(format!("{prefix}{name}"))) }
}
