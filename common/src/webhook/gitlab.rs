//! GitLab's deliveries: of projects and groups, and those of the whole instance (System Hook).

use super::payload::{Parsed, Payload, Unreadable, is_zero, pipeline, push};
use crate::model::DeliveryKind;

/// The body names its event itself, and does so in every kind of hook.
pub(super) fn interpret(payload: &Payload) -> Result<Parsed, Unreadable> {
    let event = payload.object_kind.text().or_else(|| payload.event_name.text());
    match event.ok_or(Unreadable::Missing("object_kind"))? {
        "push" | "tag_push" => moved(payload),
        "merge_request" => merge_request(payload),
        "pipeline" => {
            let commit = payload.object_attributes.sha();
            Ok(pipeline(commit.ok_or(Unreadable::Missing("object_attributes.sha"))?, "a pipeline changed"))
        }
        // `commit.id` is the pipeline's number here, and the commit stands in `sha`.
        "build" | "job" => {
            let commit = payload.sha.text();
            Ok(pipeline(commit.ok_or(Unreadable::Missing("sha"))?, "a job of a pipeline changed"))
        }
        _ => Ok(Parsed::nothing("nothing follows from events of this kind")),
    }
}

/// Of an annotated tag, `after` is the tag itself and `checkout_sha` the commit.
fn moved(payload: &Payload) -> Result<Parsed, Unreadable> {
    let reference = payload.reference.text().ok_or(Unreadable::Missing("ref"))?;
    let after = payload.after.text();
    if payload.checkout_sha.is_null() || after.is_some_and(is_zero) {
        return Ok(push(reference, None));
    }
    let commit = payload.checkout_sha.text().or(after).ok_or(Unreadable::Missing("after"))?;
    Ok(push(reference, Some(commit)))
}

/// Whatever was done to it, its environment may have to follow.
fn merge_request(payload: &Payload) -> Result<Parsed, Unreadable> {
    let iid = payload.object_attributes.iid().ok_or(Unreadable::Missing("object_attributes.iid"))?;
    Ok(Parsed::of(DeliveryKind::MergeRequest { iid }, "a merge request changed"))
}
