//! The deliveries of Gitea and Forgejo, which are made after GitHub's.

use super::github::{created, deleted, moved};
use super::payload::{Parsed, Payload, Unreadable};

pub(super) fn interpret(event: &str, payload: &Payload) -> Result<Parsed, Unreadable> {
    match event {
        "" => Err(Unreadable::NoEvent),
        "push" => moved(payload),
        "create" => created(payload),
        "delete" => deleted(payload),
        "pull_request" | "pull_request_sync" => Ok(Parsed::nothing("pull requests get no environments")),
        _ => Ok(Parsed::nothing("nothing follows from events of this kind")),
    }
}
