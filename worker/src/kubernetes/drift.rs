//! Drift: what others have changed or deleted of a deployment in service. Pure.
//!
//! The API server keeps for every object which manager owns which fields. Whoever else sets a field to another value, or
//! removes it, takes it from Slipway: so what Slipway owns after an apply is written into the inventory, as a hash, and
//! what it owns later is compared with that. Values need not be read or kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;
use slipway_common::model::{Drift, DriftKind};

use super::cluster::FIELD_MANAGER;
use super::inventory::{self, Inventory, Owned};
use super::kind::Kind;
use super::names;

/// Bytes of a hash of fields or of a whole object: enough to tell versions of one object apart.
pub(super) const HASH_BYTES: usize = 8;
/// The kinds in which drift is seen: those that are watched. Slipway has no right to read secrets.
pub const KINDS: [Kind; 4] = [Kind::ServiceAccount, Kind::Service, Kind::Deployment, Kind::Ingress];

/// Who owns the fields of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Hash of what Slipway owns.
    pub fields: String,
    /// Who else has set fields last, if anybody has.
    pub other: Option<String>,
}

/// Objects of one namespace, and who owns their fields.
pub type Ownerships = BTreeMap<Owned, Ownership>;

/// Reads who owns the fields of an object.
#[must_use]
pub fn ownership(kind: Kind, managers: &[ManagedFieldsEntry]) -> Ownership {
    let of_spec =
        || managers.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
    let own = of_spec().find(|entry| is_own(entry)).and_then(|entry| entry.fields_v1.as_ref());
    let others =
        of_spec().filter(|entry| !is_own(entry)).max_by_key(|entry| entry.time.as_ref().map(|at| at.0));
    Ownership {
        fields: own.map(|fields| hash(kind, &fields.0)).unwrap_or_default(),
        other: others.and_then(|entry| entry.manager.clone()),
    }
}

/// The same for an object as the API server answered it.
#[must_use]
pub fn ownership_of(kind: Kind, object: &Value) -> Ownership {
    let managers = serde_json::from_value(object["metadata"]["managedFields"].clone()).unwrap_or_default();
    let managers: Vec<ManagedFieldsEntry> = managers;
    ownership(kind, &managers)
}

/// What differs between what the inventory says and what is there.
#[must_use]
pub fn compare(inventory: &Inventory, there: &Ownerships) -> Vec<Drift> {
    let watched = inventory.objects.iter().filter(|owned| KINDS.contains(&owned.kind));
    watched
        .filter_map(|owned| compare_one(owned, inventory.fields.get(&owned.to_string()), there.get(owned)))
        .collect()
}

/// What is to be said when the inventory itself is gone: nothing is known of the objects then.
#[must_use]
pub fn without_inventory() -> Vec<Drift> {
    let object = format!("{} {}", Kind::ConfigMap.as_str(), inventory::NAME);
    vec![Drift { object, kind: DriftKind::Missing, by: None }]
}

fn compare_one(owned: &Owned, applied: Option<&String>, there: Option<&Ownership>) -> Option<Drift> {
    let object = owned.to_string();
    match (applied, there) {
        (_, None) => Some(Drift { object, kind: DriftKind::Missing, by: None }),
        (Some(applied), Some(there)) if *applied != there.fields => {
            Some(Drift { object, kind: DriftKind::Changed, by: there.other.clone() })
        }
        // Of an object that an earlier version of Slipway has applied, nothing is known to compare with.
        (Some(_) | None, Some(_)) => None,
    }
}

fn is_own(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply")
}

/// The number of replicas may be taken over by an autoscaler: that is none of it.
fn hash(kind: Kind, fields: &Value) -> String {
    let mut text = String::new();
    write_sorted(kind == Kind::Deployment, fields, &mut Vec::new(), &mut text);
    names::hash(&text, HASH_BYTES)
}

