//! Claims of volumes.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::{TroubleCode, Verdict};
use super::condition::{degraded, may_stay, progressing};
use super::json::{age, spoken, text, time, title};

/// How long a volume may be in the making.
const PROVISION_GRACE: SignedDuration = SignedDuration::from_mins(5);

/// Annotations that a claim gets when somebody was asked to make its volume: without them it waits for its first
/// user, as its storage class says, or for an administrator.
const ASKED: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// The verdict on a PersistentVolumeClaim.
pub(super) fn claim(object: &Value, now: Timestamp) -> Verdict {
    let title = title("PersistentVolumeClaim", object);
    match text(object, &["status", "phase"]) {
        Some("Bound") => Verdict::Ready,
        Some("Lost") => {
            degraded(TroubleCode::VolumeLost, format!("{title}: the volume it was bound to is gone"), true)
        }
        Some(_) | None => pending(&title, object, now),
    }
}

fn pending(title: &str, object: &Value, now: Timestamp) -> Verdict {
    let asked = ASKED.iter().find_map(|name| text(object, &["metadata", "annotations", name]));
    let Some(provisioner) = asked else {
        return may_stay(format!("{title}: is bound when a pod uses it or a volume fits"));
    };
    let waited = time(object, &["metadata", "creationTimestamp"]).map(|since| age(now, since));
    match waited {
        Some(waited) if waited > PROVISION_GRACE => {
            let words = format!(
                "{title}: {provisioner} has made no volume for more than {}",
                spoken(PROVISION_GRACE)
            );
            degraded(TroubleCode::VolumeUnbound, words, false)
        }
        Some(_) | None => progressing(format!("{title}: {provisioner} is making a volume")),
    }
}
