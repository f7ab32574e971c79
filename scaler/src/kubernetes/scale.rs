//! Setting the number of replicas: by compare-and-swap on the scale of the Deployment, and nothing else of
//! it.
//!
//! The API server keeps who has set which field last. As long as that is the worker alone for the number of
//! replicas, a deploy job sets it; once the scaler has changed it, or was made an owner of it as it is, a
//! deploy job leaves it.

use serde_json::{Value, json};

use super::ClusterTarget;
use super::object::{ObjectName, Scale};
use crate::target::{Guard, Subject, TargetError};

/// A Deployment changes in other ways all the time while it rolls out: as long as the number is what it was,
/// a change is tried so many times.
const TRIES: u32 = 4;

impl ClusterTarget {
    /// Sets the number of replicas, if it is `from` still; answers what it is then.
    ///
    /// # Errors
    /// [`TargetError::Changed`] when it is another number, or another object; what the guard says; and what the
    /// cluster answers.
    pub async fn scale(
        &self,
        subject: &Subject,
        from: u32,
        to: u32,
        guard: &dyn Guard,
    ) -> Result<u32, TargetError> {
        let name = ObjectName::of(subject);
        for _ in 0..TRIES {
            let body = self.checked(subject, from, to, guard).await?;
            match self.api.replace_scale(&name, &body).await {
                Ok(now) => {
                    if from != to {
                        self.note_owned(subject);
                    }
                    return Ok(now.spec.replicas);
                }
                Err(error) if error.has_status(409) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(TargetError::Changed)
    }

    /// Makes the scaler an owner of the number of replicas, if it is `current`, so that a deploy job leaves
    /// it.
    ///
    /// # Errors
    /// As [`ClusterTarget::scale`].
    pub async fn own(&self, subject: &Subject, current: u32, guard: &dyn Guard) -> Result<(), TargetError> {
        let name = ObjectName::of(subject);
        for _ in 0..TRIES {
            let body = self.checked(subject, current, current, guard).await?;
            match self.api.apply_scale(&name, &body).await {
                Ok(_) => {
                    self.note_owned(subject);
                    return Ok(());
                }
                Err(error) if error.has_status(409) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(TargetError::Changed)
    }

    /// What is to be sent so that `from` replicas become `to`, if there is the right to do so.
    async fn checked(
        &self,
        subject: &Subject,
        from: u32,
        to: u32,
        guard: &dyn Guard,
    ) -> Result<Value, TargetError> {
        let uid = self.uid(subject).await?;
        let read = self.api.scale(&ObjectName::of(subject)).await?;
        let body = change(&read, &uid, from, to)?;
        guard.fence()?;
        Ok(body)
    }

    /// Which object is the subject's; looks when nothing is known of it.
    async fn uid(&self, subject: &Subject) -> Result<String, TargetError> {
        if let Some(uid) = self.known_uid(subject) {
            return Ok(uid);
        }
        self.look(std::slice::from_ref(subject)).await?;
        self.known_uid(subject).ok_or(TargetError::Absent)
    }

    fn known_uid(&self, subject: &Subject) -> Option<String> {
        self.lock().known.get(&subject.deployment).map(|(_, known)| known.uid.clone())
    }

    fn note_owned(&self, subject: &Subject) {
        if let Some((_, known)) = self.lock().known.get_mut(&subject.deployment) {
            known.needs_owning = false;
        }
    }
}

/// The scale with `to` replicas, to be taken only by the version that was read. Pure.
fn change(read: &Scale, uid: &str, from: u32, to: u32) -> Result<Value, TargetError> {
    let metadata = &read.metadata;
    if metadata.uid != uid || read.spec.replicas != from || metadata.resource_version.is_empty() {
        return Err(TargetError::Changed);
    }
    Ok(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": uid,
            "resourceVersion": metadata.resource_version,
        },
        "spec": { "replicas": to },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Scale {
        serde_json::from_value(body).unwrap()
    }

    fn scale() -> Value {
        json!({
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": { "name": "shop", "namespace": "shop--default", "uid": "u1", "resourceVersion": "7",
                "creationTimestamp": "2026-11-27T12:00:00Z" },
            "spec": { "replicas": 3 },
            "status": { "replicas": 3, "selector": "app.kubernetes.io/name=shop" },
        })
    }

    #[test]
    fn a_change_is_bound_to_the_version_that_was_read() {
        let body = change(&read(scale()), "u1", 3, 5).unwrap();
        assert_eq!(body["metadata"]["resourceVersion"], "7");
        assert_eq!(body["metadata"]["uid"], "u1");
        assert_eq!(
            (&body["metadata"]["name"], &body["metadata"]["namespace"]),
            (&json!("shop"), &json!("shop--default"))
        );
        assert_eq!(body["spec"], json!({ "replicas": 5 }));
    }

    #[test]
    fn another_number_or_another_object_is_not_touched() {
        assert_eq!(change(&read(scale()), "u1", 4, 5), Err(TargetError::Changed));
        assert_eq!(change(&read(scale()), "u2", 3, 5), Err(TargetError::Changed));
        let mut without = scale();
        without["metadata"]["resourceVersion"] = json!("");
        assert_eq!(
            change(&read(without), "u1", 3, 5),
            Err(TargetError::Changed),
            "it would be taken in any case"
        );
    }

    #[test]
    fn a_number_of_zero_is_left_out_of_answers_and_said_in_requests() {
        let mut none = scale();
        none["spec"] = json!({});
        assert_eq!(change(&read(none.clone()), "u1", 3, 5), Err(TargetError::Changed));
        assert_eq!(change(&read(none), "u1", 0, 0).unwrap()["spec"], json!({ "replicas": 0 }));
    }
}