/// Writes the paths of `fields` in the order of their names.
fn write_sorted<'a>(is_scaled: bool, fields: &'a Value, path: &mut Vec<&'a str>, text: &mut String) {
    if is_scaled && *path == ["f:spec", "f:replicas"] {
        return;
    }
    text.push_str(&path.join("\n"));
    text.push('\0');
    let Some(below) = fields.as_object() else { return };
    let mut names: Vec<&String> = below.keys().collect();
    names.sort_unstable();
    for name in names {
        path.push(name);
        write_sorted(is_scaled, &below[name], path, text);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(own: &Value, others: &[(&str, &str)]) -> Value {
        let ours = json!({ "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": own });
        let others = others.iter().map(|(manager, time)| {
            json!({ "manager": manager, "operation": "Update", "time": time, "fieldsV1": { "f:spec": {} } })
        });
        json!({ "metadata": { "managedFields": others.chain([ours]).collect::<Vec<Value>>() } })
    }

    fn fields(own: &Value) -> String {
        ownership_of(Kind::Deployment, &object(own, &[])).fields
    }

    #[test]
    fn a_field_that_is_lost_is_seen_and_the_number_of_replicas_is_not() {
        let whole = json!({ "f:spec": { "f:replicas": {}, "f:template": { "f:a": {}, "f:b": {} } } });
        let scaled = json!({ "f:spec": { "f:template": { "f:b": {}, "f:a": {} } } });
        let edited = json!({ "f:spec": { "f:replicas": {}, "f:template": { "f:a": {} } } });
        assert_eq!(fields(&whole), fields(&scaled));
        assert_ne!(fields(&whole), fields(&edited));
        assert_eq!(fields(&whole).len(), 2 * HASH_BYTES);
    }

    #[test]
    fn whoever_wrote_last_is_named_and_writers_of_the_status_are_not() {
        let own = json!({ "f:spec": {} });
        let mut object =
            object(&own, &[("kubectl-edit", "2026-01-02T00:00:00Z"), ("early", "2026-01-01T00:00:00Z")]);
        let status = json!({ "manager": "controller", "operation": "Update", "subresource": "status",
            "time": "2026-01-03T00:00:00Z", "fieldsV1": { "f:status": {} } });
        object["metadata"]["managedFields"].as_array_mut().unwrap().push(status);
        let seen = ownership_of(Kind::Service, &object);
        assert_eq!(seen.other.as_deref(), Some("kubectl-edit"));
        assert_ne!(seen.fields, "");
        assert_eq!(ownership_of(Kind::Service, &json!({})), Ownership { fields: String::new(), other: None });
    }

    #[test]
    fn missing_and_changed_objects_are_told_and_what_cannot_be_seen_is_not() {
        let owned = |kind, name: &str| Owned { kind, name: name.to_owned() };
        let objects = vec![
            owned(Kind::ServiceAccount, "web"),
            owned(Kind::Secret, "web-env"),
            owned(Kind::Service, "web"),
            owned(Kind::Deployment, "web"),
            owned(Kind::Ingress, "web"),
        ];
        let fields = ["ServiceAccount web", "Secret web-env", "Service web", "Deployment web"];
        let fields = fields.map(|object| (object.to_owned(), "a".to_owned())).into();
        let inventory = Inventory { objects, fields, ..Inventory::default() };
        let is = |fields: &str| Ownership { fields: fields.to_owned(), other: Some("kubectl".to_owned()) };
        let there = Ownerships::from([
            (owned(Kind::ServiceAccount, "web"), is("a")),
            (owned(Kind::Deployment, "web"), is("b")),
            (owned(Kind::Ingress, "web"), is("whatever")),
        ]);
        let found = compare(&inventory, &there);
        let told: Vec<(&str, DriftKind, Option<&str>)> =
            found.iter().map(|drift| (drift.object.as_str(), drift.kind, drift.by.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("Service web", DriftKind::Missing, None),
                ("Deployment web", DriftKind::Changed, Some("kubectl")),
            ]
        );
    }
}
